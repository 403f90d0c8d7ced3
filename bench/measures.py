"""The measurements, in the order in which they run. Each takes the world and returns rows of the table."""
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from world import (denizen, HELPERS, PASSWORD, READ_USERS, SIGN_IN_USERS, helper, quantile, read_user_id, rss_bytes, run, say)

MB = 1024 * 1024


def row(work, denizen, limit="–", ratio=None, line="–", p50_ms=None, p99_ms=None, met=None, note="", raw=None):
    """One row; met is None where there is no line to meet."""
    return {"work": work, "denizen": denizen, "limit": limit, "ratio": ratio, "line": line, "p50_ms": p50_ms, "p99_ms": p99_ms,
            "met": met, "note": note, "raw": raw}


def rate(value):
    return f"{value:,.0f}/s" if value >= 1000 else f"{value:.1f}/s"


def memory_idle(world):
    """Before any load: what all processes but Postgres hold."""
    time.sleep(2)
    sizes = {name: rss_bytes(pid) for name, pid in world.pids().items()}
    total = sum(sizes.values()) / MB
    parts = ", ".join(f"{name} {size / MB:.1f}" for name, size in sizes.items())
    return [row("all processes idle, without Postgres (RSS)", f"{total:.1f} MB", line="≤ 60 MB", met=total <= 60, note=parts,
                raw={name: size for name, size in sizes.items()})]


def memory_again(world):
    """The same after all load: what was touched and is not needed goes back."""
    time.sleep(4)
    sizes = {name: rss_bytes(pid) for name, pid in world.pids().items()}
    return [row("the same, idle again after all measurements (RSS)", f"{sum(sizes.values()) / MB:.1f} MB",
                note=", ".join(f"{name} {size / MB:.1f}" for name, size in sizes.items()), raw=sizes)]


# ---- import, and the data of the other measurements ----

def import_file(world, number, rows, prefix, password_hash):
    path = world.files / f"import{number}.ndjson"
    with path.open("w") as file:
        for i in range(rows):
            file.write(json.dumps({"email": f"{prefix}{i}@bench.example", "name": f"Import User {i}",
                                   "external_id": f"{prefix}{i}", "password_hash": password_hash}) + "\n")
    return path


def curl_import(world, path):
    headers = world.files / "headers"
    headers.touch(mode=0o600)
    headers.write_text(f"Authorization: Bearer {world.key}\nContent-Type: application/x-ndjson\nExpect:\n")
    results = world.files / "import.results"
    run(["curl", "-sS", "-f", "-N", "-X", "POST", "-T", path, "-H", f"@{headers}", "-o", results,
         f"http://127.0.0.1:{world.port}/v1/users/import"], timeout=300)
    return results


