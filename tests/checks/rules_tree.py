"""Checks of the tree: first lines, READMEs, generated files, schemas, processes, paths of some machine."""
import os
import re
import subprocess
import sys
import tempfile

import source

COMMENT = {".c": r"/\*|//", ".h": r"/\*|//", ".sql": r"--", ".py": r'"""|#', ".sh": r"#", ".proto": r"//"}
# Folders whose parent's README speaks for them.
NO_README = re.compile(r"(^|/)(schema|corpus|golden|results|templates|fixtures|\.[^/]+)(/|$)")
# Written so that this file does not contain what it looks for.
MACHINE = re.compile(r"(?<![\w.])/(?:hom[e]/[a-z]|roo[t]/|wor[k]/|User[s]/)[\w.-]*|registry\.npmj[s]\.org|pypi\.or[g]|"
                     r"files\.pythonhosted\.or[g]|proxy\.golang\.or[g]|crates\.i[o]|registry-1\.docker\.i[o]")


def check_first_line(tree):
    wrong = []
    for path in tree.files:
        pattern = COMMENT.get(os.path.splitext(path)[1])
        if not pattern:
            continue
        lines = tree.read(path).split("\n")
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        if not re.match(f"(?:{pattern})\\s*\\w|/\\* |\"\"\"[\\w.]", first):
            wrong.append(path)
    return wrong


def check_readmes(tree):
    folders = {""}
    for path in tree.files:
        folder = os.path.dirname(path)
        while folder:
            folders.add(folder)
            folder = os.path.dirname(folder)
    return [f"{folder or '.'} has no README.md" for folder in sorted(folders)
            if not NO_README.search(folder) and not tree.has(f"{folder}/README.md".lstrip("/"))]


def check_contract(tree):
    """The contract holds together (proto/gen/contract.py)."""
    run = subprocess.run([sys.executable, "-B", "-c", "import contract, sys; contract.load(sys.argv[1])",
                          os.path.join(tree.root, "proto")], text=True, capture_output=True, check=False,
                         cwd=os.path.join(tree.root, "proto/gen"))
    return [] if run.returncode == 0 else [run.stderr.strip().split("ContractError: ")[-1].replace("\n", "; ")]


def check_generated(tree):
    """docs/api is what the contract gives."""
    with tempfile.TemporaryDirectory() as out:
        run = subprocess.run([sys.executable, "-B", os.path.join(tree.root, "proto/gen/openapi.py"),
                              os.path.join(tree.root, "proto"), out], text=True, capture_output=True, check=False)
        if run.returncode != 0:
            return [run.stderr.strip().replace("\n", "; ")]
        wrong = []
        for name in sorted(os.listdir(out)):
            with open(os.path.join(out, name), encoding="utf-8") as file:
                if not tree.has(f"docs/api/{name}") or tree.read(f"docs/api/{name}") != file.read():
                    wrong.append(f"docs/api/{name} differs: run python3 proto/gen/openapi.py proto docs/api")
        return wrong


def statements(text):
    """SQL without comments and with single blanks."""
    return " ".join(re.sub(r"--[^\n]*", "", text).split())


def check_common_schema(tree):
    """What common/ledger/schema adds to a schema: common.sql begins each first migration, every other file is one in each service."""
    folder = "common/ledger/schema/"
    common, wrong = statements(tree.read(folder + "common.sql")), []
    for first in [path for path in tree.files if re.fullmatch(r"services/\w+/schema/0001_\w+\.sql", path)]:
        if not statements(tree.read(first)).startswith(common):
            wrong.append(f"{first} does not begin with the statements of {folder}common.sql")
        own = [path for path in tree.files if path.startswith(os.path.dirname(first) + "/")]
        for name in [path.removeprefix(folder) for path in tree.files if path.startswith(folder) and not path.endswith("common.sql")]:
            if not any(path.endswith("_" + name) and tree.read(path) == tree.read(folder + name) for path in own):
                wrong.append(f"{os.path.dirname(first)} has no migration like {folder}{name}")
    return wrong


def processes(tree):
    """(name, bus port) of each line of processes.txt."""
    rows = [line.split() for line in tree.read("proto/processes.txt").splitlines() if line and not line.startswith("#")]
    return [(row[0], row[2]) for row in rows]


