"""Projects, keys, scopes, expiry, rotation, revocation, and that the key of one project never reaches another."""
import datetime
import time

import pytest
from denizen import OPENAPI, Client, eventually
from helpers import (PASSWORD, events, good, head, is_active, made, new_session, new_user, refresh, refused, sign_in,
                     stranger_to, total, unique, walk)


def new_key(client, **members):
    return made(client.post("/v1/keys", {"scopes": ["*"], **members}))


def with_key(suite, secret, **options):
    return Client(suite.port, key=secret, **options)


def in_seconds(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.isoformat().replace("+00:00", "Z")


# ---- projects


def test_a_project_is_created_with_a_key_that_works(suite, api):
    name = unique("Projekt Ü ")
    reply = api.post("/v1/projects", {"name": name})
    project = made(reply)
    assert project["name"] == name and project["id"].startswith("prj_")
    assert "location" not in reply.headers, "a project has no path of its own"
    key = project["management_key"]
    assert key["kind"] == "management" and key["secret"].startswith("dmk_") and key["scopes"] == ["*"]
    assert total(with_key(suite, key["secret"])) == 0
    rows, totals = walk(api, "/v1/projects", 200)
    assert {"id": project["id"], "name": name, "created_at": project["created_at"]} in rows
    assert totals[0] == len(rows) and "secret" not in str(rows)


def test_projects_are_listed_oldest_first_page_by_page(api):
    ids = [made(api.post("/v1/projects", {"name": "page"}))["id"] for _ in range(3)]
    rows, totals = walk(api, "/v1/projects", 2)
    assert [row["id"] for row in rows][-3:] == ids
    assert set(totals) == {len(rows)} and len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "a\nb"}])
def test_a_bad_project_name_is_refused(api, body):
    refused(api.post("/v1/projects", body), 400, "invalid_argument", "name")


def test_a_hundred_characters_are_a_name(api):
    assert made(api.post("/v1/projects", {"name": "ü" * 100}))["name"] == "ü" * 100


@pytest.mark.parametrize("method, body", [("POST", {"name": "mine"}), ("GET", None)])
def test_only_keys_of_the_first_project_administer_projects(project, method, body):
    refused(project.call(method, "/v1/projects", body), 403, "permission_denied")


# ---- keys


@pytest.mark.parametrize("kind, prefix", [("management", "dmk_"), ("api", "dak_"), ("client", "dcs_")])
def test_a_key_shows_its_secret_once(project, kind, prefix):
    key = new_key(project, kind=kind, name="once", scopes=["users:read"])
    assert key["kind"] == kind and key["secret"].startswith(prefix) and key["secret"].startswith(key["prefix"])
    assert len(key["prefix"]) < len(key["secret"]) / 2 and key["id"].startswith("key_")
    rows, totals = walk(project, "/v1/keys", 1)
    assert rows[0] == {name: value for name, value in key.items() if name != "secret"}
    assert set(totals) == {len(rows)}


def test_keys_are_listed_newest_first(project):
    ids = [new_key(project)["id"] for _ in range(3)]
    assert [row["id"] for row in walk(project, "/v1/keys", 2)[0]][:3] == ids[::-1]


def test_management_and_client_keys_may_do_everything_unless_narrowed(project):
    for kind in ("management", "client"):
        assert made(project.post("/v1/keys", {"kind": kind}))["scopes"] == ["*"]