class PeakMemory:
    """Samples the summed RSS of some processes until the block ends."""

    def __init__(self, pids):
        self.pids, self.peak, self.ended = pids, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.sample)
        self.thread.start()
        return self

    def sample(self):
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, sum(rss_bytes(pid) for pid in self.pids))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def import_users(world):
    """The API's import against COPY of the very same rows into copies of the tables."""
    rows = 8_000 if world.quick else 25_000
    password_hash = run([HELPERS / "bench-argon2", "hash", PASSWORD]).strip()
    world.psql_file("tables")
    pids = world.pids()
    peaks, before = [], rss_bytes(pids["gateway.1"]) + rss_bytes(pids["identity.1"])

    def by_denizen(number):
        path = import_file(world, number, rows, f"import{number}-", password_hash)
        with PeakMemory([pids["gateway.1"], pids["identity.1"]]) as memory:
            start = time.monotonic()
            results = curl_import(world, path)
            took = time.monotonic() - start
        peaks.append(memory.peak)
        created = sum('"status":"created"' in line for line in results.open())
        assert created == rows, f"{created} of {rows} rows were imported"
        say(f"import {number + 1}: {rows / took:,.0f} rows/s")
        world.suite.settle()
        return {"rate": rows / took}

    def by_copy(number):
        users, logins = world.files / "users.copy", world.files / "logins.copy"
        chosen = f"project_id = '{world.project_uuid}' AND email LIKE 'import{number}-%'"
        world.psql(f"\\copy (SELECT * FROM identity.users WHERE {chosen} ORDER BY user_id) TO '{users}'")
        world.psql(f"\\copy (SELECT project_id, email, user_id FROM identity.users WHERE {chosen} ORDER BY user_id) TO '{logins}'")
        start = time.monotonic()
        world.psql(f"\\copy bench.users FROM '{users}'")
        world.psql(f"\\copy bench.login_id FROM '{logins}'")
        return {"rate": rows / (time.monotonic() - start)}

    figures = world.measure_pairs(by_denizen, by_copy)
    signin = import_file(world, 9, SIGN_IN_USERS, "signin", password_hash)
    curl_import(world, signin)
    peak = max(peaks) / MB
    note = f"{rows:,} rows each; COPY of the same rows into users and login_id with the same six indexes; before the import {before / MB:.1f} MB"
    return [row("import users with hashed passwords", rate(figures["rate"]), rate(figures["limit"]), figures["ratio"],
                "≥ 0.50", met=figures["ratio"] >= 0.5, note=note, raw=figures),
            row("memory of gateway and identity at import (RSS)", f"{peak:.1f} MB", line="≤ 64 MB", met=peak <= 64, raw=peaks)]


def prepare_data(world):
    """100,000 users with ids that can be computed, the size of an event, tokens; everything vacuumed once."""
    world.psql_file("users", project=world.project_uuid, count=READ_USERS)
    (world.files / "ids").write_text("".join(read_user_id(i) + "\n" for i in range(1, READ_USERS + 1)))
    reply = world.client().post("/v1/users", {"email": "size@bench.example", "name": "Bench User 1234567"})
    assert reply.status == 201, reply
    world.suite.settle()
    world.event_bytes = int(world.psql(f"SELECT octet_length(event) FROM audit.event WHERE subject = '{reply.json['id']}'")[0])
    world.reply_bytes = int(world.psql("SELECT octet_length(reply) FROM identity.operation WHERE method = 1020 "
                                       "ORDER BY at_us DESC LIMIT 1")[0])
    world.psql("VACUUM ANALYZE")
    world.psql("CHECKPOINT")


def sign_in_all(world, count):
    """Tokens of `count` users, by 16 clients."""
    local = threading.local()

    def sign_in(number):
        if not hasattr(local, "client"):
            local.client = world.client()
        reply = local.client.post("/v1/sessions", {"email": f"signin{number}@bench.example", "password": PASSWORD})
        assert reply.status == 201, reply
        return reply.json

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(sign_in, range(count)))


# ---- reads, hop, tokens ----

def read_user(world):
    seconds = world.seconds(4)
    variables = {"BENCH_IDS": world.files / "ids"}
    world.wrk("read", 32, 1, **variables)
    figures = world.measure_pairs(
        lambda _: world.wrk("read", 32, seconds, **variables),
        lambda _: world.pgbench("read_user", seconds, project=world.project_uuid, count=READ_USERS))
    spread = statistics.median(a["p99_ms"] / a["p50_ms"] for a, _ in figures["pairs"])
    return [row("read a user by id, 32 connections", rate(figures["rate"]), rate(figures["limit"]), figures["ratio"],
                "≥ 0.45; p99 ≤ 3 × p50", figures["p50_ms"], figures["p99_ms"],
                met=figures["ratio"] >= 0.45 and spread <= 3, note=f"limit: pgbench select-only; p99/p50 {spread:.1f}", raw=figures)]


