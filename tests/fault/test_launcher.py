"""./denizen up, down and what they say when something is in the way: one sentence that says what to do."""
import fcntl
import json
import os
import pwd
import signal
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from denizen import BIN, ROOT, Client, Suite, eventually, free_port
from helpers import good, new_user
from test_disk import SmallDisk

AS_ROOT = os.getuid() == 0
NOBODY = "nobody"


@pytest.fixture(scope="module")
def suite():
    running = Suite(replicas="identity=2").up()
    yield running
    running.remove()


@pytest.fixture()
def data():
    """A directory that nobody has touched."""
    path = Path(tempfile.mkdtemp(prefix="denizen-launcher-"))
    os.chmod(path, 0o755)
    yield path
    if (path / "d/run/status.json").exists():  # a test that failed may have started what it expected to be refused
        denizen("down", "--data", path / "d")
    shutil.rmtree(path, ignore_errors=True)


def denizen(*arguments, user=None, environment=None):
    """Runs ./denizen; a refusal must be one last sentence."""
    prefix = ["runuser", "-u", user, "--"] if user else []
    return subprocess.run([*prefix, ROOT / "denizen", *map(str, arguments)], capture_output=True, text=True, timeout=120, cwd="/",
                          env={**os.environ, "DENIZEN_BIN": str(BIN), **(environment or {})})


def refused(done, *words):
    """It failed, and the last line is a sentence of the launcher with these words in it; no process is left behind."""
    assert done.returncode == 1, done
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("denizen: ") and last.endswith("."), done.stderr
    for word in words:
        assert word in last, last


def test_up_twice_is_up_once(suite):
    before = suite.status()
    done = denizen("up", "--data", suite.data, "--detach", "--port", suite.port)
    assert done.returncode == 0 and "already running" in done.stderr and str(suite.port) in done.stderr, done
    assert suite.status() == before


def test_up_does_not_pretend_to_change_what_runs(suite):
    """It said "already running" on the port that was asked for, where nobody listens, and nothing of the replicas."""
    before = suite.status()
    refused(denizen("up", "--data", suite.data, "--detach", "--port", suite.port + 1), f"127.0.0.1:{suite.port} ", "./denizen down")
    refused(denizen("up", "--data", suite.data, "--detach", "--replicas", "identity=2,claims=2"), "--replicas", "./denizen down")
    assert denizen("up", "--data", suite.data, "--detach", "--replicas", "claims=1,identity=2").returncode == 0
    assert suite.status() == before


def test_down_and_up_resume_the_data(suite, figures):
    client = suite.client()
    user = new_user(client, name="Ada")
    credentials = (suite.data / "credentials.json").read_text()
    client.close()
    began = time.monotonic()
    suite.launcher("down")
    stopped = time.monotonic()
    assert denizen("status", "--data", suite.data, "--json").stdout.strip() == '{"running": false}'
    assert denizen("down", "--data", suite.data).returncode == 0
    up = time.monotonic()
    done = denizen("up", "--data", suite.data, "--detach")  # port and replicas are remembered
    ready = time.monotonic()
    assert done.returncode == 0, done
    assert (suite.data / "credentials.json").read_text() == credentials
    assert suite.status()["ready"] and {p["name"] for p in suite.status()["processes"]} >= {"identity.1", "identity.2", "session.1"}
    assert good(suite.client().get("/v1/users/" + user["id"])) == user
    figures.append(f"launcher: down {stopped - began:.2f} s, up on existing data {ready - up:.2f} s")


def test_other_replicas_at_the_next_start(suite):
    user = new_user(suite.client())
    suite.launcher("down")
    assert denizen("up", "--data", suite.data, "--detach", "--replicas", "session=2,claims=2").returncode == 0
    names = {process["name"] for process in suite.status()["processes"]}
    assert {"session.2", "claims.2"} <= names and "identity.2" not in names
    assert good(suite.client().get("/v1/users/" + user["id"])) == user


