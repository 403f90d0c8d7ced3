#!/usr/bin/python3
"""What a kill -9 of each service means to callers, with one replica and with two: a table for docs/operations.md, run by hand.

usage: kill_table.py [KILLS]    of each process, 5 unless told; takes about 6 s a kill. A call is not repeated by its caller."""
import http.client
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "suite")]
from denizen import Client, Suite, eventually  # noqa: E402
from helpers import PASSWORD, address, good, new_session, new_user, refresh, sign_in  # noqa: E402

SERVICES = ("identity", "claims", "session", "audit")


class Caller(threading.Thread):
    """Does one thing again and again; `seen` are (seconds, status), status 0 = the connection broke."""

    def __init__(self, suite, key, step):
        super().__init__(daemon=True)
        self.client, self.step, self.seen, self.halt = Client(suite.port, key=key, check=False), step, [], threading.Event()

    def run(self):
        while not self.halt.is_set():
            began = time.monotonic()
            try:
                status = self.step(self.client).status
            except (OSError, http.client.HTTPException):
                self.client.close()
                status = 0
            self.seen.append((time.monotonic() - began, status))
            time.sleep(0.02)


def steps(client):
    """What callers do, by name."""
    user, tokens = new_session(client)
    state = {"refresh": new_session(client)[1]["refresh_token"]}

    def rotate(caller):
        reply = refresh(caller, state["refresh"])
        if reply.status == 200:
            state["refresh"] = reply.json["refresh_token"]
        return reply

    return {
        "read a user": lambda caller: caller.get("/v1/users/" + user["id"]),
        "create a user": lambda caller: caller.post("/v1/users", {"email": address()}),
        "sign in": lambda caller: sign_in(caller, user["email"], PASSWORD),
        "refresh": rotate,
        "introspect": lambda caller: caller.post("/v1/tokens/introspect", {"token": tokens["access_token"]}),
        "read events": lambda caller: caller.get("/v1/events?limit=10"),
    }


def kill(suite, name):
    if name == "nobody.1":
        time.sleep(5)
        return
    pid = suite.pid(name)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: suite.pid(name) not in (0, pid), 20)
    time.sleep(5)


def line(suite, client, service, kills):
    """One row: per caller the slowest answer, and how many were none or an error."""
    callers = {name: Caller(suite, client.key, step) for name, step in steps(client).items()}
    for caller in callers.values():
        caller.start()
    time.sleep(1)
    for caller in callers.values():
        caller.seen.clear()
    for _ in range(kills):
        kill(suite, f"{service}.1")
    cells = []
    for caller in callers.values():
        caller.halt.set()
        caller.join(20)
        bad = {}
        for _, status in caller.seen:
            if status not in (200, 201):
                bad[status] = bad.get(status, 0) + 1
        told = ", ".join(f"{count} x {status or 'broken'}" for status, count in sorted(bad.items()))
        cells.append(f"{max(seconds for seconds, _ in caller.seen):.2f} s" + (f" ({told})" if told else ""))
    return cells, list(callers)


def main(kills):
    for replicas in (1, 2):
        suite = Suite(replicas=",".join(f"{name}={replicas}" for name in SERVICES)).up()
        try:
            client = suite.new_project("kills")
            good(client.get("/v1/users/" + new_user(client)["id"]))
            head = None
            for service in ("nobody", *SERVICES, *(["gateway"] if replicas == 1 else [])):
                cells, names = line(suite, client, service, kills)
                if head is None:
                    head = f"| {replicas} replica{'s' if replicas > 1 else ''}, killed: | " + " | ".join(names) + " |"
                    print(head + "\n" + "|---" * (len(names) + 1) + "|", flush=True)
                print(f"| {service} | " + " | ".join(cells) + " |", flush=True)
        finally:
            suite.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
