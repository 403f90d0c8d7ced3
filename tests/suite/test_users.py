"""Users: create, read, merge, delete; versions; unique values; status; look-up; the schema of attributes."""
import json

import pytest
from denizen import Client
from helpers import (PASSWORD, address, at_once, events, good, head, made, new_user, password, refused, sign_in, stranger_to,
                     total, unique, walk)

FULL = {
    "status": "invited", "email_verified": True, "phone": "+4930123456", "phone_verified": True, "name": "Zoë Ünal",
    "given_name": "Zoë", "family_name": "Ünal", "locale": "de-CH", "picture": "https://example.com/z.png",
    "attributes": {"plan": "gold", "seats": 3, "nested": {"deep": [1, 2.5, True]}},
}


def test_a_user_is_created_and_read_back(project):
    sent = {**FULL, "email": address(), "external_id": unique("ext"), "login_ids": [unique("login")], "password": password()}
    reply = project.post("/v1/users", sent)
    user = made(reply)
    assert reply.headers["location"] == "/v1/users/" + user["id"] and reply.headers["etag"] == '"1"'
    assert {name: user[name] for name in FULL} == FULL
    assert user["email"] == sent["email"] and user["external_id"] == sent["external_id"]
    assert sorted(user["login_ids"]) == sorted([sent["email"], *sent["login_ids"]])
    assert user["has_password"] is True and user["version"] == 1 and user["created_at"] == user["updated_at"]
    assert "password" not in user
    read = project.get("/v1/users/" + user["id"])
    assert good(read) == user and read.headers["etag"] == '"1"'


def test_a_user_is_active_unless_told(project):
    user = new_user(project)
    assert user["status"] == "active" and user["has_password"] is False and user["email_verified"] is False


@pytest.mark.parametrize("members", [{"phone": "+4930123456"}, {"external_id": "x1"}, {"login_ids": ["only a login"]}])
def test_one_way_to_name_a_user_is_enough(fresh, members):
    assert "email" not in new_user(fresh, **members)


BAD = [
    ({"name": "nobody"}, "email"),
    ({"email": ""}, "email"),
    ({"email": "no address"}, "email"),
    ({"email": "a@b@c"}, "email"),
    ({"email": "a" * 65 + "@example.com"}, "email"),
    ({"email": "a@" + "b" * 64 + ".com"}, "email"),
    ({"email": "a\u200bb@example.com"}, "email"),
    ({"email": "a@-example.com"}, "email"),
    ({"phone": "030 123456"}, "phone"),
    ({"phone": "+0301234567"}, "phone"),
    ({"phone": "+1234567890123456"}, "phone"),
    ({"name": ""}, "name"),
    ({"name": "x" * 401}, "name"),
    ({"given_name": "a\tb"}, "given_name"),
    ({"family_name": "x" * 401}, "family_name"),
    ({"picture": "javascript:alert(1)"}, "picture"),
    ({"picture": "https://example.com/" + "x" * 2048}, "picture"),
    ({"external_id": ""}, "external_id"),
    ({"external_id": "x" * 256}, "external_id"),
    ({"login_ids": ["fine", ""]}, "login_ids[1]"),
    ({"login_ids": [" space"]}, "login_ids[0]"),
    ({"login_ids": ["x" * 321]}, "login_ids[0]"),
    ({"login_ids": [f"l{i}" for i in range(21)]}, "login_ids"),
    ({"password": "short"}, "password"),
    ({"password": "x" * 1025}, "password"),
    ({"status": "dead"}, "status"),
    ({"phone_verified": True}, "phone_verified"),
    ({"attributes": {"x": "y" * 16384}}, "attributes"),
    ({"id": "usr_mine"}, "id"),
    ({"version": 7}, "version"),
    ({"created_at": "2001-01-01T00:00:00Z"}, "created_at"),
    ({"password_hash": "$argon2id$"}, "password_hash"),
    ({"project_id": "prj_x"}, "project_id"),
    ({"epoch": 1}, "epoch"),
    ({"has_password": True}, "has_password"),
    ({"user_id": "usr_mine"}, "user_id"),
    ({"if_match_version": 1}, "if_match_version"),
    ({"null_fields": ["email"]}, "null_fields"),
]


