#!/usr/bin/python3
"""Runs the tests by group, prints a line a test that fails and `N passed, N failed` at the end.

usage: run.py [--quick] [GROUP...]    --quick leaves out asan, tsan and compose; releases runs only when it is named.
Groups run in the order of GROUPS; a group is a function that returns (passed, failed). Everything a group starts, it ends.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PG_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=Path())
PYTHON = "/usr/bin/python3"


def run(command, timeout=900, **options):
    """Runs a command to its end; returns (exit status, joined output). A time-out is status 124."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, **options)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode(errors="replace") + f"\ntimed out after {timeout} s"


def tail(text, lines=25):
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def build(preset, *targets):
    """Configures and builds a preset (or some of its targets); ends the whole run when it does not compile."""
    directory = ROOT / "build" / preset
    if not (directory / "build.ninja").exists():
        status, output = run(["cmake", "-S", ROOT, "--preset", preset])
        if status:
            sys.exit(f"cmake --preset {preset} failed:\n{tail(output)}\n0 passed, 1 failed")
    status, output = run(["ninja", "-C", directory, *targets], timeout=1800)
    if status:
        sys.exit(f"building {preset} failed:\n{tail(output, 40)}\n0 passed, 1 failed")
    return directory


class Postgres:
    """A private cluster for store tests: unsafe and fast, deleted at the end."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="denizen-pg-"))
        os.chmod(self.directory, 0o755)
        root = os.getuid() == 0
        self.prefix = ["runuser", "-u", "postgres", "--"] if root else []
        data = self.directory / "data"
        data.mkdir()
        if root:
            shutil.chown(self.directory, "postgres")
            shutil.chown(data, "postgres")
        self.must([PG_BIN / "initdb", "-D", data, "-U", "owner", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
        settings = f"-c listen_addresses= -c unix_socket_directories={self.directory} -c fsync=off -c max_connections=300"
        self.must([PG_BIN / "pg_ctl", "-D", data, "-w", "-o", settings, "-l", self.directory / "log", "start"])
        self.must([PG_BIN / "createdb", "-h", self.directory, "-U", "owner", "test"])
        self.uri = f"host={self.directory} user=owner dbname=test"
        return self

    def must(self, command):
        status, output = run([*self.prefix, *command])
        if status:
            sys.exit(f"Postgres for the tests does not start:\n{tail(output)}\n0 passed, 1 failed")

    def __exit__(self, *_):
        run([*self.prefix, PG_BIN / "pg_ctl", "-D", self.directory / "data", "-m", "immediate", "stop"])
        shutil.rmtree(self.directory, ignore_errors=True)


def criterion(binary, environment=None, jobs=2):
    """Runs a Criterion binary in a folder of its own, deleted at the end; counts its TAP lines."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.tap"
        status, output = run([binary, f"-j{jobs}", f"--tap={report}"], timeout=900, cwd=directory,
                             env={**os.environ, **(environment or {})})
        lines = report.read_text().splitlines() if report.exists() else []
    passed = sum(line.startswith("ok ") and "# SKIP" not in line for line in lines)
    failed = sum(line.startswith("not ok ") for line in lines)
    if status and not failed:
        failed = 1
    if passed == 0 and failed == 0:
        failed = 1
        output += "\nno test ran"
    if failed:
        print(tail(output, 60))
    return passed, failed


def counted_lines(command, **options):
    """Runs a script that prints `N passed, N failed` as its last such line."""
    status, output = run(command, **options)
    found = re.findall(r"^(\d+) passed, (\d+) failed", output, re.M)
    passed, failed = (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)
    if status and not failed:
        failed = 1
    if failed:
        print(tail(output, 60))
    return passed, failed


def pytest(folder, timeout=1200, environment=None):
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        status, output = run(
            [PYTHON, "-m", "pytest", "-q", "-x" if os.environ.get("DENIZEN_FAIL_FAST") else "-q", "-p", "no:cacheprovider", f"--junitxml={report}", folder],
            timeout=timeout, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})})
        if not report.exists():
            print(tail(output, 60))
            return 0, 1
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        counts = [(int(s.get("tests")), int(s.get("failures")) + int(s.get("errors")), int(s.get("skipped"))) for s in suites]
    total, failed, skipped = (sum(column) for column in zip(*counts))
    if status and not failed:
        failed = 1
    if failed:
        print(tail(output, 120))
    if skipped:
        print(f"    {skipped} skipped")
    return max(total - failed - skipped, 0), failed