def test_the_operators_own_settings_win(suite):
    """DATA/config/PROCESS.env is read last: also for a setting that the launcher gives itself."""
    suite.launcher("down")
    (suite.data / "config").mkdir(exist_ok=True)
    (suite.data / "config/gateway.env").write_text("DENIZEN_LOG_LEVEL=debug\n")
    try:
        suite.launcher("up", "--detach")
        good(suite.client().get("/v1/users"))
        eventually(lambda: '"level":"debug"' in (suite.data / "logs/gateway.1.log").read_text())
    finally:
        (suite.data / "config/gateway.env").unlink()


def test_a_first_start_that_was_cut_off_is_done_again(data):
    """initdb was killed; then bootstrap wrote its file and died before its commit: the key in it belongs to nobody."""
    directory, port = data / "d", free_port()
    (directory / "postgres").mkdir(parents=True)
    (directory / "postgres.new").mkdir()
    (directory / "postgres.new/PG_VERSION").write_text("15\n")
    binaries = data / "bin"
    shutil.copytree(BIN, binaries, symlinks=True, ignore=shutil.ignore_patterns("*.o", "*.a", "CMakeFiles"))
    identity = binaries / "services/identity/denizen-identity"
    identity.rename(identity.with_name("real"))
    identity.write_text('''#!/bin/sh
[ "$1" = bootstrap ] || exec "$(dirname "$0")/real" "$@"
echo '{"project_id": "prj_01m80r9kcje308npnpk1rscm8q", "management_key": "dmk_lost"}' >"$5"
exit 1
''')
    identity.chmod(0o755)
    refused(denizen("up", "--data", directory, "--port", port, "--detach", environment={"DENIZEN_BIN": str(binaries)}), "first project")
    try:
        done = denizen("up", "--data", directory, "--port", port, "--detach")
        assert done.returncode == 0, done
        credentials = json.loads((directory / "credentials.json").read_text())
        assert good(Client(port, key=credentials["management_key"]).get("/v1/users"))["total"] == 1
    finally:
        assert denizen("down", "--data", directory).returncode == 0


def test_credentials_that_were_cut_off_are_made_again(suite):
    """The administrator was made, the file was not: the next `up` finishes, with the password of the first."""
    file = suite.data / "credentials.json"
    before = json.loads(file.read_text())
    (suite.data / "run/bootstrap.json").write_text(json.dumps({name: before[name] for name in ("project_id", "management_key")}))
    (suite.data / "run/admin.password").write_text(before["admin_password"])
    file.unlink()
    done = denizen("up", "--data", suite.data, "--detach")
    assert done.returncode == 0 and "already running" in done.stderr, done
    after = json.loads(file.read_text())
    assert {name for name in before if before[name] != after[name]} <= {"api_key", "client_id", "client_secret"}
    assert not (suite.data / "run/bootstrap.json").exists() and not (suite.data / "run/admin.password").exists()
    made = suite.client().post("/v1/sessions", {"email": after["admin_email"], "password": after["admin_password"]})
    assert made.status == 201, made


def test_a_refused_import_is_no_success(suite, data):
    bad = {**suite.credentials, "management_key": "dmk_" + "x" * 30}
    (data / "bad.json").write_text(json.dumps(bad))
    (data / "users.ndjson").write_text('{"email": "nobody@example.com"}\n')
    refused(denizen("import", data / "users.ndjson", "--data", suite.data, "--project-credentials", data / "bad.json"), "refused (401)")


def test_an_import_takes_the_file_that_it_is_given(suite, data):
    """curl reads brackets and braces in the name of a file as a pattern: {a,b}.ndjson sent a.ndjson and b.ndjson."""
    def row(name):
        return json.dumps({"external_id": f"{data.name}-{name}"}) + "\n"

    for name in ("users[1].ndjson", "{a,b}.ndjson", "with blank.ndjson", "a.ndjson"):
        (data / name).write_text(row(name))
        done = denizen("import", data / name, "--data", suite.data)
        assert (done.returncode, done.stdout) == (0, "created: 1\n"), done
    (data / "empty").write_text("")
    done = denizen("import", data / "empty", "--data", suite.data)
    assert (done.returncode, done.stdout) == (0, "no rows\n"), done
    refused(denizen("import", data, "--data", suite.data), "no file")
    with open(data / "a.ndjson") as pipe:
        piped = subprocess.Popen(["cat"], stdin=pipe, stdout=subprocess.PIPE)
    done = subprocess.run([ROOT / "denizen", "import", "/dev/stdin", "--data", suite.data], stdin=piped.stdout, capture_output=True, text=True, timeout=60)
    piped.stdout.close()
    piped.wait()
    refused(done, "no file", "pipe")


