"""Compares what writers know with what the suite says: state, totals, events, chain. Each function asserts one promise."""
from helpers import events, good, head, refresh, walk
from test_sessions import uuid_of

USER_EVENTS = {"user_created", "user_updated", "user_disabled", "user_enabled", "user_deleted", "user_password_changed"}


def check_errors(tally):
    """Every error was temporary and said when to come back, and every acknowledged answer was right."""
    assert not tally.wrong, f"{len(tally.wrong)} wrong answers: " + "\n".join(tally.wrong[:8])


def check_state(suite, client, load):
    """No acknowledged write is lost, none was applied twice, totals are exact."""
    rows, totals = walk(client, "/v1/users", 200)
    shown = {row["id"]: row for row in rows}
    living = {user.id: user for user in load.users if not user.deleted}
    assert len(shown) == len(rows), "a list names a user twice"
    assert shown.keys() == living.keys(), f"lost {list(living.keys() - shown.keys())[:3]}, too many {list(shown.keys() - living.keys())[:3]}"
    for identifier, user in living.items():
        row = shown[identifier]
        assert (row["email"], row["name"], row["version"]) == (user.email, user.name, user.version), row
    assert set(totals) == {len(living)}, f"totals {set(totals)}, users {len(living)}"
    mine = of_project(client)
    counted = suite.psql(f"SELECT (SELECT count(*) FROM identity.users WHERE {mine}), (SELECT sum(n) FROM identity.user_count WHERE {mine}), "
                         f"(SELECT count(*) FROM identity.login_id WHERE {mine})")
    assert counted == [f"{len(living)}|{len(living)}|{len(living)}"], counted


def of_project(client):
    return f"project_id = '{uuid_of(client.project_id)}'"


def check_claims(suite, client, load):
    rows = suite.psql(f"SELECT replace(user_id::text, '-', ''), version, document FROM claims.user_claims WHERE {of_project(client)}")
    shown = {row.split("|", 2)[0]: row.split("|", 2)[1:] for row in rows}
    for user in load.users:
        if user.claims is None or user.deleted:
            continue
        version, text = shown[uuid_of(user.id)]
        assert int(version) == user.claims_version and str(user.claims["n"]) in text, (user.id, user.claims, version, text)


def check_feed(client, load):
    """1, 2, 3 ... without a gap; for each user exactly the acknowledged changes in their order; the chain verifies."""
    entries = events(client)
    assert [entry["seq"] for entry in entries] == list(range(1, head(client) + 1))
    told = {}
    for entry in entries:
        event = entry["event"]
        kind = "user" if event["type"] in USER_EVENTS else "claims" if event["type"] == "claims_changed" else event["type"]
        told.setdefault((kind, event["subject"]), []).append((event["type"], event.get("version")))
    for user in load.users:
        assert told.pop(("user", user.id), []) == user.history, f"events of {user.id}"
        assert told.pop(("claims", user.id), []) == user.claims_history, f"claims of {user.id}"
    assert not [key for key in told if key[0] in ("user", "claims")], "events that nobody caused"
    for session in load.sessions:
        assert len(told.pop(("session_created", session.id), [])) == 1, f"one creation of {session.id}"
        ends = len(told.pop(("session_ended", session.id), [])) + len(told.pop(("session_refresh_reused", session.id), []))
        assert ends == (1 if session.ended else 0), f"{ends} endings of {session.id}, which is {session.ended or 'open'}"
    assert not [key for key in told if key[0].startswith("session_")], "session events that nobody caused"
    assert good(client.get("/v1/audit/verify"))["ok"] is True
    return entries


def check_sessions(client, load):
    """Of each family one token lives: the newest. Ended ones have none, and an old token ends its family."""
    for session in load.sessions:
        reply = refresh(client, session.newest)
        assert reply.status == (401 if session.ended else 200), f"{session.id} ({session.ended or 'open'}): {reply}"
        if session.ended or len(session.older) < 2:
            continue
        successor = reply.json["refresh_token"]
        assert refresh(client, session.older[-2]).status == 401
        assert refresh(client, successor).status == 401, f"{session.id} lives on after a reuse"


def check_all(suite, client, load):
    """All promises; returns the ledger's entries."""
    check_errors(load.tally)
    suite.settle()
    check_state(suite, client, load)
    check_claims(suite, client, load)
    check_feed(client, load)
    check_sessions(client, load)
    suite.settle()
    return events(client)
