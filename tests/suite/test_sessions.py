"""Sign-in, refresh, reuse, ending, and throttling that neither a flood nor a stranger turns into an outage."""
import time

import pytest
from denizen import Client, eventually
from helpers import (PASSWORD, address, at_once, events, good, head, is_active, made, new_session, new_user, password, payload,
                     refresh, refused, sign_in, stranger_to, unique, walk)


def rewind(suite, session, seconds):
    """Moves the session's last rotation into the past, instead of waiting."""
    number = suite.psql(f"SELECT count(*) FROM session.session WHERE session_id = '{uuid_of(session)}'")
    assert number == ["1"]
    suite.psql(f"UPDATE session.session SET rotated_at_us = rotated_at_us - {seconds * 1000000} "
               f"WHERE session_id = '{uuid_of(session)}'")


def uuid_of(identifier):
    """The UUID behind a prefixed id: 26 characters of Crockford's base32."""
    number = 0
    for character in identifier.split("_")[1]:
        number = number * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    return f"{number:032x}"


# ---- sign-in


def test_signing_in_gives_tokens_and_a_session(suite, project):
    user = new_user(project, email=address(), name="Ada", password=PASSWORD)
    suite.settle()
    before = head(project)
    reply = made(sign_in(project, user["email"], ip_address="203.0.113.9", user_agent="Browser/1.0"))
    assert reply["token_type"] == "Bearer" and 0 < reply["expires_in"] <= 300 and reply["refresh_token"].startswith("drt_")
    session = reply["session"]
    assert session["user_id"] == user["id"] and session["ip_address"] == "203.0.113.9"
    assert session["user_agent"] == "Browser/1.0" and session["method"] == "password" and session["id"].startswith("ses_")
    token = payload(reply["access_token"])
    assert token["sub"] == user["id"] and token["sid"] == session["id"] and token["name"] == "Ada"
    assert token["exp"] - token["iat"] == reply["expires_in"]
    assert is_active(project, reply["access_token"])
    suite.settle()
    entry, = events(project, before)
    assert entry["event"]["type"] == "session_created" and entry["event"]["subject"] == session["id"]


def test_email_and_login_id_name_the_same_user(project):
    login = unique("Login")
    user = new_user(project, email=address(), login_ids=[login], password=PASSWORD)
    for body in ({"login_id": login}, {"login_id": user["email"]}, {"email": user["email"]},
                 {"email": user["email"], "login_id": user["email"]}):
        assert made(project.post("/v1/sessions", {**body, "password": PASSWORD}))["session"]["user_id"] == user["id"]


def test_wrong_password_unknown_user_and_no_password_answer_alike(suite, project):
    with_password, without = new_user(project, password=PASSWORD), new_user(project)
    suite.settle()
    before = head(project)
    answers = []
    for login in (with_password["email"], without["email"], address(), "no such login"):
        problem = refused(sign_in(project, login, "wrong password"), 401, "invalid_credentials")
        answers.append({name: value for name, value in problem.items() if name != "request_id"})
    assert all(answer == answers[0] for answer in answers)
    suite.settle()
    failures = [entry["event"] for entry in events(project, before)]
    assert [event["type"] for event in failures] == ["sign_in_failed"] * 4
    assert all(event.get("user_id") is None for event in failures)


@pytest.mark.parametrize("body, field", [
    ({"password": PASSWORD}, "login_id"), ({"login_id": "", "password": PASSWORD}, "login_id"),
    ({"login_id": "a"}, "password"), ({"login_id": "a", "password": ""}, "password"),
    ({"login_id": "a", "password": "x" * 1025}, "password"), ({"login_id": "a" * 321, "password": "x"}, "login_id"),
    ({"login_id": " \t", "password": "x"}, "login_id"), ({"login_id": "a\u200bb", "password": "x"}, "login_id"),
    ({"email": "a\nb@example.com", "password": "x"}, "email"),
    ({"login_id": "a", "password": PASSWORD, "admin": True}, "admin")])
def test_a_bad_sign_in_is_refused_and_named(project, body, field):
    refused(project.post("/v1/sessions", body), 400, "invalid_argument", field)


