"""What several test files do with a client: make users, sign in, read the feed, check refusals."""
import base64
import json
import secrets
import threading

PASSWORD = "correct horse battery staple"  # long enough to be looked for in logs and in the database


def unique(prefix="u"):
    """A text that no other test uses, of letters and digits."""
    return prefix + secrets.token_hex(8)


def address():
    """An e-mail address that no other test uses."""
    return unique() + "@example.com"


def password():
    return "pw-" + secrets.token_hex(12)


def made(reply):
    """The JSON of a 201."""
    assert reply.status == 201, reply
    return reply.json


def good(reply, status=200):
    """The JSON of an expected success; None when it has no body."""
    assert reply.status == status, reply
    return reply.json if reply.body else None


def refused(reply, status, code, field=None):
    """A problem document with this code that names this field; returns it."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/problem+json", reply.headers
    problem = reply.json
    assert problem["code"] == code and problem["status"] == status, problem
    assert problem["type"] == "urn:denizen:error:" + code, problem
    if field is not None:
        assert problem.get("field") == field, problem
    return problem


def new_user(client, **members):
    """A user with an address of its own unless members say otherwise."""
    if not members.keys() & {"email", "login_ids", "phone", "external_id"}:
        members["email"] = address()
    return made(client.post("/v1/users", members))


def sign_in(client, login, secret=PASSWORD, **members):
    return client.post("/v1/sessions", {"login_id": login, "password": secret, **members})


def new_session(client, user=None, **members):
    """A user with PASSWORD who is signed in; returns the user and the tokens."""
    user = user or new_user(client, password=PASSWORD)
    return user, made(sign_in(client, user["email"], **members))


def new_key_material(client):
    """One key of each kind, each rotated once."""
    for kind in ("management", "api", "client"):
        key = made(client.post("/v1/keys", {"kind": kind, "scopes": ["users:read"]}))
        good(client.post(f"/v1/keys/{key['id']}/rotate", {}))


def refresh(client, token):
    return client.post("/v1/sessions/refresh", {"refresh_token": token})


def is_active(client, token):
    return good(client.post("/v1/tokens/introspect", {"token": token}))["active"]


def payload(token):
    """The unverified payload of a JWT."""
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def total(client, query=""):
    """The exact number of users."""
    return good(client.get("/v1/users?limit=1" + query))["total"]


def head(client):
    """The newest sequence number of the project's ledger."""
    return good(client.get("/v1/events?limit=1"))["head"]


def events(client, after=0):
    """All entries of the project's ledger after a sequence number."""
    entries = []
    while True:
        page = good(client.get(f"/v1/events?limit=1000&after={after}"))
        if not page["data"]:
            return entries
        entries += page["data"]
        after = page["next"]


def walk(client, path, limit, **query):
    """All rows of a list by its cursor, and the totals it told."""
    rows, totals, after = [], [], None
    base = f"{path}?limit={limit}" + "".join(f"&{name}={value}" for name, value in query.items())
    while True:
        page = good(client.get(base + (f"&after={after}" if after else "")))
        assert len(page["data"]) <= limit
        rows += page["data"]
        totals.append(page["total"])
        after = page.get("next")
        if not after:
            return rows, totals


def stranger_to(identifier):
    """A well-formed id of the same kind that names nothing: two different random characters change places."""
    text = list(identifier)
    for i in range(len(text) - 10, len(text) - 1):
        if text[i] != text[i + 1]:
            text[i], text[i + 1] = text[i + 1], text[i]
            return "".join(text)
    raise AssertionError("all random characters are the same")


def at_once(count, work):
    """Runs work(0) ... work(count - 1) in threads that start together; returns their results in order."""
    results, errors = [None] * count, []
    barrier = threading.Barrier(count)

    def run(i):
        try:
            barrier.wait()
            results[i] = work(i)
        except Exception as error:  # noqa: BLE001: shown by the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors[:3]
    return results
