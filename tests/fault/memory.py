#!/usr/bin/python3
"""What memory each process holds while mixed load goes on: a line a minute, and what it gained in the second half. Run by hand.

usage: memory.py [MINUTES]    10 unless told. Eight of tests/fault's writers, readers of lists, searches, tokens and events, a follower that
waits for events, an import now and then, and connections that come and go. Before, each of the gateway's threads does a bit of everything:
until then it gains the stacks and the freed pieces of those that work for the first time."""
import json
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "suite")]
from denizen import Client, Suite  # noqa: E402
from helpers import new_session, new_user, unique  # noqa: E402
from workload import Workload  # noqa: E402


def rss_mb(pid):
    """A process and its children (Postgres), without what they share with others."""
    total = 0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in [str(pid), *children]:
        for name in Path(f"/proc/{each}/status").read_text().splitlines() if Path(f"/proc/{each}").exists() else ():
            if name.startswith("RssAnon:"):
                total += int(name.split()[1]) / 1024
    return total


class Background(threading.Thread):
    """Repeats step(client) until the end; now and then over a new connection."""

    def __init__(self, suite, key, step, pause):
        super().__init__(daemon=True)
        self.client, self.step, self.pause, self.halt, self.done, self.failed = Client(suite.port, key=key, check=False), step, pause, threading.Event(), 0, 0

    def run(self):
        while not self.halt.wait(self.pause):
            try:
                self.failed += self.step(self.client).status >= 500
            except OSError:
                self.failed += 1
            self.done += 1
            if self.done % 50 == 0:
                self.client.close()


def readers(suite, client):
    _, tokens = new_session(client)

    def rows():
        return "".join(json.dumps({"email": unique() + "@example.com", "name": unique()}) + "\n" for _ in range(200)).encode()

    steps = [
        (lambda caller: caller.get("/v1/users?limit=100"), 0.05),
        (lambda caller: caller.get("/v1/users?limit=20&search=" + unique()[:4]), 0.2),
        (lambda caller: caller.post("/v1/tokens/introspect", {"token": tokens["access_token"]}), 0.005),
        (lambda caller: caller.post("/v1/tokens/introspect", {"token": "x" * 40}), 0.05),
        (lambda caller: caller.get("/v1/events?limit=100"), 0.05),
        (lambda caller: caller.get(f"/v1/events?wait=5&after={caller.get('/v1/events?limit=1').json['head']}"), 0.01),
        (lambda caller: caller.get("/v1/nothing/" + unique()), 0.05),
        (lambda caller: Client(suite.port, key="dmk_" + unique(), check=False).get("/v1/users"), 0.5),
        (lambda caller: caller.call("POST", "/v1/users/import", raw=rows(), headers={"Content-Type": "application/x-ndjson"}), 5),
        (lambda caller: caller.get("/metrics"), 1),
    ]
    return [Background(suite, client.key, step, pause) for step, pause in steps]


def warm(suite, client):
    """Some 2,500 connections reach all 1,100 threads."""
    _, tokens = new_session(client)
    for _ in range(2500):
        caller = Client(suite.port, key=client.key, check=False)
        for path in ("/v1/users?limit=100", "/v1/users?limit=20&search=ab", "/v1/events?limit=100", "/v1/nothing"):
            caller.get(path)
        caller.post("/v1/tokens/introspect", {"token": tokens["access_token"]})
        path = "/v1/users/" + new_user(caller)["id"]
        caller.patch(path, {"name": unique()})
        caller.put(path + "/claims", {"claims": {"a": 1}})
        caller.delete(path)
        caller.close()


def look(suite):
    return {process["name"]: rss_mb(process["pid"]) for process in suite.status()["processes"]}


def main(minutes):
    suite = Suite(replicas="identity=2,session=2").up()
    try:
        client = suite.new_project("memory")
        print("minute  " + "  ".join(f"{name:>10}" for name in look(suite)) + "\nstart   " + "  ".join(f"{mb:10.2f}" for mb in look(suite).values()), flush=True)
        warm(suite, suite.new_project("warm"))
        looks = [look(suite)]
        background = readers(suite, client)
        with Workload(suite.port, client, writers=8, pause=0.01) as load:
            for thread in background:
                thread.start()
            for minute in range(minutes + 1):
                if minute:
                    time.sleep(60)
                    looks.append(look(suite))
                print(f"{minute:6}  " + "  ".join(f"{mb:10.2f}" for mb in looks[-1].values()), flush=True)
            for thread in background:
                thread.halt.set()
        for thread in background:
            thread.join(30)
        half = looks[len(looks) // 2:]
        print("MB/min  " + "  ".join(f"{(half[-1][name] - half[0][name]) / max(1, len(half) - 1):10.3f}" for name in half[0]))
        print(f"{load.acknowledged()} writes, {sum(thread.done for thread in background)} other requests, "
              f"{sum(thread.failed for thread in background)} of them failed, wrong answers: {load.tally.wrong[:3]}")
    finally:
        suite.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
