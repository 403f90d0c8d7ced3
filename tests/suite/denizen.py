"""Drives a suite for the tests: start, stop, HTTP calls whose replies are checked against the OpenAPI document."""
import base64
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get("DENIZEN_BIN") or ROOT / "build/release")
PG_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
OPENAPI = json.loads((ROOT / "docs/api/openapi.json").read_text())


def ephemeral_ports_from():
    """The lowest port that the kernel gives to outgoing connections."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    """An HTTP port whose feed's ports (counted from it) are free as well; below the range of outgoing connections, one of which
    could take a port while its process is restarted."""
    while True:
        port = random.randrange(10000, min(ephemeral_ports_from(), 32768) - 1300)
        if is_free(port) and all(is_free(port + at) and is_free(port + at + 1000) for at in range(140, 148)):
            return port


class Reply:
    """One HTTP reply: status, headers (lower-case names), body bytes, json."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def _schema_errors(schema, document):
    resolver = jsonschema.RefResolver.from_schema(OPENAPI)
    return [error.message for error in jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(document)]


def operation_of(method, path):
    """The OpenAPI operation of a request, or None."""
    plain = path.split("?")[0]
    for template, operations in OPENAPI["paths"].items():
        pattern = "^" + re.sub(r"\{[^}]+\}", "[^/]+", template) + "$"
        if re.match(pattern, plain) and method.lower() in operations:
            return operations[method.lower()]
    return None


def check_against_openapi(method, path, reply):
    """Every reply of a declared operation must have a declared status and fit its schema."""
    operation = operation_of(method, path)
    if operation is None:
        return
    declared = operation["responses"].get(str(reply.status), operation["responses"].get("default"))
    assert declared, f"{method} {path}: status {reply.status} is not in the OpenAPI document: {reply}"
    if "$ref" in declared:
        declared = OPENAPI["components"]["responses"][declared["$ref"].rsplit("/", 1)[1]]
    assert ("Location" in declared.get("headers", {})) == ("location" in reply.headers), f"{method} {path}: Location"
    content = declared.get("content", {})
    media = reply.headers.get("content-type", "").split(";")[0]
    if not content:
        assert reply.body == b"", f"{method} {path}: {reply.status} must have no body: {reply}"
        return
    assert media in content, f"{method} {path}: content type {media} is not declared for {reply.status}"
    if media == "application/x-ndjson":
        schema = content[media].get("schema", {})
        for line in reply.body.splitlines()[:200]:
            problems = _schema_errors(schema, json.loads(line))
            assert not problems, f"{method} {path} {reply.status}: {problems[:3]}: {line[:300]}"
    elif media.endswith("json"):
        problems = _schema_errors(content[media].get("schema", {}), reply.json)
        assert not problems, f"{method} {path} {reply.status}: {problems[:3]}: {reply}"


# Every secret that was sent or received: test_secrets.py looks for them in logs and in the database.
SECRETS = set()
SECRET_MEMBERS = {"password", "secret", "access_token", "refresh_token"}


