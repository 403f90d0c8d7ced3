"""Attacks: on the bus with and without keys, between projects, by key holders who want more than they were given."""
import ctypes
import json
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from denizen import ROOT, Client, eventually
from helpers import PASSWORD, address, good, made, new_session, new_user, refused, sign_in, unique

# ---- the bus by hand: libzmq through ctypes, protobuf by bytes

ZMQ = ctypes.CDLL("libzmq.so.5")
ZMQ.zmq_ctx_new.restype = ZMQ.zmq_socket.restype = ctypes.c_void_p
CONTEXT = ctypes.c_void_p(ZMQ.zmq_ctx_new())
ROOM = ctypes.create_string_buffer(4 << 20)
SUB, DEALER = 2, 5
IDENTITY, SUBSCRIBE, LINGER, RCVTIMEO, SNDTIMEO, CURVE_PUBLIC, CURVE_SECRET, CURVE_SERVER = 5, 6, 17, 27, 28, 48, 49, 50
SNDMORE, RCVMORE = 2, 13


def varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def framed(header, body=b""):
    """One frame of the bus (common/bus/bus_frame.h)."""
    return varint(len(header)) + header + body


def unframed(frame):
    """Header and body of a frame."""
    length = at = 0
    while True:
        byte = frame[at]
        length |= (byte & 0x7f) << 7 * at
        at += 1
        if byte < 0x80:
            return frame[at:at + length], frame[at + length:]


def fields_of(data):
    """The fields of a protobuf message: {number: last value}."""
    fields, at = {}, 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(data):
        tag = take()
        if tag & 7 == 0:
            fields[tag >> 3] = take()
        elif tag & 7 == 1:
            fields[tag >> 3], at = data[at:at + 8], at + 8
        elif tag & 7 == 2:
            length = take()
            fields[tag >> 3], at = data[at:at + length], at + length
        else:
            raise ValueError(tag)
    return fields


def uuid_of(text):
    """The 16 bytes of an id such as usr_..."""
    value = 0
    for char in text.split("_")[1]:
        value = value << 5 | "0123456789abcdefghjkmnpqrstvwxyz".index(char)
    return value.to_bytes(16, "big")


class Peer:
    """A socket on the bus with the keys of a process, of nobody, or with none at all."""

    def __init__(self, suite, service, keys=None, kind=DEALER, route=None):
        self.socket = ctypes.c_void_p(ZMQ.zmq_socket(CONTEXT, kind))
        self.calls = random.getrandbits(32)
        for option in (RCVTIMEO, SNDTIMEO):
            self.option(option, struct.pack("i", 3000))
        self.option(LINGER, struct.pack("i", 0))
        if route:
            self.option(IDENTITY, route)
        if kind == SUB:
            self.option(SUBSCRIBE, b"")
        if keys:
            self.option(CURVE_PUBLIC, keys[0].encode() + b"\0")
            self.option(CURVE_SECRET, keys[1].encode() + b"\0")
            self.option(CURVE_SERVER, (suite.data / f"bus/public/{service}.pub").read_bytes().strip() + b"\0")
        assert ZMQ.zmq_connect(self.socket, bus_endpoint(suite, service, kind == SUB).encode()) == 0

    def option(self, name, value):
        assert ZMQ.zmq_setsockopt(self.socket, name, value, ctypes.c_size_t(len(value))) == 0

    def send(self, *frames):
        return all(ZMQ.zmq_send(self.socket, frame, ctypes.c_size_t(len(frame)), SNDMORE if i < len(frames) - 1 else 0) >= 0
                   for i, frame in enumerate(frames))

    def receive(self, timeout_ms=3000):
        """The frames of the next message, or None."""
        self.option(RCVTIMEO, struct.pack("i", timeout_ms))
        frames, more = [], 1
        while more:
            length = ZMQ.zmq_recv(self.socket, ROOM, ctypes.c_size_t(len(ROOM)), 0)
            if length < 0:
                return None
            frames.append(ctypes.string_at(ROOM, length))
            flag, size = ctypes.c_int(0), ctypes.c_size_t(4)
            ZMQ.zmq_getsockopt(self.socket, RCVMORE, ctypes.byref(flag), ctypes.byref(size))
            more = flag.value
        return frames

    def call(self, method, body=b"", project=None, actor=None):
        """Sends a request; gives the reply's status, header fields and body, or None when nobody answers."""
        self.calls += 1
        header = (number(1, 1) + number(2, 1) + varint(3 << 3 | 1) + struct.pack("<Q", self.calls) + number(4, method) +
                  number(5, 2000) + number(6, 1) + block(7, random.randbytes(16)) + (block(10, project) if project else b"") +
                  (block(11, actor) if actor else b""))
        if not self.send(framed(header, body)):
            return None
        until = time.monotonic() + 3
        while time.monotonic() < until:
            frames = self.receive()
            if frames is None:
                return None
            head, reply = unframed(frames[0])
            fields = fields_of(head)
            if fields.get(2) == 2 and struct.unpack("<Q", fields[3])[0] == self.calls:
                return fields.get(20, 0), fields, reply
        return None

    def close(self):
        ZMQ.zmq_close(self.socket)