@pytest.mark.parametrize("members, field", BAD, ids=[f"{field}-{i}" for i, (_, field) in enumerate(BAD)])
def test_a_bad_member_is_refused_and_named(suite, project, members, field):
    suite.settle()
    before = total(project), head(project)
    body = members if members == {"name": "nobody"} or "email" in members else {"email": address(), **members}
    refused(project.post("/v1/users", body), 400, "invalid_argument", field)
    suite.settle()
    assert (total(project), head(project)) == before


@pytest.mark.parametrize("given, stored", [
    ("MiXed@Example.COM", "mixed@example.com"), ("u@bücher.example", "u@xn--bcher-kva.example"), ("a+tag@example.com", "a+tag@example.com")])
def test_an_address_has_one_form(fresh, given, stored):
    assert new_user(fresh, email=given)["email"] == stored
    refused(fresh.post("/v1/users", {"email": stored}), 409, "already_exists", "email")


def test_a_patch_merges(suite, project):
    user = new_user(project, **{**FULL, "email": address()})
    suite.settle()
    before = head(project)
    reply = project.patch("/v1/users/" + user["id"], {
        "name": "New", "phone": None, "picture": None, "attributes": {"plan": None, "nested": {"deep": 1}, "new": "x"}})
    now = good(reply)
    wanted = {name: value for name, value in user.items() if name not in ("phone", "phone_verified", "picture")}
    wanted |= {"name": "New", "version": 2, "updated_at": now["updated_at"],
               "attributes": {"seats": 3, "nested": {"deep": 1}, "new": "x"}}
    assert now == wanted and now["updated_at"] > user["updated_at"] and reply.headers["etag"] == '"2"'
    assert good(project.get("/v1/users/" + user["id"])) == now
    suite.settle()
    entry, = events(project, before)
    assert entry["event"]["type"] == "user_updated" and entry["event"]["version"] == 2
    changes = {change["field"]: change for change in entry["event"]["changes"]}
    assert changes["name"] == {"field": "name", "before": FULL["name"], "after": "New"}
    assert changes["picture"]["before"] == FULL["picture"] and "after" not in changes["picture"]
    assert changes.keys() == {"name", "phone", "phone_verified", "picture", "attributes"}


def test_a_patch_that_changes_nothing_is_no_version(suite, project):
    user = new_user(project, name="Same")
    suite.settle()
    before = head(project)
    for body in ({}, {"name": "Same"}, {"phone": None}):
        assert good(project.patch("/v1/users/" + user["id"], body)) == user
    suite.settle()
    assert head(project) == before


@pytest.mark.parametrize("body, field", [({"status": None}, "status"), ({"email_verified": None}, "email_verified"),
                                         ({"email": None}, "email"), ({"password": "short"}, "password"),
                                         ({"attributes": []}, "attributes"), ({"nothing": 1}, "nothing")])
def test_a_bad_patch_is_refused_and_named(project, body, field):
    user = new_user(project)
    refused(project.patch("/v1/users/" + user["id"], body), 400, "invalid_argument", field)
    assert good(project.get("/v1/users/" + user["id"])) == user


def test_another_address_must_be_verified_again(project):
    user = new_user(project, email=address(), email_verified=True, phone="+4930123456", phone_verified=True)
    now = good(project.patch("/v1/users/" + user["id"], {"email": address(), "phone": "+4930123457"}))
    assert now["email_verified"] is False and now["phone_verified"] is False


# ---- versions


def test_if_match_guards_changes(project):
    user = new_user(project)
    path = "/v1/users/" + user["id"]
    assert good(project.patch(path, {"name": "B"}, headers={"If-Match": '"1"'}))["version"] == 2
    for method, body in (("PATCH", {"name": "C"}), ("DELETE", None)):
        refused(project.call(method, path, body, headers={"If-Match": '"1"'}), 412, "precondition_failed")
    assert good(project.get(path))["name"] == "B"
    assert good(project.patch(path, {"name": "D"}, headers={"If-Match": "*"}))["version"] == 3
    refused(project.patch(path, {"name": "E"}, headers={"If-Match": 'W/"3"'}), 412, "precondition_failed")
    for tag in ("3", '"x"', '"3', '"3", "4"', '""', '"99999999999999999999"'):
        reply = project.patch(path, {"name": "E"}, headers={"If-Match": tag})
        refused(reply, 400, "invalid_argument", "If-Match")
    good(project.delete(path, headers={"If-Match": '"3"'}), 204)
    refused(project.get(path), 404, "not_found")


