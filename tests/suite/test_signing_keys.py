"""Signing keys: rotation under the eyes of verifiers that keep copies of the key set, withdrawal, the set itself."""
import http.client
import os
import re
import signal
import time

import jwt
import pytest
from denizen import Client, eventually
from helpers import at_once, events, good, head, is_active, made, new_session, refresh, refused
from test_sessions import uuid_of
from test_tokens import key_set, verified

AHEAD_SEC, MAX_AGE_SEC = 660, 240


def states(client):
    return {key["kid"]: key["state"] for key in good(client.get("/v1/signing-keys"))["data"]}


def kid_in(client, state):
    kid, = [kid for kid, its in states(client).items() if its == state]
    return kid


def kid_of(tokens):
    return jwt.get_unverified_header(tokens["access_token"])["kid"]


def pass_time(suite, client, seconds=AHEAD_SEC):
    """Moves the publication of the project's keys into the past, instead of waiting."""
    suite.psql(f"UPDATE claims.signing_key SET created_at_us = created_at_us - {seconds * 1000000} "
               f"WHERE project_id = '{uuid_of(client.project_id)}'")


@pytest.fixture()
def nobody(suite):
    client = Client(suite.port)
    yield client
    client.close()


def reads_of_sets(nobody):
    found = re.findall(r'^denizen_call_seconds_count\{[^}]*method="GetJwks"[^}]*\} (\d+)', nobody.get("/metrics").body.decode(), re.M)
    return sum(map(int, found))


# ---- rotation


def test_rotation_keeps_old_tokens_valid(suite, fresh):
    _, tokens = new_session(fresh)
    first, second = good(fresh.get("/v1/signing-keys"))["data"]
    assert [key["state"] for key in (first, second)] == ["active", "next"] and first["algorithm"] == "ES256" and "retires_at" not in first
    assert [key["kid"] for key in key_set(fresh)] == [first["kid"], second["kid"]]
    suite.settle()
    before = head(fresh)
    risen = made(fresh.post("/v1/signing-keys/rotate"))
    assert risen == {**second, "state": "active"}
    third = kid_in(fresh, "next")
    assert states(fresh) == {first["kid"]: "retiring", second["kid"]: "active", third: "next"}
    eventually(lambda: {key["kid"] for key in key_set(fresh)} == states(fresh).keys(), 1)
    newer = good(refresh(fresh, tokens["refresh_token"]))
    assert kid_of(newer) == second["kid"]
    for token in (tokens["access_token"], newer["access_token"]):
        verified(fresh, suite, token)
        assert is_active(fresh, token)
    suite.settle()
    entry, = events(fresh, before)
    assert entry["event"]["type"] == "signing_key_rotated" and entry["event"]["subject"] == second["kid"]


def test_many_rotations_under_use_refuse_no_token(suite, fresh):
    tokens, unseen = [new_session(fresh)[1]], []
    for _ in range(20):
        unseen.append(good(refresh(fresh, tokens[-1]["refresh_token"])))
        made(fresh.post("/v1/signing-keys/rotate"))
        tokens.append(good(refresh(fresh, unseen[-1]["refresh_token"])))
        assert all(is_active(fresh, each["access_token"]) for each in tokens)
        pass_time(suite, fresh)
    assert all(is_active(fresh, each["access_token"]) for each in unseen), "the oldest keys verify what no gateway has seen yet"
    eventually(lambda: len(key_set(fresh)) == 22, 1)
    row = suite.psql("SELECT count(*) FILTER (WHERE sealed_private IS NOT NULL), count(*) FROM claims.signing_key "
                     f"WHERE project_id = '{uuid_of(fresh.project_id)}'")
    assert row == ["2|22"], "a retired key keeps no private part"


def test_a_key_does_not_sign_before_every_copy_has_it(suite, fresh):
    made(fresh.post("/v1/signing-keys/rotate"))
    held = states(fresh)
    refused(fresh.post("/v1/signing-keys/rotate"), 409, "conflict")
    assert AHEAD_SEC - 10 <= int(fresh.post("/v1/signing-keys/rotate").headers["retry-after"]) <= AHEAD_SEC
    assert states(fresh) == held
    pass_time(suite, fresh, AHEAD_SEC - 60)
    refused(fresh.post("/v1/signing-keys/rotate"), 409, "conflict")
    pass_time(suite, fresh, 60)
    assert made(fresh.post("/v1/signing-keys/rotate"))["kid"] == next(kid for kid, state in held.items() if state == "next")


# ---- withdrawal


def withdraw(client, kid, **options):
    return client.delete("/v1/signing-keys/" + kid, **options)


