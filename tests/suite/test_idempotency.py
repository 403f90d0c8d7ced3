"""Idempotency-Key: the same key and body give one effect and one answer, also when twenty send it at the same time."""
import json

import pytest
from denizen import Client
from helpers import PASSWORD, address, at_once, events, good, made, new_user, payload, refresh, refused, total, unique


def users(client):
    return total(client)


def keys(client):
    return good(client.get("/v1/keys"))["total"]


def projects(client):
    return good(client.get("/v1/projects"))["total"]


def sessions_of(user):
    return lambda client: good(client.get(f"/v1/users/{user['id']}/sessions"))["total"]


class Case:
    """A route, a body, another body, and how many resources there are."""

    def __init__(self, client, path, body, other, count):
        self.client, self.path, self.body, self.other, self.count = client, path, body, other, count


def case_of(name, suite, project):
    if name == "users":
        return Case(project, "/v1/users", {"email": address(), "name": "A"}, {"email": address(), "name": "A"}, users)
    if name == "users with a password":
        email = address()
        return Case(project, "/v1/users", {"email": email, "password": PASSWORD}, {"email": email, "password": PASSWORD + "x"}, users)
    if name == "keys":
        return Case(project, "/v1/keys", {"scopes": ["users:read"]}, {"scopes": ["users:*"]}, keys)
    if name == "projects":
        return Case(suite.client(), "/v1/projects", {"name": unique()}, {"name": unique()}, projects)
    user = new_user(project, password=PASSWORD)
    return Case(project, "/v1/sessions", {"login_id": user["email"], "password": PASSWORD},
                {"login_id": user["email"], "password": PASSWORD, "user_agent": "other"}, sessions_of(user))


NAMES = ["users", "users with a password", "keys", "projects", "sessions"]


def send(case, key, body=None, client=None):
    return (client or case.client).post(case.path, body or case.body, headers={"Idempotency-Key": key})


def without_secret(document):
    """A key's secret is nowhere stored, so only the first reply can show it."""
    return {name: without_secret(value) if isinstance(value, dict) else value for name, value in document.items() if name != "secret"}


def essence(document):
    """What must be equal: all of a reply but secrets, and of tokens only what the session is (access tokens are signed anew)."""
    if "secret" in str(document) or "prefix" in str(document):
        return without_secret(document)
    if "access_token" not in document:
        return document
    return {"refresh_token": document["refresh_token"], "session": document["session"]["id"], "sub": payload(document["access_token"])["sub"]}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_again_is_answered_and_not_repeated(suite, project, name):
    case, key = case_of(name, suite, project), unique("key-")
    before = case.count(case.client)
    first = made(send(case, key))
    for _ in range(3):
        assert essence(made(send(case, key))) == essence(first)
    assert case.count(case.client) == before + 1


@pytest.mark.parametrize("name", NAMES)
def test_another_body_under_the_same_key_is_a_conflict(suite, project, name):
    case, key = case_of(name, suite, project), unique("key-")
    first = made(send(case, key))
    before = case.count(case.client)
    refused(send(case, key, case.other), 409, "conflict")
    assert case.count(case.client) == before
    assert essence(made(send(case, key))) == essence(first)


@pytest.mark.parametrize("name", NAMES)
def test_twenty_at_the_same_time_have_one_effect(suite, project, name):
    case, key = case_of(name, suite, project), unique("key-")
    before = case.count(case.client)

    def work(_):
        client = Client(suite.port, key=case.client.key)
        for _ in range(50):
            reply = send(case, key, client=client)
            if reply.status not in (503, 429):  # says itself: nothing happened, come back
                break
        client.close()
        return reply

    replies = at_once(20, work)
    assert {reply.status for reply in replies} == {201}, [reply for reply in replies if reply.status != 201][:3]
    assert len({json.dumps(essence(reply.json), sort_keys=True) for reply in replies}) == 1
    assert case.count(case.client) == before + 1
    if name in ("keys", "projects"):
        assert sum('"secret"' in json.dumps(reply.json) for reply in replies) == 1, "the secret is shown once"


