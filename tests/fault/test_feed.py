"""Connections of the feed and of the bus break in every way: no process ends, no event is missed.

DENIZEN_FAULT_BREAKS says how many connections of the subscriber are broken, 120 unless told."""
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cable import Cable
from denizen import Client, Suite, eventually, free_port
from helpers import address, head
from test_feed_sdk import Follower, caught_up
from test_security import pids, subscriber

BREAKS = int(os.environ.get("DENIZEN_FAULT_BREAKS", 120))
WRITES_A_SECOND = 300
FLOOD = """
import os, random, struct, sys, time
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from test_security import *
peer = Peer(SimpleNamespace(data=Path(sys.argv[2])), "audit", sys.argv[3:5])
ping = framed(number(1, 1) + number(2, 5))
echo = [framed(number(1, 1) + number(2, 1) + varint(3 << 3 | 1) + struct.pack("<Q", i) + number(4, 1) + number(5, 2000)) for i in range(500)]
messages = {"frames": [[b"x" * 40] * 120], "noise": [[random.randbytes(50)] for _ in range(100)], "requests": [[frame] for frame in echo], "pings": [[ping]]}[sys.argv[5]]
until = time.monotonic() + 0.3
while time.monotonic() < until:
    for message in messages:
        peer.send(*message)
os._exit(0)  # in the middle
"""


@pytest.fixture(scope="module")
def suite():
    running = Suite(replicas="identity=1").up()
    yield running
    running.remove()


@pytest.fixture()
def client(suite):
    client = suite.new_project("feed")
    yield client
    client.close()


class Writing:
    """Creates WRITES_A_SECOND users while it is a context."""

    def __init__(self, suite, client, threads=6):
        self.stop, self.suite, self.key, self.done = threading.Event(), suite, client.key, [0] * threads
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(threads)]

    def run(self, i):
        client, pause = Client(self.suite.port, key=self.key, check=False), len(self.threads) / WRITES_A_SECOND
        due = time.monotonic()
        while not self.stop.is_set():
            assert client.post("/v1/users", {"email": address()}).status == 201
            self.done[i] += 1
            due += pause
            time.sleep(max(0.0, due - time.monotonic()))
        client.close()

    def __enter__(self):
        self.began = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.rate = sum(self.done) / (time.monotonic() - self.began)


def harm(cable, follower, turn):
    """Breaks all connections: at once, after a while of silence in the middle of what waited, or while the subscriber is frozen."""
    if turn % 20 == 19:
        follower.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        cable.cut()
        follower.process.send_signal(signal.SIGCONT)
        return
    if turn % 2:
        cable.hold()
        time.sleep(0.1)
        cable.let_go()
        time.sleep(random.random() * 0.005)
    cable.cut()


def test_connections_break_under_load(suite, client, tmp_path, figures):
    """The subscriber goes on through all of them, and has every event once."""
    port = free_port()
    cable = Cable(port, suite.port + 140)
    follower = Follower(suite, client, tmp_path / "state").start(f"127.0.0.1:{port}")
    try:
        with Writing(suite, client) as writing:
            eventually(lambda: len(follower.entries()) > 10, 20)
            turn = 0
            while cable.cuts < BREAKS:
                before = cable.cuts
                eventually(lambda: len(cable.lines) >= 2 or follower.process.poll() is not None, 20)
                time.sleep(random.random() * 0.1)
                harm(cable, follower, turn)
                turn += 1
                assert cable.cuts > before and follower.process.poll() is None, Path(f"{follower.state}.log").read_text()[-2000:]
        caught_up(suite, client, follower)
        assert follower.kill(signal.SIGTERM) == 0
    finally:
        if follower.process.poll() is None:
            follower.kill()
        cable.close()
    figures.append(f"subscriber: {cable.cuts} connections broken under {writing.rate:.0f} writes/s, {head(client)} events, none missed, no abort")
    assert cable.cuts >= BREAKS and writing.rate > WRITES_A_SECOND / 3


@pytest.mark.parametrize("what", ["frames", "noise", "requests", "pings"])
def test_a_subscriber_that_sends_anything_and_breaks_off_ends_nobody(suite, what):
    before, keys = pids(suite), subscriber(suite)
    for _ in range(3):
        floods = [subprocess.Popen([sys.executable, "-c", FLOOD, Path(sys.modules["test_security"].__file__).parent, suite.data, *keys, what]) for _ in range(2)]
        assert [flood.wait(30) for flood in floods] == [0, 0]
    eventually(lambda: suite.status()["ready"], 20)
    assert pids(suite) == before