def test_two_starts_at_once(data):
    (data / "d").mkdir()
    with open(data / "d/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(denizen("up", "--data", data / "d", "--port", free_port(), "--detach"), "another ./denizen up")


def test_down_ends_no_stranger(data):
    """After a crash of the machine another program may have the number of the supervisor."""
    (data / "d/run").mkdir(parents=True)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (data / "d/run/status.json").write_text(f'{{"supervisor": {stranger.pid}, "processes": []}}')
        done = denizen("down", "--data", data / "d")
        assert done.returncode == 0 and "does not run" in done.stderr, done
        assert denizen("status", "--data", data / "d", "--json").stdout.strip() == '{"running": false}'
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("ignored", [True, False])
def test_a_hang_up_ends_the_supervisor_unless_nohup_started_it(data, ignored):
    (data / "plan").write_text("process sleeper\narg /bin/sleep\narg 1000\n")
    supervisor = subprocess.Popen([BIN / "deploy/denizen-supervisor", data / "plan", data / "status.json"],
                                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL))
    try:
        eventually((data / "status.json").exists)
        supervisor.send_signal(signal.SIGHUP)
        if ignored:
            with pytest.raises(subprocess.TimeoutExpired):
                supervisor.wait(1)
            supervisor.terminate()
        assert supervisor.wait(10) == 0
    finally:
        supervisor.kill()
        supervisor.wait()


@pytest.mark.parametrize("name", ["gateway.1", "identity.1"])
def test_a_process_that_is_told_to_hang_up_drains_and_starts_again(suite, name):
    before = suite.pid(name)
    os.kill(before, signal.SIGHUP)
    eventually(lambda: suite.pid(name) not in (0, before) and suite.status()["ready"], 20)
    assert any(word in (suite.data / f"logs/{name}.log").read_text() for word in ('"message":"draining"', '"message":"gateway leaves"'))


def test_a_killed_supervisor_leaves_nothing_behind(suite):
    """Its processes end with it, Postgres too, and `up` resumes."""
    user = new_user(suite.client())
    status = suite.status()
    pids = [process["pid"] for process in status["processes"]]
    os.kill(status["supervisor"], signal.SIGKILL)
    eventually(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], 25, 0.1)
    done = denizen("up", "--data", suite.data, "--detach")
    assert done.returncode == 0, done
    assert good(suite.client().get("/v1/users/" + user["id"])) == user


