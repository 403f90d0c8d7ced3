"""Custom claims: bounds, merge, versions, and the token that carries them."""
import base64
import json

import pytest
from helpers import (PASSWORD, events, good, head, is_active, made, new_session, new_user, payload, refresh, refused, sign_in,
                     stranger_to)


def path_of(user):
    return f"/v1/users/{user['id']}/claims"


def of_size(size):
    """Claims whose compact JSON has exactly this many bytes."""
    frame = len(json.dumps({"a": "", "b": "ü"}, separators=(",", ":"), ensure_ascii=False).encode())
    claims = {"a": "x" * (size - frame), "b": "ü"}
    assert len(json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()) == size
    return claims


def test_a_user_begins_without_claims(project):
    user = new_user(project)
    claims = good(project.get(path_of(user)))
    assert claims["claims"] == {} and claims["version"] == 0 and claims["user_id"] == user["id"]


def test_claims_are_put_and_read(suite, project):
    user = new_user(project)
    suite.settle()  # events of two services come in the order of their arrival
    wanted = {"plan": "gold", "limits": {"seats": 3, "ratio": 1.5}, "flags": [True, None, "x"], "Ünïcode": "値", "zero": 0}
    reply = project.put(path_of(user), {"claims": wanted})
    assert good(reply)["claims"] == wanted and reply.headers["etag"] == '"1"'
    read = project.get(path_of(user))
    assert good(read) == reply.json and read.headers["etag"] == '"1"'
    assert project.get(path_of(user), headers={"If-None-Match": '"1"'}).status == 304
    suite.settle()
    last = events(project)[-1]["event"]
    assert last["type"] == "claims_changed" and last["user_id"] == user["id"] and last["version"] == 1
    assert good(project.put(path_of(user), {"claims": {"only": 1}}))["claims"] == {"only": 1}


MERGES = [
    ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
    ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
    ({"a": {"x": 1, "y": 2}}, {"a": {"y": None, "z": 3}}, {"a": {"x": 1, "z": 3}}),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ({"a": 1}, {"a": {"b": {"c": None, "d": 1}}}, {"a": {"b": {"d": 1}}}),
    ({"a": 1}, {"a": None, "gone": None}, {}),
    ({"a": 1}, {}, {"a": 1}),
]


@pytest.mark.parametrize("before, patch, after", MERGES, ids=range(len(MERGES)))
def test_a_patch_merges_by_rfc_7396(project, before, patch, after):
    user = new_user(project)
    good(project.put(path_of(user), {"claims": before}))
    assert good(project.patch(path_of(user), {"claims": patch}))["claims"] == after
    assert good(project.get(path_of(user)))["claims"] == after


SAME = [
    ("PUT", {}, {}), ("PUT", {"a": {"x": 1, "y": [1, None]}, "b": "x"}, {"b": "x", "a": {"y": [1, None], "x": 1}}),
    ("PATCH", {"a": 1}, {}), ("PATCH", {"a": {"x": 1}}, {"a": {"x": 1, "gone": None}, "b": None}),
]


@pytest.mark.parametrize("verb, before, body", SAME, ids=range(len(SAME)))
def test_a_write_that_changes_nothing_is_no_event(suite, project, verb, before, body):
    user = new_user(project)
    held = good(project.put(path_of(user), {"claims": before}))
    suite.settle()
    seen = head(project)
    reply = project.call(verb, path_of(user), {"claims": body}, headers={"If-Match": f'"{held["version"]}"'})
    assert good(reply) == held and reply.headers["etag"] == f'"{held["version"]}"'
    refused(project.call(verb, path_of(user), {"claims": body}, headers={"If-Match": '"7"'}), 412, "precondition_failed")
    suite.settle()
    assert head(project) == seen and good(project.get(path_of(user))) == held


def test_a_keyed_write_that_changed_nothing_is_not_done_later(project):
    user = new_user(project)
    good(project.put(path_of(user), {"claims": {"plan": "a"}}))
    keyed = {"Idempotency-Key": f"same-{user['id']}"}
    first = good(project.put(path_of(user), {"claims": {"plan": "a"}}, headers=keyed))
    changed = good(project.put(path_of(user), {"claims": {"plan": "b"}}))
    assert good(project.put(path_of(user), {"claims": {"plan": "a"}}, headers=keyed)) == first
    assert good(project.get(path_of(user))) == changed


def test_the_next_token_carries_the_claims(project):
    user, tokens = new_session(project)
    assert "plan" not in payload(tokens["access_token"])
    claims = {"plan": "gold", "limits": {"seats": 3}, "tags": ["a", "b"]}
    good(project.put(path_of(user), {"claims": claims}))
    tokens = good(refresh(project, tokens["refresh_token"]))
    token = payload(tokens["access_token"])
    assert {name: token[name] for name in claims} == claims
    assert token["sub"] == user["id"] and token["email"] == user["email"]
    good(project.patch(path_of(user), {"claims": {"plan": None, "tags": ["c"]}}))
    token = payload(good(refresh(project, tokens["refresh_token"]))["access_token"])
    assert "plan" not in token and token["tags"] == ["c"] and token["limits"] == {"seats": 3}
    assert payload(made(sign_in(project, user["email"]))["access_token"])["tags"] == ["c"]


