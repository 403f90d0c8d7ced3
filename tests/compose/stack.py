"""The suite of compose.yaml under a project name of its own, on free ports, and what tests ask of it."""
import http.client
import json
import os
import re
import shutil
import ssl
import time
import uuid
from pathlib import Path

from denizen import free_port
from engine import Unusable, run, tail

ROOT = Path(__file__).resolve().parent.parent.parent
TAG = "test"
# Where containers of the engine's own network cannot reach the package mirror, the build uses the machine's.
HOST_NETWORK = "services:\n" + "".join(f"  {name}: {{build: {{network: host}}}}\n" for name in ("edge", "postgres", "keys"))
NO_MIRROR = re.compile(r"Temporary failure resolving|Could not connect|Unable to connect|Could not resolve|Network is unreachable")


def compose_commands():
    """The Compose commands of this machine: `docker compose`, docker-compose (1.29 or later). The first runs the stack."""
    found = []
    if run(["docker", "compose", "version"])[0] == 0:
        found.append(["docker", "compose"])
    if shutil.which("docker-compose"):
        found.append(["docker-compose"])
    if not found:
        raise Unusable("neither docker-compose nor docker compose is there: apt-get install docker-compose")
    return found


class Reply:
    """One HTTP reply."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Client:
    """One keep-alive connection to the edge, or to a container."""

    def __init__(self, port, key=None, host="127.0.0.1", tls=False):
        self.key = key
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.connection = http.client.HTTPSConnection(host, port, timeout=30, context=context)
        else:
            self.connection = http.client.HTTPConnection(host, port, timeout=30)

    def call(self, method, path, body=None, headers=None):
        sent = dict(headers or {})
        if self.key:
            sent["Authorization"] = "Bearer " + self.key
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            self.connection.request(method, path, data, sent)
            reply = self.connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except BaseException:
            self.connection.close()
            raise

    def close(self):
        self.connection.close()


class Stack:
    def __init__(self):
        self.project = "denizentest" + uuid.uuid4().hex[:8]
        self.https_port, self.http_port = free_port(), free_port()
        self.command = compose_commands()[0]
        self.environment = {**os.environ, "DENIZEN_TAG": TAG, "DENIZEN_LOG_LEVEL": "info", "COMPOSE_HTTP_TIMEOUT": "120",
                            "DENIZEN_HTTPS_PORT": f"127.0.0.1:{self.https_port}", "DENIZEN_HTTP_PORT": f"127.0.0.1:{self.http_port}"}
        self.management_key = None

    def compose(self, *words, timeout=180, files=()):
        more = [word for file in files for word in ("-f", file)]
        return run([*self.command, "-f", ROOT / "compose.yaml", *more, "-p", self.project, *words],
                   timeout=timeout, cwd=ROOT, env=self.environment)

    def must(self, *words, **options):
        status, output = self.compose(*words, **options)
        assert status == 0, f"compose {' '.join(words)} failed:\n{tail(output, 40)}\n{self.failures()}"
        return output

    def build(self, directory):
        status, output = self.compose("build", timeout=1200)
        if status and NO_MIRROR.search(output):
            override = directory / "network.yaml"
            override.write_text(HOST_NETWORK)
            status, output = self.compose("build", timeout=1200, files=[override])
        assert status == 0, f"the images cannot be built:\n{tail(output, 60)}"

    def up(self, **replicas):
        """Starts what does not run, with so many replicas, and waits until all is healthy and the edge serves."""
        scale = [word for service, number in replicas.items() for word in ("--scale", f"{service}={number}")]
        self.must("up", "-d", "--no-build", *scale)
        self.wait_healthy()

    def wait_healthy(self, timeout_sec=90):
        until = time.monotonic() + timeout_sec
        while True:
            state = {name: self.inspect(name)["State"] for name in self.containers()}
            lagging = [name for name, it in state.items() if it.get("Health", {}).get("Status") != "healthy" and "_keys" not in name
                       and "_migrate" not in name and "-keys" not in name and "-migrate" not in name]
            if not lagging:
                return
            assert time.monotonic() < until, f"not healthy after {timeout_sec} s: {lagging}\n{self.failures()}"
            time.sleep(0.5)

    def failures(self):
        """The last log lines of every container, for the report of a failed test."""
        return "\n".join(f"--- {name}\n{tail(run(['docker', 'logs', name])[1], 5)}" for name in self.containers())

    def containers(self, service=None):
        """Names of the project's containers, those that ended included."""
        filters = ["--filter", f"label=com.docker.compose.project={self.project}"]
        if service:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        return sorted(run(["docker", "ps", "-a", *filters, "--format", "{{.Names}}"])[1].split())

    def inspect(self, name):
        status, output = run(["docker", "inspect", name])
        return json.loads(output)[0] if status == 0 else {"State": {}}

    def address(self, name):
        """Address of a gateway's container in the edge's network."""
        networks = self.inspect(name)["NetworkSettings"]["Networks"]
        return next(it["IPAddress"] for network, it in networks.items() if network.endswith("front"))

    def client(self, tls=False):
        return Client(self.https_port if tls else self.http_port, self.key(), tls=tls)

    def key(self):
        """The first management key, read as the documentation says."""
        if not self.management_key:
            output = self.must("exec", "-T", "identity", "cat", "/run/denizen/credentials/bootstrap.json")
            self.management_key = json.loads(output)["management_key"]
        return self.management_key

    def served(self):
        """Calls of GetUser so far: {instance: number} of gateways, and of identity replicas."""
        gateways, identities = {}, {}
        for name in self.containers("gateway"):
            client = Client(8080, host=self.address(name))
            text = client.call("GET", "/metrics").body.decode()
            client.close()
            for labels, number in re.findall(r"^denizen_http_request_seconds_count\{(.*)\} (\d+)$", text, re.M):
                if 'method="GetUser"' in labels:
                    instance = re.search('instance="([^"]+)"', labels).group(1)
                    gateways[instance] = gateways.get(instance, 0) + int(number)
            for labels, number in re.findall(r"^denizen_call_seconds_count\{(.*)\} (\d+)$", text, re.M):
                if 'process="identity"' in labels and 'method="GetUser"' in labels:
                    identities[re.search('instance="([^"]+)"', labels).group(1)] = int(number)
        return gateways, identities

    def down(self):
        self.compose("down", "-v", "--remove-orphans", "-t", "5", timeout=120)
