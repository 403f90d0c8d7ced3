"""Faults, and how long the suite needs to be whole again after each."""
import http.client
import os
import re
import signal
import time
from pathlib import Path

from denizen import eventually

PATIENCE = 15.0  # seconds until a fault counts as not recovered


class Nemesis:
    """Does harm to one suite; `times` are (fault, seconds until recovered)."""

    def __init__(self, suite, load, client):
        self.suite, self.load, self.client, self.times = suite, load, client, []

    def instances(self, process):
        """The running instances of a process that the gateway reaches."""
        try:
            text = self.client.get("/metrics").body.decode()
        except (OSError, http.client.HTTPException):
            self.client.close()
            return set()
        return set(re.findall(rf'denizen_bus_in_flight{{process="{process}",instance="([^"]+)"', text))

    def ready(self):
        try:
            return self.client.get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            self.client.close()
            return False

    def writes(self, more=16):
        """Waits until so many further writes are acknowledged."""
        target = self.load.acknowledged() + more
        eventually(lambda: self.load.acknowledged() >= target, PATIENCE)

    def recovered(self, fault, began):
        self.times.append((fault, time.monotonic() - began))

    def kill(self, name, number=signal.SIGKILL):
        """Kills a process; waits until its successor is reached and writes go on."""
        process = name.split(".")[0]
        before, pid = self.instances(process), self.suite.pid(name)
        began = time.monotonic()
        os.kill(pid, number)
        eventually(lambda: self.suite.pid(name) not in (0, pid), PATIENCE)
        if process not in ("gateway", "postgres"):
            eventually(lambda: self.instances(process) - before and len(self.instances(process)) == len(before), PATIENCE)
        eventually(self.ready, PATIENCE)
        self.writes()
        self.recovered(f"{name} {signal.Signals(number).name}", began)

    def freeze(self, name, seconds):
        """Stops a process and its children for a while; waits until it is used again."""
        process, pid = name.split(".")[0], self.suite.pid(name)
        whole = len(self.instances(process))
        pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        try:
            for each in pids:
                os.kill(each, signal.SIGSTOP)
            time.sleep(seconds)
        finally:
            for each in pids:
                os.kill(each, signal.SIGCONT)
        began = time.monotonic()
        eventually(lambda: len(self.instances(process)) == whole and self.ready(), PATIENCE)
        self.writes(50)
        self.recovered(f"{name} frozen {seconds} s", began)

    def restart_suite(self):
        began = time.monotonic()
        self.suite.launcher("down")
        self.suite.up()
        self.writes()
        self.recovered("down and up", began)