def test_twenty_make_one_event(suite, fresh):
    case, key = case_of("users", suite, fresh), unique("key-")

    def work(_):
        client = Client(suite.port, key=fresh.key)
        status = send(case, key, client=client).status
        client.close()
        return status

    assert set(at_once(20, work)) <= {201, 503}
    suite.settle()
    assert [entry["event"]["type"] for entry in events(fresh)].count("user_created") == 1


def test_a_key_belongs_to_its_project(suite, project):
    second, key, body = suite.new_project("second"), unique("key-"), {"email": address()}
    first = made(project.post("/v1/users", body, headers={"Idempotency-Key": key}))
    other = made(second.post("/v1/users", {"email": address()}, headers={"Idempotency-Key": key}))
    assert first["id"] != other["id"] and total(second) == 1
    second.close()


def test_a_key_belongs_to_its_route(project):
    key = unique("key-")
    made(project.post("/v1/users", {"email": address()}, headers={"Idempotency-Key": key}))
    made(project.post("/v1/keys", {"scopes": ["*"]}, headers={"Idempotency-Key": key}))


def test_blanks_in_the_body_make_another_request_or_the_same_one_but_never_two_users(project):
    key, email = unique("key-"), address()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    before = total(project)
    assert project.call("POST", "/v1/users", raw=b'{"email":"%s"}' % email.encode(), headers=headers).status == 201
    assert project.call("POST", "/v1/users", raw=b'{ "email": "%s" }' % email.encode(), headers=headers).status in (201, 409)
    assert total(project) == before + 1


def test_a_refused_request_does_not_use_the_key_up(project):
    key = unique("key-")
    headers = {"Idempotency-Key": key}
    refused(project.post("/v1/users", {"email": "no address"}, headers=headers), 400, "invalid_argument", "email")
    made(project.post("/v1/users", {"email": address()}, headers=headers))


@pytest.mark.parametrize("key", ["x" * 256, "x" * 500, "", "with blank", "ü"])
def test_a_bad_key_is_refused(project, key):
    before = total(project)
    reply = project.post("/v1/users", {"email": address()}, headers={"Idempotency-Key": key.encode()})
    refused(reply, 400, "invalid_argument", "Idempotency-Key")
    assert total(project) == before


def test_a_key_may_have_255_characters(project):
    key = (unique("key-") + "x" * 255)[:255]
    body = {"email": address()}
    first = made(project.post("/v1/users", body, headers={"Idempotency-Key": key}))
    assert made(project.post("/v1/users", body, headers={"Idempotency-Key": key})) == first


def test_a_session_that_was_used_is_not_given_again(suite, project):
    case, key = case_of("sessions", suite, project), unique("key-")
    tokens = made(send(case, key))
    good(refresh(project, tokens["refresh_token"]))
    refused(send(case, key), 409, "conflict")
    assert case.count(project) == 1


def test_a_wrong_password_under_the_same_key_gets_nothing(suite, project):
    case, key = case_of("sessions", suite, project), unique("key-")
    made(send(case, key))
    reply = send(case, key, {**case.body, "password": "wrong password"})
    assert reply.status in (401, 409) and "access_token" not in reply.json


@pytest.mark.parametrize("method, path, body", [("PATCH", "/v1/users/{id}", {"name": "B"}), ("PUT", "/v1/users/{id}/claims", {"claims": {"a": 1}}),
                                                ("DELETE", "/v1/users/{id}", None)])
def test_other_writes_take_a_key_too(project, method, path, body):
    user = new_user(project)
    headers = {"Idempotency-Key": unique("key-")}
    first = project.call(method, path.format(**user), body, headers=headers)
    again = project.call(method, path.format(**user), body, headers=headers)
    assert first.status in (200, 204) and (again.status, again.body) == (first.status, first.body)