@pytest.mark.parametrize("told, shown", [
    ({"ip_address": "300.1.1.1"}, {}), ({"ip_address": "example.com"}, {}), ({"ip_address": ""}, {}),
    ({"ip_address": "203.0.113.9:51000"}, {"ip_address": "203.0.113.9"}),
    ({"ip_address": "[2001:db8::9]:443"}, {"ip_address": "2001:db8::9"}),
    ({"ip_address": "203.0.113.9, 10.0.0.1"}, {"ip_address": "203.0.113.9"}),
    ({"user_agent": ""}, {}), ({"user_agent": "x" * 5000}, {"user_agent": "x" * 512}),
    ({"user_agent": "\u20ac" * 200}, {"user_agent": "\u20ac" * 170}), ({"user_agent": "a\x01b"}, {"user_agent": "a\x01b"})])
def test_what_a_device_sends_is_information(project, told, shown):
    user = new_user(project, password=PASSWORD)
    session = made(sign_in(project, user["email"], **told))["session"]
    assert {name: session[name] for name in ("ip_address", "user_agent") if name in session} == shown


def test_white_space_around_a_login_id_says_nothing(project):
    user = new_user(project, password=PASSWORD)
    for typed in (f" {user['email']}", f"{user['email']}\t\n", f"\u00a0{user['email'].upper()}\u3000"):
        assert made(sign_in(project, typed))["session"]["user_id"] == user["id"]


def test_a_disabled_user_is_told_only_with_the_right_password(project):
    user = new_user(project, status="disabled", password=PASSWORD)
    refused(sign_in(project, user["email"]), 403, "account_disabled")
    refused(sign_in(project, user["email"], "wrong password"), 401, "invalid_credentials")
    good(project.patch("/v1/users/" + user["id"], {"status": "active"}))
    made(sign_in(project, user["email"]))


def test_a_password_is_compared_byte_for_byte(project):
    user = new_user(project, password="Pässword 密码 x")
    for wrong in ("pässword 密码 x", "Pässword 密码 x ", "Pa\u0308ssword 密码 x", "Pässword"):
        refused(sign_in(project, user["email"], wrong), 401, "invalid_credentials")
    made(sign_in(project, user["email"], "Pässword 密码 x"))


def test_a_password_may_have_1024_bytes(project):
    long = password() + "x" * 1000
    user = new_user(project, password=long[:1024])
    refused(sign_in(project, user["email"], long[:1023]), 401, "invalid_credentials")
    made(sign_in(project, user["email"], long[:1024]))


# ---- refresh


def test_refreshing_rotates(project):
    user, tokens = new_session(project)
    seen = {tokens["refresh_token"]}
    for _ in range(5):
        tokens = good(refresh(project, tokens["refresh_token"]))
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
        assert payload(tokens["access_token"])["sub"] == user["id"] and is_active(project, tokens["access_token"])
    assert good(project.get(f"/v1/users/{user['id']}/sessions"))["total"] == 1


def test_the_same_token_soon_again_gets_the_same_successor(project):
    _, tokens = new_session(project)
    first = good(refresh(project, tokens["refresh_token"]))
    for _ in range(3):
        again = good(refresh(project, tokens["refresh_token"]))
        assert again["refresh_token"] == first["refresh_token"]
    assert good(refresh(project, first["refresh_token"]))["refresh_token"] != first["refresh_token"]


def ended_by_reuse(suite, project, token, tokens, before):
    refused(refresh(project, token), 401, "invalid_token")
    refused(refresh(project, tokens["refresh_token"]), 401, "invalid_token")
    eventually(lambda: not is_active(project, tokens["access_token"]), 1)
    suite.settle()
    names = [entry["event"]["type"] for entry in events(project, before)]
    assert names == ["session_refresh_reused"], names


def test_reuse_after_the_window_ends_the_session(suite, project):
    user, old = new_session(project)
    new = good(refresh(project, old["refresh_token"]))
    rewind(suite, old["session"]["id"], 11)
    suite.settle()
    ended_by_reuse(suite, project, old["refresh_token"], new, head(project))
    assert good(project.get(f"/v1/users/{user['id']}/sessions"))["total"] == 0


def test_a_token_two_generations_back_ends_the_session_at_once(suite, project):
    _, first = new_session(project)
    second = good(refresh(project, first["refresh_token"]))
    third = good(refresh(project, second["refresh_token"]))
    suite.settle()
    ended_by_reuse(suite, project, first["refresh_token"], third, head(project))


