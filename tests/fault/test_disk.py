"""The disk is full: writes get 503, nothing acknowledged is lost, and when there is room again the suite writes without a hand.

The data directory lies on a small tmpfs (as root) or the test is skipped. Postgres may stop when its log cannot grow; the
supervisor starts it again until there is room.
"""
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from checker import check_all
from denizen import Suite, eventually
from helpers import good, new_user, unique
from nemesis import Nemesis
from workload import User, Workload

DISK_MB = 420


class SmallDisk:
    """A tmpfs of some MB; the mount is removed with the object."""

    def __init__(self, megabytes):
        self.path = Path(tempfile.mkdtemp(prefix="denizen-disk-"))
        os.chmod(self.path, 0o755)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", self.path], capture_output=True, text=True)
        if done.returncode:
            self.path.rmdir()
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    def fill(self):
        """Leaves not a byte to anybody else."""
        with open(self.path / "ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 65536)
            except OSError:
                pass

    def free(self):
        (self.path / "ballast").unlink(missing_ok=True)

    def remove(self):
        subprocess.run(["umount", self.path], check=False)
        self.path.rmdir()


class SmallSuite(Suite):
    """A suite on a small disk."""

    def __init__(self, disk):
        super().__init__(environment={"DENIZEN_PG_SHARED_BUFFERS": "32MB"})
        self.data.rmdir()
        self.data = disk.path / "data"


@pytest.fixture()
def disk():
    disk = SmallDisk(DISK_MB)
    yield disk
    disk.remove()


@pytest.fixture()
def suite(disk):
    running = SmallSuite(disk).up()
    yield running
    disk.free()
    running.remove()


def test_a_full_disk_stops_writes_only_and_only_while_it_is_full(suite, disk, figures):
    client = suite.new_project("disk")
    reader = suite.client(key=client.key, check=False)
    known = new_user(client, name="Ada")
    with Workload(suite.port, client, writers=8, signs_in=False) as load:
        nemesis = Nemesis(suite, load, suite.client(check=False))
        nemesis.writes(50)
        filled = time.monotonic()
        refused_before = load.tally.statuses.get(503, 0)
        eventually(lambda: disk.fill() or load.tally.statuses.get(503, 0) > refused_before + 20, 60, 0.2)
        until_refused = time.monotonic() - filled
        answers = {}
        until = time.monotonic() + 8
        while time.monotonic() < until:  # reads go on as long as Postgres runs; otherwise they say so
            reply = reader.get("/v1/users/" + known["id"])
            answers[reply.status] = answers.get(reply.status, 0) + 1
            assert reply.status == 200 or (reply.status == 503 and reply.headers["retry-after"]), reply
            disk.fill()
            time.sleep(0.1)
        assert reader.get("/healthz").status == 200
        began = time.monotonic()
        disk.free()
        eventually(nemesis.ready, 20)
        nemesis.writes(16)
        recovered = time.monotonic() - began
        nemesis.writes(50)
    figures.append(f"full disk: first refusals after {until_refused:.1f} s, reads meanwhile {answers}, writes again {recovered:.2f} s after space was freed, "
                   f"statuses {dict(sorted(load.tally.statuses.items()))}")
    load.writers[0].users.append(User(known))
    check_all(suite, client, load)
    assert good(client.get("/v1/users/" + known["id"]))["version"] == 1
    status = suite.status()
    for process in status["processes"]:
        last_words = (suite.data / "logs" / (process["name"].replace("postgres", "supervisor") + ".log")).read_text()[-800:]
        assert process["pid"] and Path(f"/proc/{process['pid']}").exists(), f"status.json names a process that is gone: {process}\n{last_words}"
    assert recovered < 10
    assert new_user(client, name=unique())["version"] == 1
