"""The suite in containers: hardened, reachable, scaled, hurt, stopped, resumed. The tests build on one another, in this order."""
import json
import os
import signal
import time
from pathlib import Path

import pytest

from engine import run
from load import Load, events_of
from stack import TAG, Client

IMAGE_MB = {"denizen": 150, "denizen-edge": 150, "denizen-postgres": 300}
LONG_RUNNING = ["audit", "claims", "edge", "gateway", "identity", "postgres", "session"]


def curl(*words):
    """(HTTP version, status, body) of a request by a real client."""
    status, output = run(["curl", "-sk", "--max-time", "10", "-w", "\n%{http_version} %{http_code}", *words])
    assert status == 0, f"curl: {status} {output}"
    body, last = output.rsplit("\n", 1)
    return (*last.split(), body)


def total_users(client):
    reply = client.call("GET", "/v1/users?limit=1")
    assert reply.status == 200, reply
    return reply.json["total"]


def wait_until(condition, timeout_sec, what):
    until = time.monotonic() + timeout_sec
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_sec} s: {what}"
        time.sleep(0.3)


def test_images_are_small(engine, stack):
    for image, most in IMAGE_MB.items():
        status, output = run(["docker", "image", "inspect", "-f", "{{.Size}}", f"{image}:{TAG}"])
        assert status == 0, output
        megabytes = int(output) / 1e6
        print(f"{image}: {megabytes:.0f} MB")
        assert megabytes < most, f"{image} has {megabytes:.0f} MB"


