"""The feed: gap-free, ordered, woken within a second; the ledger's chain and what a database owner could do to it."""
import base64
import datetime
import hashlib
import select
import socket
import threading
import time

import pytest
from denizen import Client, eventually
from helpers import address, events, good, head, made, new_user, refused, unique
from test_sessions import uuid_of


def test_the_feed_is_numbered_without_gaps_in_the_order_of_each_user(suite, fresh):
    """Eight writers; the ledger is 1, 2, 3 ... and the versions of each user rise."""
    def write(_):
        client = Client(suite.port, key=fresh.key)
        for _ in range(6):
            user = new_user(client)
            good(client.patch("/v1/users/" + user["id"], {"name": "b"}))
            good(client.patch("/v1/users/" + user["id"], {"status": "disabled"}))
            good(client.delete("/v1/users/" + user["id"]), 204)
        client.close()

    writers = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    suite.settle()
    entries = events(fresh)
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry["project_id"] for entry in entries} == {fresh.project_id}
    by_user = {}
    for entry in entries:
        if entry["event"].get("user_id"):
            by_user.setdefault(entry["event"]["user_id"], []).append(entry["event"])
    assert len(by_user) == 48
    for history in by_user.values():
        assert [event["type"] for event in history] == ["user_created", "user_updated", "user_disabled", "user_deleted"]
        assert [event["version"] for event in history] == [1, 2, 3, 4]
        assert [event["at"] for event in history] == sorted(event["at"] for event in history)


def test_an_event_says_who_did_what(suite, fresh):
    key = made(fresh.post("/v1/keys", {"kind": "management"}))
    caller = Client(suite.port, key=key["secret"])
    reply = caller.post("/v1/users", {"email": address(), "name": "Ada"},
                        headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    user = made(reply)
    assert reply.headers["x-request-id"] == "0af7651916cd43dd8448eb211c80319c"
    suite.settle()
    event = events(fresh)[-1]["event"]
    assert event["type"] == "user_created" and event["subject"] == event["user_id"] == user["id"]
    assert event["actor"] == key["id"] and event["trace_id"] == reply.headers["x-request-id"]
    at = datetime.datetime.fromisoformat(event["at"].replace("Z", "+00:00"))
    assert abs(at.timestamp() - time.time()) < 30
    assert {"field": "name", "after": "Ada"} in event["changes"]


def nudges(suite, name):
    text = Client(suite.port).get("/metrics").body.decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"denizen_outbox_nudges_{name}_total"))


def test_a_replica_that_is_not_the_relay_tells_it_of_its_rows(suite, project):
    before = nudges(suite, "sent"), nudges(suite, "taken")
    for _ in range(12):  # two replicas of identity take turns
        new_user(project)
    suite.settle()
    eventually(lambda: nudges(suite, "sent") > before[0] and nudges(suite, "taken") > before[1])


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
def test_the_feed_is_read_in_pieces(suite, project, limit):
    if head(project) < 9:
        for _ in range(7):
            new_user(project)
        suite.settle()
    after, seen, top = 0, [], head(project)
    while True:
        page = good(project.get(f"/v1/events?after={after}&limit={limit}"))
        assert page["head"] == top and len(page["data"]) <= limit
        if not page["data"]:
            assert page["next"] == after
            break
        seen += [entry["seq"] for entry in page["data"]]
        after = page["next"]
        assert after == seen[-1]
    assert seen == list(range(1, top + 1))


@pytest.mark.parametrize("query, field", [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("after=-1", "after"), ("after=x", "after"), ("wait=31", "wait"), ("wait=-1", "wait"),
    ("wait=1.5", "wait"), ("project_id=prj_x", "project_id"), ("type=x", "type"), ("after=1&after=2", "after")])
def test_a_bad_parameter_is_refused_and_named(project, query, field):
    refused(project.get("/v1/events?" + query), 400, "invalid_argument", field)


def test_who_may_read(suite, project):
    refused(Client(suite.port).get("/v1/events"), 401, "unauthenticated")
    weak = Client(suite.port, key=made(project.post("/v1/keys", {"scopes": ["users:*"]}))["secret"])
    refused(weak.get("/v1/events"), 403, "permission_denied")
    refused(weak.get("/v1/audit/verify"), 403, "permission_denied")
    started = time.monotonic()
    refused(weak.get("/v1/events?wait=20&after=999999"), 403, "permission_denied")
    assert time.monotonic() - started < 5


# ---- long poll