def group_static():
    first = counted_lines([PYTHON, ROOT / "tests/checks/check.py"])
    second = counted_lines([PYTHON, ROOT / "tests/checks/selftest.py"], timeout=600)
    return first[0] + second[0], first[1] + second[1]


def group_unit():
    return criterion(build("dev") / "tests/test-unit")


def group_store():
    directory = build("dev")
    with Postgres() as postgres:
        return criterion(directory / "tests/test-store", {"DENIZEN_TEST_DB": postgres.uri})


def fuzzers(directory, environment=None):
    passed = failed = 0
    for binary in sorted((directory / "tests").glob("fuzz_*")):
        if not os.access(binary, os.X_OK) or binary.is_dir():
            continue
        status, output = run([binary, ROOT / "tests/fuzz/corpus" / binary.name], timeout=300, env={**os.environ, **(environment or {})})
        passed, failed = passed + (status == 0), failed + (status != 0)
        if status:
            print(f"    {binary.name}\n{tail(output)}")
    return passed, failed


def group_fuzz():
    return fuzzers(build("dev"))


def group_asan():
    """Units, stores and fuzz replay under the address and undefined-behaviour sanitizers."""
    directory = build("asan")
    quiet = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    results = [criterion(directory / "tests/test-unit", quiet), fuzzers(directory, {**quiet, "ASAN_OPTIONS": "detect_leaks=1"})]
    with Postgres() as postgres:
        results.append(criterion(directory / "tests/test-store", {**quiet, "DENIZEN_TEST_DB": postgres.uri}))
    return tuple(sum(column) for column in zip(*results))


def group_tsan():
    """The loop and the bus under the thread sanitizer."""
    directory = build("tsan", "test-tsan")
    options = f"suppressions={ROOT}/tests/tsan/suppressions.txt exitcode=66 history_size=4"
    with tempfile.TemporaryDirectory() as folder:
        return counted_lines([directory / "tests/test-tsan"], cwd=folder, env={**os.environ, "TSAN_OPTIONS": options})


def group_suite():
    build("release")
    return pytest("tests/suite", timeout=1500)


def group_dialects():
    """Clients of other products; their packages are those of the lock file."""
    folder = ROOT / "tests/dialects"
    if not shutil.which("npm"):
        print("    skipped: needs Node 20 or later with npm")
        return 0, 0
    build("release")
    if not (folder / "node_modules").exists():
        status, output = run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, timeout=300)
        if status:
            print(tail(output))
            return 0, 1
    return pytest("tests/dialects", timeout=600)


def group_fault():
    build("release")
    return pytest("tests/fault", timeout=1500)


def group_compose():
    return pytest("tests/compose", timeout=2400)


def group_releases():
    """README's commands on fresh systems of the other releases that it promises."""
    results = [counted_lines([ROOT / "tests/releases/release.sh", name], timeout=3600) for name in ("trixie", "jammy", "noble", "resolute")]
    return tuple(sum(column) for column in zip(*results))


GROUPS = {
    "static": group_static,
    "unit": group_unit,
    "store": group_store,
    "fuzz": group_fuzz,
    "asan": group_asan,
    "tsan": group_tsan,
    "suite": group_suite,
    "dialects": group_dialects,
    "fault": group_fault,
    "compose": group_compose,
    "releases": group_releases,
}
SLOW = {"asan", "tsan", "compose"}
ON_DEMAND = {"releases"}


def main(arguments):
    quick = "--quick" in arguments
    wanted = [name for name in arguments if name != "--quick"]
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown:
        sys.exit(f"unknown group {unknown[0]}; there are: {' '.join(GROUPS)}")
    passed = failed = 0
    for name, group in GROUPS.items():
        if name not in wanted if wanted else name in ON_DEMAND or (quick and name in SLOW):
            continue
        started = time.monotonic()
        print(f"== {name}", flush=True)
        good, bad = group()
        print(f"   {name}: {good} passed, {bad} failed, {time.monotonic() - started:.0f} s", flush=True)
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
