"""What the measurements share: the suite under test, its Postgres, the load generators, and their results."""
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path.insert(0, str(ROOT / "tests/suite"))
try:
    import jsonschema  # noqa: F401
except ImportError:  # the suite's driver wants it for checks that are switched off here
    sys.modules["jsonschema"] = types.ModuleType("jsonschema")
import denizen  # noqa: E402

HELPERS = ROOT / "build/bench/bench"
PASSWORD = "correct horse battery staple"
READ_USERS = 100_000
SIGN_IN_USERS = 500
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def run(command, timeout=120, **options):
    """Runs a command; returns its output, ends the benchmark when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout, **options)
    if done.returncode:
        raise RuntimeError(f"{Path(str(command[0])).name} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def build_helpers():
    directory = ROOT / "build/bench"
    if not (directory / "build.ninja").exists():
        run(["cmake", "-G", "Ninja", "-S", ROOT, "-B", directory, "-DCMAKE_BUILD_TYPE=Release", "-DDENIZEN_TESTS=OFF",
             "-DDENIZEN_BENCH=ON"], timeout=300)
    run(["ninja", "-C", directory, "bench-helpers"], timeout=600)


def helper(name, *arguments, **options):
    return json.loads(run([HELPERS / name, *arguments], **options))


def read_user_id(number):
    """The id of a user of sql/users.sql as the API shows it."""
    value = int("0190000000007000" + "8000" + f"{number:012x}", 16)
    return "usr_" + "".join(BASE32[value >> shift & 31] for shift in range(125, -1, -5))


def rss_bytes(pid, member="VmRSS"):
    """Resident memory of a process; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(member + r":\s+(\d+)", text)
    return int(found.group(1)) * 1024 if found else 0