def test_waiting_ends_with_the_first_event(suite, fresh):
    suite.settle()
    after = head(fresh)
    reader, result = Client(suite.port, key=fresh.key), {}

    def wait():
        result["reply"] = reader.get(f"/v1/events?after={after}&wait=20")
        result["at"] = time.monotonic()

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.5)
    assert waiter.is_alive()
    user = new_user(fresh)
    written = time.monotonic()
    waiter.join()
    page = good(result["reply"])
    assert [entry["event"]["subject"] for entry in page["data"]] == [user["id"]]
    assert result["at"] - written < 1, "a waiting reader is woken within a second"


def test_waiting_ends_with_the_time(suite, fresh):
    suite.settle()
    started = time.monotonic()
    page = good(fresh.get(f"/v1/events?after={head(fresh)}&wait=1"))
    assert page["data"] == [] and 0.9 < time.monotonic() - started < 3


def test_what_is_there_is_not_waited_for(project):
    started = time.monotonic()
    assert good(project.get("/v1/events?after=0&wait=20"))["data"]
    assert time.monotonic() - started < 2


def test_many_wait_and_all_are_woken(suite, fresh):
    suite.settle()
    after, replies = head(fresh), []

    def wait():
        client = Client(suite.port, key=fresh.key)
        replies.append((client.get(f"/v1/events?after={after}&wait=20"), time.monotonic()))
        client.close()

    waiters = [threading.Thread(target=wait) for _ in range(40)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.7)
    assert not replies
    new_user(fresh)
    written = time.monotonic()
    for waiter in waiters:
        waiter.join()
    assert len(replies) == 40 and all(good(reply)["data"] for reply, _ in replies)
    assert max(at for _, at in replies) - written < 2


def test_one_project_cannot_take_the_places_of_all_that_wait(suite, fresh):
    """1,100 connections: 550 may wait, 412 of them of one project (of one of 256 buckets, by the id's last byte)."""
    other = suite.new_project()
    while other.project_id[-1] == fresh.project_id[-1]:
        other = suite.new_project()
    suite.settle()
    request = f"GET /v1/events?after={head(fresh)}&wait=4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {fresh.key}\r\n\r\n"
    crowd = [socket.create_connection(("127.0.0.1", suite.port), timeout=20) for _ in range(430)]
    for connection in crowd:
        connection.sendall(request.encode())
    assert eventually(lambda: len(select.select(crowd, [], [], 2)[0]) == 18), "the rest waits"
    refusal = fresh.get(f"/v1/events?after={head(fresh)}&wait=1")
    assert refused(refusal, 503, "unavailable") and refusal.headers["retry-after"]
    good(other.get(f"/v1/events?after={head(other)}&wait=1"))
    statuses = [b"".join(iter(lambda: connection.recv(65536), b"")).split(b" ", 2)[1] for connection in crowd]
    for connection in crowd:
        connection.close()
    assert (statuses.count(b"200"), statuses.count(b"503")) == (412, 18)
    good(fresh.get(f"/v1/events?after={head(fresh)}&wait=1"))


def test_events_of_others_wake_nobody(suite, fresh, project):
    suite.settle()
    reader, result = Client(suite.port, key=fresh.key), {}
    after = head(fresh)
    waiter = threading.Thread(target=lambda: result.update(reply=reader.get(f"/v1/events?after={after}&wait=2")))
    waiter.start()
    for _ in range(10):
        new_user(project)
    waiter.join()
    assert good(result["reply"])["data"] == []


# ---- the chain


def written_ledger(suite, count=8):
    """A project whose ledger has a known number of events, and its uuid."""
    client = suite.new_project(unique("ledger"))
    for _ in range(count - 2):
        new_user(client)
    suite.settle()
    eventually(lambda: head(client) == count)
    return client, uuid_of(client.project_id)


def test_an_untouched_ledger_verifies(suite):
    client, _ = written_ledger(suite)
    verdict = good(client.get("/v1/audit/verify"))
    assert verdict["ok"] is True and verdict["checked"] == verdict["head"] == 8 and "first_bad" not in verdict
    entries = events(client)
    assert verdict["head_hash"] == entries[-1]["hash"] and len({entry["hash"] for entry in entries}) == 8
    later = good(client.get("/v1/audit/verify?after=5"))
    assert later["ok"] is True and later["checked"] == 3
    refused(client.get("/v1/audit/verify?after=9"), 400, "invalid_argument", "after")


