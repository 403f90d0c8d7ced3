"""Writers that know what must be true: each changes only users of its own and repeats every call until it is acknowledged.

A call whose outcome is unknown (broken connection, 503, 504, 429) is sent again with the same Idempotency-Key, so that after the last
answer the writer knows the state exactly: version by version, event by event. `checker.py` compares it with the suite.
"""
import http.client
import random
import secrets
import threading
import time

from denizen import Client
from helpers import PASSWORD, unique

TEMPORARY = (429, 503, 504)
BROKEN = (OSError, http.client.HTTPException)
REPLAY_SECONDS = 9.0  # a spent refresh token is answered with its successor for 10 s


class Tally:
    """What all writers saw, together."""

    def __init__(self):
        self.lock = threading.Lock()
        self.wrong, self.statuses, self.acknowledged = [], {}, []
        self.broken = self.unknown = self.replayed = 0
        self.slowest = (0.0, "")

    def note(self, reply):
        with self.lock:
            self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
            if reply.status in TEMPORARY and not reply.headers.get("retry-after", "").isdigit():
                self.wrong.append(f"a {reply.status} without Retry-After: {reply.body[:200]!r}")
            if reply.status >= 500 and reply.status not in TEMPORARY:
                self.wrong.append(f"a {reply.status}: {reply.body[:300]!r}")

    def fail(self, text):
        with self.lock:
            self.wrong.append(text)

    def acknowledge(self, began, unknown, what):
        now = time.monotonic()
        with self.lock:
            self.acknowledged.append(now)
            self.unknown += unknown
            self.slowest = max(self.slowest, (now - began, what))

    def longest_silence(self):
        """The longest time in which no write of anyone was acknowledged."""
        with self.lock:
            times = sorted(self.acknowledged)
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)


class User:
    """What the suite must say about a user; `history` are the events that must stand in the ledger, in order."""

    def __init__(self, reply):
        self.id, self.email, self.name = reply["id"], reply["email"], reply.get("name")
        self.version, self.claims, self.claims_version, self.deleted = 1, None, 0, False
        self.history = [("user_created", 1)]
        self.claims_history = []


class Session:
    """A refresh family: its newest token, and what was given for which token."""

    def __init__(self, user, reply):
        self.user, self.id = user, reply["session"]["id"]
        self.access, self.newest, self.older = reply["access_token"], reply["refresh_token"], []
        self.ended = self.ended_at = None  # "by us", or "late": a lost reply was asked for again after the replay window