def bus_endpoint(suite, service, is_pub=False):
    """Where the first replica listens: audit at its port for subscribers, the others at their Unix socket."""
    plan = (suite.data / "run/plan").read_text()
    endpoints = re.search(rf"process {service}\.1\n.*?DENIZEN_BUS_LISTEN=(\S+)", plan, re.S).group(1).split(",")
    if endpoints[-1].startswith("ipc://"):
        return endpoints[-1] + (".pub" if is_pub else "")
    host, port = endpoints[-1].split(":")
    return f"tcp://{host}:{int(port) + (1000 if is_pub else 0)}"


def connected(endpoint):
    """A bare connection to an endpoint of ZeroMQ."""
    kind, address = endpoint.split("://")
    if kind == "tcp":
        host, port = address.split(":")
        return socket.create_connection((host, int(port)), timeout=2)
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(2)
    raw.connect(address)
    return raw


def keys_of(suite, process):
    return (suite.data / f"bus/public/{process}.pub").read_text().strip(), (suite.data / f"bus/secret/{process}.key").read_text().strip()


def new_keys():
    public, secret = ctypes.create_string_buffer(41), ctypes.create_string_buffer(41)
    assert ZMQ.zmq_curve_keypair(public, secret) == 0
    return public.value.decode(), secret.value.decode()


def status_number(name):
    """The number of a status in proto/errors.txt."""
    for line in (ROOT / "proto/errors.txt").read_text().splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == name:
            return int(words[0])
    raise KeyError(name)


def method_number(name):
    for path in (ROOT / "proto").glob("*.proto"):
        found = re.search(rf"@id (\d+)[^\n]*\n\s*rpc {name}\(", path.read_text())
        if found:
            return int(found.group(1))
    raise KeyError(name)


def subscriber(suite, project=None):
    name = unique("eve")
    suite.launcher("subscriber", "create", name, *(["--project", project] if project else []))
    return keys_of(suite, name)


def pids(suite):
    return {process["name"]: process["pid"] for process in suite.status()["processes"]}


