"""Bad input: the right 4xx with a problem document that names the field, and nothing changed."""
import gzip
import json
import re

import pytest
from denizen import OPENAPI, Client
from helpers import good, head, is_active, new_session, refresh, refused, total

JSON = "application/json"


@pytest.fixture(autouse=True)
def nothing_changed(suite, request):
    """The numbers of users and keys and the newest event are the same after each test of this file."""
    client = request.getfixturevalue("victim")
    suite.settle()
    before = total(client), head(client), good(client.get("/v1/keys"))["total"]
    yield
    suite.settle()
    assert (total(client), head(client), good(client.get("/v1/keys"))["total"]) == before


@pytest.fixture(scope="module")
def victim(suite):
    client = suite.new_project("victim")
    client.user, client.tokens = new_session(client)
    yield client
    client.close()


def post(client, path, raw, content_type=JSON, method="POST", **headers):
    return client.call(method, path, raw=raw, headers={"Content-Type": content_type, **headers})


NOT_JSON = [b"{", b"}", b"{]", b'{"email"}', b'{"email":}', b'{"email":"a@example.com"', b'{"email":"a@example.com",}', b"{'email':1}", b'{email:1}',
            b'{"email":"a@example.com"}x', b'{"email":"a@example.com"}{}', b"\xef\xbb\xbf{}", b'{"email":"a\nb"}', b'{"email":"\\x41"}', b'{"email":"\\ud800"}',
            b'{"email":"\\u12"}', b'{"email":01}', b'{"email":NaN}', b'{"email":1e999}', b'{"email":tru}', b"// comment\n{}", b'"text"', b"[]", b"null", b"true", b"7",
            b"\0", b"{}\0", b'{"email":"a@example.com"}\0', b"email=a@example.com", b"\xff\xfe{\0}\0"]


@pytest.mark.parametrize("raw", NOT_JSON, ids=range(len(NOT_JSON)))
@pytest.mark.parametrize("path", ["/v1/users", "/v1/sessions", "/v1/keys", "/v1/users/lookup", "/v1/tokens/introspect"])
def test_what_is_no_json_object_is_refused(victim, path, raw):
    problem = refused(post(victim, path, raw), 400, "invalid_argument")
    assert problem["detail"], problem


NOT_UTF8 = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82", b"\\u0000", b"\0"]


@pytest.mark.parametrize("text", NOT_UTF8, ids=[repr(text) for text in NOT_UTF8])
@pytest.mark.parametrize("path, member, frame", [
    ("/v1/users", "name", b'{"email":"a@example.com","name":"%s"}'), ("/v1/users", "login_ids[0]", b'{"login_ids":["%s"]}'),
    ("/v1/users", "attributes", b'{"email":"a@example.com","attributes":{"x":"%s"}}'), ("/v1/users", "attributes", b'{"email":"a@example.com","attributes":{"%s":1}}'),
    ("/v1/sessions", "password", b'{"login_id":"a","password":"%s"}'), ("/v1/users/lookup", "emails[0]", b'{"emails":["%s"]}'),
    ("/v1/keys", "name", b'{"scopes":["*"],"name":"%s"}'), ("/v1/tokens/introspect", "token", b'{"token":"%s"}')])
def test_nul_and_invalid_utf8_are_refused(victim, path, member, frame, text):
    problem = refused(post(victim, path, frame % text), 400, "invalid_argument")
    if text == b"\\u0000":  # the others break the document itself
        assert problem.get("field", "").startswith(member), problem


WRONG_TYPES = [
    ("/v1/users", "email", [1, True, [], {}, None, 1.5]), ("/v1/users", "email_verified", ["true", 1, [], {}, None]),
    ("/v1/users", "login_ids", ["x", {}, 1, None]), ("/v1/users", "status", [1, True, None, "ACTIVE", "USER_STATUS_ACTIVE", ""]),
    ("/v1/users", "attributes", ["x", [], 1, None, True]), ("/v1/users", "password", [1, [], None]),
    ("/v1/sessions", "login_id", [1, [], {}, None]), ("/v1/sessions", "password", [1, {}, None]),
    ("/v1/keys", "scopes", ["*", {}, 1, None]), ("/v1/keys", "kind", [1, None]), ("/v1/keys", "expires_at", [1, 1.5, None, "2030-13-01T00:00:00Z", "2030-01-01"]),
    ("/v1/users/lookup", "ids", ["x", 1, {}, None]), ("/v1/tokens/introspect", "token", [1, [], None]),
    ("/v1/sessions/refresh", "refresh_token", [1, [], {}, None])]