def compose_blocks(text):
    """Service name -> its lines in compose.yaml."""
    block = re.search(r"^services:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    parts = re.split(r"^  ([\w-]+):", block.group(1) if block else "", flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def check_compose(tree):
    """Every process has its service and program there, and endpoints that are spelled out have the declared port."""
    if not tree.has("compose.yaml"):
        return []
    text = tree.read("compose.yaml")
    blocks, wrong = compose_blocks(text), []
    for name, port in processes(tree):
        if name == "subscriber":
            continue
        if f"denizen-{name}" not in blocks.get(name, ""):
            wrong.append(f"compose.yaml has no service {name} that runs denizen-{name}")
        for spelled in re.findall(rf"\b{name}:(\d{{4,5}})\b", text):
            if spelled != port:
                wrong.append(f"compose.yaml calls {name} at port {spelled}, declared is {port}")
    return wrong


def check_launcher(tree):
    """The launcher's list of services (deploy/launcher/plan.sh) is the declared one, with the declared numbers."""
    path = "deploy/launcher/plan.sh"
    if not tree.has(path):
        return []
    text = tree.read(path)
    rows = [line.split() for line in tree.read("proto/processes.txt").splitlines() if line and line[0] != "#"]
    declared = {row[0]: row[1] for row in rows if row[3] != "-"}
    listed = re.search(r'^SERVICES="([\w ]*)"', text, re.M)
    names = set(listed.group(1).split()) if listed else set()
    wrong = [f"{path} does not start {name}" for name in sorted(set(declared) - names)]
    wrong += [f"{path} starts {name}, which is not declared" for name in sorted(names - set(declared))]
    wrong += [f"{path} gives {name} the number {number}" for name, number in re.findall(r"(\w+)\) number=(\d+)", text)
              if declared.get(name) != number]
    if "gateway" not in text:
        wrong.append(f"{path} does not start gateway")
    return wrong


def check_services(tree):
    """Each process with a database role has its folder, program and schema."""
    wrong = []
    for line in tree.read("proto/processes.txt").splitlines():
        row = line.split()
        if not row or line.startswith("#") or row[3] == "-":
            continue
        for need in ("main.c", "README.md", "schema/0001_init.sql"):
            if not tree.has(f"services/{row[0]}/{need}"):
                wrong.append(f"services/{row[0]}/{need} is missing")
    return wrong


def check_machine_paths(tree):
    wrong = []
    for path in tree.files:
        if path.startswith("tests/fuzz/corpus/") or path.endswith((".png", ".woff2", ".ico")):
            continue
        for number, line in enumerate(tree.read(path).split("\n"), 1):
            match = MACHINE.search(line)
            if match:
                wrong.append(f"{path}:{number} {match.group()}")
    return wrong


def check_tests_named(tree):
    """Unit and store tests are found by name, so a wrong name would be forgotten; each but the helpers (test_*_world.c) has one."""
    wrong = []
    for path in tree.files:
        folder, name = os.path.split(path)
        if folder in ("tests/unit", "tests/store") and name.endswith(".c"):
            text = source.blank(tree.read(path))
            if name.startswith("test_") and not name.endswith("_world.c") and not re.search(r"^(?:Test|ParameterizedTest|Theory)\(", text, re.M):
                wrong.append(f"{path} holds no test")
            if not name.startswith("test_") and re.search(r"^Test\(", text, re.M):
                wrong.append(f"{path} holds tests but is not called test_*.c")
    return wrong


# A row of a configuration table: {"DENIZEN_X", CFG_KIND, "default", min, max, "what it does"}.
SETTING = re.compile(r'\{"(DENIZEN_\w+)",\s*CFG_\w+,\s*(?:"([^"]*)"|NULL),\s*[^,]+,\s*[^,]+,\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\}')
CONFIGURATION = "docs/configuration.md"


def settings(tree):
    """(name, default, text) of each row of the configuration tables in the sources."""
    found = set()
    for path in tree.match(".c"):
        if path.startswith(("common/", "gateway/", "services/")):
            for name, default, text in SETTING.findall(tree.read(path)):
                found.add((name, default, "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)).replace('\\"', '"')))
    return found


def check_configuration(tree):
    """The configuration reference has a row for each setting with its default and text, and no other."""
    if not tree.has(CONFIGURATION):
        return []
    rows = [line for line in tree.read(CONFIGURATION).splitlines() if line.startswith("| `DENIZEN_")]
    declared, wrong = settings(tree), []
    for name, default, text in sorted(declared):
        if not any(row.startswith(f"| `{name}` |") and row.endswith(f"| {text} |") and default in row for row in rows):
            wrong.append(f"{name} is not there, or with another default or text")
    names = {name for name, _, _ in declared}
    wrong += [f"{row.split('`')[1]} is not in the sources" for row in rows if row.split("`")[1] not in names]
    return [f"{CONFIGURATION}: {what}: build release, then run python3 proto/gen/configuration.py build/release {CONFIGURATION}"
            for what in wrong]


def anchors(text):
    """The anchors of a page, made from its headings as the usual renderers do."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
            for title in re.findall(r"^#+ +(.*)$", plain, re.M)}


def check_links(tree):
    """Every relative link of a page leads to a file or folder of the tree, and to a heading when it names one."""
    folders = {os.path.dirname(path) for path in tree.files}
    folders |= {part for folder in folders for part in (folder.rsplit("/", n)[0] for n in range(1, folder.count("/") + 1))}
    wrong = []
    for page in tree.match(".md"):
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", tree.read(page), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"\w+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page), name)) if name else page
            if path not in folders and not tree.has(path) and not os.path.isdir(os.path.join(tree.root, path)):
                wrong.append(f"{page}: {target} leads nowhere")
            elif anchor and path.endswith(".md") and anchor not in anchors(tree.read(path)):
                wrong.append(f"{page}: {target} has no such heading")
    return wrong


CHECKS = {
    "first-line": check_first_line, "readmes": check_readmes, "contract": check_contract, "generated": check_generated,
    "common-schema": check_common_schema, "compose": check_compose, "launcher": check_launcher,
    "services": check_services, "machine-paths": check_machine_paths, "tests-named": check_tests_named,
    "configuration": check_configuration, "links": check_links,
}