def test_of_two_who_read_the_same_version_one_wins(suite, project):
    user = new_user(project)
    path = "/v1/users/" + user["id"]

    def change(i):
        client = Client(suite.port, key=project.key)
        reply = client.patch(path, {"name": f"name {i}"}, headers={"If-Match": '"1"'})
        client.close()
        return reply.status

    statuses = at_once(10, change)
    assert statuses.count(200) == 1 and set(statuses) == {200, 412}, statuses
    assert good(project.get(path))["version"] == 2


def test_changes_at_the_same_time_are_all_kept(suite, project):
    user = new_user(project)
    path = "/v1/users/" + user["id"]

    def change(i):
        client = Client(suite.port, key=project.key)
        while True:  # 503 aborted: three others were faster three times; it says itself that nothing happened
            reply = client.patch(path, {"attributes": {f"a{i}": i}})
            if reply.status != 503:
                break
        client.close()
        return reply.status

    assert at_once(8, change) == [200] * 8
    user = good(project.get(path))
    assert user["attributes"] == {f"a{i}": i for i in range(8)} and user["version"] == 9


def test_a_known_version_is_not_sent_again(project):
    user = new_user(project)
    path = "/v1/users/" + user["id"]
    for tags, status in {'"1"': 304, 'W/"1"': 304, "*": 304, '"7", "1"': 304, 'W/"7",W/"1" , "8"': 304, '"11"': 200, '"2", W/"7"': 200, "1": 200, "": 200}.items():
        assert project.get(path, headers={"If-None-Match": tags}).status == status, tags
    assert project.get(path, headers={"If-None-Match": '"1"'}).status == 304
    good(project.patch(path, {"name": "x"}))
    assert project.get(path, headers={"If-None-Match": '"1"'}).status == 200


def test_a_deleted_user_is_gone(suite, project):
    user = new_user(project)
    path = "/v1/users/" + user["id"]
    before = total(project)
    good(project.delete(path), 204)
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        refused(project.call(method, path, body), 404, "not_found")
    assert total(project) == before - 1
    again = new_user(project, email=user["email"])
    assert again["id"] != user["id"]


@pytest.mark.parametrize("identifier", ["usr_", "usr_x", "nonsense", "usr_" + "0" * 27, "prj_" + "0" * 26, "usr_" + "U" * 26])
def test_what_is_no_id_is_not_found(project, identifier):
    refused(project.get("/v1/users/" + identifier), 404, "not_found")


def test_an_id_of_nobody_is_not_found(project):
    refused(project.get("/v1/users/" + stranger_to(new_user(project)["id"])), 404, "not_found")


# ---- login ids, unique values


def test_a_user_signs_in_with_each_login_id(project):
    logins = [unique("Login"), unique("login"), "+49" + str(int(unique(""), 16))[:10]]
    user = new_user(project, email=address(), login_ids=logins, password=PASSWORD)
    for login in [user["email"].upper(), *logins, logins[0].upper()]:
        assert made(sign_in(project, login))["session"]["user_id"] == user["id"]
    fresh_login = unique("login")
    now = good(project.patch("/v1/users/" + user["id"], {"login_ids": [logins[1], fresh_login]}))
    assert sorted(now["login_ids"]) == sorted([user["email"], logins[1], fresh_login])
    for login in (user["email"], logins[1], fresh_login):
        made(sign_in(project, login))
    for login in (logins[0], logins[2]):
        refused(sign_in(project, login), 401, "invalid_credentials")
    assert new_user(project, login_ids=[logins[0]])["id"] != user["id"]


CONFLICTS = [
    (lambda user: {"email": user["email"]}, "email"),
    (lambda user: {"email": user["email"].upper()}, "email"),
    (lambda user: {"email": address(), "external_id": user["external_id"]}, "external_id"),
    (lambda user: {"email": address(), "login_ids": [user["login_ids"][-1]]}, "login_ids"),
    (lambda user: {"login_ids": [user["email"]]}, "login_ids"),
    (lambda user: {"login_ids": [user["login_ids"][-1].upper()]}, "login_ids"),
]


