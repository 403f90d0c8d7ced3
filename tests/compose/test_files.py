"""compose.yaml and the edge's configuration against the declarations in proto/."""
import json
import os
import re

import pytest
import yaml

from engine import run
from stack import ROOT, compose_commands

ONE_SHOTS = {"keys", "migrate"}


@pytest.fixture(scope="module")
def config():
    """compose.yaml as Compose understands it."""
    environment = {**os.environ, "DENIZEN_BASE_URL": "https://id.example.org"}
    status, output = run([*compose_commands()[0], "-f", ROOT / "compose.yaml", "config"], cwd=ROOT, env=environment)
    assert status == 0, output
    return yaml.safe_load(output)


@pytest.fixture(scope="module")
def processes():
    """{name: (bus port, peers)} of proto/processes.txt, without subscribers."""
    rows = [line.split() for line in (ROOT / "proto/processes.txt").read_text().splitlines() if line and line[0] != "#"]
    return {row[0]: (row[2], set() if row[4] == "-" else set(row[4].split(","))) for row in rows if row[0] != "subscriber"}


def test_every_compose_of_this_machine_accepts_the_file():
    for command in compose_commands():
        status, output = run([*command, "-f", ROOT / "compose.yaml", "config", "-q"], cwd=ROOT)
        assert status == 0, f"{command}: {output}"


def test_services_are_the_declared_processes(config, processes):
    assert set(config["services"]) == set(processes) | {"edge", "postgres"} | ONE_SHOTS
    for name in processes:
        assert config["services"][name]["command"] == [f"denizen-{name}"]


def test_a_process_starts_after_its_peers_and_stops_before_them(config, processes):
    for name, (_, peers) in processes.items():
        assert set(config["services"][name]["depends_on"]) & set(processes) == peers, name
        if name != "gateway":
            assert "postgres" in config["services"][name]["depends_on"], f"{name} would lose its database while it drains"


def test_networks_keep_the_edge_from_the_database(config, processes):
    networks = {name: set(it.get("networks") or []) for name, it in config["services"].items()}
    assert networks["edge"] == {"front"} and networks["postgres"] == {"data"}
    assert networks["gateway"] == {"front", "bus"}
    for name in set(processes) - {"gateway"}:
        assert networks[name] == {"bus", "data"}, name
    assert config["networks"]["bus"]["internal"] and config["networks"]["data"]["internal"]
    assert [name for name, it in config["services"].items() if it.get("ports")] == ["edge"]


def test_issuer_is_the_same_at_gateway_and_claims(config):
    issuers = {config["services"][name]["environment"]["DENIZEN_ISSUER"] for name in ("gateway", "claims")}
    assert issuers == {"https://id.example.org"}


def test_every_process_has_its_own_secrets_only(config, processes):
    for name in processes:
        mounted = [str(volume) for volume in config["services"][name]["volumes"] if "secret-" in str(volume) or "keys:" in str(volume)]
        assert len(mounted) == 1 and f"secret-{name}" in mounted[0], mounted


def test_errors_of_the_edge_are_the_declared_ones():
    declared = {}
    for line in (ROOT / "proto/errors.txt").read_text().splitlines():
        if line and line[0] != "#":
            _, name, http, _, text = line.split(None, 4)
            declared[name] = (int(http), text)
    haproxy = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    documents = [json.loads(found) for found in re.findall(r"http-error .* string '(.*?)'", haproxy)]
    head, body = (ROOT / "deploy/haproxy/lost.http").read_text().split("\n\n", 1)
    assert f"Content-Length: {len(body.encode())}" in head and "Retry-After: " in head
    assert len(documents) == 4
    for document in [*documents, json.loads(body)]:
        assert (document["status"], document["title"]) == declared[document["code"]]
        assert document["type"] == "urn:denizen:error:" + document["code"]