class World:
    """One suite for the whole run, a directory for files with secrets, and the durations."""

    def __init__(self, quick):
        self.quick = quick
        self.pairs = 3 if quick else 7
        self.files = Path(tempfile.mkdtemp(prefix="denizen-bench-"))
        self.suite = denizen.Suite(replicas="identity=1", environment={"DENIZEN_BENCH_ROUTES": "1"})
        self.high = int(time.time())

    def start(self):
        self.suite.up()
        self.port = self.suite.port
        plan = (self.suite.data / "run/plan").read_text()
        self.pg_bin = Path(re.search(r"^arg (\S+)/postgres$", plan, re.MULTILINE).group(1))
        self.key = self.suite.credentials["management_key"]
        self.project = self.suite.credentials["project_id"]
        self.project_uuid = self.suite.psql("SELECT project_id FROM identity.project WHERE platform")[0]

    @contextlib.contextmanager
    def second_gateway(self):
        """A gateway beside the suite's own, with its settings and another port; gives the port."""
        lines = (self.suite.data / "run/plan").read_text().split("process gateway.1\n")[1].splitlines()
        settings = dict(line[4:].split("=", 1) for line in lines if line.startswith("env "))
        command = [line[4:] for line in lines if line.startswith("arg ")]
        port = denizen.free_port()
        gateway = subprocess.Popen(command, env={**settings, "DENIZEN_HTTP_PORT": str(port)}, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            asker = denizen.Client(port, check=False)
            denizen.eventually(lambda: self.is_ready(asker), 10)
            asker.close()
            yield port
        finally:
            gateway.terminate()
            gateway.wait(20)

    @staticmethod
    def is_ready(asker):
        try:
            return asker.get("/readyz").status == 200
        except OSError:
            return False

    def stop(self):
        self.suite.remove()
        shutil.rmtree(self.files, ignore_errors=True)

    def seconds(self, full):
        """Whole seconds: half of them, rounded down, in a quick run."""
        return full // 2 if self.quick else full

    def client(self, key=None, **options):
        return denizen.Client(self.port, key=key or self.key, check=False, **options)

    def pids(self):
        """Process ids by name, without Postgres, the supervisor included."""
        status = json.loads((self.suite.data / "run/status.json").read_text())
        pids = {process["name"]: process["pid"] for process in status["processes"] if process["name"] != "postgres"}
        return {**pids, "supervisor": status["supervisor"]}

    # ---- load generators ----

    def wrk_command(self, script, connections, seconds, path="/"):
        return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", BENCH / f"lua/{script}.lua",
                f"http://127.0.0.1:{self.port}{path}"]

    def wrk_environment(self, variables):
        return {**os.environ, "BENCH_KEY": self.key, "BENCH_LUA": str(BENCH / "lua"),
                **{name: str(value) for name, value in variables.items()}}

    def wrk(self, script, connections, seconds, path="/", **variables):
        """Runs a script; returns its figures. Refused or broken requests end the benchmark: they would flatter it."""
        return self.wrk_end(self.wrk_start(script, connections, seconds, path, **variables))

    def wrk_start(self, script, connections, seconds, path="/", **variables):
        command = [str(part) for part in self.wrk_command(script, connections, seconds, path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=self.wrk_environment(variables))

    def wrk_end(self, process):
        output, _ = process.communicate(timeout=180)
        found = re.search(r"^RESULT (.*)$", output, re.MULTILINE)
        if not found:
            raise RuntimeError(f"wrk gave no figures:\n{output[-1500:]}")
        figures = json.loads(found.group(1))
        if figures["refused"] or figures["broken"]:
            raise RuntimeError(f"requests failed: {figures}")
        return figures

    def postgres_environment(self):
        conf = (self.suite.data / "postgres/postgresql.conf").read_text().splitlines()
        host = next(line.split("'")[1] for line in conf if line.startswith("unix_socket_directories"))
        password = (self.suite.data / "secrets/owner.password").read_text().strip()
        return {**os.environ, "PGHOST": host, "PGUSER": "denizen_owner", "PGPASSWORD": password, "PGDATABASE": "denizen"}

    def pgbench(self, script, seconds, **variables):
        """Eight clients in one thread, prepared statements; returns transactions a second."""
        defined = [part for name, value in variables.items() for part in ("-D", f"{name}={value}")]
        output = run([self.pg_bin / "pgbench", "-n", "-M", "prepared", "-c8", "-j1", "-T", seconds, *defined,
                      "-f", BENCH / f"sql/{script}.sql"], env=self.postgres_environment(), timeout=180)
        return {"rate": float(re.search(r"^tps = ([\d.]+)", output, re.MULTILINE).group(1))}

    def psql_file(self, script, **variables):
        defined = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        run([self.pg_bin / "psql", "-qX", "-v", "ON_ERROR_STOP=1", *defined, "-f", BENCH / f"sql/{script}.sql"],
            env=self.postgres_environment(), timeout=180)

    def psql(self, sql):
        return run([self.pg_bin / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql], env=self.postgres_environment(),
                   timeout=300).splitlines()

    def write_limit(self, seconds):
        """The one statement that creates a user, by pgbench on copies of the tables."""
        self.high += 1
        return self.pgbench("create_user", seconds, project=self.project_uuid, n=0, base=self.high * 1_000_000,
                            event="\\x" + "5a" * self.event_bytes, hash="\\x" + "5a" * 32, reply="\\x" + "5a" * self.reply_bytes)

    # ---- measuring ----

    def measure_pairs(self, denizen_side, limit_side):
        """Runs A, B, A, B ...: many short pairs, because a shared host changes its speed within seconds. Returns the medians of both sides and of the pairs' ratios, and all figures."""
        pairs = [(denizen_side(number), limit_side(number)) for number in range(self.pairs)]
        return {
            "rate": statistics.median(a["rate"] for a, _ in pairs),
            "limit": statistics.median(b["rate"] for _, b in pairs),
            "ratio": statistics.median(a["rate"] / b["rate"] for a, b in pairs),
            "p50_ms": statistics.median(a.get("p50_ms", 0) for a, _ in pairs),
            "p99_ms": statistics.median(a.get("p99_ms", 0) for a, _ in pairs),
            "pairs": pairs,
        }


def quantile(values, share):
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