@pytest.mark.parametrize("body, field", CONFLICTS, ids=[f"{field}-{i}" for i, (_, field) in enumerate(CONFLICTS)])
def test_a_taken_value_is_named(project, body, field):
    user = new_user(project, email="a" + address(), external_id=unique("ext"), login_ids=[unique("z")])
    before = total(project)
    refused(project.post("/v1/users", body(user)), 409, "already_exists", field)
    assert total(project) == before
    victim = new_user(project)
    refused(project.patch("/v1/users/" + victim["id"], body(user)), 409, "already_exists", field)
    assert good(project.get("/v1/users/" + victim["id"])) == victim


def test_of_many_who_take_a_value_one_gets_it(suite, project):
    email = address()
    before = total(project)

    def create(_):
        client = Client(suite.port, key=project.key)
        reply = client.post("/v1/users", {"email": email})
        client.close()
        return reply.status

    statuses = at_once(12, create)
    assert statuses.count(201) == 1 and set(statuses) == {201, 409}, statuses
    assert total(project) == before + 1


# ---- status


def test_status_moves_and_is_counted(suite, fresh):
    user = new_user(fresh, status="invited")
    new_user(fresh)
    steps = [("active", "user_updated"), ("disabled", "user_disabled"), ("active", "user_enabled"),
             ("invited", "user_sessions_revoked"), ("disabled", "user_disabled"), ("invited", "user_enabled")]
    for status, name in steps:
        suite.settle()
        before = head(fresh)
        assert good(fresh.patch("/v1/users/" + user["id"], {"status": status}))["status"] == status
        suite.settle()
        assert [entry["event"]["type"] for entry in events(fresh, before)] == [name]
        counts = {other: total(fresh, "&status=" + other) for other in ("invited", "active", "disabled")}
        wanted = {"invited": 0, "active": 1, "disabled": 0}
        wanted[status] += 1
        assert counts == wanted and total(fresh) == 2


def test_the_first_sign_in_of_an_invited_user_makes_it_active(project):
    user = new_user(project, status="invited", password=PASSWORD)
    made(sign_in(project, user["email"]))
    assert good(project.get("/v1/users/" + user["id"]))["status"] == "active"


# ---- look-up


def test_many_users_are_looked_up_at_once(project):
    users = [new_user(project, email=address(), external_id=unique("ext"), login_ids=[unique("l")]) for _ in range(4)]
    nobody = stranger_to(users[0]["id"])
    found = good(project.post("/v1/users/lookup", {
        "ids": [users[2]["id"], nobody, "usr_x"], "emails": [users[1]["email"].upper(), "nobody@example.com", users[2]["email"]],
        "external_ids": [users[0]["external_id"], "nothing"]}))
    assert found["data"] == [users[2], users[1], users[0]]
    assert found["not_found"] == [nobody, "usr_x", "nobody@example.com", "nothing"]


def test_login_ids_of_any_form_are_looked_up_first(project):
    first, second = (new_user(project, email=address(), login_ids=[unique("login")]) for _ in range(2))
    login = next(each for each in first["login_ids"] if each != first["email"])
    found = good(project.post("/v1/users/lookup", {"ids": [second["id"]], "login_ids": [f" {login.upper()} ", second["email"], "nobody", first["id"]]}))
    assert found == {"data": [first, second], "not_found": ["nobody", first["id"]]}


def test_a_look_up_is_bounded(project):
    refused(project.post("/v1/users/lookup", {"ids": ["usr_x"] * 250, "emails": ["a@b.c"] * 251}), 400, "invalid_argument")
    assert len(good(project.post("/v1/users/lookup", {"external_ids": [f"n{i}" for i in range(500)]}))["not_found"]) == 500
    assert good(project.post("/v1/users/lookup", {})) == {"data": [], "not_found": []}


# ---- attributes

SCHEMA = [{"name": "plan", "type": "string", "required": True}, {"name": "seats", "type": "number", "required": False},
          {"name": "beta", "type": "boolean", "required": False}, {"name": "tags", "type": "strings", "required": False}]


@pytest.fixture(scope="module")
def schema(suite):
    client = suite.new_project("with a schema")
    assert good(client.get("/v1/attribute-schema")) == {"attributes": [], "version": 0}
    assert good(client.put("/v1/attribute-schema", {"attributes": SCHEMA})) == {"attributes": SCHEMA, "version": 1}
    assert good(client.get("/v1/attribute-schema"))["attributes"] == SCHEMA
    yield client
    client.close()