def test_a_withdrawn_key_is_dead_everywhere_within_a_second(suite, fresh):
    _, old = new_session(fresh)
    assert is_active(fresh, old["access_token"]) and is_active(fresh, old["access_token"]), "verified, and remembered"
    suite.settle()
    before, next_kid = head(fresh), kid_in(fresh, "next")
    good(withdraw(fresh, kid_of(old)), 204)
    eventually(lambda: not is_active(fresh, old["access_token"]), 1)
    eventually(lambda: kid_of(old) not in {key["kid"] for key in key_set(fresh)}, 1)
    assert kid_of(old) not in states(fresh) and kid_in(fresh, "active") == next_kid and kid_in(fresh, "next") != next_kid
    new = good(refresh(fresh, old["refresh_token"]))
    assert kid_of(new) == next_kid and is_active(fresh, new["access_token"])
    verified(fresh, suite, new["access_token"])
    suite.settle()
    entry, = [entry["event"] for entry in events(fresh, before) if entry["event"]["type"].startswith("signing_key")]
    assert entry["type"] == "signing_key_withdrawn" and entry["subject"] == kid_of(old)


def test_a_retiring_key_is_withdrawn_alone(suite, fresh):
    _, old = new_session(fresh)
    made(fresh.post("/v1/signing-keys/rotate"))
    new = good(refresh(fresh, old["refresh_token"]))
    assert is_active(fresh, old["access_token"]) and is_active(fresh, new["access_token"])
    held = states(fresh)
    good(withdraw(fresh, kid_of(old)), 204)
    eventually(lambda: not is_active(fresh, old["access_token"]), 1)
    assert is_active(fresh, new["access_token"])
    assert states(fresh) == {kid: state for kid, state in held.items() if kid != kid_of(old)}


def test_a_withdrawn_next_key_has_a_successor_that_is_published_first(fresh):
    new_session(fresh)
    gone, active = kid_in(fresh, "next"), kid_in(fresh, "active")
    good(withdraw(fresh, gone), 204)
    assert gone not in states(fresh) and kid_in(fresh, "active") == active and len(states(fresh)) == 2
    refused(fresh.post("/v1/signing-keys/rotate"), 409, "conflict")


def test_what_cannot_be_withdrawn(suite, fresh, project):
    new_session(fresh)
    kid = kid_in(fresh, "active")
    new_session(project)
    for client, name in ((project, kid), (fresh, kid[:-1]), (fresh, "x" * 43), (fresh, "%00"), (fresh, "x" * 2000)):
        reply = withdraw(client, name)
        assert reply.status in (400, 404) and kid in states(fresh), reply
    keyed = {"Idempotency-Key": "withdraw-" + kid}
    good(withdraw(fresh, kid, headers=keyed), 204)
    good(withdraw(fresh, kid, headers=keyed), 204)
    refused(withdraw(fresh, kid), 404, "not_found", "kid")
    assert len(states(fresh)) == 2


def test_a_withdrawn_key_is_dead_while_the_ledger_stands_still(suite, fresh):
    _, old = new_session(fresh)
    assert is_active(fresh, old["access_token"])
    audit = suite.pid("audit.1")
    os.kill(audit, signal.SIGSTOP)
    try:
        good(withdraw(fresh, kid_of(old)), 204)
        eventually(lambda: not is_active(fresh, old["access_token"]), 2)
        new = good(refresh(fresh, old["refresh_token"]))
        assert is_active(fresh, new["access_token"]) and not is_active(fresh, old["access_token"])
    finally:
        os.kill(audit, signal.SIGCONT)
    suite.settle()
    assert is_active(fresh, new["access_token"]) and not is_active(fresh, old["access_token"])


def test_a_flood_of_dead_tokens_reads_the_keys_now_and_then(suite, fresh, nobody):
    _, old = new_session(fresh)
    good(withdraw(fresh, kid_of(old)), 204)
    eventually(lambda: not is_active(fresh, old["access_token"]), 1)
    before, started = reads_of_sets(nobody), time.monotonic()

    def ask(_):
        client = Client(suite.port, key=fresh.key)
        answers = [is_active(client, old["access_token"]) for _ in range(5)]
        client.close()
        return answers

    assert not any(any(answers) for answers in at_once(40, ask))
    assert reads_of_sets(nobody) - before <= (time.monotonic() - started) * 10 + 2


# ---- verifiers that keep the set


class Copy:
    """A copy of a key set, as verifiers and caches keep one. It is taken again when it is `lifespan` old, and for an unknown kid when it
    is `cooldown` old. `source` gives the set at a time."""

    def __init__(self, source, lifespan, cooldown):
        self.source, self.lifespan, self.cooldown = source, lifespan, cooldown
        self.keys, self.at = None, None

    def at_time(self, now, older_than=None):
        if self.keys is None or now - self.at >= (self.lifespan if older_than is None else older_than):
            self.keys, self.at = self.source(now), now
        return self.keys

    def knows(self, kid, now):
        return kid in self.at_time(now) or kid in self.at_time(now, self.cooldown)


VERIFIERS = {
    "jose (JavaScript)": lambda origin: Copy(origin, 600, 30),
    "by max-age alone": lambda origin: Copy(origin, MAX_AGE_SEC, MAX_AGE_SEC),
    "by its own clock alone": lambda origin: Copy(origin, 600, 600),
    "behind a shared cache": lambda origin: Copy(Copy(origin, MAX_AGE_SEC, MAX_AGE_SEC).at_time, MAX_AGE_SEC, MAX_AGE_SEC),
    "jose behind a shared cache": lambda origin: Copy(Copy(origin, MAX_AGE_SEC, MAX_AGE_SEC).at_time, 600, 30),
}


