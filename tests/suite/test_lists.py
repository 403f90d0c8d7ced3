"""Lists of users: cursor, page, search, sort, status; exact totals; walks that stay complete while the list changes."""
import random
import threading
from urllib.parse import quote

import pytest
from denizen import Client
from helpers import address, good, new_user, refused, total, unique, walk

NAMES = ["Ada", "ada", "Łukasz", "Ülkü", "100%", "a_b", "axb", "back\\slash", "O'Neil", "半角", "<b>", "x; DROP TABLE users"]


@pytest.fixture(scope="module")
def people(suite):
    """A project with 60 users of known values, and a list of them in order of creation."""
    client = suite.new_project("people")
    users = []
    for i in range(60):
        members = {"name": NAMES[i % len(NAMES)], "status": ("active", "invited", "disabled")[i % 3]}
        if i % 10 == 7:
            members["external_id"] = f"ext-{i}"
        else:
            members["email"] = f"{random.choice('abcdefgh')}{i:02}-{unique()}@example.com"
        users.append(new_user(client, **members))
    client.users = users
    yield client
    client.close()


ORDERS = {
    "created_at": lambda user: (user["created_at"], user["id"]),
    "email": lambda user: (user.get("email", ""), user["id"]),
}


def in_order(users, sort):
    return [user["id"] for user in sorted(users, key=ORDERS[sort.lstrip("-")], reverse=sort.startswith("-"))]


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "email", "-email"])
@pytest.mark.parametrize("limit", [1, 7, 59, 60, 61, 1000])
def test_a_walk_by_cursor_gives_everybody_once_in_order(people, sort, limit):
    rows, totals = walk(people, "/v1/users", limit, sort=sort)
    assert [row["id"] for row in rows] == in_order(people.users, sort)
    assert set(totals) == {60}
    assert rows[0] in people.users


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "email", "-email"])
def test_pages_give_what_the_cursor_gives(people, sort):
    wanted = in_order(people.users, sort)
    for limit in (7, 20, 60):
        seen = []
        for page in range(1, 12):
            reply = good(people.get(f"/v1/users?sort={sort}&limit={limit}&page={page}"))
            assert reply["total"] == 60
            seen += [row["id"] for row in reply["data"]]
            assert ("next" in reply) == (len(seen) < 60) or page * limit > 60
        assert seen == wanted


def test_the_newest_fifty_come_unless_told(people):
    assert [row["id"] for row in good(people.get("/v1/users"))["data"]] == in_order(people.users, "-created_at")[:50]


@pytest.mark.parametrize("status", ["active", "invited", "disabled"])
@pytest.mark.parametrize("sort", ["created_at", "-email"])
def test_a_status_is_filtered_and_counted(people, status, sort):
    rows, totals = walk(people, "/v1/users", 6, status=status, sort=sort)
    assert [row["id"] for row in rows] == in_order([user for user in people.users if user["status"] == status], sort)
    assert set(totals) == {20}


SEARCHES = [*NAMES, "AD", "ada", "a", "%", "_", "\\", "\\s", "'", "0%", "łuk", "ÜLKÜ", "ext-1", "EXT-", "example.com", "@",
            "角", "axb", "%%", "a%b", "nobody at all", "07-", "b>"]


@pytest.mark.parametrize("term", SEARCHES)
@pytest.mark.parametrize("status", [None, "active"])
def test_search_finds_the_text_itself_anywhere(people, term, status):
    def matches(user):
        values = [user.get(name) for name in ("email", "name", "external_id")] + user["login_ids"]
        return any(term.casefold() in value.casefold() for value in values if value)

    chosen = [user for user in people.users if matches(user) and status in (None, user["status"])]
    query = {"search": quote(term), **({"status": status} if status else {})}
    rows, totals = walk(people, "/v1/users", 7, sort="created_at", **query)
    assert [row["id"] for row in rows] == in_order(chosen, "created_at")
    assert set(totals) == {len(chosen)}


@pytest.mark.parametrize("member, value", [
    ("given_name", "Wilhelmine"), ("family_name", "Grünbein-Ø"), ("phone", "+4915112345678"), ("login_ids", ["Login-Of-W"])])