def hop(world):
    seconds = world.seconds(2)
    figures = world.measure_pairs(lambda _: world.wrk("get", 32, seconds, "/bench/echo"),
                                  lambda _: world.wrk("get", 32, seconds, "/bench/hello"))
    cores = os.cpu_count()
    plain, curve = [], []
    for _ in range(world.pairs):
        plain.append(helper("bench-curve", "plain", "1"))
        curve.append(helper("bench-curve", "curve", "1"))
    extra_us = statistics.median(c["cpu_us"] - p["cpu_us"] for p, c in zip(plain, curve))
    call_us = cores * 1e6 / figures["rate"]
    share = extra_us / call_us
    return [row("the hop alone: echo through a service, 32 connections", rate(figures["rate"]), rate(figures["limit"]),
                figures["ratio"], "≥ 0.50", figures["p50_ms"], figures["p99_ms"], met=figures["ratio"] >= 0.5,
                note="limit: the gateway's own hello", raw=figures),
            row("what CURVE costs of the hop (estimate)", f"{share:.1%}", line="≤ 10 %", met=share <= 0.10,
                note=f"bare ROUTER/DEALER echo with CURVE takes {extra_us:.1f} µs more processor time a call; an echo takes "
                     f"{call_us:.0f} µs of all cores, CURVE included", raw={"plain": plain, "curve": curve})]


def refresh_often(world, token, times):
    """Refreshes a session some times; returns the access tokens and the last refresh token."""
    client, access = world.client(), []
    for _ in range(times):
        reply = client.post("/v1/sessions/refresh", {"refresh_token": token})
        assert reply.status == 200, reply
        token = reply.json["refresh_token"]
        access.append(reply.json["access_token"])
    client.close()
    return access, token


def tokens(world):
    """Introspection of 1,000 tokens, then refreshing; leaves sessions for the measurement of revocation."""
    sessions = 250
    world.revocable = sign_in_all(world, sessions)
    with ThreadPoolExecutor(8) as pool:
        refreshed = list(pool.map(lambda reply: refresh_often(world, reply["refresh_token"], 3), world.revocable))
    access = [reply["access_token"] for reply in world.revocable] + [token for more, _ in refreshed for token in more]
    assert len(set(access)) == 1000
    (world.files / "tokens").write_text("\n".join(access) + "\n")
    (world.files / "refresh").write_text("\n".join(token for _, token in refreshed) + "\n")
    return introspect(world) + refresh_tokens(world)


def introspect(world):
    seconds = world.seconds(3)
    figures = world.measure_pairs(lambda _: world.wrk("introspect", 32, seconds, BENCH_TOKENS=world.files / "tokens"),
                                  lambda _: world.wrk("get", 32, seconds, "/bench/hello"))
    return [row("check a token (introspect), 1,000 tokens in turn", rate(figures["rate"]), rate(figures["limit"]),
                figures["ratio"], "≥ 20,000/s", figures["p50_ms"], figures["p99_ms"], met=figures["rate"] >= 20000,
                note="limit: the gateway's own hello", raw=figures)]


def refresh_tokens(world):
    seconds = world.seconds(3)
    figures = world.measure_pairs(lambda _: world.wrk("refresh", 32, seconds, BENCH_REFRESH=world.files / "refresh"),
                                  lambda _: world.write_limit(seconds))
    return [row("refresh a token, durable, 32 connections", rate(figures["rate"]), rate(figures["limit"]), figures["ratio"],
                "≥ 2,000/s and ≥ 0.25", figures["p50_ms"], figures["p99_ms"],
                met=figures["rate"] >= 2000 and figures["ratio"] >= 0.25, note="limit: the one-statement write", raw=figures), *signatures(figures)]


def signatures(refreshed):
    """What one core signs when it does nothing else, beside the refreshes, of which each signs a token."""
    if not shutil.which("openssl"):
        return []
    signs = float(run(["openssl", "speed", "-seconds", "1", "ecdsap256"], stdin=subprocess.DEVNULL).split()[-2])
    return [row("signatures that refreshing stands on (ES256, one core)", rate(refreshed["rate"]), rate(signs),
                refreshed["rate"] / signs, note="limit: openssl speed ecdsap256")]