@pytest.mark.parametrize("pause", [1, 299, 301, 599])
def test_a_verifier_with_a_copy_knows_every_new_token(suite, fresh, pause):
    """Rotations as early as they are accepted, and copies taken at any time between."""
    _, tokens = new_session(fresh)
    copies = {name: make(lambda now: {key["kid"] for key in key_set(fresh)}) for name, make in VERIFIERS.items()}
    now = 0

    def all_know(tokens):
        refusing = [name for name, copy in copies.items() if not copy.knows(kid_of(tokens), now)]
        assert not refusing, f"after {now} s"

    for _ in range(4):
        all_know(tokens)
        made(fresh.post("/v1/signing-keys/rotate"))
        tokens = good(refresh(fresh, tokens["refresh_token"]))
        for seconds in (pause, AHEAD_SEC - pause):
            all_know(tokens)
            now += seconds
            pass_time(suite, fresh, seconds)


def test_pyjwt_needs_no_second_look_at_the_set(suite, fresh):
    issuer = f"http://127.0.0.1:{suite.port}/v1/projects/{fresh.project_id}"
    client, fetched = jwt.PyJWKClient(f"{issuer}/jwks.json"), []
    fetch = client.fetch_data
    client.fetch_data = lambda: fetched.append(1) or fetch()
    _, old = new_session(fresh)
    client.get_signing_key_from_jwt(old["access_token"])
    made(fresh.post("/v1/signing-keys/rotate"))
    new = good(refresh(fresh, old["refresh_token"]))
    assert kid_of(new) != kid_of(old)
    for token in (old["access_token"], new["access_token"]):
        key = client.get_signing_key_from_jwt(token).key
        jwt.decode(token, key, algorithms=["ES256"], audience=fresh.project_id, issuer=issuer)
    assert len(fetched) == 1


# ---- the set as an answer


def path_of(client):
    return f"/v1/projects/{client.project_id}/jwks.json"


def test_anyone_may_keep_the_set(suite, fresh, nobody):
    new_session(fresh)
    reply = nobody.get(path_of(fresh))
    tag = reply.headers["etag"]
    assert reply.status == 200 and reply.headers["cache-control"] == f"public, max-age={MAX_AGE_SEC}"
    assert re.fullmatch(r'"[\w-]{22}"', tag)
    for known in (tag, f'"x", {tag}', "W/" + tag, "*"):
        again = nobody.get(path_of(fresh), headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"") and "content-length" not in again.headers
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, reply.headers["cache-control"])
    assert nobody.get(path_of(fresh), headers={"If-None-Match": '"x"'}).body == reply.body
    made(fresh.post("/v1/signing-keys/rotate"))
    eventually(lambda: nobody.get(path_of(fresh), headers={"If-None-Match": tag}).status == 200, 1)
    assert nobody.get(path_of(fresh)).headers["etag"] != tag
    for refusal in (nobody.get(path_of(fresh) + "?x=1"), nobody.get("/v1/projects/prj_x/jwks.json"), nobody.get("/healthz")):
        assert refusal.headers["cache-control"] == "no-store"


def test_head_tells_what_get_would(suite, fresh, nobody):
    new_session(fresh)
    reply = nobody.get(path_of(fresh))
    connection = http.client.HTTPConnection("127.0.0.1", suite.port)
    for sent, status in (({}, 200), ({"If-None-Match": reply.headers["etag"]}, 304), ({}, 200)):
        connection.request("HEAD", path_of(fresh), headers=sent)
        head_reply = connection.getresponse()
        assert (head_reply.status, head_reply.read()) == (status, b"")
        assert head_reply.getheader("Content-Length") == (str(len(reply.body)) if status == 200 else None)
        assert head_reply.getheader("ETag") == reply.headers["etag"]
        assert head_reply.getheader("Cache-Control") == reply.headers["cache-control"]
    connection.close()


def test_nobody_reaches_the_database_by_asking_for_the_set(suite, fresh, nobody):
    new_session(fresh)
    before = reads_of_sets(nobody)
    for _ in range(300):
        good(nobody.get(path_of(fresh)))
    assert reads_of_sets(nobody) <= before + 2, "the first one; one more when a minute is over just now"


def test_asking_for_projects_that_are_none_is_limited(suite, fresh, nobody):
    """From an address of its own: the limit is that of unknown keys."""
    new_session(fresh)
    good(nobody.get(path_of(fresh)))
    connection = http.client.HTTPConnection("127.0.0.1", suite.port, source_address=("127.0.0.77", 0))

    def ask(path):
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        return reply

    before = reads_of_sets(nobody)
    replies = [ask(f"/v1/projects/prj_{i:026d}/jwks.json") for i in range(1000)]
    answers = {(reply.status, reply.getheader("Retry-After")) for reply in replies}
    assert answers == {(404, None), (429, "1")} and all(reply.status == 404 for reply in replies[:50])
    assert reads_of_sets(nobody) - before < 500
    assert ask(path_of(fresh)).status == 200, "what is held is given to everybody"
    connection.close()