def test_search_looks_at_every_name(people, member, value):
    client = people
    text = value[0] if isinstance(value, list) else value
    user = new_user(client, email=address(), **{member: value})
    try:
        rows, _ = walk(client, "/v1/users", 10, search=quote(text[1:-1].upper()))
        assert [row["id"] for row in rows] == [user["id"]]
    finally:
        good(client.delete("/v1/users/" + user["id"]), 204)


BAD = [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=-1", "limit"), ("limit=ten", "limit"), ("limit=1.5", "limit"),
       ("limit=", "limit"), ("limit=%205", "limit"), ("limit=5&limit=6", "limit"), ("limit=99999999999999999999", "limit"),
       ("page=0", "page"), ("page=-1", "page"), ("page=x", "page"), ("page=4294967296", "page"), ("sort=name", "sort"), ("sort=", "sort"),
       ("status=dead", "status"), ("status=ACTIVE", "status"), ("after=garbage!", "after"), ("after=AAAA", "after"),
       ("color=red", "color"), ("search=" + "x" * 201, "search"), ("search=a%0Ab", "search"), ("project_id=prj_x", "project_id")]


@pytest.mark.parametrize("query, field", BAD)
def test_a_bad_parameter_is_refused_and_named(people, query, field):
    refused(people.get("/v1/users?" + query), 400, "invalid_argument", field)


def test_a_cursor_belongs_to_its_order(people):
    cursor = good(people.get("/v1/users?limit=2&sort=email"))["next"]
    refused(people.get("/v1/users?sort=created_at&after=" + cursor), 400, "invalid_argument", "after")
    refused(people.get("/v1/users?sort=email&page=2&after=" + cursor), 400, "invalid_argument", "page")
    broken = cursor[:-2] + "!!"
    refused(people.get("/v1/users?sort=email&after=" + broken), 400, "invalid_argument", "after")


@pytest.mark.parametrize("page", [9, 1000, 4294967295])
def test_a_page_behind_the_end_is_empty(people, page):
    reply = good(people.get(f"/v1/users?limit=10&page={page}"))
    assert reply["data"] == [] and reply["total"] == 60 and "next" not in reply


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "email", "-email"])
def test_a_walk_is_complete_while_others_come_and_go(suite, people, sort):
    """Everybody who is there all the time is seen exactly once, whatever happens around them."""
    stop = threading.Event()
    failures = []

    def churn():
        client = Client(suite.port, key=people.key)
        while not stop.is_set():
            users = [new_user(client, email=f"{random.choice('abcdefgh')}-{address()}") for _ in range(3)]
            for user in users:
                reply = client.delete("/v1/users/" + user["id"])
                if reply.status != 204:
                    failures.append(reply)
        client.close()

    workers = [threading.Thread(target=churn) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for limit in (1, 9):
            rows, _ = walk(people, "/v1/users", limit, sort=sort)
            seen = [row["id"] for row in rows]
            assert len(seen) == len(set(seen))
            residents = {user["id"] for user in people.users}
            assert [identifier for identifier in seen if identifier in residents] == in_order(people.users, sort)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not failures
    assert total(people) == 60


def test_totals_are_exact_after_a_storm(suite, fresh):
    """Creations, deletions and changes of status from many sides; the kept counters must equal the rows."""
    def storm(seed):
        dice = random.Random(seed)
        client, mine = Client(suite.port, key=fresh.key), []
        for _ in range(25):
            roll = dice.random()
            if roll < 0.5 or not mine:
                mine.append(new_user(client)["id"])
            elif roll < 0.7:
                good(client.delete("/v1/users/" + mine.pop(dice.randrange(len(mine)))), 204)
            else:
                status = dice.choice(["active", "invited", "disabled"])
                good(client.patch("/v1/users/" + dice.choice(mine), {"status": status}))
        client.close()

    workers = [threading.Thread(target=storm, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rows, totals = walk(fresh, "/v1/users", 1000)
    assert set(totals) == {len(rows)} and len(rows) > 0
    for status in ("active", "invited", "disabled"):
        assert total(fresh, "&status=" + status) == sum(row["status"] == status for row in rows)