def test_numbers_of_claims_stay_as_they_were_written(suite, project):
    """In the answer, the record, the token, its introspection and the event: no digit is added, dropped or rounded."""
    user, tokens = new_session(project)
    written = b'{"a":1e3,"b":-0,"c":1e-400,"d":1.10,"e":[0.1000000000000000055511151231257827,1E+2]}'
    path, headers = path_of(user), {"Content-Type": "application/json"}
    assert written in project.call("PUT", path, raw=b'{"claims":' + written + b"}", headers=headers).body
    assert written in project.get(path).body
    more = project.call("PATCH", path, raw=b'{"claims":{"f":2e0}}', headers=headers)
    assert written[:-1] + b',"f":2e0}' in more.body
    token = good(refresh(project, tokens["refresh_token"]))["access_token"]
    part = token.split(".")[1]
    assert written[1:-1] in base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    assert written[1:-1] in project.post("/v1/tokens/introspect", {"token": token}).body
    suite.settle()
    assert b'"after":[0.1000000000000000055511151231257827,1E+2]' in project.get("/v1/events?limit=1000").body


@pytest.mark.parametrize("number", [b"1e400", b"9223372036854775808", b"0." + b"1" * 127])
def test_a_number_that_cannot_be_kept_is_refused(project, number):
    path = path_of(new_user(project))
    raw = b'{"claims":{"n":' + number + b"}}"
    reply = project.call("PUT", path, raw=raw, headers={"Content-Type": "application/json"})
    refused(reply, 400, "invalid_argument", "claims.n")


def test_4096_bytes_fit_into_claims_and_token(project):
    user, tokens = new_session(project)
    claims = of_size(4096)
    assert good(project.put(path_of(user), {"claims": claims}))["claims"] == claims
    token = good(refresh(project, tokens["refresh_token"]))["access_token"]
    assert payload(token)["a"] == claims["a"] and len(token) < 8192
    shown = good(project.post("/v1/tokens/introspect", {"token": token}))
    assert shown["active"] and shown["claims"]["a"] == claims["a"]


def test_4097_bytes_are_refused_and_the_old_claims_stay(suite, project):
    user = new_user(project)
    kept = good(project.put(path_of(user), {"claims": of_size(4000)}))
    suite.settle()
    before = head(project)
    for method, claims in (("PUT", of_size(4097)), ("PATCH", {"c": "x" * 100}), ("PUT", of_size(60000))):
        refused(project.call(method, path_of(user), {"claims": claims}), 413, "claims_too_large", "claims")
    assert good(project.get(path_of(user))) == kept
    suite.settle()
    assert head(project) == before


def test_blanks_do_not_count(project):
    user = new_user(project)
    text = json.dumps({"claims": of_size(4096)}, indent=2, ensure_ascii=False).encode()
    assert len(text) > 4100
    reply = project.call("PUT", path_of(user), raw=text, headers={"Content-Type": "application/json"})
    assert good(reply)["version"] == 1


RESERVED = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "tv", "typ", "azp", "scope", "client_id", "email", "email_verified",
            "name", "act", "cnf", "auth_time", "acr", "amr", "nonce", "__proto__"]


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_reserved_name_is_refused(project, name, method):
    user = new_user(project)
    body = json.dumps({"claims": {"fine": 1, name: "x"}})
    refused(project.call(method, path_of(user), json.loads(body)), 400, "invalid_argument", "claims." + name)
    assert good(project.get(path_of(user)))["version"] == 0


def test_a_reserved_name_inside_is_an_ordinary_name(project):
    user = new_user(project)
    claims = {"deep": {"sub": "x", "iss": 1}}
    assert good(project.put(path_of(user), {"claims": claims}))["claims"] == claims


@pytest.mark.parametrize("body, field", [
    ({"claims": []}, "claims"), ({"claims": "x"}, "claims"), ({"claims": 1}, "claims"), ({"claims": None}, "claims"),
    ({"claims": {"": 1}}, "claims"), ({"claims": {"a": {"": 1}}}, "claims"), ({"other": {}}, "other"), ({"version": 1}, "version")])
def test_what_is_no_claims_object_is_refused(project, body, field):
    user = new_user(project)
    for method in ("PUT", "PATCH"):
        refused(project.call(method, path_of(user), body), 400, "invalid_argument", field)


def test_if_match_guards_claims(project):
    user = new_user(project)
    path = path_of(user)
    good(project.put(path, {"claims": {"a": 1}}, headers={"If-Match": '"0"'}))
    for method in ("PUT", "PATCH"):
        refused(project.call(method, path, {"claims": {"a": 2}}, headers={"If-Match": '"0"'}), 412, "precondition_failed")
    assert good(project.patch(path, {"claims": {"b": 2}}, headers={"If-Match": '"1"'}))["claims"] == {"a": 1, "b": 2}


def test_nobody_has_no_claims(project):
    nobody = {"id": stranger_to(new_user(project)["id"])}
    for method, body in (("GET", None), ("PUT", {"claims": {}}), ("PATCH", {"claims": {}})):
        refused(project.call(method, path_of(nobody), body), 404, "not_found")


def test_a_deleted_user_takes_the_claims_along(suite, project):
    user = new_user(project, password=PASSWORD)
    good(project.put(path_of(user), {"claims": {"secret_plan": 1}}))
    good(project.delete("/v1/users/" + user["id"]), 204)
    refused(project.get(path_of(user)), 404, "not_found")
    refused(project.put(path_of(user), {"claims": {}}), 404, "not_found")
    again = new_user(project, email=user["email"], password=PASSWORD)
    assert "secret_plan" not in payload(made(sign_in(project, again["email"]))["access_token"])


def test_a_name_with_a_quote_stays_itself(project):
    user, tokens = new_session(project)
    claims = {'a"b\\c': "d\"e\\f\u2028\n", "emoji": "🦊"}
    good(project.put(path_of(user), {"claims": claims}))
    token = good(refresh(project, tokens["refresh_token"]))["access_token"]
    assert {name: payload(token)[name] for name in claims} == claims
    assert is_active(project, token)
