#!/usr/bin/python3
"""Measures Denizen beside the limits it stands on, prints a table and writes it to bench/results/.

usage: run.py [--quick] [--only NAME,...]    --quick halves the durations; --only runs some measurements and writes no file.
"""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import measures  # noqa: E402
import world as worlds  # noqa: E402

# The order of the table.
ORDER = ["read a user", "check a token", "refresh", "signatures", "create", "sign in", "reads during", "import", "memory of", "commit",
         "revocation", "the hop", "what CURVE", "all processes", "the same, idle", "./denizen up", "from the first", "the next request"]
BUSY_MAX = 0.10
PACKAGES = ["postgresql-[1-9][0-9]", "libzmq5", "libcivetweb1*", "libssl3*", "libsodium23*", "libprotobuf-c1*", "wrk"]


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=worlds.ROOT).stdout.strip()
    except OSError:
        return ""


def machine_facts():
    """What a reader needs to compare; nothing that names the machine."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1)) // 1024
    packages = dict(line.split(" ", 1) for line in
                    output_of("dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *PACKAGES).splitlines() if " " in line.strip())
    return {"cores": os.cpu_count(), "cpu": cpu.group(1) if cpu else platform.machine(), "memory_mb": memory,
            "kernel": platform.release().split("-")[0], "compiler": output_of("cc", "-dumpfullversion"), "packages": packages}


def busy_share(seconds=3):
    """How busy others keep the cores, 0..1: figures of a busy machine say little."""
    def ticks():
        values = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(values), values[3] + values[4]
    before = ticks()
    time.sleep(seconds)
    total, idle = (after - earlier for after, earlier in zip(ticks(), before))
    return 1 - idle / max(total, 1)


def in_order(rows):
    def position(row):
        return next((i for i, start in enumerate(ORDER) if row["work"].startswith(start)), len(ORDER))
    return sorted(rows, key=position)


def cell(value, form="{}"):
    return "–" if value is None else form.format(value)


def print_table(rows):
    lines = ["| work | Denizen | limit | ratio | line | p50 ms | p99 ms | met |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        met = {None: "–", True: "yes", False: "NO"}[row["met"]]
        lines.append(f"| {row['work']} | {row['denizen']} | {row['limit']} | {cell(row['ratio'], '{:.2f}')} | {row['line']} | "
                     f"{cell(row['p50_ms'], '{:.2f}')} | {cell(row['p99_ms'], '{:.2f}')} | {met} |")
    notes = [f"- {row['work']}: {row['note']}" for row in rows if row["note"]]
    return "\n".join([*lines, "", *notes])


def write_results(facts, rows, table, quick, pairs, busy):
    commit = output_of("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = " and uncommitted changes" if output_of("git", "status", "--porcelain", "--untracked-files=no") else ""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    head = (f"# Benchmark of {date}, commit {commit}{changed}\n\n"
            f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_mb']:,} MB, Linux {facts['kernel']}, gcc {facts['compiler']}; "
            f"{versions}. {'Quick run. ' if quick else ''}Load generators on the same machine; ratios are medians of "
            f"{pairs} interleaved pairs. Others kept the cores {busy[0]:.0%} busy before the run and {busy[1]:.0%} after it"
            f"{'' if max(busy) < BUSY_MAX else ': too busy for these figures to count'}.\n\n")
    results = worlds.BENCH / "results"
    results.mkdir(exist_ok=True)
    stem = results / f"{date}-{commit}"
    stem.with_suffix(".md").write_text(head + table + "\n")
    stem.with_suffix(".json").write_text(json.dumps({"date": date, "commit": commit, "uncommitted": bool(changed), "quick": quick,
                                                     "busy_before": busy[0], "busy_after": busy[1], "machine": facts, "rows": rows}, indent=1) + "\n")
    return stem.with_suffix(".md").relative_to(worlds.ROOT)


def measure_all(world, chosen):
    rows = []
    for name, measure in measures.MEASURES.items():
        if name not in chosen:
            continue
        worlds.say(f"measuring: {name}")
        start = time.monotonic()
        try:
            found = measure(world) or []
        except Exception as problem:  # the other measurements still count
            found = [measures.row(name, "failed", met=False, note=str(problem).splitlines()[0][:300])]
            worlds.say(f"{name} failed: {problem}")
        rows += found
        for row in found:
            worlds.say(f"{row['work']}: {row['denizen']} (limit {row['limit']}, ratio {cell(row['ratio'], '{:.2f}')}, "
                       f"line {row['line']}, p50 {cell(row['p50_ms'], '{:.2f}')}, p99 {cell(row['p99_ms'], '{:.2f}')})")
        worlds.say(f"({name}: {time.monotonic() - start:.0f} s)")
    return in_order(rows)


def main():
    parser = argparse.ArgumentParser(prog="./denizen bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    chosen = set(measures.MEASURES)
    if arguments.only:
        chosen = {*arguments.only.split(","), "import", "prepare"}
    worlds.say("building the benchmark's helpers")
    worlds.build_helpers()
    busy = [busy_share()]
    if busy[0] > BUSY_MAX:
        worlds.say(f"others keep the cores {busy[0]:.0%} busy: the figures will say little")
    world = worlds.World(arguments.quick)
    try:
        worlds.say("starting a suite")
        world.start()
        rows = measure_all(world, chosen)
    finally:
        world.stop()
    busy.append(busy_share())
    table = print_table(rows)
    print(table)
    if not arguments.only:
        worlds.say(f"written: {write_results(machine_facts(), rows, table, arguments.quick, world.pairs, busy)} and .json")


if __name__ == "__main__":
    main()
