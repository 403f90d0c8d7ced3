"""Roles as data, and the roles of users: over HTTP, as an administrator uses them."""
from denizen import Client
from helpers import at_once, events, good, head, made, new_user, refused, unique, walk


def new_role(client, **members):
    return made(client.post("/v1/roles", {"code": unique("role"), **members}))


def test_a_role_lives(fresh):
    role = new_role(fresh, code="editor", name="Editor", description="May write")
    assert {name: role[name] for name in ("code", "name", "description", "version")} == {
        "code": "editor", "name": "Editor", "description": "May write", "version": 1}
    read = fresh.get("/v1/roles/editor")
    assert good(read) == role and read.headers["etag"] == '"1"'
    refused(fresh.post("/v1/roles", {"code": "editor"}), 409, "already_exists", "code")
    changed = good(fresh.patch("/v1/roles/editor", {"description": None}, headers={"If-Match": '"1"'}))
    assert changed["version"] == 2 and "description" not in changed and changed["name"] == "Editor"
    refused(fresh.patch("/v1/roles/editor", {"name": "X"}, headers={"If-Match": '"1"'}), 412, "precondition_failed")
    good(fresh.delete("/v1/roles/editor"), 204)
    refused(fresh.get("/v1/roles/editor"), 404, "not_found")


def test_bad_roles_are_refused_with_the_field(fresh):
    for members, field in (({}, "code"), ({"code": ""}, "code"), ({"code": "Editor"}, "code"), ({"code": "x" * 65}, "code"),
                           ({"code": "a b"}, "code"), ({"code": "ok", "name": "x" * 401}, "name"), ({"code": "ok", "name": 5}, "name")):
        refused(fresh.post("/v1/roles", members), 400, "invalid_argument", field)
    assert good(fresh.get("/v1/roles"))["total"] == 0


def test_roles_are_listed_by_code(fresh):
    codes = [new_role(fresh)["code"] for _ in range(7)]
    rows, totals = walk(fresh, "/v1/roles", limit=3)
    assert [role["code"] for role in rows] == sorted(codes) and totals == [7, 7, 7]
    cursor = good(fresh.get("/v1/roles?limit=1"))["next"]
    refused(fresh.get(f"/v1/users?after={cursor}"), 400, "invalid_argument", "after")


def test_a_user_has_roles(suite, fresh):
    user = new_user(fresh)
    for code in ("admin", "editor"):
        new_role(fresh, code=code)
    suite.settle()
    before = head(fresh)
    path = f"/v1/users/{user['id']}/roles"
    changed = good(fresh.put(path, {"roles": ["editor", "admin", "editor"]}))
    assert changed["roles"] == ["admin", "editor"] and changed["version"] == 2
    assert good(fresh.get("/v1/users/" + user["id"]))["roles"] == ["admin", "editor"]
    suite.settle()
    told = [entry["event"] for entry in events(fresh, before)]
    assert [(event["type"], event["changes"]) for event in told] == [
        ("user_roles_changed", [{"field": "roles", "after": ["admin", "editor"]}])]
    refused(fresh.put(path, {"roles": ["admin", "ghost"]}), 400, "invalid_argument", "roles")
    refused(fresh.put(path, {}), 400, "invalid_argument", "roles")
    refused(fresh.delete("/v1/roles/admin"), 409, "conflict", "code")
    assert good(fresh.put(f"/v1/users/login_id:{user['email']}/roles", {"roles": []}))["roles"] == []
    good(fresh.delete("/v1/roles/admin"), 204)


def test_other_projects_have_other_roles(project, fresh):
    new_role(fresh, code="admin")
    user, stranger = new_user(fresh), project
    refused(stranger.get("/v1/roles/admin"), 404, "not_found")
    refused(stranger.put(f"/v1/users/{user['id']}/roles", {"roles": []}), 404, "not_found")
    refused(stranger.put(f"/v1/users/{new_user(stranger)['id']}/roles", {"roles": ["admin"]}), 400, "invalid_argument", "roles")


def test_fifty_who_change_one_user_all_get_their_turn(fresh):
    user = new_user(fresh)
    replies = at_once(50, lambda i: Client(fresh.port, fresh.key).patch("/v1/users/" + user["id"], {"name": f"n{i}"}))
    assert [reply.status for reply in replies] == [200] * 50
    assert good(fresh.get("/v1/users/" + user["id"]))["version"] == 51


def test_a_keyed_request_that_changed_nothing_is_not_carried_out_later(fresh):
    user = new_user(fresh, name="A")
    path, key = "/v1/users/" + user["id"], {"Idempotency-Key": unique()}
    assert good(fresh.patch(path, {"name": "A"}, headers=key))["version"] == 1
    assert good(fresh.patch(path, {"name": "B"}))["version"] == 2
    assert good(fresh.patch(path, {"name": "A"}, headers=key))["version"] == 1
    assert good(fresh.get(path))["name"] == "B"
