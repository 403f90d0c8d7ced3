"""Runs the static checks, one line each. Usage: check.py [-v] [--root DIR] [NAME...]; -v: one finding a line."""
import json
import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
import rules_code
import rules_tree
import source

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKS = {**rules_code.CHECKS, **rules_tree.CHECKS}
LINT = "openapi-lint"


class Skipped(Exception):
    """Why a check could not run here."""


def check_openapi_lint(tree):
    """The pinned linter over docs/api/openapi.json; needs npx and, the first time, a package registry."""
    if not shutil.which("npx"):
        raise Skipped("npx is not installed")
    with open(os.path.join(HERE, "package.json"), encoding="utf-8") as file:
        version = json.load(file)["devDependencies"]["@redocly/cli"]
    run = subprocess.run(["npx", "--yes", f"@redocly/cli@{version}", "lint", "--format=json",
                          "--config", os.path.join(HERE, "redocly.yaml"), "docs/api/openapi.json"],
                         cwd=tree.root, text=True, capture_output=True, check=False,
                         env={**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"})
    if run.returncode == 0:
        return []
    try:
        problems = json.loads(run.stdout[run.stdout.index("{"):])["problems"]
    except ValueError:
        raise Skipped("the linter could not be fetched") from None
    return [f"{problem['ruleId']}: {problem['message']}" for problem in problems] or ["the linter failed"]


def run_one(name, check, tree, verbose):
    """Prints the line of one check; returns 1 passed, 0 failed, None skipped."""
    try:
        wrong = check(tree)
    except Skipped as why:
        print(f"skip {name}: {why}", flush=True)
        return None
    if not wrong:
        print(f"ok {name}", flush=True)
        return 1
    print(f"FAIL {name}: " + ("\n  " + "\n  ".join(wrong) if verbose else "; ".join(wrong)), flush=True)
    return 0


def main(arguments):
    verbose = "-v" in arguments
    arguments = [argument for argument in arguments if argument != "-v"]
    root = os.path.dirname(os.path.dirname(HERE))
    if arguments[:1] == ["--root"]:
        root, arguments = os.path.abspath(arguments[1]), arguments[2:]
    known = {**CHECKS, LINT: check_openapi_lint}
    for name in arguments:
        if name not in known:
            sys.exit(f"no check is called {name}; there are: {' '.join(known)}")
    tree = source.Tree(root)
    results = [run_one(name, check, tree, verbose) for name, check in known.items()
               if not arguments or name in arguments]
    print(f"{results.count(1)} passed, {results.count(0)} failed")
    return 1 if 0 in results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