def in_background(*arguments):
    return subprocess.Popen([ROOT / "denizen", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_up_while_down_works_starts_again(suite):
    """It said "already running", and then nothing ran."""
    user, before = new_user(suite.client()), suite.status()
    frozen = suite.pid("identity.1")
    os.kill(frozen, signal.SIGSTOP)  # makes `down` long
    try:
        down = in_background("down", "--data", suite.data)
        eventually(lambda: suite.status().get("stopping"))
        assert "being stopped" in denizen("status", "--data", suite.data).stdout
        up = in_background("up", "--data", suite.data, "--detach")
        with pytest.raises(subprocess.TimeoutExpired):
            up.wait(1)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert down.wait(30) == 0 and up.wait(60) == 0, up.communicate()
    after = suite.status()
    assert after["ready"] and not after["stopping"] and after["supervisor"] != before["supervisor"]
    assert good(suite.client().get("/v1/users/" + user["id"])) == user


def test_up_waits_for_what_a_killed_supervisor_left(suite):
    """It blamed another program for the port of its own gateway, which was still leaving."""
    supervisor, frozen = suite.status()["supervisor"], suite.pid("gateway.1")
    os.kill(frozen, signal.SIGSTOP)
    try:
        os.kill(supervisor, signal.SIGKILL)
        up = in_background("up", "--data", suite.data, "--detach")
        with pytest.raises(subprocess.TimeoutExpired):
            up.wait(1)
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert up.wait(60) == 0, up.communicate()
    assert suite.status()["ready"]


def test_up_waits_for_no_stranger(suite, data):
    """After a crash of the machine a process of another suite may have the number of one of ours."""
    (data / "d/run").mkdir(parents=True)
    (data / "d/run/plan").write_text((suite.data / "run/plan").read_text())
    (data / "d/run/status.json").write_text(f'{{"supervisor": 1, "processes": [\n{{"name": "gateway.1", "pid": {suite.pid("gateway.1")}}}]}}\n')
    refused(denizen("up", "--data", data / "d", "--port", suite.port), f"port {suite.port} is taken")
    (data / "d/run/status.json").unlink()


def open_to_others(top):
    """Files and sockets below a directory that another user of the machine can read or write."""
    found = set()
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if os.stat(os.path.join(folder, name)).st_mode & 0o001]
        found |= {os.path.relpath(os.path.join(folder, name), top) for name in files if os.lstat(os.path.join(folder, name)).st_mode & 0o006}
    return found


def test_others_read_what_they_need_and_nothing_else(suite):
    """Whoever may open .lock can hold it, and no `up` works any more; logs of Postgres hold what users wrote."""
    expected = {"run/status.json", "run/settings"} | {f"bus/public/{path.name}" for path in (suite.data / "bus/public").iterdir()}
    assert open_to_others(suite.data) == expected
    suite.launcher("down")
    for path in (".lock", "run/plan", "logs/postgres.log"):  # as earlier releases left them
        (suite.data / path).chmod(0o644)
    for path in ("run", "logs"):
        (suite.data / path).chmod(0o755)
    suite.launcher("up", "--detach")
    assert open_to_others(suite.data) == expected


def test_the_gateway_leaves_at_once_when_nobody_is_connected(suite, figures):
    times = []
    for _ in range(3):
        pid = suite.pid("gateway.1")
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), 5, 0.002)
        times.append(time.monotonic() - began)
        eventually(lambda: suite.pid("gateway.1") not in (0, pid) and suite.status()["ready"], 20)
    figures.append("launcher: the gateway leaves after " + ", ".join(f"{took:.2f} s" for took in times))
    assert min(times) < 0.2


def test_a_taken_port(data):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(denizen("up", "--data", data / "d", "--port", port), f"port {port} is taken", "--port")
    for distance in (140, 1140):  # the feed's ports
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            refused(denizen("up", "--data", data / "d", "--port", f"0{taken - distance}"), str(taken), "--port")  # no octal number


@pytest.mark.parametrize("arguments, words", [
    (["--port", "x"], ["--port needs a number"]),
    (["--port", "0"], ["1 to 60000"]),
    (["--port", "70000"], ["1 to 60000"]),
    (["--port"], ["--port needs a value"]),
    (["--replicas", "identity=0"], ["1 to 8"]),
    (["--replicas", "identity"], ["identity=2"]),
    (["--replicas", "gateway=2"], ["compose.yaml"]),
    (["--port", "99999999999999999999"], ["1 to 60000"]),
    (["--port", "000"], ["1 to 60000"]),
    (["--colour"], ["unknown option --colour"]),
    (["-d"], ["unknown option -d"]),
    (["--json"], ["unknown option --json"]),
    (["9000"], ["does not take 9000"]),
    (["--data", ""], ["--data needs a value"]),
])
def test_wrong_options(data, arguments, words):
    refused(denizen("up", "--data", data / "d", *arguments), *words)
    assert not (data / "d").exists()


@pytest.mark.parametrize("arguments", [
    ["key", "create", "--scopes", "users:read", "--project", "prj_01h00000000000000000000000"],
    ["key", "create", "extra", "--scopes", "users:read"], ["project", "create", "two", "words"], ["import", "USERS", "--project", "prj_x"],
    ["import", "USERS", "USERS"], ["status", "--port", "1"], ["down", "now"], ["logs", "gateway", "identity"]])