def create_user(world):
    seconds, lags = world.seconds(3), []

    def by_denizen(number):
        figures = world.wrk("create", 32, seconds, BENCH_PREFIX=f"create{number}-")
        start = time.monotonic()
        world.suite.settle()
        lags.append(time.monotonic() - start)
        return {**figures, "answered": figures["rate"], "rate": figures["requests"] / (figures["seconds"] + lags[-1])}

    figures = world.measure_pairs(by_denizen, lambda _: world.write_limit(seconds))
    answered = statistics.median(a["answered"] for a, _ in figures["pairs"])
    note = (f"until every event is in the ledger; answered at {rate(answered)}, the ledger {statistics.median(lags):.2f} s behind; "
            "limit: the one-statement write")
    return [row("create a user (row, outbox, ledger), durable, 32 connections", rate(figures["rate"]), rate(figures["limit"]),
                figures["ratio"], "≥ 0.40", figures["p50_ms"], figures["p99_ms"], met=figures["ratio"] >= 0.40, note=note,
                raw=figures)]


# ---- passwords ----

def sign_in(world):
    seconds, cores = world.seconds(4), os.cpu_count()
    variables = {"BENCH_USERS": SIGN_IN_USERS - 1, "BENCH_PASSWORD": PASSWORD}
    figures = world.measure_pairs(lambda _: world.wrk("sign_in", 12, seconds, **variables),
                                  lambda _: helper("bench-argon2", "rate", seconds, cores))
    return [row("sign in with a password, 12 connections", rate(figures["rate"]), rate(figures["limit"]), figures["ratio"],
                "≥ 0.85", figures["p50_ms"], figures["p99_ms"], met=figures["ratio"] >= 0.85,
                note=f"limit: Argon2id alone on {cores} threads", raw=figures)] + storm(world, variables)


def storm(world, variables):
    seconds, ids = world.seconds(4), {"BENCH_IDS": world.files / "ids"}
    signed_in = []

    def under_storm(_):
        background = world.wrk_start("sign_in", 12, seconds + 2, **variables)
        time.sleep(1)
        figures = world.wrk("read", 32, seconds, **ids)
        signed_in.append(world.wrk_end(background)["rate"])
        return figures

    figures = world.measure_pairs(under_storm, lambda _: world.wrk("read", 32, seconds, **ids))
    return [row("reads during a storm of sign-ins, 32 connections", rate(figures["rate"]), rate(figures["limit"]),
                figures["ratio"], "≥ 0.75; p99 ≤ 15 ms", figures["p50_ms"], figures["p99_ms"],
                met=figures["ratio"] >= 0.75 and figures["p99_ms"] <= 15,
                note=f"limit: the same reads without sign-ins; sign-ins meanwhile {rate(statistics.median(signed_in))}",
                raw=figures)]


# ---- latency of events and revocation ----

def feed(world):
    """A subscriber of the C library while users are created at 1,000 a second, whatever the answers take."""
    if not (HELPERS / "bench-feed").exists():
        return [row("commit to subscriber at 1,000 writes/s", "not measured", note="libczmq is missing")]
    seconds = world.seconds(10)
    maker = world.suite.new_project("bench-feed")
    world.suite.launcher("subscriber", "create", "bench", "--project", maker.project_id)
    bus = world.suite.data / "bus"
    subscriber = subprocess.Popen([HELPERS / "bench-feed", f"127.0.0.1:{world.port + 140}", bus / "public/audit.pub",
                                   bus / "public/bench.pub", bus / "secret/bench.key", maker.project_id],
                                  stdout=subprocess.PIPE, text=True)
    try:
        assert subscriber.stdout.readline() == "ready\n"
        created = helper("bench-open-loop", world.port, 1000, seconds, "feed", env={**os.environ, "BENCH_KEY": maker.key})
        world.suite.settle()
        time.sleep(1)
        subscriber.send_signal(signal.SIGTERM)
        seen = json.loads(subscriber.communicate(timeout=10)[0])
    finally:
        if subscriber.poll() is None:
            subscriber.kill()
            subscriber.wait()
    assert created["failed"] == 0, created
    assert seen["events"] == created["sent"], f"{created} were created, the subscriber saw {seen}"
    p50, p99 = seen["p50_us"] / 1e3, seen["p99_us"] / 1e3
    note = (f"{seen['events']:,} events, from the change's time stamp before its commit to the C library's callback; max "
            f"{seen['max_us'] / 1e3:.1f} ms; the writes' own p99 {created['p99_us'] / 1e3:.1f} ms")
    return [row("commit to subscriber at 1,000 writes/s, open loop", f"{p99:.1f} ms", line="p99 ≤ 20 ms", p50_ms=p50, p99_ms=p99,
                met=p99 <= 20, note=note, raw={"created": created, "seen": seen})]