class Writer(threading.Thread):
    """One thread, one connection, its own users and sessions."""

    def __init__(self, port, key, tally, seed, pause=0.0, signs_in=True):
        super().__init__(daemon=True)
        self.client = Client(port, key=key, check=False)
        self.second = Client(port, key=key, check=False)  # races the first with the same refresh token
        self.tally, self.random, self.pause = tally, random.Random(seed), pause
        self.users, self.sessions, self.halt = [], [], threading.Event()
        self.signer = None
        self.steps = [(self.create, 25), (self.patch, 30), (self.put_claims, 15), (self.delete, 6), (self.read, 10)]
        if signs_in:
            self.steps += [(self.sign_in, 2), (self.refresh, 10), (self.end_session, 1), (self.look_at_ended, 4)]

    # ---- calls ----

    def once(self, client, method, path, body=None, headers=None):
        """One attempt; None when the connection broke."""
        try:
            reply = client.call(method, path, body, headers=headers, timeout=15)
        except BROKEN:
            client.close()
            with self.tally.lock:
                self.tally.broken += 1
            return None
        self.tally.note(reply)
        return reply

    def until_known(self, method, path, body=None, headers=None, client=None):
        """Repeats until the outcome is known. Returns the reply and whether an earlier attempt had none."""
        began, unknown = time.monotonic(), False
        while True:
            reply = self.once(client or self.client, method, path, body, headers)
            if reply is not None and reply.status not in TEMPORARY:
                return reply, unknown, began
            unknown = True
            time.sleep(0.05 + 0.1 * self.random.random())

    def write(self, method, path, body, want, headers=None):
        """A write under an Idempotency-Key until it is acknowledged; sometimes it is sent once more for nothing. None: it was refused."""
        headers = {**(headers or {}), "Idempotency-Key": "w-" + secrets.token_hex(12)}
        reply, unknown, began = self.until_known(method, path, body, headers)
        if reply.status != want:
            self.tally.fail(f"{method} {path}{' (sent again)' if unknown else ''}: {reply}")
            return None
        self.tally.acknowledge(began, unknown, f"{method} {path}")
        if "/sessions" not in path and self.random.random() < 0.05:
            again, _, _ = self.until_known(method, path, body, headers)
            with self.tally.lock:
                self.tally.replayed += 1
            if (again.status, again.body) != (reply.status, reply.body):
                self.tally.fail(f"{method} {path} was answered twice in different ways: {reply} then {again}")
        return reply.json if reply.body else {}

    # ---- steps ----

    def living(self):
        return [user for user in self.users[-40:] if not user.deleted]

    def make_user(self, **members):
        made = self.write("POST", "/v1/users", {"email": unique() + "@example.com", "name": unique(), **members}, 201)
        if made is None:
            return None
        user = User(made)
        if made["version"] != 1:
            self.tally.fail(f"a new user with version {made['version']}")
        self.users.append(user)
        return user

    def create(self):
        self.make_user()

    def patch(self):
        if not self.living():
            return
        user, name = self.random.choice(self.living()), unique()
        headers = {"If-Match": f'"{user.version}"'} if self.random.random() < 0.5 else {}
        changed = self.write("PATCH", "/v1/users/" + user.id, {"name": name}, 200, headers)
        if changed is None:
            return
        user.version, user.name = user.version + 1, name
        user.history.append(("user_updated", user.version))
        if (changed["version"], changed["name"]) != (user.version, name):
            self.tally.fail(f"PATCH of {user.id}: version {user.version} name {name} expected: {changed}")

    def put_claims(self):
        if not self.living():
            return
        user, claims = self.random.choice(self.living()), {"n": self.random.randrange(1 << 40)}
        put = self.write("PUT", f"/v1/users/{user.id}/claims", {"claims": claims}, 200)
        if put is None:
            return
        user.claims, user.claims_version = claims, user.claims_version + 1
        user.claims_history.append(("claims_changed", user.claims_version))
        if (put["version"], put["claims"]) != (user.claims_version, claims):
            self.tally.fail(f"PUT claims of {user.id}: version {user.claims_version} expected: {put}")

    def delete(self):
        candidates = [user for user in self.living() if user is not self.signer]
        if len(candidates) < 3:
            return
        user = self.random.choice(candidates)
        if self.write("DELETE", "/v1/users/" + user.id, None, 204) is not None:
            user.deleted, user.version = True, user.version + 1
            user.history.append(("user_deleted", user.version))

    def read(self):
        """A read must show the writer's last acknowledged write."""
        if not self.users:
            return
        user = self.random.choice(self.users[-40:])
        reply = self.once(self.client, "GET", "/v1/users/" + user.id)
        if reply is None or reply.status in TEMPORARY:
            return
        if reply.status != (404 if user.deleted else 200):
            self.tally.fail(f"GET of {'deleted ' if user.deleted else ''}{user.id}: {reply}")
        elif not user.deleted and (reply.json["version"], reply.json["name"]) != (user.version, user.name):
            self.tally.fail(f"GET of {user.id} is not version {user.version}: {reply}")

    def sign_in(self):
        if self.signer is None:
            self.signer = self.make_user(password=PASSWORD)
            return
        tokens = self.write("POST", "/v1/sessions", {"login_id": self.signer.email, "password": PASSWORD}, 201)
        if tokens:
            self.sessions.append(Session(self.signer, tokens))

    def open_sessions(self):
        return [session for session in self.sessions if not session.ended]

    def present(self, session, token, client=None):
        return self.until_known("POST", "/v1/sessions/refresh", {"refresh_token": token}, client=client)

    def refresh(self):
        """Rotates a token, at times with two callers at once: all answers must name one and the same successor."""
        if not self.open_sessions():
            return
        session = self.random.choice(self.open_sessions())
        token, answers = session.newest, []
        clients = [self.client, self.second] if self.random.random() < 0.4 else [self.client]
        threads = [threading.Thread(target=lambda c=c: answers.append(self.present(session, token, c))) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        began = min(answer[2] for answer in answers)
        successors = {reply.json["refresh_token"] for reply, _, _ in answers if reply.status == 200}
        late = time.monotonic() - began > REPLAY_SECONDS
        if len(successors) > 1:
            self.tally.fail(f"two successors of one refresh token of {session.id}")
        for reply, _, _ in answers:
            if reply.status == 401 and late:
                session.ended = "late"
            elif reply.status != 200:
                self.tally.fail(f"refresh of {session.id}: {reply}")
                session.ended = "unknown"
        if successors and not session.ended:
            session.older.append(token)
            session.newest = successors.pop()
            self.tally.acknowledge(began, any(unknown for _, unknown, _ in answers), "refresh")

    def end_session(self):
        if len(self.open_sessions()) < 2:
            return
        session = self.random.choice(self.open_sessions())
        if self.write("DELETE", "/v1/sessions/" + session.id, None, 204) is not None:
            session.ended, session.ended_at = "by us", time.monotonic()

    def look_at_ended(self):
        """A session that was ended more than a second ago is refused everywhere, whatever was restarted since."""
        ended = [session for session in self.sessions if session.ended == "by us" and time.monotonic() - session.ended_at > 1]
        if not ended:
            return
        session = self.random.choice(ended)
        reply = self.once(self.client, "POST", "/v1/tokens/introspect", {"token": session.access})
        if reply is not None and reply.status not in TEMPORARY and (reply.status != 200 or reply.json["active"] is not False):
            self.tally.fail(f"introspection of the ended {session.id}, {time.monotonic() - session.ended_at:.1f} s after: {reply}")
        reply = self.once(self.client, "POST", "/v1/sessions/refresh", {"refresh_token": session.newest})
        if reply is not None and reply.status not in TEMPORARY and reply.status != 401:
            self.tally.fail(f"refresh of the ended {session.id}: {reply}")

    # ---- the thread ----

    def run(self):
        steps, weights = zip(*self.steps)
        try:
            while not self.halt.is_set():
                self.random.choices(steps, weights)[0]()
                if self.pause:
                    time.sleep(self.pause)
        except Exception as error:  # noqa: BLE001: a writer that died silently would check nothing
            self.tally.fail(f"a writer died: {error!r}")
        finally:
            self.client.close()
            self.second.close()


class Workload:
    """Writers on one project. As a context: they end, and every call of theirs is known, when it is left."""

    def __init__(self, port, client, writers=16, seed=1, **options):
        self.tally = Tally()
        self.writers = [Writer(port, client.key, self.tally, seed * 1000 + i, **options) for i in range(writers)]

    def __enter__(self):
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_):
        for writer in self.writers:
            writer.halt.set()
        for writer in self.writers:
            writer.join(60)
        assert not any(writer.is_alive() for writer in self.writers), "a call is not answered even without faults"

    @property
    def users(self):
        return [user for writer in self.writers for user in writer.users]

    @property
    def sessions(self):
        return [session for writer in self.writers for session in writer.sessions]

    def acknowledged(self):
        with self.tally.lock:
            return len(self.tally.acknowledged)