@pytest.mark.parametrize("path, member, values", WRONG_TYPES, ids=[f"{path} {member}" for path, member, _ in WRONG_TYPES])
def test_a_wrong_type_is_refused_and_named(victim, path, member, values):
    for value in values:
        body = {"scopes": ["*"]} if path == "/v1/keys" else {"email": "a@example.com"} if path == "/v1/users" else {}
        refused(victim.post(path, {**body, member: value}), 400, "invalid_argument", member)


@pytest.mark.parametrize("items, field", [([1], "login_ids[0]"), (["a", None], "login_ids[1]"), (["a", "b", {}], "login_ids[2]"), ([["a"]], "login_ids[0]")])
def test_a_wrong_item_is_named_by_its_place(victim, items, field):
    refused(victim.post("/v1/users", {"login_ids": items}), 400, "invalid_argument", field)


NUMBERS = [-1, 604801, 1.5, 2**31, 2**32, 2**63, 2**64, 10**30, "1", True, None]


@pytest.mark.parametrize("value", NUMBERS, ids=str)
def test_a_number_out_of_range_is_refused(victim, value):
    key = good(victim.get("/v1/keys"))["data"][0]["id"]
    refused(victim.post(f"/v1/keys/{key}/rotate", {"overlap_sec": value}), 400, "invalid_argument", "overlap_sec")


def writable():
    """Every operation with a JSON body: method, path template."""
    for path, operations in OPENAPI["paths"].items():
        for method, operation in operations.items():
            if JSON in operation.get("requestBody", {}).get("content", {}):
                yield method.upper(), path


WRITABLE = sorted(writable())


def filled(victim, path):
    key = good(victim.get("/v1/keys"))["data"][0]["id"]
    return path.format(user_id=victim.user["id"], session_id=victim.tokens["session"]["id"], key_id=key, code="editor", kid="sgk_x")


def test_writable_routes():
    """The tables below read the OpenAPI document: they must not become empty unseen."""
    assert len(WRITABLE) >= 11


def body_of(path, method):
    """What the OpenAPI document says of a body: whether there must be one, and its schema."""
    body = OPENAPI["paths"][path][method.lower()]["requestBody"]
    return body["required"], OPENAPI["components"]["schemas"][body["content"][JSON]["schema"]["$ref"].rsplit("/", 1)[1]]


@pytest.mark.parametrize("method, path", WRITABLE)
@pytest.mark.parametrize("raw", [None, b"", b"{}"], ids=["none", "empty", "{}"])
def test_a_required_member_that_is_missing_is_named(suite, victim, method, path, raw):
    """PUT /v1/attribute-schema without a body took the whole schema away."""
    client = suite.client() if path == "/v1/projects" else victim
    required, schema = body_of(path, method)
    assert required or not schema.get("required")
    if schema.get("required"):
        refused(post(client, filled(victim, path), raw, method=method), 400, "invalid_argument", schema["required"][0])
    elif required and raw != b"{}":
        problem = refused(post(client, filled(victim, path), raw, method=method), 400, "invalid_argument")
        assert "field" in problem or "body is missing" in problem["detail"].lower(), problem


@pytest.mark.parametrize("method, path", WRITABLE)
def test_null_is_refused_and_named_but_in_a_merge_patch(suite, victim, method, path):
    client = suite.client() if path == "/v1/projects" else victim
    _, schema = body_of(path, method)
    for member in schema["properties"]:
        if method != "PATCH" or path not in ("/v1/users/{user_id}", "/v1/roles/{code}"):
            refused(post(client, filled(victim, path), json.dumps({member: None}).encode(), method=method), 400, "invalid_argument", member)


@pytest.mark.parametrize("method, path", WRITABLE)
def test_an_unknown_member_is_refused_and_named(suite, victim, method, path):
    client = suite.client() if path == "/v1/projects" else victim
    for member in ("no_such_member", "__proto__", "userId", "Email", "null_fields", "if_match_version"):
        raw = json.dumps({member: "x"}).encode()
        problem = refused(post(client, filled(victim, path), raw, method=method), 400, "invalid_argument", member)
        assert problem["detail"]