def revocation(world):
    """Ends a session, or all of a user, and asks at two gateways every 5 ms whether its token is still good."""
    count, times = 60 if world.quick else 200, []
    with world.second_gateway() as port:
        revoker, askers = world.client(), [world.client(), denizen.Client(port, key=world.key, check=False)]

        def active(asker, token):
            reply = asker.post("/v1/tokens/introspect", {"token": token})
            assert reply.status == 200, reply
            return reply.json["active"]

        for number, reply in enumerate(world.revocable[:count]):
            session, token = reply["session"], reply["access_token"]
            path = f"/v1/sessions/{session['id']}" if number % 2 else f"/v1/users/{session['user_id']}/sessions"
            assert all(active(asker, token) for asker in askers)
            start = time.monotonic()
            assert revoker.delete(path).status == 204
            left = list(askers)
            while left := [asker for asker in left if active(asker, token)]:
                assert time.monotonic() - start < 10, "the token is still good after 10 s"
                time.sleep(0.005)
            times.append((time.monotonic() - start) * 1e3)
    p50, p99 = quantile(times, 0.5), quantile(times, 0.99)
    return [row("revocation to refusal at every gateway", f"{p99:.1f} ms", line="p99 ≤ 250 ms, max ≤ 1 s", p50_ms=p50, p99_ms=p99,
                met=p99 <= 250 and max(times) <= 1000,
                note=f"{count} revocations, from sending to refusal at the later of two gateways; max {max(times):.0f} ms", raw=times)]


