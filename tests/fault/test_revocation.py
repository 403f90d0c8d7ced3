"""Revoked is refused within a second, also when the ledger cannot be written in time: its table is locked, it is behind, the disk is full.

A session that ended, a user who was disabled, got a new password or is gone, and a revoked key: each is asked about until it is refused.
"""
import os
import signal
import subprocess
import time

import pytest
from denizen import Suite, eventually
from helpers import PASSWORD, good, made, new_session, new_user
from test_disk import DISK_MB, SmallDisk, SmallSuite

BOUND = 1.0  # seconds from the answer to the last time that it was believed
PATIENCE = 5.0


@pytest.fixture(scope="module")
def suite():
    running = Suite().up()
    yield running
    running.remove()


class Revoker:
    """Takes access away in every way there is, and measures how long it is still believed."""

    def __init__(self, suite, client, count):
        self.suite, self.client, self.times = suite, client, {}
        self.asker = suite.client(key=client.key, check=False)
        self.left = [(way, *self.prepare(way)) for _ in range(count)
                     for way in ("session ended", "all sessions ended", "user disabled", "new password", "user deleted", "key revoked")]

    def prepare(self, way):
        """What is sent to take it away, and how to ask whether it is still believed."""
        if way == "key revoked":
            key = made(self.client.post("/v1/keys", {"kind": "api", "scopes": ["users:read"]}))
            holder = self.suite.client(key=key["secret"], check=False)
            good(holder.get("/v1/users?limit=1"))
            return ("DELETE", f"/v1/keys/{key['id']}", None), lambda: holder.get("/v1/users?limit=1").status == 200
        user, tokens = new_session(self.client)
        ways = {"session ended": ("DELETE", f"/v1/sessions/{tokens['session']['id']}", None),
                "all sessions ended": ("DELETE", f"/v1/users/{user['id']}/sessions", None),
                "user disabled": ("PATCH", f"/v1/users/{user['id']}", {"status": "disabled"}),
                "new password": ("PATCH", f"/v1/users/{user['id']}", {"password": PASSWORD + "!"}),
                "user deleted": ("DELETE", f"/v1/users/{user['id']}", None)}
        assert self.believed(tokens["access_token"])
        return ways[way], lambda: self.believed(tokens["access_token"])

    def believed(self, token):
        """A gateway that cannot say refuses: only a clear yes counts."""
        reply = self.asker.post("/v1/tokens/introspect", {"token": token})
        return reply.status == 200 and reply.json["active"]

    def one(self):
        """Takes the next thing away; False when the suite refused to, then it is still there."""
        way, (method, path, body), believed = self.left.pop(0)
        reply = self.client.call(method, path, body)
        if reply.status not in (200, 204):
            assert reply.status in (503, 504, 429), reply
            self.left.append((way, (method, path, body), believed))
            return False
        done = time.monotonic()
        last = done
        while believed() and last - done < PATIENCE:
            last = time.monotonic()
            time.sleep(0.005)
        self.times.setdefault(way, []).append(last - done)
        return True

    def tell(self, figures, fault):
        figures.append(f"revocation, {fault}: longest belief after the answer " +
                       ", ".join(f"{way} {max(times) * 1000:.0f} ms" for way, times in self.times.items()))
        worst = max(max(times) for times in self.times.values())
        assert worst <= BOUND, self.times


def test_while_the_ledger_is_locked(suite, figures):
    client = suite.new_project("locked")
    revoker = Revoker(suite, client, 3)
    suite.settle()
    lock = suite.postgres("psql", "-qAtX", "-c", "BEGIN; LOCK TABLE audit.event IN SHARE MODE; SELECT 'locked'; SELECT pg_sleep(60)",
                          runner=subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    locked = "SELECT count(*) FROM pg_locks WHERE relation = 'audit.event'::regclass AND mode = 'ShareLock' AND granted;"
    try:
        eventually(lambda: suite.ask(locked) == "1")
        while revoker.left:
            assert revoker.one()
        assert suite.ask(locked) == "1"
        waiting = int(suite.ask("SELECT (SELECT count(*) FROM identity.outbox WHERE revokes) + (SELECT count(*) FROM session.outbox WHERE revokes);"))
        assert waiting >= 15, "they were refused although the ledger has none of them"
        ready = good(suite.client().get("/readyz"))
    finally:
        suite.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'audit.event'::regclass AND mode = 'ShareLock'")
        lock.wait()
    assert ready == {"status": "ready", "revocations": "followed"}
    suite.settle()
    assert good(client.get("/v1/audit/verify"))["ok"]
    revoker.tell(figures, "ledger locked")


def test_behind_a_backlog(suite, figures):
    client = suite.new_project("backlog")
    new_user(client)
    revoker = Revoker(suite, client, 3)
    suite.settle()
    behind, least = lambda: int(suite.ask("SELECT count(*) FROM identity.outbox WHERE NOT revokes;")), None
    while revoker.left:
        if behind() < 50000:
            suite.psql("INSERT INTO identity.outbox (project_id, event, revokes) SELECT project_id, event, false FROM audit.event, generate_series(1, 100000) "
                       "WHERE position = (SELECT max(position) FROM audit.event WHERE type = 10)")
        assert revoker.one()
        least = min(behind(), least or 1e9)
    assert least > 1000, "there was a backlog all the time"
    suite.psql("DELETE FROM identity.outbox WHERE NOT revokes")
    suite.settle()
    assert good(client.get("/v1/audit/verify"))["ok"]
    revoker.tell(figures, f"behind a backlog of {least:,} events and more")


def test_while_the_disk_is_full(figures):
    disk = SmallDisk(DISK_MB)
    suite = SmallSuite(disk)
    try:
        suite.up()
        client = suite.new_project("full")
        revoker = Revoker(suite, client, 12)
        suite.settle()
        refused = stuck = 0
        for room in list(range(10240, 20480, 2048)) * 4:  # now a service has room for its row, now the ledger for its entry, now neither
            disk.fill()
            os.truncate(disk.path / "ballast", os.path.getsize(disk.path / "ballast") - room)
            for _ in range(min(3, len(revoker.left))):
                refused += not revoker.one()
            stuck += int(suite.ask("SELECT (SELECT count(*) FROM identity.outbox WHERE revokes) + (SELECT count(*) FROM session.outbox WHERE revokes);") or 0)
            disk.free()
        assert refused and stuck, "writes were refused, and some were acknowledged that the ledger could not take"
        revoker.tell(figures, f"disk full ({refused} writes refused, {stuck} times one waited for the ledger)")
    finally:
        disk.free()
        suite.remove()
        disk.remove()


def test_a_gateway_that_cannot_know_asks_and_says_so(suite):
    """The audit service is frozen: what was revoked cannot be read there. The session service is asked, and refuses."""
    client = suite.new_project("unsure")
    revoker = Revoker(suite, client, 1)
    suite.settle()
    pid = suite.pid("audit.1")
    os.kill(pid, signal.SIGSTOP)
    try:
        probe = suite.client()
        eventually(lambda: probe.get("/readyz").json.get("revocations") == "asked", 3)
        while revoker.left:
            assert revoker.one()
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: probe.get("/readyz").json == {"status": "ready", "revocations": "followed"}, 10)
    assert max(max(times) for times in revoker.times.values()) <= BOUND, revoker.times