def test_what_a_command_does_not_take_is_refused_and_not_left_out(suite, data, arguments):
    """A key or an import for another project than the one that was named, or half of the files, would be worse than none."""
    (data / "users.ndjson").write_text(json.dumps({"email": "left-out@example.com"}))
    keys, users = good(suite.client().get("/v1/keys"))["total"], good(suite.client().get("/v1/users"))["total"]
    named = [str(data / "users.ndjson") if word == "USERS" else word for word in arguments]
    done = denizen(*named, "--data", suite.data)
    refused(done, "./denizen help")
    assert (good(suite.client().get("/v1/keys"))["total"], good(suite.client().get("/v1/users"))["total"]) == (keys, users)
    assert suite.status()["ready"]


def test_a_strange_directory(data):
    refused(denizen("up", "--data", data / "with blank"), "--data")
    (data / "file").write_text("")
    refused(denizen("up", "--data", data / "file" / "d"), "cannot be made", "--data")


def test_old_postgres_data(data):
    (data / "d/postgres").mkdir(parents=True)
    (data / "d/postgres/PG_VERSION").write_text("13\n")
    refused(denizen("up", "--data", data / "d", "--port", free_port()), "Postgres 13", "pg_dumpall")


def test_a_bus_port_that_an_outgoing_connection_was_given(data):
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as outgoing:
        outgoing.bind(("127.0.0.1", port + 140))
        outgoing.connect(server.getsockname())
        refused(denizen("up", "--data", data / "d", "--port", port), str(port + 140), "feed", "--port")


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become another user")
def test_missing_privileges(data):
    closed = data / "closed"
    closed.mkdir(mode=0o700)
    refused(denizen("up", "--data", closed / "d", "--port", free_port()), "postgres", "--data")
    (data / "mine").mkdir(mode=0o755)
    refused(denizen("up", "--data", data / "mine", "--port", free_port(), user=NOBODY), "not writable by nobody", "--data")
    refused(denizen("up", "--data", data / "mine/d", "--port", free_port(), user=NOBODY), "cannot be made", "--data")


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become another user")
def test_what_is_of_another_user_is_left_alone(suite, data):
    refused(denizen("down", "--data", suite.data, user=NOBODY), "runs as root")
    refused(denizen("subscriber", "create", "mine", "--data", suite.data, user=NOBODY), "not writable by nobody")
    refused(denizen("up", "--data", data, user=NOBODY, environment={"DENIZEN_BIN": ""}), "cannot build", "DENIZEN_BIN=")
    (data / "d/postgres").mkdir(parents=True)
    os.chown(data / "d/postgres", pwd.getpwnam(NOBODY).pw_uid, -1)
    refused(denizen("up", "--data", data / "d", "--port", free_port()), "run the command as nobody")
    assert os.listdir(data / "d") == ["postgres"], "what root leaves there would be in nobody's way"
    assert suite.status()["ready"]


def test_a_subscriber_needs_a_name_that_can_be_one(suite):
    done = denizen("subscriber", "create", "My Shop", "--data", suite.data)
    assert done.returncode == 1 and "lower-case letters" in done.stderr, done


def warnings(directory):
    """What Denizen's processes warned of."""
    return [line for log in (directory / "logs").glob("*.log") for line in log.read_text().splitlines()
            if '"level":"warn"' in line or '"level":"error"' in line]


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become another user")
def test_an_ordinary_user_runs_a_suite(data):
    os.chown(data, pwd.getpwnam(NOBODY).pw_uid, -1)
    port = free_port()
    try:
        done = denizen("up", "--data", data / "d", "--port", port, "--detach", user=NOBODY)
        assert done.returncode == 0, done
        credentials = json.loads((data / "d/credentials.json").read_text())
        assert credentials["base_url"].endswith(str(port)) and (data / "d/credentials.json").stat().st_mode & 0o777 == 0o600
        assert not warnings(data / "d"), "a start as it should be has nothing to warn of"
    finally:
        assert denizen("down", "--data", data / "d", user=NOBODY).returncode == 0


@pytest.mark.skipif(not AS_ROOT, reason="needs root to mount a small disk")
def test_a_disk_that_is_nearly_full():
    disk = SmallDisk(100)
    try:
        refused(denizen("up", "--data", disk.path / "d", "--port", free_port()), "MB are free", "200 MB")
    finally:
        disk.remove()