@contextlib.contextmanager
def locked_ledger(world):
    """Nothing can be appended: audit's table can be read only."""
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'audit.event'::regclass AND mode = 'ShareLock' AND granted;"
    lock = world.suite.postgres("psql", "-qAtX", "-c", "BEGIN; LOCK TABLE audit.event IN SHARE MODE; SELECT pg_sleep(300)",
                                runner=subprocess.Popen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        denizen.eventually(lambda: world.suite.ask(held) == "1")
        yield
    finally:
        world.suite.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'audit.event'::regclass AND mode = 'ShareLock'")
        lock.wait()


@contextlib.contextmanager
def crowd_of_creates(world):
    """600 connections create users as fast as they are served."""
    crowd = world.wrk_start("create", 600, 120, BENCH_PREFIX=f"crowd{time.time_ns()}")
    try:
        time.sleep(2)
        yield
    finally:
        crowd.terminate()
        crowd.communicate()


def time_of_revocation(world, tokens, way):
    """Milliseconds from the answer to the last time that the token was believed."""
    client, session, deadline = world.client(), tokens["session"], time.monotonic() + 30
    path = f"/v1/sessions/{session['id']}" if way else f"/v1/users/{session['user_id']}/sessions"
    while (reply := client.delete(path)).status != 204:
        assert reply.status in (429, 503, 504) and time.monotonic() < deadline, reply
    last = done = time.monotonic()
    while (reply := client.post("/v1/tokens/introspect", {"token": tokens["access_token"]})).status != 200 or reply.json["active"]:
        assert reply.status in (200, 429, 503, 504), reply
        last = time.monotonic() if reply.status == 200 else last
        assert last - done < 60, "the token is still good after a minute"
        time.sleep(0.005)
    return (last - done) * 1e3


def revocation_disturbed(world):
    """The same while the ledger cannot be written, or not in time. A full disk is in tests/fault."""
    rows, count = [], 30
    for what, disturbance in (("the ledger's table locked", locked_ledger), ("600 connections creating users", crowd_of_creates)):
        victims = sign_in_all(world, count)
        with disturbance(world):
            times = [time_of_revocation(world, tokens, number % 2) for number, tokens in enumerate(victims)]
        denizen.eventually(lambda: world.suite.ask("SELECT count(*) FROM identity.outbox;") == "0", 120)
        rows.append(row(f"revocation to refusal, {what}", f"{max(times):.0f} ms", line="max ≤ 1 s", p50_ms=quantile(times, 0.5),
                        p99_ms=quantile(times, 0.99), met=max(times) <= 1000,
                        note=f"{count} sessions ended or users signed out; from the answer to the last time that the token was believed", raw=times))
    return rows


# ---- idle connections, start ----

def keep_alive_get(connection, path="/healthz"):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    data = connection.recv(65536)
    assert data.startswith(b"HTTP/1.1 200"), data[:100]


def idle_connections(world):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
    idle, times = [], []
    try:
        for _ in range(1000):
            connection = socket.create_connection(("127.0.0.1", world.port), timeout=10)
            keep_alive_get(connection)
            idle.append(connection)
        for _ in range(100):
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
                keep_alive_get(connection)
            times.append((time.monotonic() - start) * 1e3)
        memory = rss_bytes(world.pids()["gateway.1"]) / MB
    finally:
        for connection in idle:
            connection.close()
    return [row("the next request beside 1,000 idle connections", f"{max(times):.1f} ms", line="≤ 100 ms",
                p50_ms=quantile(times, 0.5), p99_ms=quantile(times, 0.99), met=max(times) <= 100,
                note=f"the slowest of 100 on new connections; gateway then {memory:.1f} MB RSS", raw=times)]


def boot_clock():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def started_at(pid):
    """When a process started, on the boot clock."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")


def ready_at(port, ended):
    """Asks /readyz every 2 ms; the time of the first 200 on the boot clock."""
    while not ended.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return boot_clock()
        except OSError:
            pass
        time.sleep(0.002)
    return None


def start_once(world):
    world.suite.launcher("down")
    ended, found = threading.Event(), []
    watcher = threading.Thread(target=lambda: found.append(ready_at(world.port, ended)))
    watcher.start()
    start = time.monotonic()
    world.suite.launcher("up", "--detach")
    wall = time.monotonic() - start
    ended.set()
    watcher.join()
    status = json.loads((world.suite.data / "run/status.json").read_text())
    first = min(started_at(process["pid"]) for process in status["processes"])
    return wall, found[0] - first


def start_time(world):
    world.psql("CHECKPOINT")
    times = [start_once(world) for _ in range(3)]
    wall, ready = (statistics.median(values) for values in zip(*times))
    return [row("./denizen up on a built tree with existing data", f"{wall:.2f} s", line="≤ 3 s", met=wall <= 3, raw=times),
            row("from the first process's start to ready", f"{ready * 1e3:.0f} ms", line="≤ 500 ms", met=ready <= 0.5,
                note="Postgres is one of the processes")]


# Name, function; prepare_data makes what the later ones need.
MEASURES = {"memory": memory_idle, "import": import_users, "prepare": prepare_data, "hop": hop, "read": read_user,
            "tokens": tokens, "revocation": revocation, "revocation_disturbed": revocation_disturbed, "create": create_user, "sign_in": sign_in, "feed": feed,
            "idle": idle_connections, "memory_again": memory_again, "start": start_time}