def test_every_container_is_hardened(stack):
    for name in stack.containers():
        it = stack.inspect(name)
        host = it["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, name
        assert it["Config"]["User"] not in ("", "0", "root"), name


def test_no_process_has_privileges(stack):
    """What the kernel says about every process of every container."""
    for service in LONG_RUNNING:
        name = stack.containers(service)[0]
        checked = 0
        for pid in run(["docker", "top", name, "-eo", "pid"])[1].split()[1:]:
            try:
                text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue  # a health check that has ended meanwhile
            status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            checked += 1
            assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split(), f"{name}: {status['Name']} runs as root"
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, f"{name}: {status['Name']} has capabilities"
            assert status["NoNewPrivs"] == "1", name
        assert checked, name
        assert run(["docker", "exec", name, "touch", "/usr/local/bin/x"])[0] != 0, f"{name} can write to its image"


def test_edge_configuration_is_valid(stack):
    output = stack.must("exec", "-T", "edge", "haproxy", "-c", "-V", "-f", "/etc/denizen/haproxy.cfg")
    assert "Configuration file is valid" in output and "WARNING" not in output, output


def test_edge_speaks_tls_with_both_versions_of_http(stack):
    url = f"https://127.0.0.1:{stack.https_port}/readyz"
    assert curl("--http2", url)[:2] == ("2", "200")
    assert curl("--http1.1", url)[:2] == ("1.1", "200")
    assert curl("--tls-max", "1.2", url)[:2] == ("2", "200")
    assert run(["curl", "-sk", "--tls-max", "1.1", url])[0] != 0, "TLS 1.1 is accepted"


def test_edge_speaks_plain_http(stack):
    assert curl(f"http://127.0.0.1:{stack.http_port}/readyz")[:2] == ("1.1", "200")
    assert curl(f"http://127.0.0.1:{stack.http_port}/edge/healthz")[1] == "200"


def test_edge_keeps_metrics_inside(stack):
    for url in (f"http://127.0.0.1:{stack.http_port}/metrics", f"https://127.0.0.1:{stack.https_port}/metrics"):
        _, status, body = curl(url)
        assert status == "404" and json.loads(body)["code"] == "not_found", body


def test_sign_in_works_through_the_edge(stack):
    client = stack.client(tls=True)
    made = client.call("POST", "/v1/users", {"email": "ada@example.org", "password": "correct horse battery", "name": "Ada"})
    assert made.status in (200, 201), made
    session = client.call("POST", "/v1/sessions", {"email": "ada@example.org", "password": "correct horse battery"})
    assert session.status in (200, 201), session
    seen = client.call("POST", "/v1/tokens/introspect", {"token": session.json["access_token"]})
    assert seen.status == 200 and seen.json["active"] is True, seen
    wrong = client.call("POST", "/v1/sessions", {"email": "ada@example.org", "password": "wrong"})
    assert wrong.status == 401, wrong
    client.close()


def test_slow_request_is_refused_by_the_edge_and_holds_no_gateway(stack):
    """Half a request gets 408 from the edge within its time-out, as a problem document."""
    client = Client(stack.http_port)
    client.connection.connect()
    client.connection.sock.settimeout(15)
    client.connection.sock.sendall(b"POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    answer = client.connection.sock.recv(65536)
    client.close()
    assert answer.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in answer, answer


def test_scaling_spreads_the_load_without_any_change(stack):
    with Load(stack) as load:
        stack.up(identity=3, gateway=2)
        wait_until(lambda: (len(stack.served()[0]), len(stack.served()[1])) == (2, 3), 20, "all replicas are seen")
        before = stack.served()
        time.sleep(6)
        after = stack.served()
    load.check_reads()
    load.check_writes()
    for old, new in zip(before, after):
        share = {instance: number - old.get(instance, 0) for instance, number in new.items()}
        assert min(share.values()) >= 0.1 * sum(share.values()), f"the load is not spread: {share}"
    assert (len(after[0]), len(after[1])) == (2, 3), after


def test_killing_an_identity_container_under_load_loses_no_call(stack):
    victim = stack.containers("identity")[1]
    with Load(stack) as load:
        time.sleep(2)
        assert run(["docker", "kill", victim])[0] == 0
        time.sleep(5)
        assert run(["docker", "start", victim])[0] == 0
        stack.wait_healthy()
        time.sleep(1)
    load.check_reads()
    load.check_writes()


def test_a_replica_behind_a_broken_network_loses_no_call(stack):
    """Nothing goes in or out for 6 s, and nobody is told: what was under way arrives late, and must not count a second time."""
    victim = stack.containers("identity")[0]
    inside = ["nsenter", "-t", str(stack.inspect(victim)["State"]["Pid"]), "-n", "iptables"]
    with Load(stack) as load:
        time.sleep(2)
        for chain in ("INPUT", "OUTPUT"):
            assert run([*inside, "-I", chain, "-j", "DROP"])[0] == 0
        time.sleep(6)
        for chain in ("INPUT", "OUTPUT"):
            assert run([*inside, "-D", chain, "-j", "DROP"])[0] == 0
        stack.wait_healthy()
        time.sleep(2)
    load.check_reads()
    load.check_writes()
    addresses = [it["IPAddress"] for it in stack.inspect(victim)["NetworkSettings"]["Networks"].values()]
    changes = [line for name in stack.containers("gateway") for line in run(["docker", "logs", name])[1].splitlines()
               if "replica changed state" in line and any(f"//{address}:" in line for address in addresses)]
    assert any("suspect" in line or "connecting" in line for line in changes), f"nobody noticed: {changes}"


def test_a_crashed_process_is_started_again(stack):
    """Kills the processes and not the container, as a crash would; the restart policy brings each back."""
    with Load(stack) as load:
        time.sleep(1)
        for service in ("identity", "gateway"):
            name = stack.containers(service)[0]
            before = stack.inspect(name)["RestartCount"]
            os.kill(stack.inspect(name)["State"]["Pid"], signal.SIGKILL)
            wait_until(lambda name=name, before=before: stack.inspect(name)["RestartCount"] > before, 15, f"{name} is started again")
            stack.wait_healthy()
    load.check_reads()
    load.check_writes()


def test_scaling_down_drains(stack):
    with Load(stack) as load:
        time.sleep(1)
        stack.up(identity=1, gateway=1)
        time.sleep(1)
    assert (len(stack.containers("identity")), len(stack.containers("gateway"))) == (1, 1)
    load.check_reads()
    load.check_writes(refused=0)


def test_feed_holds_every_user_once(stack):
    client = stack.client()
    total = total_users(client)
    wait_until(lambda: len(events_of(client, "user_created")) >= total, 10, "all users are in the feed")
    created = events_of(client, "user_created")
    assert len(created) == len(set(created)) == total
    assert client.call("GET", "/v1/audit/verify").status == 200
    client.close()


def test_without_a_gateway_the_edge_says_when_to_come_back(stack):
    stack.must("stop", "gateway")
    client = stack.client(tls=True)
    reply = client.call("GET", "/v1/users?limit=1")
    assert reply.status == 503 and int(reply.headers["retry-after"]) >= 1, reply
    assert reply.headers["content-type"] == "application/problem+json" and reply.json["code"] == "unavailable"
    assert client.call("GET", "/edge/healthz").status == 503
    stack.must("start", "gateway")
    wait_until(lambda: client.call("GET", "/readyz").status == 200, 20, "the gateway is back")
    client.close()


@pytest.fixture(scope="module")
def stopped(stack):
    """Everything stopped while a client holds an idle connection; {container: State}."""
    idle = stack.client(tls=True)
    before = total_users(idle)
    stack.must("stop")
    idle.close()
    return {"users": before, "states": {name: stack.inspect(name)["State"] for name in stack.containers()}}


def test_everything_stops_within_its_grace_and_by_itself(stopped):
    codes = {name: state["ExitCode"] for name, state in stopped["states"].items()}
    assert set(codes.values()) == {0}, codes
    assert not any(state["Running"] or state["OOMKilled"] for state in stopped["states"].values())


def test_start_resumes_the_data(stack, stopped):
    stack.up()
    client = stack.client(tls=True)
    assert total_users(client) == stopped["users"]
    session = client.call("POST", "/v1/sessions", {"email": "ada@example.org", "password": "correct horse battery"})
    assert session.status in (200, 201), session
    client.close()


def test_logs_hold_json_and_no_secret(stack):
    """The services write one JSON object a line, and never the management key or a password."""
    for service in ("audit", "claims", "gateway", "identity", "session"):
        for name in stack.containers(service):
            for line in run(["docker", "logs", name])[1].splitlines():
                assert json.loads(line)["process"] == service
                assert stack.key() not in line and "correct horse" not in line
