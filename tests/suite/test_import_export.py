"""Import of plain and hashed passwords, bad rows, resuming, bounded memory; export and the place to follow from."""
import ctypes
import http.client
import json
import os
import secrets
import socket
import threading
import time

import pytest
from denizen import Client, eventually
from helpers import PASSWORD, address, events, good, head, made, new_user, refused, sign_in, total, unique, walk

NDJSON = "application/x-ndjson"


def argon2id(password, memory_kib=19456, passes=2, lanes=1):
    """A PHC string, by the reference library."""
    library = ctypes.CDLL("libargon2.so.1")
    text, salt = ctypes.create_string_buffer(200), secrets.token_bytes(16)
    raw = password.encode()
    result = library.argon2id_hash_encoded(passes, memory_kib, lanes, raw, ctypes.c_size_t(len(raw)), salt, ctypes.c_size_t(16),
                                           ctypes.c_size_t(32), text, ctypes.c_size_t(200))
    assert result == 0
    return text.value.decode()


def crypt(password, salt):
    """crypt(3) of the C library: bcrypt and SHA-crypt strings."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    text = library.crypt(password.encode(), salt.encode()).decode()
    assert text.startswith(salt[:4]) and len(text) > 40, text
    return text


HASHES = {
    "argon2id": lambda password: argon2id(password),
    "argon2id of other parameters": lambda password: argon2id(password, 8192, 1, 2),
    "bcrypt 2b": lambda password: crypt(password, "$2b$04$" + "N9qo8uLOickgx2ZMRZoMye"),
    "bcrypt 2y": lambda password: crypt(password, "$2y$04$" + "abcdefghijklmnopqrstuu"),
    "sha512-crypt": lambda password: crypt(password, "$6$" + secrets.token_hex(8)),
    "sha512-crypt with rounds": lambda password: crypt(password, "$6$rounds=1000$saltsalt"),
    "sha256-crypt": lambda password: crypt(password, "$5$" + secrets.token_hex(8)),
}


def lines_of(rows):
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def send(client, body, query="", **headers):
    return client.call("POST", "/v1/users/import" + query, raw=body, timeout=120, headers={"Content-Type": NDJSON, **headers})


def imported(client, rows, query=""):
    """The result lines of an import, one per row."""
    reply = send(client, rows if isinstance(rows, bytes) else lines_of(rows), query)
    assert reply.status == 200 and reply.headers["content-type"].startswith(NDJSON), reply
    return [json.loads(line) for line in reply.body.splitlines()]


def exported(client):
    reply = client.get("/v1/users/export", timeout=120)
    assert reply.status == 200, reply
    return [json.loads(line) for line in reply.body.splitlines()], int(reply.headers["denizen-sequence"])


# ---- import


def test_rows_become_users(suite, fresh):
    row = {"email": address(), "email_verified": True, "name": "Ada", "external_id": "e1", "login_ids": ["ada"], "phone": "+4930123456",
           "attributes": {"plan": "gold"}, "status": "invited", "created_at": "2020-02-03T04:05:06.007Z"}
    results = imported(fresh, [row, {"email": address()}])
    assert [(result["line"], result["status"]) for result in results] == [(1, "created"), (2, "created")]
    user = good(fresh.get("/v1/users/" + results[0]["id"]))
    shown = {**row, "login_ids": sorted(["ada", row["email"]])}
    assert {name: sorted(user[name]) if name == "login_ids" else user[name] for name in row} == shown
    assert user["created_at"] == row["created_at"] and user["version"] == 1
    assert total(fresh) == 2 and total(fresh, "&status=invited") == 1
    suite.settle()
    created = [entry["event"]["subject"] for entry in events(fresh) if entry["event"]["type"] == "user_created"]
    assert sorted(created) == sorted(result["id"] for result in results)


@pytest.mark.parametrize("scheme", HASHES)
def test_a_hashed_password_signs_in(fresh, scheme):
    email = address()
    result, = imported(fresh, [{"email": email, "password_hash": HASHES[scheme](PASSWORD)}])
    assert result["status"] == "created", result
    assert good(fresh.get("/v1/users/" + result["id"]))["has_password"] is True
    refused(sign_in(fresh, email, "wrong password"), 401, "invalid_credentials")
    for _ in range(2):  # the second meets the renewed hash
        made(sign_in(fresh, email))


def test_a_weaker_hash_is_renewed_at_sign_in(suite, fresh):
    email = address()
    imported(fresh, [{"email": email, "password_hash": HASHES["sha512-crypt"](PASSWORD)}])
    made(sign_in(fresh, email))
    eventually(lambda: suite.psql(f"SELECT password_hash LIKE '$argon2id$%' FROM identity.users WHERE email = '{email}'") == ["t"], 5)


def test_a_plain_password_is_hashed(suite, fresh):
    email = address()
    imported(fresh, [{"email": email, "password": PASSWORD}])
    made(sign_in(fresh, email))
    assert suite.psql(f"SELECT password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%' FROM identity.users WHERE email = '{email}'") == ["t"]


BAD_ROWS = [
    (b"{", None), (b"[]", None), (b"null", None), (b'"x"', None), (b'{"email": "a@example.com"} x', None),
    ({"email": "no address"}, "email"), ({"name": "nobody"}, "email"), ({"email": "ok@example.com", "other": 1}, "other"),
    ({"email": 7}, "email"), ({"email": "ok@example.com", "status": "dead"}, "status"), (b'{"email":"a@example.com","email":"b@example.com"}', "email"),
    ({"email": "ok@example.com", "name": "a\0b"}, "name"), (b'{"email":"ok@example.com","name":"\xff"}', None),
    ({"email": "ok@example.com", "password": "short"}, "password"), ({"email": "ok@example.com", "password_hash": "md5$x"}, "password_hash"),
    ({"email": "ok@example.com", "password_hash": "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"}, "password_hash"),
    ({"email": "ok@example.com", "password_hash": "$2b$31$" + "a" * 53}, "password_hash"),
    ({"email": "ok@example.com", "password": PASSWORD, "password_hash": "$6$x$y"}, None),
    ({"email": "ok@example.com", "created_at": "yesterday"}, "created_at"), ({"email": "ok@example.com", "login_ids": ["", "x"]}, "login_ids[0]"),
    (b'{"email":"' + b"x" * 70000 + b'"}', None), ({"email": "ok@example.com", "attributes": {"x": "y" * 16384}}, "attributes"),
]


def test_a_bad_row_is_named_by_line_and_field_and_the_others_are_imported(fresh):
    rows = []
    for i, (bad, _) in enumerate(BAD_ROWS):
        rows += [{"email": f"fine{i}@example.com"}, bad]
    results = imported(fresh, rows)
    assert [result["line"] for result in results] == list(range(1, 2 * len(BAD_ROWS) + 1))
    for i, (bad, field) in enumerate(BAD_ROWS):
        assert results[2 * i]["status"] == "created", results[2 * i]
        refusal = results[2 * i + 1]
        assert refusal["status"] == "error" and refusal["code"] == "invalid_argument" and refusal["detail"], (bad, refusal)
        assert field is None or refusal.get("field") == field, (bad, refusal)
        assert refusal.get("field") != "", "a refusal of the whole line names no field"
    assert total(fresh) == len(BAD_ROWS)


def test_many_large_bad_rows_leave_room_for_good_ones(fresh):
    """What is read of refused lines counts into a batch as well."""
    bad = {"email": "bad@example.com", "attributes": {"a": [1] * 9990}, "unknown": 1}
    results = imported(fresh, [bad] * 499 + [{"email": "good@example.com"}])
    assert {result.get("field") for result in results[:-1]} == {"unknown"} and results[-1]["status"] == "created"


def test_rows_that_contradict_are_named(fresh):
    """A row is there when one user has all its login ids and its external id; what only shares one with a user would be lost unseen."""
    taken = new_user(fresh, email=address(), external_id="taken", login_ids=["login"])
    other = new_user(fresh, email=address(), external_id="other")
    mixed = [({"email": address(), "external_id": "taken"}, "external_id"), ({"email": taken["email"], "external_id": "free"}, "email"),
             ({"email": other["email"], "external_id": "taken"}, "email"), ({"external_id": "new", "login_ids": ["login"]}, "login_ids")]
    results = imported(fresh, [row for row, _ in mixed])
    assert [(result["status"], result["code"], result["field"]) for result in results] == [("error", "already_exists", field) for _, field in mixed]
    assert [(taken["id"] in result["detail"]) for result in results] == [True, True, False, True] and other["id"] in results[2]["detail"]
    results = imported(fresh, [{"email": "new@example.com"}, {"email": "NEW@example.com"}, {"email": taken["email"]},
                               {"external_id": "taken", "login_ids": ["login"]}])
    assert [result["status"] for result in results] == ["created", "exists", "exists", "exists"]
    assert [result["id"] for result in results[2:]] == [taken["id"]] * 2
    assert total(fresh) == 3


def test_blank_lines_and_a_missing_last_newline_are_fine(fresh):
    body = b'\n{"email":"a@example.com"}\r\n   \n\n{"email":"b@example.com"}'
    assert [(result["line"], result["status"]) for result in imported(fresh, body)] == [(2, "created"), (5, "created")]
    assert imported(fresh, b"") == [] and imported(fresh, b"\n\n") == []


def test_a_byte_order_mark_belongs_to_no_line(fresh):
    """As editors of Windows write it. Only at the beginning of the file."""
    mark = b"\xef\xbb\xbf"
    results = imported(fresh, mark + b'{"email":"a@example.com"}\r\n' + mark + b'{"email":"b@example.com"}\r\n')
    assert [result["status"] for result in results] == ["created", "error"]
    assert imported(fresh, mark) == [] and imported(fresh, mark + b"\n") == []


def test_sending_again_finds_what_exists(suite, fresh):
    rows = [{"email": f"row{i}@example.com", "name": f"Row {i}"} for i in range(1200)]
    first = imported(fresh, rows)
    assert {result["status"] for result in first} == {"created"}
    suite.settle()
    before = head(fresh)
    again = imported(fresh, rows)
    assert [result["id"] for result in again] == [result["id"] for result in first]
    assert {result["status"] for result in again} == {"exists"}
    suite.settle()
    assert total(fresh) == 1200 and head(fresh) == before
    strict = imported(fresh, rows[:3], "?on_conflict=fail")
    assert {(result["status"], result["code"]) for result in strict} == {("error", "already_exists")} and all(result["detail"] for result in strict)


def test_an_interrupted_import_is_resumed_by_sending_it_again(suite, fresh):
    rows = [{"email": f"row{i}@example.com", "name": "x" * 100} for i in range(3000)]
    body = lines_of(rows)
    connection = http.client.HTTPConnection("127.0.0.1", suite.port, timeout=20)
    connection.putrequest("POST", "/v1/users/import")
    for name, value in {**fresh.headers(), "Content-Type": NDJSON, "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(body[:len(body) // 2])
    eventually(lambda: total(fresh) > 500)
    connection.close()
    results = imported(fresh, rows)
    assert {result["status"] for result in results} == {"created", "exists"}
    assert total(fresh) == 3000
    suite.settle()
    created = [entry["event"]["subject"] for entry in events(fresh) if entry["event"]["type"] == "user_created"]
    assert len(created) == len(set(created)) == 3000


@pytest.mark.parametrize("headers, status, code", [
    ({"Content-Type": "application/json"}, 415, "unsupported_media_type"), ({"Content-Type": "text/csv"}, 415, "unsupported_media_type"),
    ({"Content-Type": None}, 415, "unsupported_media_type")])
def test_the_content_type_is_checked(fresh, headers, status, code):
    refused(send(fresh, b'{"email":"a@example.com"}\n', **headers), status, code)
    assert total(fresh) == 0


def test_a_bad_parameter_is_refused(fresh):
    refused(send(fresh, b"", "?on_conflict=overwrite"), 400, "invalid_argument", "on_conflict")


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_twenty_thousand_rows_stream_in_bounded_memory(suite, fresh):
    """Import and export of 20,000 users; the gateway may grow by 64 MB at most meanwhile."""
    hashed = argon2id(PASSWORD)
    rows = [{"email": f"user{i}@example.com", "name": f"User {i}", "password_hash": hashed, "attributes": {"n": i}} for i in range(20000)]
    body = lines_of(rows)
    gateway = suite.pid("gateway.1")
    before, peak, done = resident_bytes(gateway), [0], threading.Event()

    def watch():
        while not done.is_set():
            peak[0] = max(peak[0], resident_bytes(gateway))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        results = imported(fresh, body)
        users, _ = exported(fresh)
    finally:
        done.set()
        watcher.join()
    assert len(results) == 20000 and {result["status"] for result in results} == {"created"}
    assert [result["line"] for result in results] == list(range(1, 20001))
    assert total(fresh) == 20000 and len({user["email"] for user in users}) == 20000
    assert peak[0] - before <= 64 * 1024 * 1024, f"grew by {(peak[0] - before) >> 20} MB"
    made(sign_in(fresh, "user19999@example.com"))


# ---- export


def test_an_export_is_everybody_oldest_first(fresh):
    users = [new_user(fresh, email=address(), name=f"User {i}", status=("active", "disabled")[i % 2]) for i in range(30)]
    rows, _ = exported(fresh)
    assert rows == users


def test_an_export_of_nobody_is_empty(fresh):
    assert exported(fresh)[0] == []


def test_following_from_the_named_sequence_misses_nothing(suite, fresh):
    """Users are made all the time; each is in the export or in the feed behind its sequence."""
    imported(fresh, [{"email": f"old{i}@example.com"} for i in range(1500)])
    stop, ids = threading.Event(), []

    def create():
        client = Client(suite.port, key=fresh.key)
        while not stop.is_set():
            ids.append(new_user(client)["id"])
        client.close()

    maker = threading.Thread(target=create)
    maker.start()
    try:
        eventually(lambda: len(ids) > 20)
        rows, sequence = exported(fresh)
        eventually(lambda: len(ids) > 60)
    finally:
        stop.set()
        maker.join()
    suite.settle()
    followed = {entry["event"]["subject"] for entry in events(fresh, sequence)}
    assert set(ids) <= {row["id"] for row in rows} | followed
    assert 0 < sequence < head(fresh)


def test_the_reader_of_an_export_may_be_busy_for_a_while(suite, fresh):
    """It takes nothing for 15 s, with more on its way than sockets hold: the export waits and is complete."""
    users = 1200
    imported(fresh, [{"external_id": f"busy-{i}", "attributes": {"x": "y" * 16000}} for i in range(users)])
    connection = http.client.HTTPConnection("127.0.0.1", suite.port, timeout=30)
    connection.request("GET", "/v1/users/export", headers=fresh.headers())
    reply = connection.getresponse()
    time.sleep(15)
    body = reply.read()  # raises IncompleteRead when the last chunk is missing
    connection.close()
    assert body.count(b"\n") == users


def test_an_export_to_http_1_0_is_not_chunked(suite, fresh):
    """Such a client knows no chunks (RFC 9112 section 6.1): the end of the connection ends the answer."""
    user = new_user(fresh)
    with socket.create_connection(("127.0.0.1", suite.port), timeout=10) as connection:
        connection.sendall(f"GET /v1/users/export HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {fresh.key}\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    top, body = received.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding" not in top.lower()
    assert [json.loads(line)["id"] for line in body.splitlines()] == [user["id"]]


def test_an_export_needs_the_permission(suite, fresh):
    key = made(fresh.post("/v1/keys", {"scopes": ["users:write"]}))["secret"]
    refused(Client(suite.port, key=key).get("/v1/users/export"), 403, "permission_denied")
    key = made(fresh.post("/v1/keys", {"scopes": ["users:read"]}))["secret"]
    refused(send(Client(suite.port, key=key), b'{"email":"a@example.com"}\n'), 403, "permission_denied")
    assert total(fresh) == 0


def test_what_was_exported_can_be_imported(suite, fresh):
    new_user(fresh, email=address(), name="Ada", external_id=unique(), login_ids=[unique()], attributes={"a": [1, {"b": None}]})
    row, = exported(fresh)[0]
    second = suite.new_project("second")
    kept = {name: value for name, value in row.items() if name not in ("id", "version", "updated_at", "has_password", "roles")}
    result, = imported(second, [kept])
    user = good(second.get("/v1/users/" + result["id"]))
    assert {name: user[name] for name in kept} == kept
    assert len(walk(second, "/v1/users", 10)[0]) == 1
    second.close()