def remember_secrets(value):
    """Collects the secrets of a JSON document. Short or monotonous ones are left out: they would be found by chance."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name in SECRET_MEMBERS and isinstance(member, str) and len(member) >= 12 and member.isascii() and len(set(member)) >= 6:
                SECRETS.add(member)
            else:
                remember_secrets(member)
    elif isinstance(value, list):
        for member in value:
            remember_secrets(member)


class Client:
    """A caller with one credential over one keep-alive connection."""

    def __init__(self, port, key=None, basic=None, check=True):
        self.port, self.key, self.basic, self.check = port, key, basic, check
        self.connection = None

    def headers(self):
        if self.key:
            return {"Authorization": "Bearer " + self.key}
        if self.basic:
            return {"Authorization": "Basic " + base64.b64encode(":".join(self.basic).encode()).decode()}
        return {}

    def call(self, method, path, body=None, headers=None, raw=None, timeout=30):
        sent = {**self.headers(), **(headers or {})}
        data = raw
        if body is not None:
            remember_secrets(body)
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        sent = {name: value for name, value in sent.items() if value is not None}
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
            try:
                try:
                    self.connection.request(method, path, data, sent)
                except BrokenPipeError:
                    pass  # refused before the whole body was sent: the answer is there
                response = self.connection.getresponse()
                reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, http.client.CannotSendRequest):
                self.close()
                if attempt == 2 or method not in ("GET", "HEAD"):
                    raise
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        if reply.headers.get("content-type", "").startswith("application/json"):
            remember_secrets(reply.json)
        if self.check:
            check_against_openapi(method, path, reply)
        return reply

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def put(self, path, body=None, **options):
        return self.call("PUT", path, body, **options)

    def patch(self, path, body=None, **options):
        return self.call("PATCH", path, body, **options)

    def delete(self, path, **options):
        return self.call("DELETE", path, **options)


class Suite:
    """A whole suite in a directory of its own, started by the launcher as a user would."""

    def __init__(self, replicas="identity=2,session=2", environment=None):
        self.data = Path(tempfile.mkdtemp(prefix="denizen-suite-"))
        os.chmod(self.data, 0o755)
        self.port = free_port()
        self.replicas = replicas
        self.asker = None
        self.environment = {**os.environ, **(environment or {})}

    def launcher(self, *arguments, check=True, timeout=300):
        done = subprocess.run([ROOT / "denizen", *arguments, "--data", self.data], capture_output=True, text=True,
                              timeout=timeout, env=self.environment)
        if check and done.returncode:
            raise AssertionError(f"./denizen {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def up(self):
        self.launcher("up", "--detach", "--port", str(self.port), "--replicas", self.replicas)
        self.credentials = json.loads((self.data / "credentials.json").read_text())
        SECRETS.update(self.credentials[member] for member in ("management_key", "api_key", "client_secret", "admin_password"))
        return self

    def down(self):
        self.launcher("down", check=False)

    def remove(self):
        if self.asker is not None:
            self.asker.stdin.close()
            self.asker.wait()
        self.down()
        shutil.rmtree(self.data, ignore_errors=True)

    def status(self):
        return json.loads(self.launcher("status", "--json", check=False).stdout)

    def pid(self, name):
        """Process id by the supervisor's name, e.g. identity.1."""
        status = json.loads((self.data / "run/status.json").read_text())
        return next(process["pid"] for process in status["processes"] if process["name"] == name)

    def client(self, **options):
        options.setdefault("key", self.credentials["management_key"])
        return Client(self.port, **options)

    def project(self, name):
        """A further project's credentials."""
        credentials = json.loads(self.launcher("project", "create", name, "--json").stdout)
        SECRETS.update(credentials[member] for member in ("management_key", "api_key", "client_secret", "admin_password"))
        return credentials

    def new_project(self, name="test"):
        """A client with the management key of a project made for it; its project_id is set."""
        maker = self.client()
        reply = maker.post("/v1/projects", {"name": name})
        maker.close()
        assert reply.status == 201, reply
        client = Client(self.port, key=reply.json["management_key"]["secret"])
        client.project_id = reply.json["id"]
        return client

    def postgres(self, program, *arguments, role="denizen_owner", runner=subprocess.run, **options):
        """Runs a Postgres client program as a role of the suite; gives what subprocess.run gives, or what runner gives."""
        name = "owner" if role == "denizen_owner" else role
        password = (self.data / f"secrets/{name}.password").read_text().strip()
        host = next(line.split("'")[1] for line in (self.data / "postgres/postgresql.conf").read_text().splitlines()
                    if line.startswith("unix_socket_directories"))
        options = options or {"capture_output": True}
        return runner([PG_BIN / program, "-h", host, "-U", role, "-d", "denizen", *arguments], text=True,
                      env={**os.environ, "PGPASSWORD": password}, **options)

    def psql(self, sql, role="denizen_owner"):
        """Runs SQL, as the database's owner unless told; returns its output lines."""
        done = self.postgres("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, role=role)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def settle(self):
        """Waits until every outbox is empty: then all events of finished calls are in the ledger."""
        queued = " UNION ALL ".join(f"SELECT id FROM {schema}.outbox" for schema in ("identity", "claims", "session"))
        eventually(lambda: self.ask(f"SELECT count(*) FROM ({queued}) q;") == "0", pause=0.005)

    def ask(self, query):
        """One line from a psql that stays open: for questions that are asked very often."""
        if self.asker is None or self.asker.poll() is not None:
            self.asker = self.postgres("psql", "-qAtX", runner=subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.asker.stdin.write(query + "\n")
        self.asker.stdin.flush()
        return self.asker.stdout.readline().strip()


def eventually(check, seconds=10.0, pause=0.02):
    """Waits until check() is true; returns its value."""
    until = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(pause)