def test_reuse_ends_no_other_session(suite, project):
    user, first = new_session(project)
    other = made(sign_in(project, user["email"]))
    good(refresh(project, first["refresh_token"]))
    rewind(suite, first["session"]["id"], 11)
    refused(refresh(project, first["refresh_token"]), 401, "invalid_token")
    assert is_active(project, other["access_token"])
    good(refresh(project, other["refresh_token"]))


def test_fifty_refreshes_at_once_get_one_successor(suite, project):
    """Fifty tabs wake up together: all get the same successor, the family lives, one rotation happened."""
    _, tokens = new_session(project)

    def work(_):
        client = Client(suite.port, key=project.key)
        reply = refresh(client, tokens["refresh_token"])
        client.close()
        return reply

    replies = at_once(50, work)
    assert {reply.status for reply in replies} == {200}, [reply for reply in replies if reply.status != 200][:3]
    successors = {reply.json["refresh_token"] for reply in replies}
    assert len(successors) == 1
    generation = suite.psql(f"SELECT generation FROM session.session WHERE session_id = '{uuid_of(tokens['session']['id'])}'")
    assert generation == ["2"]
    good(refresh(project, successors.pop()))


def mangled(token):
    text = token[4:]
    flip = lambda i: text[:i] + ("A" if text[i] != "A" else "B") + text[i + 1:]  # noqa: E731
    return ["", "drt_", token[:-1], token + "A", token + "=", " " + token, "DRT_" + text, text, "drt_" + flip(0), "drt_" + flip(25),
            "drt_" + flip(40), "drt_" + flip(len(text) - 2), "drt_" + "A" * len(text), "drt_" + "x" * 5000, token + "\n"]


def test_what_was_never_issued_is_refused_and_harms_nothing(project):
    _, tokens = new_session(project)
    for token in mangled(tokens["refresh_token"]):
        reply = refresh(project, token)
        assert reply.status == (401 if token else 400), (token, reply)
    refused(refresh(project, tokens["access_token"]), 401, "invalid_token")
    good(refresh(project, tokens["refresh_token"]))


def test_a_token_is_not_in_the_database(suite, project):
    _, tokens = new_session(project)
    secret = tokens["refresh_token"][30:60]
    assert suite.psql(f"SELECT count(*) FROM session.session s WHERE s::text LIKE '%{secret}%'") == ["0"]


# ---- end


def test_sessions_are_listed_newest_first(project):
    user, first = new_session(project)
    made_ids = [first["session"]["id"]] + [made(sign_in(project, user["email"]))["session"]["id"] for _ in range(4)]
    path = f"/v1/users/{user['id']}/sessions"
    for limit in (1, 2, 5, 200):
        rows, totals = walk(project, path, limit)
        assert [row["id"] for row in rows] == made_ids[::-1] and set(totals) == {5}
    for query, field in (("limit=0", "limit"), ("limit=201", "limit"), ("after=x", "after")):
        refused(project.get(path + "?" + query), 400, "invalid_argument", field)
    refused(project.get(f"/v1/users/{stranger_to(user['id'])}/sessions"), 404, "not_found")


def test_one_session_is_ended(suite, project):
    user, first = new_session(project)
    second = made(sign_in(project, user["email"]))
    assert is_active(project, first["access_token"])
    suite.settle()
    before = head(project)
    started = time.monotonic()
    good(project.delete("/v1/sessions/" + first["session"]["id"]), 204)
    eventually(lambda: not is_active(project, first["access_token"]), 1 - (time.monotonic() - started))
    refused(refresh(project, first["refresh_token"]), 401, "invalid_token")
    refused(project.delete("/v1/sessions/" + first["session"]["id"]), 404, "not_found")
    assert is_active(project, second["access_token"])
    assert [row["id"] for row in good(project.get(f"/v1/users/{user['id']}/sessions"))["data"]] == [second["session"]["id"]]
    suite.settle()
    entry, = events(project, before)
    assert entry["event"]["type"] == "session_ended" and entry["event"]["subject"] == first["session"]["id"]