@pytest.mark.parametrize("method, path", WRITABLE)
def test_a_duplicate_member_is_refused(suite, victim, method, path):
    schema = OPENAPI["paths"][path][method.lower()]["requestBody"]["content"][JSON]["schema"]
    members = OPENAPI["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["properties"]
    client = suite.client() if path == "/v1/projects" else victim
    name, kind = next(iter(members.items()))
    kinds = kind.get("type")  # a member of a merge patch has two: its own, and null
    value = {"array": "[]", "integer": "1", "object": "{}", "boolean": "true"}.get(kinds[0] if isinstance(kinds, list) else kinds, '"x"')
    if path == "/v1/keys":
        name, value = "name", '"x"'
    raw = f'{{"{name}":{value},"{name}":{value}}}'.encode()
    problem = refused(post(client, filled(victim, path), raw, method=method), 400, "invalid_argument")
    assert problem.get("field") == name or "duplicate" in problem["detail"].lower(), problem


def test_a_duplicate_member_deep_inside_is_refused(victim):
    raw = b'{"email":"a@example.com","attributes":{"a":{"b":[{"c":1,"c":2}]}}}'
    refused(post(victim, "/v1/users", raw), 400, "invalid_argument")
    raw = b'{"claims":{"a":1,"a":2}}'
    refused(post(victim, filled(victim, "/v1/users/{user_id}/claims"), raw, method="PUT"), 400, "invalid_argument")


@pytest.mark.parametrize("method, path", WRITABLE)
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
                                          "application/json; charset=latin1", "application/x-ndjson", "", "json"])
def test_another_content_type_is_refused(suite, victim, method, path, content_type):
    client = suite.client() if path == "/v1/projects" else victim
    reply = client.call(method, filled(victim, path), raw=b'{"name":"x"}', headers={"Content-Type": content_type})
    refused(reply, 415, "unsupported_media_type")


@pytest.mark.parametrize("path, content_type", [("/v1/users", JSON), ("/v1/users/import", "application/x-ndjson")])
def test_a_compressed_body_is_refused_as_such(victim, path, content_type):
    """Not as lines of broken JSON, of which an import would make one refusal each."""
    body = b'{"email":"no address"}'
    for coding in ("gzip", "br", "identity, gzip"):
        reply = post(victim, path, gzip.compress(body), content_type, **{"Content-Encoding": coding})
        refused(reply, 415, "unsupported_media_type")
        assert "Content-Encoding" in reply.json["detail"]
    assert post(victim, path, body, content_type, **{"Content-Encoding": "identity"}).status in (200, 400)


@pytest.mark.parametrize("content_type", ["application/json;charset=utf-8", "application/json; charset=UTF-8", "Application/JSON", 'application/json; charset="utf-8"'])
def test_spellings_of_json_are_accepted(victim, content_type):
    reply = post(victim, "/v1/users/lookup", b"{}", content_type)
    assert reply.status == 200, reply


@pytest.mark.parametrize("method, path", WRITABLE)
def test_an_oversized_body_is_refused(suite, victim, method, path):
    client = suite.client() if path == "/v1/projects" else victim
    refused(post(client, filled(victim, path), b'{"name":"' + b"x" * (1 << 20) + b'"}', method=method), 413, "content_too_large")


def test_a_body_of_the_largest_size_is_read(victim):
    raw = b'{"ids":["usr_x"]' + b" " * ((1 << 20) - 17) + b"}"
    assert len(raw) == 1 << 20
    assert post(victim, "/v1/users/lookup", raw).status == 200


@pytest.mark.parametrize("depth", [33, 100, 10000, 500000])
@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_too_deep_is_refused(victim, depth, opening, closing):
    nested = opening * depth + "1" + closing * depth
    for method, path, frame, field in (("POST", "/v1/users", '{"email":"a@example.com","attributes":{"a":%s}}', "attributes"),
                                       ("PUT", "/v1/users/{user_id}/claims", '{"claims":{"a":%s}}', "claims"), ("POST", "/v1/users", "%s", None)):
        raw = (frame % nested).encode()
        if len(raw) > 1 << 20:
            continue
        problem = refused(post(victim, filled(victim, path), raw, method=method), 400, "invalid_argument")
        assert field is None or problem.get("field", field).startswith(field), problem


def test_many_members_are_refused_quickly(victim):
    raw = json.dumps({f"k{i}": i for i in range(60000)}).encode()
    refused(post(victim, "/v1/users", raw), 400, "invalid_argument")
    raw = b'{"email":"a@example.com","attributes":' + raw + b"}"
    refused(post(victim, "/v1/users", raw), 400, "invalid_argument", "attributes")