BAD_KEYS = [
    ({"kind": "api"}, "scopes"),
    ({"kind": "root"}, "kind"),
    ({"scopes": ["users:fly"]}, "scopes[0]"),
    ({"scopes": ["users:read", "users*"]}, "scopes[1]"),
    ({"scopes": ["users:read"] * 51}, "scopes"),
    ({"scopes": ["*"], "name": "x" * 101}, "name"),
    ({"scopes": ["*"], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ({"scopes": ["*"], "expires_at": "tomorrow"}, "expires_at"),
    ({"scopes": ["*"], "secret": "dak_mine"}, "secret"),
    ({"scopes": ["*"], "id": "key_mine"}, "id"),
]


@pytest.mark.parametrize("body, field", BAD_KEYS)
def test_a_bad_key_is_refused(project, body, field):
    before = good(project.get("/v1/keys"))["total"]
    refused(project.post("/v1/keys", body), 400, "invalid_argument", field)
    assert good(project.get("/v1/keys"))["total"] == before


SCOPES = [
    (["users:read"], {"GET /v1/users": 200, "POST /v1/users": 403, "GET /v1/keys": 403, "GET /v1/events": 403}),
    (["users:*"], {"GET /v1/users": 200, "POST /v1/users": 201, "GET /v1/keys": 403, "GET /v1/audit/verify": 403}),
    (["events:read", "audit:read"], {"GET /v1/users": 403, "GET /v1/events": 200, "GET /v1/audit/verify": 200}),
    (["keys:read"], {"GET /v1/keys": 200, "GET /v1/signing-keys": 200, "POST /v1/signing-keys/rotate": 403, "DELETE /v1/signing-keys/x": 403}),
    (["*"], {"GET /v1/users": 200, "POST /v1/users": 201, "GET /v1/keys": 200, "GET /v1/events": 200}),
]


@pytest.mark.parametrize("scopes, answers", SCOPES, ids=[" ".join(scopes) for scopes, _ in SCOPES])
def test_a_key_does_what_its_scopes_say(suite, project, scopes, answers):
    caller = with_key(suite, new_key(project, scopes=scopes)["secret"])
    for line, status in answers.items():
        method, path = line.split()
        body = {"email": unique() + "@example.com"} if line == "POST /v1/users" else None
        reply = caller.call(method, path, body)
        assert reply.status == status, (line, reply)
        if status == 403:
            refused(reply, 403, "permission_denied")


@pytest.mark.parametrize("wanted", [{"scopes": ["*"]}, {"scopes": ["users:read"]}, {"kind": "management"}])
def test_a_key_cannot_make_a_mightier_one(suite, project, wanted):
    weak = with_key(suite, new_key(project, scopes=["keys:write", "keys:read"])["secret"])
    refused(weak.post("/v1/keys", {"scopes": [], **wanted}), 403, "permission_denied")
    assert new_key(weak, scopes=["keys:read"])["scopes"] == ["keys:read"]


def test_a_key_cannot_rotate_a_mightier_one(suite, project):
    weak = with_key(suite, new_key(project, scopes=["keys:write"])["secret"])
    strong = new_key(project, scopes=["*"])
    refused(weak.post(f"/v1/keys/{strong['id']}/rotate", {}), 403, "permission_denied")


def test_a_key_expires(suite, project):
    key = new_key(project, expires_at=in_seconds(1.2))
    caller = with_key(suite, key["secret"])
    assert caller.get("/v1/users").status == 200
    time.sleep(1.4)
    refused(caller.get("/v1/users"), 401, "unauthenticated")
    before = head(project)
    # It gave a secret that was refused from the beginning.
    refused(project.post(f"/v1/keys/{key['id']}/rotate", {}), 409, "conflict", "key_id")
    suite.settle()
    assert head(project) == before


def test_rotation_with_overlap_keeps_the_old_secret_for_the_overlap(suite, project):
    key = new_key(project)
    rotated = good(project.post(f"/v1/keys/{key['id']}/rotate", {"overlap_sec": 2}))
    assert rotated["id"] == key["id"] and rotated["secret"] != key["secret"]
    old, new = with_key(suite, key["secret"]), with_key(suite, rotated["secret"])
    started = time.monotonic()
    assert old.get("/v1/users").status == 200 and new.get("/v1/users").status == 200
    eventually(lambda: old.get("/v1/users").status == 401, 4)
    assert time.monotonic() - started > 1
    assert new.get("/v1/users").status == 200


def test_rotation_without_overlap_ends_the_old_secret_within_a_second(suite, project):
    key = new_key(project)
    old = with_key(suite, key["secret"])
    assert old.get("/v1/users").status == 200
    rotated = good(project.post(f"/v1/keys/{key['id']}/rotate", {"overlap_sec": 0}))
    eventually(lambda: old.get("/v1/users").status == 401, 1)
    assert with_key(suite, rotated["secret"]).get("/v1/users").status == 200
    refused(old.get("/v1/users"), 401, "unauthenticated")


def test_a_bad_overlap_is_refused(project):
    key = new_key(project)
    for overlap in (604801, -1, "1"):
        refused(project.post(f"/v1/keys/{key['id']}/rotate", {"overlap_sec": overlap}), 400, "invalid_argument", "overlap_sec")


def test_a_revoked_key_is_refused_within_a_second(suite, project):
    key = new_key(project)
    caller = with_key(suite, key["secret"])
    assert caller.get("/v1/users").status == 200
    good(project.delete("/v1/keys/" + key["id"]), 204)
    eventually(lambda: caller.get("/v1/users").status == 401, 1)
    refused(caller.get("/v1/users"), 401, "unauthenticated")
    refused(project.delete("/v1/keys/" + key["id"]), 404, "not_found")
    refused(project.post(f"/v1/keys/{key['id']}/rotate", {}), 404, "not_found")
    assert key["id"] not in [row["id"] for row in walk(project, "/v1/keys", 200)[0]]


def test_what_keys_do_is_in_the_feed(suite, project):
    suite.settle()
    before = head(project)
    key = new_key(project)
    good(project.post(f"/v1/keys/{key['id']}/rotate", {}))
    good(project.delete("/v1/keys/" + key["id"]), 204)
    suite.settle()
    seen = [(entry["event"]["type"], entry["event"]["subject"]) for entry in events(project, before)]
    assert seen == [(name, key["id"]) for name in ("key_created", "key_rotated", "key_revoked")]


# ---- credentials


def test_a_client_authenticates_with_basic(suite, project):
    key = new_key(project, kind="client", scopes=["users:read"])
    other = new_key(project, kind="client")
    caller = Client(suite.port, basic=(key["id"], key["secret"]))
    assert caller.get("/v1/users").status == 200
    refused(caller.post("/v1/users", {"email": "a@example.com"}), 403, "permission_denied")
    wrong = [(other["id"], key["secret"]), (key["id"], other["secret"]), (key["id"], ""), ("", key["secret"]),
             (stranger_to(key["id"]), key["secret"]), (key["id"], key["secret"] + "x")]
    for pair in wrong:
        refused(Client(suite.port, basic=pair).get("/v1/users"), 401, "unauthenticated")


def test_a_client_secret_is_no_bearer_token(suite, project):
    key = new_key(project, kind="client")
    refused(with_key(suite, key["secret"]).get("/v1/users"), 401, "unauthenticated")


def credentials_that_are_none(secret):
    return ["", "Bearer", "Bearer ", "Bearer x", secret, "Basic " + secret, "Bearer " + secret[:-1], "Bearer " + secret + "x",
            "Bearer " + secret + " x", "Bearer " + secret.upper(), "Bearer dmk_", "Bearer " + "a" * 9000, "Digest " + secret,
            "Bearer " + secret[:8] + ("0" if secret[8] != "0" else "1") + secret[9:], "Basic !!!!", "Basic Og=="]


def test_what_is_no_credential_is_refused(suite, project):
    secret = new_key(project)["secret"]
    caller = Client(suite.port)
    for header in credentials_that_are_none(secret):
        reply = caller.get("/v1/users", headers={"Authorization": header})
        refused(reply, 401, "unauthenticated")
        assert "www-authenticate" in reply.headers, header
    refused(caller.get("/v1/users"), 401, "unauthenticated")
    refused(caller.get("/v1/users?access_token=" + secret), 401, "unauthenticated")


# ---- two projects

# Bodies for operations that need one; the rest get {}.
BODIES = {
    "PATCH /v1/users/{user_id}": {"name": "taken over"},
    "PUT /v1/users/{user_id}/claims": {"claims": {"role": "admin"}},
    "PATCH /v1/users/{user_id}/claims": {"claims": {"role": "admin"}},
    "PUT /v1/users/{user_id}/roles": {"roles": []},
    "PATCH /v1/roles/{code}": {"name": "taken over"},
}
ROUTES = sorted((method.upper(), path) for path, operations in OPENAPI["paths"].items() for method in operations
                if "{" in path and method in ("get", "post", "put", "patch", "delete") and "jwks" not in path)


@pytest.fixture(scope="module")
def neighbours(suite):
    """Projects A and B; what B has."""
    a, b = suite.new_project("A"), suite.new_project("B")
    user, tokens = new_session(b)
    good(b.put(f"/v1/users/{user['id']}/claims", {"claims": {"plan": "gold"}}))
    key, code = new_key(b), unique("role")
    made(b.post("/v1/roles", {"code": code}))
    kid = good(b.get("/v1/signing-keys"))["data"][0]["kid"]
    return a, b, {"code": code, "kid": kid, "user_id": user["id"], "session_id": tokens["session"]["id"], "key_id": key["id"], "tokens": tokens,
                  "email": user["email"], "key": key}


def state_of(suite, b, has):
    """Everything of B that a stranger could have changed."""
    suite.settle()
    user = "/v1/users/" + has["user_id"]
    paths = [user, user + "/claims", user + "/sessions", "/v1/keys", "/v1/users", "/v1/attribute-schema", "/v1/roles", "/v1/signing-keys"]
    return [good(b.get(path)) for path in paths] + [head(b)]


def answer_of(reply):
    """Status and body without what differs from call to call."""
    document = {name: value for name, value in reply.json.items() if name != "request_id"} if reply.body else None
    return reply.status, document


@pytest.mark.parametrize("method, path", ROUTES)
def test_ids_of_another_project_are_ids_of_nothing(suite, neighbours, method, path):
    a, b, has = neighbours
    before = state_of(suite, b, has)
    head_of_a = head(a)
    body = BODIES.get(f"{method} {path}", {} if method in ("POST", "PUT", "PATCH") else None)
    theirs = path.format(**has)
    nobodys = path.format(**{name: stranger_to(has[name]) for name in ("user_id", "session_id", "key_id", "code", "kid")})
    answer = answer_of(a.call(method, theirs, body))
    assert answer == answer_of(a.call(method, nobodys, body))
    assert answer[0] == 404, answer
    assert state_of(suite, b, has) == before and head(a) == head_of_a


def test_routes_of_the_matrix():
    """The matrix reads the OpenAPI document: it must not become empty unseen."""
    assert len(ROUTES) >= 11 and {"{user_id}", "{session_id}", "{key_id}"} <= {
        part for _, path in ROUTES for part in path.split("/")}


def test_values_of_another_project_are_values_of_nothing(suite, neighbours):
    a, b, has = neighbours
    before = state_of(suite, b, has)
    found = good(a.post("/v1/users/lookup", {"ids": [has["user_id"]], "emails": [has["email"]]}))
    assert found["data"] == [] and found["not_found"] == [has["user_id"], has["email"]]
    assert good(a.get("/v1/users?search=" + has["email"]))["total"] == 0
    assert good(a.post("/v1/tokens/introspect", {"token": has["tokens"]["access_token"]})) == {"active": False}
    refused(refresh(a, has["tokens"]["refresh_token"]), 401, "invalid_token")
    refused(sign_in(a, has["email"], PASSWORD), 401, "invalid_credentials")
    refused(a.post("/v1/projects", {"name": "mine"}), 403, "permission_denied")
    assert not [entry for entry in events(a) if has["user_id"] in str(entry) or has["session_id"] in str(entry)]
    assert state_of(suite, b, has) == before
    assert is_active(b, has["tokens"]["access_token"])


def test_a_cursor_of_another_project_shows_only_ones_own(suite, neighbours):
    a, b, has = neighbours
    mine = [new_user(a)["id"] for _ in range(3)]
    new_user(b), new_user(b)
    cursor = good(b.get("/v1/users?limit=1&sort=created_at"))["next"]
    reply = a.get("/v1/users?sort=created_at&after=" + cursor)
    assert reply.status == 400 or {row["id"] for row in reply.json["data"]} <= set(mine), reply
    keys = good(b.get("/v1/keys?limit=1"))["next"]
    reply = a.get("/v1/keys?after=" + keys)
    assert reply.status == 400 or has["key_id"] not in str(reply.json), reply


def test_the_same_values_live_in_both_projects(neighbours):
    a, b, has = neighbours
    twin = new_user(a, email=has["email"])
    assert twin["id"] != has["user_id"]
    good(a.delete("/v1/users/" + twin["id"]), 204)
    assert good(b.get("/v1/users/" + has["user_id"]))["email"] == has["email"]
