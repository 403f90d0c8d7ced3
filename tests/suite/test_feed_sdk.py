"""The C library's example follows the feed over ZeroMQ; it and the ledger are killed, and it misses and doubles nothing."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from denizen import BIN, Client, eventually
from helpers import good, head, new_user, refused, unique

EXAMPLE = BIN / "sdk/c/denizen-feed-example"


class Follower:
    """The example service as a process, started as its README says."""

    def __init__(self, suite, project, state):
        self.suite, self.state = suite, state
        self.name = unique("follower")
        suite.launcher("subscriber", "create", self.name, "--project", project.project_id)
        self.process = None

    def start(self, endpoint=None):
        bus = self.suite.data / "bus"
        self.log = open(f"{self.state}.log", "ab")
        self.process = subprocess.Popen(
            [EXAMPLE, "--endpoint", endpoint or f"127.0.0.1:{self.suite.port + 140}", "--server-key", (bus / "public/audit.pub").read_text().strip(),
             "--public-key", (bus / f"public/{self.name}.pub").read_text().strip(), "--secret-key-file", bus / f"secret/{self.name}.key",
             "--state", self.state, "--poll-ms", "500"], stdout=subprocess.DEVNULL, stderr=self.log)
        return self

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        status = self.process.wait(10)
        self.log.close()
        return status

    def entries(self):
        """The complete lines of its state file."""
        text = self.state.read_bytes() if self.state.exists() else b""
        return [json.loads(line) for line in text[:text.rfind(b"\n") + 1].splitlines()]


@pytest.fixture()
def follower(suite, fresh, tmp_path):
    if not EXAMPLE.exists():
        pytest.fail(f"{EXAMPLE} was not built: libczmq-dev is missing")
    following = Follower(suite, fresh, tmp_path / "state")
    yield following
    if following.process and following.process.poll() is None:
        following.kill()


def caught_up(suite, client, follower):
    suite.settle()
    top = head(client)
    eventually(lambda: len(follower.entries()) >= top, 20, 0.1)
    assert [entry["seq"] for entry in follower.entries()] == list(range(1, top + 1))
    return follower.entries()


def test_changes_arrive_soon(suite, fresh, follower):
    new_user(fresh)
    follower.start()
    caught_up(suite, fresh, follower)
    for _ in range(3):
        user = new_user(fresh)
        eventually(lambda: any(entry["subject"] == user["id"] for entry in follower.entries()), 1, 0.005)
    assert {entry["project_id"] for entry in follower.entries()} == {fresh.project_id}
    assert follower.kill(signal.SIGTERM) == 0


def test_it_sees_what_http_shows(suite, fresh, follower):
    follower.start()
    user = new_user(fresh, name="Ada")
    good(fresh.patch("/v1/users/" + user["id"], {"name": "Bea"}))
    good(fresh.delete("/v1/users/" + user["id"]), 204)
    entries = caught_up(suite, fresh, follower)
    shown = good(fresh.get("/v1/events?limit=1000"))["data"]
    for entry, other in zip(entries, shown):
        assert (entry["seq"], entry["type"], entry["subject"]) == (other["seq"], other["event"]["type"].upper(), other["event"]["subject"])
    assert {"field": "name", "before": "Ada", "after": "Bea"} in next(entry for entry in entries if entry["type"] == "USER_UPDATED")["changes"]


def test_nothing_is_missed_or_doubled_when_both_sides_are_killed(suite, fresh, follower):
    """Writers go on all the time; the follower is killed five times, the ledger's process three times."""
    stop, written, failures = threading.Event(), [], []

    def write():
        client = Client(suite.port, key=fresh.key)
        while not stop.is_set():
            reply = client.post("/v1/users", {"email": unique() + "@example.com"})
            if reply.status == 201:
                written.append(reply.json["id"])
            else:
                failures.append(reply)
            time.sleep(0.01)
        client.close()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for round_number in range(5):
            follower.start()
            eventually(lambda: len(follower.entries()) > 2 + 5 * round_number, 20)
            if round_number % 2 == 0:
                audit = suite.pid("audit.1")
                os.kill(audit, signal.SIGKILL)
                eventually(lambda: suite.pid("audit.1") not in (audit, 0), 20)
            time.sleep(0.3)
            follower.kill()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not failures, f"identity needs no ledger to write: {failures[:2]}"
    follower.start()
    eventually(lambda: suite.status()["ready"], 20)
    entries = caught_up(suite, fresh, follower)
    created = [entry["subject"] for entry in entries if entry["type"] == "USER_CREATED"]
    assert sorted(created) == sorted(written) and len(written) > 20
    assert good(fresh.get("/v1/audit/verify"))["ok"] is True


def test_a_follower_reads_its_own_project_only(suite, fresh, tmp_path):
    stranger = suite.new_project("stranger")
    follower = Follower(suite, fresh, tmp_path / "state")
    public = suite.data / f"bus/public/{follower.name}.pub"
    bus = suite.data / "bus"
    done = subprocess.run(
        [EXAMPLE, "--endpoint", f"127.0.0.1:{suite.port + 140}", "--server-key", (bus / "public/audit.pub").read_text().strip(), "--public-key", public.read_text().strip(),
         "--secret-key-file", bus / f"secret/{follower.name}.key", "--state", tmp_path / "state", "--project", stranger.project_id], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "refused" in done.stderr, done
    assert not (tmp_path / "state").read_bytes()


def test_a_key_that_is_not_allowed_gets_nothing(suite, fresh, tmp_path):
    follower = Follower(suite, fresh, tmp_path / "state")
    bus = suite.data / "bus"
    generated = subprocess.run([BIN / "deploy/denizen-keys", tmp_path / "bus"], capture_output=True, text=True)
    assert generated.returncode == 0, generated
    process = subprocess.Popen(
        [EXAMPLE, "--endpoint", f"127.0.0.1:{suite.port + 140}", "--server-key", (bus / "public/audit.pub").read_text().strip(), "--public-key",
         (tmp_path / "bus/public/audit.pub").read_text().strip(), "--secret-key-file", tmp_path / "bus/secret/audit.key", "--project", fresh.project_id, "--state", follower.state],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    new_user(fresh)
    suite.settle()
    time.sleep(1.5)
    alive = process.poll() is None
    if alive:
        process.kill()
    process.wait(5)
    assert follower.entries() == []


def test_no_http_key_helps_without_events_read(suite, fresh):
    key = good(fresh.post("/v1/keys", {"scopes": ["users:*"]}), 201)["secret"]
    refused(Client(suite.port, key=key).get("/v1/events?wait=1"), 403, "permission_denied")