@pytest.mark.parametrize("attributes, field", [
    ({"plan": 1}, "attributes.plan"), ({"seats": 1}, "attributes.plan"), (None, "attributes.plan"),
    ({"plan": "x", "seats": "1"}, "attributes.seats"), ({"plan": "x", "beta": 1}, "attributes.beta"),
    ({"plan": "x", "tags": ["a", 1]}, "attributes.tags"), ({"plan": "x", "other": 1}, "attributes.other")])
def test_attributes_follow_the_schema(schema, attributes, field):
    body = {"email": address()} if attributes is None else {"email": address(), "attributes": attributes}
    refused(schema.post("/v1/users", body), 400, "invalid_argument", field)


def test_attributes_of_the_schema_are_kept(schema):
    attributes = {"plan": "x", "seats": 2.5, "beta": False, "tags": ["a", "b"]}
    user = new_user(schema, attributes=attributes)
    assert user["attributes"] == attributes
    path = "/v1/users/" + user["id"]
    refused(schema.patch(path, {"attributes": {"plan": None}}), 400, "invalid_argument", "attributes.plan")
    now = good(schema.patch(path, {"attributes": {"seats": None, "tags": []}}))
    assert now["attributes"] == {"plan": "x", "beta": False, "tags": []}


BAD_SCHEMAS = [
    ([{"name": "Plan", "type": "string"}], "attributes[0].name"), ([{"type": "string"}], "attributes[0].name"),
    ([{"name": "plan"}], "attributes[0].type"), ([{"name": "plan", "type": "date"}], "attributes[0].type"),
    ([{"name": "a", "type": "string"}, {"name": "a", "type": "number"}], "attributes[1].name"),
    ([{"name": "a" * 64, "type": "string"}], "attributes[0].name"),
    ([{"name": f"a{i}", "type": "string"} for i in range(101)], "attributes"),
]


@pytest.mark.parametrize("attributes, field", BAD_SCHEMAS, ids=range(len(BAD_SCHEMAS)))
def test_a_bad_schema_is_refused(schema, attributes, field):
    before = good(schema.get("/v1/attribute-schema"))
    refused(schema.put("/v1/attribute-schema", {"attributes": attributes}), 400, "invalid_argument", field)
    assert good(schema.get("/v1/attribute-schema")) == before


def test_a_new_schema_holds_at_once_and_everywhere(fresh):
    """Both replicas of identity: ten users each must meet the schema that the last change set."""
    for round_number in range(3):
        name = f"a{round_number}"
        good(fresh.put("/v1/attribute-schema", {"attributes": [{"name": name, "type": "string", "required": True}]}))
        for _ in range(10):
            assert new_user(fresh, attributes={name: "x"})["attributes"] == {name: "x"}
            refused(fresh.post("/v1/users", {"email": address()}), 400, "invalid_argument", "attributes." + name)


def test_numbers_of_attributes_come_back_as_they_were_written(suite, fresh):
    """A number with a large exponent must not grow in the database: neither the user nor the event about it has room for 309 digits."""
    user = new_user(fresh, attributes={"a": [1e308] * 220, "n": 1e19, "small": 5e-324})
    path = "/v1/users/" + user["id"]
    assert good(fresh.get(path))["attributes"] == {"a": [1e308] * 220, "n": 1e19, "small": 5e-324}
    assert good(fresh.patch(path, {"attributes": {"more": True}}))["attributes"]["n"] == 1e19
    assert "attributes" not in {name for name, value in good(fresh.patch(path, {"attributes": None})).items() if value}
    suite.settle()
    assert [entry["event"]["type"] for entry in events(fresh) if entry["event"].get("user_id") == user["id"]] == [
        "user_created", "user_updated", "user_updated"]


def test_an_empty_list_in_a_patch_removes_as_null_does(fresh):
    for nothing in ([], None):
        user = new_user(fresh, email=address(), login_ids=[unique(), unique()])
        assert len(user["login_ids"]) == 3
        patched = good(fresh.patch("/v1/users/" + user["id"], {"login_ids": nothing}))
        assert patched["login_ids"] == [user["email"]] and patched["version"] == 2


