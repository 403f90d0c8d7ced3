"""Under load each process is killed, Postgres restarted, processes frozen, the suite restarted: nothing acknowledged is lost or doubled."""
import signal
import time

import pytest
from checker import check_all
from denizen import Suite, eventually
from nemesis import Nemesis
from test_feed_sdk import Follower
from workload import Workload

PROCESSES = ("identity.1", "identity.2", "claims.1", "session.1", "session.2", "audit.1", "gateway.1")


@pytest.fixture(scope="module")
def suite():
    running = Suite(replicas="identity=2,session=2").up()
    yield running
    running.remove()


@pytest.fixture()
def client(suite):
    client = suite.new_project("fault")
    yield client
    client.close()


@pytest.fixture()
def follower(suite, client, tmp_path):
    """The example of sdk/c, started anew whenever a test kills it."""
    following = Follower(suite, client, tmp_path / "state").start()
    yield following
    if following.process.poll() is None:
        following.kill()


def tell(figures, title, load, nemesis):
    tally = load.tally
    figures.append(f"{title}: {len(tally.acknowledged)} writes acknowledged, {tally.unknown} after an unknown outcome, {tally.replayed} replayed, "
                   f"{tally.broken} broken connections, statuses {dict(sorted(tally.statuses.items()))}")
    figures.append(f"  slowest call {tally.slowest[0]:.2f} s ({tally.slowest[1]}), longest time without a write {tally.longest_silence():.2f} s")
    worst = {}
    for fault, seconds in nemesis.times:
        worst[fault] = max(worst.get(fault, 0), seconds)
    figures.append("  recovered after: " + ", ".join(f"{fault} {seconds:.2f} s" for fault, seconds in worst.items()))


def same_as_ledger(follower, entries):
    eventually(lambda: len(follower.entries()) >= len(entries), 20, 0.1)
    assert [(e["seq"], e["type"], e["subject"]) for e in follower.entries()] == \
        [(e["seq"], e["event"]["type"].upper(), e["event"]["subject"]) for e in entries]


def campaign(suite, client, figures, title, harm, follower=None):
    """Harm under load, then every check."""
    with Workload(suite.port, client) as load:
        nemesis = Nemesis(suite, load, suite.client(check=False))
        nemesis.writes(100)
        harm(nemesis)
        nemesis.writes(50)
    tell(figures, title, load, nemesis)
    entries = check_all(suite, client, load)
    if follower:
        same_as_ledger(follower, entries)
    return load, nemesis


def test_each_process_is_killed(suite, client, follower, figures):
    """Three rounds over all processes, one kill a second or as soon as the last one is healed; the follower dies too."""
    def harm(nemesis):
        for _ in range(3):
            for name in PROCESSES:
                began = time.monotonic()
                nemesis.kill(name)
                time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
            follower.kill()
            follower.start()

    load, nemesis = campaign(suite, client, figures, "kills", harm, follower)
    assert load.tally.unknown > 10, "the kills met no call"
    assert max(seconds for _, seconds in nemesis.times) < 6


def test_a_process_leaves_politely(suite, client, figures):
    """SIGTERM to one of two replicas is not seen by anyone."""
    def harm(nemesis):
        for name in ("identity.1", "session.2", "identity.2", "session.1"):
            nemesis.kill(name, signal.SIGTERM)

    load, _ = campaign(suite, client, figures, "SIGTERM", harm)
    assert load.tally.broken == 0 and not load.tally.statuses.keys() & {429, 503, 504}, load.tally.statuses


def test_postgres_is_restarted(suite, client, figures):
    def harm(nemesis):
        for number in (signal.SIGINT, signal.SIGKILL, signal.SIGQUIT, signal.SIGKILL):  # fast, crash, immediate, crash
            nemesis.kill("postgres", number)
            time.sleep(0.5)

    campaign(suite, client, figures, "Postgres", harm)


def test_a_process_is_frozen(suite, client, figures):
    def harm(nemesis):
        for name, seconds in (("identity.1", 3), ("session.1", 3), ("audit.1", 3), ("postgres", 3), ("gateway.1", 2)):
            nemesis.freeze(name, seconds)

    campaign(suite, client, figures, "frozen", harm)


def test_the_suite_is_restarted(suite, client, follower, figures):
    campaign(suite, client, figures, "suite", Nemesis.restart_suite, follower)


def test_processes_without_a_second_replica_are_killed(figures):
    """Calls wait for the successor or fail with 503; nothing else changes."""
    lonely = Suite(replicas="identity=1").up()
    try:
        client = lonely.new_project("lonely")

        def harm(nemesis):
            for name in ("identity.1", "claims.1", "session.1", "audit.1", "gateway.1") * 2:
                nemesis.kill(name)
        campaign(lonely, client, figures, "one replica each", harm)
    finally:
        lonely.remove()


def test_the_checks_bite():
    """A suite that acknowledges before a write is durable is found out."""
    careless = Suite(replicas="identity=1").up()
    try:
        for role in ("identity", "claims", "session", "audit"):  # one that is careful would save the others' log too
            careless.psql(f"ALTER ROLE {role} SET synchronous_commit = off")
        careless.launcher("down")
        careless.up()
        client = careless.new_project("careless")
        with Workload(careless.port, client, signs_in=False) as load:
            nemesis = Nemesis(careless, load, careless.client(check=False))
            for _ in range(4):
                nemesis.writes(200)
                nemesis.kill("postgres")
        with pytest.raises(AssertionError):
            check_all(careless, client, load)
    finally:
        careless.remove()