def rss_mb(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4 / 1024


SERVICES = ["identity", "claims", "session", "audit"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_bus_answers_its_processes(suite, service):
    """The tests below would otherwise pass with a peer that never gets through."""
    peer = Peer(suite, service, keys_of(suite, "gateway"))
    status, _, body = peer.call(1, block(1, "hello"))
    assert status == 0 and fields_of(body)[1] == b"hello"
    peer.close()


@pytest.mark.parametrize("service", SERVICES)
def test_the_bus_answers_nobody_else(suite, service):
    strangers = [Peer(suite, service), Peer(suite, service, new_keys()),
                 Peer(suite, service, (keys_of(suite, "gateway")[0], new_keys()[1])),
                 Peer(suite, service, new_keys(), kind=SUB), Peer(suite, service, kind=SUB)]
    for peer in strangers[:3]:
        peer.option(SNDTIMEO, struct.pack("i", 300))
        peer.option(RCVTIMEO, struct.pack("i", 300))
        peer.send(framed(number(1, 1) + number(2, 5)))
    for peer in strangers:
        assert peer.receive(400) is None
        peer.close()


NOT_FOR_THE_GATEWAY = [("identity", "VerifyPassword"), ("identity", "GetAuthorization"), ("identity", "RevokeTokens"),
                       ("claims", "Mint"), ("audit", "Append")]


@pytest.mark.parametrize("service, method", NOT_FOR_THE_GATEWAY)
def test_a_gateway_that_was_taken_over_gets_no_further(suite, project, service, method):
    peer = Peer(suite, service, keys_of(suite, "gateway"))
    answer = peer.call(method_number(method), b"", uuid_of(project.project_id))
    assert answer and answer[0] == status_number("permission_denied"), answer
    peer.close()


def test_a_gateway_names_the_key_for_whom_it_makes_keys(suite, project):
    """B3 of the bus: without the key that asks, and with one of another project, no key is made or rotated."""
    mine = made(project.post("/v1/keys", {"scopes": ["*"]}))
    foreign = made(suite.new_project().post("/v1/keys", {"scopes": ["*"]}))
    peer = Peer(suite, "identity", keys_of(suite, "gateway"))
    for actor in (None, "", "key_", foreign["id"], "usr_" + foreign["id"][4:]):
        for name, body in (("CreateKey", block(3, "*")), ("RotateKey", block(1, mine["id"]))):
            answer = peer.call(method_number(name), body, uuid_of(project.project_id), actor)
            assert answer and answer[0] == status_number("permission_denied"), (actor, name, answer)
    peer.close()


def test_a_subscriber_reads_events_and_nothing_else(suite, project):
    keys = subscriber(suite)
    for service in SERVICES:
        peer = Peer(suite, service, keys)
        for name in ("Echo", "Metrics", "ListUsers", "CreateKey", "CreateSession", "GetJwks", "Verify", "ReadStream", "Append"):
            answer = peer.call(method_number(name), b"", uuid_of(project.project_id))
            assert answer and answer[0] in (status_number("permission_denied"), status_number("unimplemented")), (service, name, answer)
        peer.close()


def test_a_subscriber_of_one_project_reads_no_other(suite):
    mine, theirs = suite.new_project(), suite.new_project()
    suite.settle()
    peer = Peer(suite, "audit", subscriber(suite, mine.project_id))
    read = method_number("ReadEvents")
    asked = [field for field, name in _fields("audit", "ReadEventsRequest") if name == "project_id"][0]
    status, _, body = peer.call(read)
    assert status == 0 and mine.project_id.encode() in body
    for body, header in ((block(asked, theirs.project_id), None), (block(asked, theirs.project_id), uuid_of(theirs.project_id)),
                         (b"", uuid_of(theirs.project_id))):
        status, _, reply = peer.call(read, body, header)
        assert status == status_number("permission_denied") or theirs.project_id.encode() not in reply, (status, reply)
    peer.close()


def _fields(file, message):
    text = (ROOT / f"proto/{file}.proto").read_text()
    inside = re.search(rf"message {message} {{(.*?)\n}}", text, re.S).group(1)
    return [(int(n), name) for name, n in re.findall(r"(\w+) = (\d+);", inside)]


def garbage(seed):
    """Messages of all wrong shapes, the same in every run."""
    chance = random.Random(seed)
    header = number(1, 1) + number(2, 1) + varint(3 << 3 | 1) + b"12345678" + number(4, 1020) + number(5, 1000)
    yield from ([b""], [b"", b""], [header], [header, b"", b""], [header, *[b"x"] * 30], [b"\xff" * 1000, b"x"], [number(1, 2) + number(2, 1)],
                [header + number(2, 99), b""], [number(1, 1) + number(2, 2)], [number(1, 1) + number(2, 7)], [number(1, 1) + number(2, 4), b"\xff"])
    methods = [1, 2, 1001, 1010, 1014, 1020, 1024, 1025, 1026, 1041, 2001, 2002, 2011, 2020, 3001, 3002, 3003, 3006, 4002, 4003, 4004, 0, 2**32 - 1]
    for _ in range(600):
        head = number(1, 1) + number(2, 1) + varint(3 << 3 | 1) + chance.randbytes(8) + number(4, chance.choice(methods)) + number(
            5, chance.choice([0, 1, 1000, 2**32 - 1]))
        if chance.random() < 0.7:
            head += block(10, chance.randbytes(chance.choice([16, 16, 16, 0, 15, 17])))
        if chance.random() < 0.3:
            head += block(11, chance.choice([b"\xff\xfe", b"key_" + b"0" * 26, b"x" * 100000, b"a\0b"]))
        if chance.random() < 0.3:
            head = bytes(b if chance.random() > 0.05 else chance.getrandbits(8) for b in head)
        body = chance.choice([chance.randbytes(chance.randrange(0, 300)), block(1, chance.randbytes(40)),
                              block(1, b"\0") * 50, block(chance.randrange(1, 20), "x" * chance.randrange(0, 3000)) * chance.randrange(1, 20),
                              number(chance.randrange(1, 20), 2**64 - 1) * 5, b"\x0a" + b"\xff" * 9 + b"\x01"])
        yield chance.choice([[framed(head, body)], [framed(head, body)], [framed(head, body)], [head, body], [framed(head), body],
                             [varint(chance.choice([len(head) + len(body) + 1, 2**21, 2**31, 2**63])) + head + body], [b""], [b"\xff"]])


@pytest.mark.parametrize("service", SERVICES)
def test_garbage_from_a_process_harms_no_service(suite, service):
    before = pids(suite)
    for keys in (keys_of(suite, "gateway"), subscriber(suite)):
        peer = Peer(suite, service, keys)
        for message in garbage(service):
            peer.send(*message)
            while peer.receive(0):
                pass
        peer.close()
    peer = Peer(suite, service, keys_of(suite, "gateway"))
    assert eventually(lambda: peer.call(1, block(1, "alive")))[0] == 0
    peer.close()
    assert pids(suite) == before
    suite.settle()  # nothing was written that the ledger refuses for ever


@pytest.mark.parametrize("service", SERVICES)
def test_garbage_from_strangers_harms_no_service(suite, service):
    before = pids(suite)
    chance = random.Random(service)
    greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00"
    for i in range(120):
        with connected(bus_endpoint(suite, service, i % 3 == 0)) as raw:
            raw.sendall(chance.choice([greeting + b"CURVE" + b"\0" * 47, greeting + b"NULL" + b"\0" * 48, greeting + b"PLAIN" + b"\0" * 47, b"GET / HTTP/1.1\r\n\r\n", b""]))
            try:
                raw.sendall(chance.choice([chance.randbytes(500), b"\x04\xc8\x05HELLO\x01\x00" + chance.randbytes(192), b"\x02" + b"\xff" * 8, b"\x06\xff\xff\xff\xff\xff\xff\xff\xff"]))
            except OSError:
                pass  # refused at once
    peer = Peer(suite, service, keys_of(suite, "gateway"))
    assert eventually(lambda: peer.call(1, block(1, "alive")))[0] == 0
    peer.close()
    assert pids(suite) == before


def test_a_message_that_unfolds_is_bounded(suite, project):
    """Four megabytes of empty members would be a hundred of memory for each of many calls at once."""
    pid = pids(suite)["identity.1"]
    peer = Peer(suite, "identity", keys_of(suite, "gateway"))
    before = rss_mb(pid)
    peak = [before]
    done = threading.Event()

    def watch():
        while not done.wait(0.01):
            peak[0] = max(peak[0], rss_mb(pid))
    watcher = threading.Thread(target=watch)
    watcher.start()
    header = number(1, 1) + number(2, 1) + varint(3 << 3 | 1) + b"12345678" + number(5, 2000) + block(10, uuid_of(project.project_id))
    for name, member in (("LookupUsers", b"\x0a\0"), ("ImportUsers", b"\x0a\0"), ("CreateUser", b"\x2a\0"), ("PutAttributeSchema", b"\x0a\0")):
        for _ in range(20):
            assert peer.send(framed(header + number(4, method_number(name)), member * (2 * 1000 * 1000 - 10000)))
    answers = 0
    while answers < 80 and peer.receive(5000):
        answers += 1
    done.set()
    watcher.join()
    peer.close()
    assert answers == 80 and pids(suite)["identity.1"] == pid
    assert peak[0] - before < 400, peak[0] - before


# ---- what the machine's other users see


def test_no_secret_stands_in_a_command_line_while_a_project_is_made(suite):
    """`ps` shows command lines to everybody; the launcher and what it starts are watched while they work."""
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        with open(f"/proc/{name}/cmdline", "rb") as file:
                            seen.add(file.read())
                    except OSError:
                        pass
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        credentials = suite.project("watched")
    finally:
        done.set()
        watcher.join()
    assert any(b"denizen" in line and b"project" in line for line in seen)
    for name in ("management_key", "api_key", "client_secret", "admin_password"):
        assert not [line for line in seen if credentials[name].encode() in line], name
    secrets = {path.name: path.read_bytes().strip() for path in (suite.data / "secrets").iterdir()}
    assert not [name for name, secret in secrets.items() for line in seen if secret in line]


def test_the_launcher_passes_no_secret_as_an_argument():
    """The moments are short: what a test can miss, reading finds."""
    text = "".join(path.read_text() for path in (ROOT / "deploy/launcher").glob("*.sh"))
    assert not re.findall(r"env -i[^\n]*(?:\\\n[^\n]*)*(?:PASSWORD|OWNER|SECRET|KEK)=", text)
    assert not re.findall(r"--arg \w*(?:key|secret|password)\w* ", text.replace("--arg project_id", ""))


def test_a_socket_directory_of_somebody_else_is_not_used(suite, tmp_path):
    """A deep data directory gets its socket under /tmp, where others may have made it before."""
    script = f"""set -eu; . {ROOT}/deploy/launcher/common.sh; . {ROOT}/deploy/launcher/postgres.sh
DATA={tmp_path}/{'d' * 90}; mkdir -p "$DATA"; wanted=$(socket_dir postgres); case $wanted in /tmp/*) ;; *) exit 9;; esac
mkdir "$wanted"; chown nobody "$wanted"; make() {{ make_socket_dir postgres "$(postgres_user)" 755; }}; (make) && exit 8
rmdir "$wanted"; ln -s {tmp_path} "$wanted"; (make) && exit 7
rm "$wanted"; make; make; [ "$(stat -c %U:%a "$wanted")" = "$(postgres_user):755" ] || exit 6; rmdir "$wanted" """
    if os.getuid() != 0:
        pytest.skip("needs a second user")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done


def test_no_process_leaves_a_core(suite):
    for name, pid in pids(suite).items():
        if name == "postgres":
            continue
        limits = open(f"/proc/{pid}/limits").read()
        assert re.search(r"Max core file size\s+0\s+0\s", limits), name
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0, name  # not dumpable: root's, whoever runs it


# ---- costly passwords


def test_a_costly_hash_is_refused_at_import(fresh):
    salt, text = "c29tZXNhbHRzb21lc2FsdA", "bm9ib2R5J3MgcGFzc3dvcmQgaGFzIHRoaXMgaGFzaC4"
    bombs = [f"$argon2id$v=19$m={m},t={t},p={p}${salt}${text}" for m, t, p in
             ((4194304, 1, 1), (262145, 1, 1), (262144, 16, 1), (65536, 17, 1), (19456, 2, 255), (2**32 - 1, 1, 1), (2**32 + 8, 1, 1))]
    bombs += ["$2b$15$" + "a" * 53, "$2b$31$" + "a" * 53, "$6$rounds=999999999$salt$" + "a" * 86, "$5$rounds=200001$salt$" + "a" * 43, "$y$jFT$salt$" + "a" * 43,
              "$scrypt$ln=30,r=8,p=1$" + salt + "$" + text, "$argon2id$" + "v=19$" * 60, "$2b$10$" + "a" * 52 + "\n", "$" * 255]
    lines = "".join(json.dumps({"email": address(), "password_hash": bomb}) + "\n" for bomb in bombs)
    reply = fresh.call("POST", "/v1/users/import", raw=lines.encode(), headers={"Content-Type": "application/x-ndjson"})
    results = [json.loads(line) for line in reply.body.splitlines()]
    assert [(result["status"], result.get("field")) for result in results] == [("error", "password_hash")] * len(bombs)


def test_one_projects_flood_of_sign_ins_leaves_others_their_turn(suite):
    flooder, victim = suite.new_project(), suite.new_project()
    user = new_user(victim, password=PASSWORD)
    targets = [new_user(flooder, password=PASSWORD)["email"] for _ in range(8)]
    stop = threading.Event()

    def flood(i):
        client = Client(suite.port, key=flooder.key)
        while not stop.is_set():
            sign_in(client, targets[i % 8], PASSWORD, ip_address=f"10.{i}.0.1")
        client.close()
    with ThreadPoolExecutor(64) as pool:
        jobs = [pool.submit(flood, i) for i in range(64)]
        try:
            time.sleep(1)
            answers = [sign_in(victim, user["email"]).status for _ in range(8)]
        finally:
            stop.set()
        [job.result() for job in jobs]
    assert answers == [201] * 8


# ---- what answers give away


def test_errors_show_nothing_of_the_inside(suite, project):
    """Provocations of every layer; no words of the database, the bus or the source in the answers."""
    inner = re.compile(rb"select |insert |postgres|psql|libpq|sqlstate|relation|constraint|_pkey|protobuf|zmq|\.c:\d|/work|/home|0x[0-9a-f]{6}", re.I)
    calls = [("GET", "/v1/users?search=%27%20OR%201%3D1--%25_%5C"), ("GET", "/v1/users?after=%27"), ("GET", "/v1/users?limit=99999999999999999999"),
             ("GET", "/v1/users?page=4294967295&limit=1000"), ("GET", "/v1/users/usr_'"), ("GET", "/v1/users?sort=email;drop table users"), ("GET", "/v1/events?after=9223372036854775807"),
             ("GET", "/v1/keys?after=key_%00"), ("DELETE", "/v1/sessions/ses_%22"), ("GET", "/v1/projects/prj_'/jwks.json")]
    for method, path in calls:
        reply = project.call(method, path.replace(" ", "%20"))
        assert 200 <= reply.status < 500 and not inner.search(reply.body), (path, reply)
    for body in ({"email": "a@b.example'; DROP TABLE users;--"}, {"external_id": "\u2028' OR ''='"}, {"login_ids": ["x" * 320] * 100}):
        reply = project.post("/v1/users", body)
        assert reply.status < 500 and not inner.search(reply.body.replace(json.dumps(body).encode()[1:-1], b"")) or reply.status == 201, reply


def test_patterns_match_literally(fresh):
    names = ["100% wool", "under_score", "back\\slash", "plain", "%", "_"]
    for name in names:
        new_user(fresh, name=name)
    for term in ("100%", "r_s", "k\\s", "%%", "__", "%_%"):
        rows = good(fresh.get("/v1/users?limit=100&search=" + term.replace("%", "%25").replace("\\", "%5C")))["data"]
        assert sorted(row["name"] for row in rows) == sorted(name for name in names if term in name), term


HEADERS = ["content-type", "content-length", "date", "connection", "cache-control", "x-content-type-options", "x-request-id", "www-authenticate", "etag",
           "location", "allow", "retry-after", "denizen-sequence"]


def test_headers_are_ours_and_reflect_nothing(suite, project):
    evil = "x" * 200 + "<script>"
    for path in ("/v1/users", "/v1/nowhere", "/healthz"):
        for caller in (project, Client(suite.port)):
            reply = caller.get(path, headers={"X-Request-Id": evil, "traceparent": evil, "Origin": "https://evil.example", "Host": "evil.example", "X-Forwarded-Host": "evil.example"})
            assert set(reply.headers) <= set(HEADERS), reply.headers
            assert "evil" not in str(reply.headers) + reply.body.decode() and "<script>" not in str(reply.headers) + reply.body.decode()
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
    assert Client(suite.port).get("/v1/users").headers["www-authenticate"]


def test_refusals_of_a_sign_in_are_one_answer(fresh):
    """A18: who exists, who is invited, who is disabled and who has no password cannot be told apart without the password."""
    known = new_user(fresh, password=PASSWORD)
    invited = new_user(fresh, password=PASSWORD, status="invited")
    disabled = new_user(fresh, password=PASSWORD, status="disabled")
    bare = new_user(fresh)
    answers = set()
    for i, login in enumerate([known["email"], invited["email"], disabled["email"], bare["email"], address(), "not-an-address"]):
        reply = sign_in(fresh, login, "wrong password here", ip_address=f"192.0.{i}.1")
        document = {name: value for name, value in reply.json.items() if name != "request_id"}
        names = sorted(name for name in reply.headers)
        answers.add((reply.status, json.dumps(document, sort_keys=True), str(names), reply.headers["content-length"]))
    assert len(answers) == 1, answers


def test_a_strangers_failures_do_not_reach_the_user_elsewhere(fresh):
    """A20: a flood against one user from many networks delays those networks; the user's own network is not asked to wait."""
    user, _ = new_session(fresh, ip_address="203.0.113.7")
    for i in range(40):
        sign_in(fresh, user["email"], "guess number %d" % i, ip_address=f"198.51.{i}.9")
    assert sign_in(fresh, user["email"], PASSWORD, ip_address="203.0.113.8").status == 201


def test_a_key_of_the_first_project_is_bound_by_its_scopes_too(suite, api):
    """B3: the keys that may make projects are the ones worth stealing."""
    narrow = Client(suite.port, key=made(api.post("/v1/keys", {"scopes": ["keys:*", "users:read"]}))["secret"])
    for scopes in (["projects:write"], ["projects:*"], ["*"], ["users:*"]):
        refused(narrow.post("/v1/keys", {"scopes": scopes}), 403, "permission_denied", "scopes")
    for row in good(narrow.get("/v1/keys?limit=200"))["data"]:
        if "*" in row["scopes"]:
            refused(narrow.post(f"/v1/keys/{row['id']}/rotate", {}), 403, "permission_denied", "scopes")
    refused(narrow.post("/v1/projects", {"name": "mine"}), 403, "permission_denied")
    assert made(narrow.post("/v1/keys", {"scopes": ["users:read"]}))["scopes"] == ["users:read"]


def test_a_replay_by_another_key_gives_no_secret(suite, project):
    """An Idempotency-Key belongs to the project; a second key that repeats it learns no secret of the first."""
    headers = {"Idempotency-Key": unique()}
    first = made(project.post("/v1/keys", {"scopes": ["*"]}, headers=headers))
    assert first["secret"]
    narrow = Client(suite.port, key=made(project.post("/v1/keys", {"scopes": ["keys:write"]}))["secret"])
    reply = narrow.post("/v1/keys", {"scopes": ["*"]}, headers=headers)
    assert first["secret"] not in reply.body.decode() and "secret" not in (reply.json if reply.status == 201 else {}), reply


@pytest.mark.parametrize("role", ["identity", "claims", "session", "audit"])
def test_a_role_fills_no_disk_with_temporary_tables(suite, role):
    done = suite.postgres("psql", "-qAtX", "-c", "CREATE TEMPORARY TABLE mine (x int)", role=role)
    assert done.returncode != 0 and "permission denied" in done.stderr, done


def test_two_bytes_of_json_do_not_become_hundreds_of_memory(suite, project):
    """A megabyte of empty values a request, thirty requests at once: the gateway once took gigabytes and kept them."""
    pid = pids(suite)["gateway.1"]
    bodies = [("POST", "/v1/users/lookup", b'{"ids":[' + b",".join([b'""'] * 340000) + b"]}", "ids"),
              ("PUT", "/v1/attribute-schema", b'{"attributes":[' + b",".join([b"{}"] * 340000) + b"]}", "attributes"),
              ("POST", "/v1/users", b'{"name":"' + b"x" * 1000000 + b'"}', "name")]
    before = rss_mb(pid)
    for method, path, raw, field in bodies:
        def attack(_):
            client = Client(suite.port, key=project.key)
            reply = client.call(method, path, raw=raw, headers={"Content-Type": "application/json"})
            client.close()
            refused(reply, 400, "invalid_argument", field)
        with ThreadPoolExecutor(30) as pool:
            list(pool.map(attack, range(60)))
    assert rss_mb(pid) - before < 300, (before, rss_mb(pid))


def test_ten_thousand_values_are_enough_for_everything_allowed(fresh):
    """The bound does not forbid what the other limits allow: 16 KiB of attributes in the smallest values."""
    good(fresh.put("/v1/attribute-schema", {"attributes": [{"name": "list", "type": "strings"}]}))
    user = new_user(fresh, attributes={"list": ["x"] * 4000})
    assert good(fresh.get("/v1/users/" + user["id"]))["attributes"]["list"] == ["x"] * 4000