def wrong_methods():
    for path, operations in OPENAPI["paths"].items():
        # /v1/users/lookup is also /v1/users/{user_id}: a method of the second is answered there.
        wider = next((other for other in OPENAPI["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[a-z]+", other), path) and other != path), path)
        for method in {"get", "post", "put", "patch", "delete"} - operations.keys() - OPENAPI["paths"][wider].keys():
            yield method.upper(), path


WRONG_METHODS = sorted(wrong_methods())


@pytest.mark.parametrize("method, path", WRONG_METHODS)
def test_a_wrong_method_names_the_right_ones(victim, method, path):
    target = path.format(user_id=victim.user["id"], session_id=victim.tokens["session"]["id"], key_id="key_x", project_id=victim.project_id, code="editor", kid="sgk_x")
    reply = victim.call(method, target, {} if method in ("POST", "PUT", "PATCH") else None)
    refused(reply, 405, "method_not_allowed")
    allowed = {each.strip() for each in reply.headers["allow"].split(",")}
    declared = {each.upper() for each in OPENAPI["paths"][path]}
    assert declared <= allowed and method not in allowed, (allowed, declared)


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/users", "/v1/users/{user_id}", "/v1/sessions", "/v1/tokens/introspect"])
def test_a_method_that_nothing_supports_names_the_right_ones(victim, method, path):
    reply = victim.call(method, path.format(user_id=victim.user["id"]))
    refused(reply, 405, "method_not_allowed")
    declared = {each.upper() for each in OPENAPI["paths"][path]}
    assert {each.strip() for each in reply.headers["allow"].split(",")} - {"HEAD"} == declared


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/user", "/v1/users/", "/v2/users", "/V1/users", "/v1/users/x/y", "/v1/users/x/claims/y", "/admin", "/index.html",
                                  "/v1/projects/x", "/.git/config", "/v1/users.json", "/bench/hello"])
def test_a_path_that_is_none_is_not_found(victim, path):
    reply = victim.get(path)
    assert reply.status in (400, 404), reply
    assert reply.json["code"] in ("not_found", "malformed_request")


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/users/{user_id}", "/v1/users/{user_id}/sessions", "/v1/signing-keys", "/v1/audit/verify", "/v1/users/export"])
def test_an_unknown_parameter_is_refused_and_named(victim, path):
    refused(victim.get(filled(victim, path) + "?no_such=1"), 400, "invalid_argument", "no_such")


@pytest.mark.parametrize("query, field", [("search=%ff", "search"), ("search=%00", None), ("search=%zz", None), ("search=a%", None), ("%ff=1", None), ("search=%ed%a0%80", "search")])
def test_a_badly_encoded_parameter_is_refused(victim, query, field):
    reply = victim.get("/v1/users?" + query)
    assert reply.status == 400, reply
    assert reply.json["code"] in ("invalid_argument", "malformed_request")
    assert field is None or reply.json.get("field") == field, reply


def test_a_get_with_a_body_and_a_post_with_a_query_are_refused(victim):
    assert victim.call("GET", "/v1/users", raw=b"{}", headers={"Content-Type": JSON}).status == 400
    refused(victim.post("/v1/users?admin=1", {"email": "a@example.com"}), 400, "invalid_argument", "admin")
    refused(victim.post("/v1/sessions?%61&b", {}), 400, "invalid_argument", "a")
    refused(victim.call("DELETE", "/v1/users/" + victim.user["id"], raw=b'{"a":1}', headers={"Content-Type": JSON}), 400, "invalid_argument")


def test_a_method_override_is_ignored(victim):
    path = "/v1/users/" + victim.user["id"]
    for header in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        assert victim.get(path, headers={header: "DELETE"}).status == 200
    assert good(victim.get(path))["id"] == victim.user["id"]


def test_every_problem_has_a_request_id_and_no_inner_words(victim):
    replies = [victim.post("/v1/users", {"email": 1}), victim.get("/v1/users/usr_x"), victim.get("/nothing"), victim.get("/v1/users?limit=x"),
               Client(victim.port).get("/v1/users"), post(victim, "/v1/users", b"{", JSON)]
    for reply in replies:
        assert reply.json["request_id"] == reply.headers["x-request-id"] and len(reply.headers["x-request-id"]) == 32
        text = reply.body.decode().lower()
        assert not [word for word in ("select", "postgres", "pg_", "sql", ".c:", "/work", "stack", "jansson", "zmq") if word in text], text


def test_what_was_there_still_works(victim):
    assert is_active(victim, victim.tokens["access_token"])
    victim.tokens = {**good(refresh(victim, victim.tokens["refresh_token"]))}
    assert good(victim.get("/v1/users/" + victim.user["id"])) == victim.user