def test_all_sessions_of_a_user_are_ended(project):
    user, first = new_session(project)
    second = made(sign_in(project, user["email"]))
    _, bystander = new_session(project)
    good(project.delete(f"/v1/users/{user['id']}/sessions"), 204)
    eventually(lambda: not is_active(project, first["access_token"]) and not is_active(project, second["access_token"]), 1)
    for tokens in (first, second):
        refused(refresh(project, tokens["refresh_token"]), 401, "invalid_token")
    assert good(project.get(f"/v1/users/{user['id']}/sessions"))["total"] == 0
    assert is_active(project, bystander["access_token"])
    later = made(sign_in(project, user["email"]))
    assert is_active(project, later["access_token"])
    good(project.delete(f"/v1/users/{user['id']}/sessions"), 204)
    refused(project.delete(f"/v1/users/{stranger_to(user['id'])}/sessions"), 404, "not_found")


CHANGES = {
    "disabled": lambda client, user: good(client.patch("/v1/users/" + user["id"], {"status": "disabled"})),
    "invited": lambda client, user: good(client.patch("/v1/users/" + user["id"], {"status": "invited"})),
    "deleted": lambda client, user: good(client.delete("/v1/users/" + user["id"]), 204),
    "password": lambda client, user: good(client.patch("/v1/users/" + user["id"], {"password": password()})),
    "sessions": lambda client, user: good(client.delete(f"/v1/users/{user['id']}/sessions"), 204),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_takes_access_away_is_seen_within_a_second(suite, project, change):
    user, tokens = new_session(project)
    assert is_active(project, tokens["access_token"])
    CHANGES[change](project, user)
    eventually(lambda: not is_active(project, tokens["access_token"]), 1)
    reply = refresh(project, tokens["refresh_token"])
    assert (reply.status, reply.json["code"]) in ((401, "invalid_token"), (403, "account_disabled")), reply
    eventually(lambda: suite.psql(f"SELECT count(*) FROM session.session WHERE user_id = '{uuid_of(user['id'])}' "
                                  "AND ended_at_us IS NULL") == ["0"], 5)
    if change == "disabled":
        good(project.patch("/v1/users/" + user["id"], {"status": "active"}))
        assert not is_active(project, tokens["access_token"])
        refused(refresh(project, tokens["refresh_token"]), 401, "invalid_token")


def test_an_unrelated_change_takes_nothing_away(suite, project):
    user, tokens = new_session(project)
    good(project.patch("/v1/users/" + user["id"], {"name": "New Name"}))
    suite.settle()
    assert is_active(project, tokens["access_token"])
    assert payload(good(refresh(project, tokens["refresh_token"]))["access_token"])["name"] == "New Name"


# ---- throttling

HOME, AWAY = "203.0.113.7", "198.51.100.7"


def fail_until_throttled(client, login, most, **members):
    """Wrong passwords until the answer is 429; returns how many were tried before."""
    for tried in range(most):
        reply = sign_in(client, login, "wrong password", **members)
        if reply.status == 429:
            refused(reply, 429, "throttled")
            assert int(reply.headers["retry-after"]) >= 1
            return tried
        refused(reply, 401, "invalid_credentials")
    raise AssertionError(f"{most} wrong passwords and no end")


def test_guessing_is_slowed_down(fresh):
    user = new_user(fresh, password=PASSWORD)
    assert fail_until_throttled(fresh, user["email"], 20, ip_address=AWAY) >= 5
    refused(sign_in(fresh, user["email"].upper(), ip_address="198.51.100.99"), 429, "throttled")
    made(sign_in(fresh, user["email"], ip_address=HOME))


def test_a_user_that_does_not_exist_is_throttled_alike(fresh):
    user = new_user(fresh, password=PASSWORD)
    assert fail_until_throttled(fresh, user["email"], 20, ip_address=AWAY) == fail_until_throttled(
        fresh, address(), 20, ip_address="192.0.2.1")


def test_a_stranger_cannot_lock_a_user_out_of_a_known_network(fresh):
    user = new_user(fresh, password=PASSWORD)
    made(sign_in(fresh, user["email"], ip_address=HOME))
    refusals = 0
    for i in range(65):
        refusals += sign_in(fresh, user["email"], "wrong password", ip_address=f"198.18.{i}.1").status == 429
    assert refusals > 0, "a flood from everywhere must be stopped somewhere"
    refused(sign_in(fresh, user["email"], ip_address="198.19.1.1"), 429, "throttled")
    made(sign_in(fresh, user["email"], ip_address="203.0.113.200"))


def test_a_success_forgets_typing_errors(fresh):
    user = new_user(fresh, password=PASSWORD)
    for _ in range(3):
        for _ in range(4):
            refused(sign_in(fresh, user["email"], "wrong password", ip_address=HOME), 401, "invalid_credentials")
        made(sign_in(fresh, user["email"], ip_address=HOME))


def guess_at_once(suite, client, logins, count):
    """Wrong passwords from one network, all at once; returns the statuses."""
    def guess(i):
        own = Client(suite.port, key=client.key)
        status = sign_in(own, logins[i % len(logins)], f"wrong {i}", ip_address=AWAY).status
        own.close()
        return status
    return at_once(count, guess)


def test_guesses_at_the_same_time_do_not_outrun_the_count(suite, fresh):
    user = new_user(fresh, password=PASSWORD)
    statuses = guess_at_once(suite, fresh, [user["email"]], 30)
    suite.settle()
    assert sorted(statuses) == [401] * 5 + [429] * 25, "as many as are let through in turn"
    failures = [entry for entry in events(fresh) if entry["event"]["type"] == "sign_in_failed"]
    assert len(failures) == 5, "each guess that was checked is counted once"
    assert suite.psql("SELECT max(failures) FROM session.throttle WHERE project_id = "
                      f"'{uuid_of(fresh.project_id)}'") == ["5"]


def test_all_login_ids_of_a_user_have_one_count(suite, fresh):
    user = new_user(fresh, email=address(), password=PASSWORD, login_ids=[unique("one"), unique("two")])
    statuses = guess_at_once(suite, fresh, user["login_ids"], 30)
    assert sorted(statuses) == [401] * 5 + [429] * 25
    for login in user["login_ids"]:
        refused(sign_in(fresh, login, ip_address=AWAY), 429, "throttled")
    made(sign_in(fresh, user["email"], ip_address=HOME))


def test_guessing_does_not_tell_who_exists(suite, fresh):
    user = new_user(fresh, password=PASSWORD)
    without = new_user(fresh)
    answers = []
    for login in (user["email"], without["email"], address(), unique("nobody")):
        for _ in range(5):
            refused(sign_in(fresh, login, "wrong password", ip_address=AWAY), 401, "invalid_credentials")
        reply = sign_in(fresh, login, "wrong password", ip_address=AWAY)
        problem = refused(reply, 429, "throttled")
        answers.append((reply.headers["retry-after"], {name: value for name, value in problem.items() if name != "request_id"}))
    assert all(answer == answers[0] for answer in answers)


def test_a_changed_password_ends_the_wait(fresh):
    user = new_user(fresh, password=PASSWORD)
    fail_until_throttled(fresh, user["email"], 20, ip_address=AWAY)
    good(fresh.patch(f"/v1/users/{user['id']}", {"password": "another " + PASSWORD}))
    made(sign_in(fresh, user["email"], "another " + PASSWORD, ip_address=AWAY))


def test_the_right_password_of_a_disabled_user_is_no_guess(suite, fresh):
    user = new_user(fresh, password=PASSWORD, status="disabled")
    for _ in range(8):
        refused(sign_in(fresh, user["email"], ip_address=AWAY), 403, "account_disabled")
    suite.settle()
    reasons = [entry["event"]["reason"] for entry in events(fresh) if entry["event"]["type"] == "sign_in_failed"]
    assert reasons == ["account_disabled"] * 8, "but each is on record"
    good(fresh.patch(f"/v1/users/{user['id']}", {"status": "active"}))
    made(sign_in(fresh, user["email"], ip_address=AWAY))


def test_a_chain_that_broke_in_the_middle_may_be_repeated(suite, project):
    """Ending all sessions first moves the user's epoch in identity. If session then lost its own write, the repetition must not meet
    that first step as a stranger's."""
    user, tokens = new_session(project)
    headers = {"Idempotency-Key": unique()}
    path = f"/v1/users/{user['id']}/sessions"
    assert project.delete(path, headers=headers).status == 204
    suite.psql("DELETE FROM session.operation WHERE at_us = (SELECT max(at_us) FROM session.operation)")
    assert project.delete(path, headers=headers).status == 204
    assert not is_active(project, tokens["access_token"])