def test_no_digit_of_an_attribute_changes(suite, fresh):
    """In the answer, the record, the list, the export, the import and the event."""
    written = b'{"a":1e3,"b":-0,"c":1e-400,"d":[1.10,{"e":1E+2}]}'
    body = b'{"email":"%s","attributes":' + written + b"}"
    made_reply = fresh.call("POST", "/v1/users", raw=body.replace(b"%s", address().encode()), headers={"Content-Type": "application/json"})
    assert made_reply.status == 201 and written in made_reply.body
    path = "/v1/users/" + made_reply.json["id"]
    assert written in fresh.get(path).body
    more = fresh.call("PATCH", path, raw=b'{"attributes":{"f":2e0}}', headers={"Content-Type": "application/json"})
    assert written[:-1] + b',"f":2e0}' in more.body
    line = fresh.call("POST", "/v1/users/import", raw=body.replace(b"%s", address().encode()), headers={"Content-Type": "application/x-ndjson"})
    assert line.json["status"] == "created"
    assert written in fresh.get("/v1/users/" + line.json["id"]).body
    for listed in ("/v1/users", "/v1/users/export"):
        assert written in fresh.get(listed).body
    suite.settle()
    assert b'"after":' + written in fresh.get("/v1/events?limit=100").body


def test_the_largest_change_has_room_in_the_ledger(suite, fresh):
    """Every field at its bound, in characters that JSON must escape, changed into another such value."""
    def largest(letter):
        return {"attributes": {letter: letter * 16350}, "login_ids": [f'{i:02}{letter}' + '"' * 300 for i in range(20)],
                "name": letter + '"' * 390, "given_name": letter + '"' * 390, "family_name": letter + '"' * 390,
                "picture": "https://example.com/" + letter * 2000, "external_id": letter + '"' * 250}

    user = new_user(fresh, **largest("a"))
    changed = good(fresh.patch("/v1/users/" + user["id"], {**largest("b"), "attributes": {"a": None, "b": "b" * 16350}}))
    assert changed["login_ids"] == sorted(largest("b")["login_ids"])
    suite.settle()
    entry = events(fresh)[-1]["event"]
    assert entry["type"] == "user_updated" and {"attributes", "login_ids", "picture"} <= {change["field"] for change in entry["changes"]}


def test_a_login_id_becomes_the_address(suite, fresh):
    first, second, third = (address() for _ in range(3))
    user = new_user(fresh, email=third, login_ids=[first, second])
    path = "/v1/users/" + user["id"]
    for email, logins in ((min(first, second), sorted([first, second])), (max(first, second), [max(first, second)])):
        changed = good(fresh.patch(path, {"email": email}))
        assert changed["email"] == email and changed["login_ids"] == logins
    suite.settle()
    changes = {change["field"]: change for change in events_of(fresh, user)[1]["changes"]}
    assert changes["login_ids"]["before"] == sorted([first, second])


def events_of(client, user):
    return [entry["event"] for entry in events(client) if entry["event"].get("user_id") == user["id"]]


def test_large_users_come_in_smaller_pages(suite, fresh):
    rows = [{"email": address(), "attributes": {"text": "x" * 16000}} for _ in range(300)]
    body = b"\n".join(json.dumps(row).encode() for row in rows)
    reply = fresh.call("POST", "/v1/users/import", raw=body, headers={"Content-Type": "application/x-ndjson"})
    assert reply.status == 200 and reply.body.count(b'"created"') == 300
    first = good(fresh.get("/v1/users?limit=1000"))
    assert 100 < len(first["data"]) < 300 and first["total"] == 300 and first["next"]
    users, totals = walk(fresh, "/v1/users", 1000)
    assert len({user["id"] for user in users}) == 300 and set(totals) == {300}
    refused(fresh.get("/v1/users?limit=1000&page=1"), 400, "invalid_argument", "limit")
    assert len(good(fresh.get("/v1/users?limit=100&page=3"))["data"]) == 100
    ids = [user["id"] for user in users]
    refused(fresh.post("/v1/users/lookup", {"ids": ids}), 400, "invalid_argument")
    assert len(good(fresh.post("/v1/users/lookup", {"ids": ids[:100]}))["data"]) == 100
    exported = fresh.get("/v1/users/export")
    assert exported.status == 200 and exported.body.count(b"\n") == 300