ROW = "project_id = '{project}' AND seq = {seq}"
TAMPERINGS = {
    "edit": (f"UPDATE audit.event SET event = set_byte(event, 12, (get_byte(event, 12) + 1) % 256) WHERE {ROW}", 4, 4),
    "edit the copy of the subject": (f"UPDATE audit.event SET subject = 'usr_other' WHERE {ROW}", 4, 4),
    "edit the hash": (f"UPDATE audit.event SET hash = decode(repeat('00', 32), 'hex') WHERE {ROW}", 4, 4),
    "edit the last": (f"UPDATE audit.event SET at_us = at_us + 1 WHERE {ROW}", 8, 8),
    "delete the first": (f"DELETE FROM audit.event WHERE {ROW}", 1, 1),
    "delete one": (f"DELETE FROM audit.event WHERE {ROW}", 4, 4),
    "cut the tail": (f"DELETE FROM audit.event WHERE project_id = '{{project}}' AND seq >= {{seq}}", 7, 7),
    "cut everything": ("DELETE FROM audit.event WHERE project_id = '{project}'", 1, 1),
    "close the gap": (f"DELETE FROM audit.event WHERE {ROW}; "
                      "UPDATE audit.event SET seq = seq - 1 WHERE project_id = '{project}' AND seq > {seq}", 4, 4),
    "reorder": ("UPDATE audit.event SET seq = -1 WHERE project_id = '{project}' AND seq = {seq}; "
                "UPDATE audit.event SET seq = {seq} WHERE project_id = '{project}' AND seq = {seq} + 1; "
                "UPDATE audit.event SET seq = {seq} + 1 WHERE project_id = '{project}' AND seq = -1", 4, 4),
    "swap the texts": ("UPDATE audit.event a SET event = b.event FROM audit.event b WHERE a.project_id = '{project}' AND "
                       "b.project_id = a.project_id AND a.seq IN ({seq}, {seq} + 1) AND b.seq = 2 * {seq} + 1 - a.seq", 4, 4),
    "turn the head back": ("UPDATE audit.head SET seq = {seq}, hash = (SELECT hash FROM audit.event WHERE project_id = '{project}' "
                           "AND seq = {seq}) WHERE project_id = '{project}'", 5, 6),
    "another head hash": ("UPDATE audit.head SET hash = decode(repeat('11', 32), 'hex') WHERE project_id = '{project}'", 8, 8),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_a_database_owner_changes_is_reported(suite, name):
    sql, seq, first_bad = TAMPERINGS[name]
    client, project = written_ledger(suite)
    suite.psql(sql.format(project=project, seq=seq))
    verdict = good(client.get("/v1/audit/verify"))
    assert verdict["ok"] is False and verdict["first_bad"] == first_bad and verdict["reason"], verdict
    client.close()


def test_an_inserted_event_is_reported(suite):
    client, project = written_ledger(suite)
    suite.psql("UPDATE audit.event SET seq = seq + 100 WHERE project_id = '{0}' AND seq > 4; "
               "UPDATE audit.event SET seq = seq - 99 WHERE project_id = '{0}' AND seq > 100; "
               "INSERT INTO audit.event SELECT project_id, 5, -position, source, -outbox_id, type, subject, user_id, at_us, event, hash "
               "FROM audit.event WHERE project_id = '{0}' AND seq = 4".format(project))
    verdict = good(client.get("/v1/audit/verify"))
    assert verdict["ok"] is False and verdict["first_bad"] == 5, verdict
    client.close()


def test_tampering_in_one_project_is_no_other_projects_matter(suite):
    first, project = written_ledger(suite)
    second, _ = written_ledger(suite)
    suite.psql(f"DELETE FROM audit.event WHERE project_id = '{project}' AND seq = 3")
    assert good(first.get("/v1/audit/verify"))["ok"] is False
    assert good(second.get("/v1/audit/verify"))["ok"] is True


def test_the_hash_of_an_event_is_not_the_hash_of_its_text(suite):
    """The hash links to the predecessor: the same event twice would have two hashes."""
    client, project = written_ledger(suite)
    stored = suite.psql(f"SELECT encode(event, 'hex'), encode(hash, 'hex') FROM audit.event WHERE project_id = '{project}' ORDER BY seq")
    shown = [base64.urlsafe_b64decode(entry["hash"] + "==").hex() for entry in events(client)]
    assert [row.split("|")[1] for row in stored] == shown
    assert all(hashlib.sha256(bytes.fromhex(row.split("|")[0])).hexdigest() != row.split("|")[1] for row in stored)
