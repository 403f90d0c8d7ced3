"""Checks of C code: who may include what, where SQL stands, sizes, banned functions, headers."""
import os
import re
import subprocess
from fnmatch import fnmatch

import source

SQL = re.compile(r'"[^"\n]*\b(?:SELECT\s|INSERT INTO\b|UPDATE \w+ SET\b|DELETE FROM\b|CREATE (?:TABLE|INDEX|SCHEMA|ROLE)\b'
                 r'|ALTER (?:TABLE|ROLE)\b|TRUNCATE\b)')
SQL_HOMES = ["common/db/*.c", "tests/*", "bench/*"]     # the gate, migrations; all else stands in .sql files
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|system|popen|alloca|rand|srand)\s*\(")
# A library's header and the only places that may include it; tests may include everything.
DOORS = {
    "zeromq": (r"c?zmq\.h", ["common/loop/loop*", "common/process/process*", "common/bus/*", "sdk/c/*", "deploy/*key*.c"]),
    "civetweb": (r"civetweb\.h", ["gateway/http/server.c"]),
    "libpq": (r"libpq-fe\.h", ["common/db/*"]),
    "openssl": (r"openssl/.*|jwt\.h", ["common/base/secret*.c", "common/base/token*.c", "services/claims/jws*.c",
                                       "services/claims/keyring*.c"]),
    "text-libraries": (r"idn2\.h|utf8proc\.h", ["common/base/login.c", "services/identity/rules.c"]),
    "password-libraries": (r"sodium\.h|argon2\.h|crypt\.h", ["services/identity/credentials/password*.c"]),
}
RULES_MAY = {"base/status.h", "base/buf.h", "base/clock.h", "base/arena.h", "base/utf8.h", "json/pbjson.h",
             "json/jvalue.h", "ledger/event.h", "base/secret.h"}   # secret.h: struct id
# Contracts of common/ that carry a deadline, an arena and outputs besides their subject. A new one needs a reason.
MANY_PARAMS = {"client_send", "client_send_replica", "client_subscribe", "db_run", "db_text_array",
               "pbjson_parse", "token_verify"}
LONGEST, NINETIETH, PARAMS = 80, 45, 5
# Two ways to write one thing, of which we write the other.
HAND = re.compile(r"[=!]=\s*NULL\b|\bNULL\s*[=!]=|\bsizeof\b(?!\()")
HAND_HOMES = ("common/", "services/", "gateway/", "sdk/", "deploy/")
# The rooms of common/ and gateway/, and on which other rooms of the same folder each may stand. No circles: check_rooms.
ROOMS = {
    "common": {
        "base": [],
        "loop": ["base"],
        "json": ["base"],
        "bus": ["base", "loop"],
        "db": ["base", "loop"],
        "ledger": ["base", "loop", "bus", "db"],
        "process": ["base", "loop", "json", "bus", "db", "ledger"],
    },
    "gateway": {
        "http": [],
        "calls": ["http"],
        "tokens": ["http", "calls"],
        "dialects": ["http", "calls"],
        "front": ["http", "calls", "tokens", "dialects"],
        "local": ["http", "calls", "tokens", "dialects", "front"],
    },
}


def anywhere(path, patterns):
    return any(fnmatch(path, pattern) for pattern in patterns)


def door(tree, name):
    header, homes = DOORS[name]
    return [f"{path} includes {included}" for path in tree.code() if not anywhere(path, [*homes, "tests/*", "bench/*"])
            for quoted, included in source.includes(tree.read(path)) if re.fullmatch(header, included)
            and not (quoted and tree.has(f"{os.path.dirname(path)}/{included}"))]   # our own file of that name


def owners(tree):
    """Header name -> folders that have one of this name."""
    found = {}
    for path in tree.match(".h"):
        found.setdefault(os.path.basename(path), set()).add(os.path.dirname(path))
    return found


def own_service(folder):
    """services/x of a folder in it."""
    return "/".join(folder.split("/")[:2])


def target(path, included, found):
    """The folder that an #include "..." of this file reaches, or ''."""
    folder = os.path.dirname(path)
    if "/" in included:
        if included[0] == ".":
            return os.path.dirname(os.path.normpath(os.path.join(folder, included)))
        room = included.split("/")[0]
        if folder.startswith("services/") and os.path.basename(included) in found and f"{own_service(folder)}/{os.path.dirname(included)}" in found[os.path.basename(included)]:
            return f"{own_service(folder)}/{os.path.dirname(included)}"
        return ("common/" if room in ROOMS["common"] else "gateway/" if room in ROOMS["gateway"] else "") + os.path.dirname(included)
    folders = found.get(included, set())
    for near in (folder, own_service(folder)):
        if near in folders:
            return near
    return sorted(folders)[0] if folders else ""


def forbidden(path, included, reached):
    """Why this file may not include that header, or ''."""
    folder = os.path.dirname(path)
    room = folder.split("/")[0]
    if room == "common" and reached.split("/")[0] in ("services", "gateway", "sdk"):
        return "common/ knows no service and no gateway"
    if room == "services" and own_service(reached) != own_service(folder) and reached.split("/")[0] in ("services", "gateway", "sdk"):
        return "a service includes only its own headers and common/"
    if room == "gateway" and (reached.startswith("services") or included in ("db/db.h", "db/migrate.h", "ledger/outbox.h")):
        return "the gateway knows no database and no service's insides"
    if re.match(r"gateway/dialects/\w+/", path) and reached.startswith("gateway/dialects/") and reached != folder:
        return "a dialect knows no other dialect"
    if path.startswith("services/") and included in ("db/db_internal.h",):
        return "a handler reaches the database through its statements"
    return ""


def check_includes(tree):
    found, wrong = owners(tree), []
    for path in tree.code():
        if path.startswith(("tests/", "bench/")):
            continue
        for quoted, included in source.includes(tree.read(path)):
            why = forbidden(path, included, target(path, included, found) if quoted else "")
            if why:
                wrong.append(f"{path} includes {included}: {why}")
    return wrong


def check_rooms(tree):
    """A room of common/ or gateway/ stands only on those that ROOMS gives it, and headers of rooms are named with their room."""
    found, wrong = owners(tree), []
    for path in tree.code():
        parts = path.split("/")
        if parts[0] not in ROOMS:
            continue
        if len(parts) == 2 and path != "gateway/main.c":
            wrong.append(f"{path} stands in no room")
            continue
        if parts[0] == "gateway" and len(parts) == 2:
            continue
        if parts[1] not in ROOMS[parts[0]]:
            wrong.append(f"{path}: the room {parts[1]} is not declared")
            continue
        for quoted, included in source.includes(tree.read(path)):
            reached = target(path, included, found).split("/") if quoted else [""]
            if reached[0] == parts[0] and len(reached) > 1 and reached[1] not in [parts[1], *ROOMS[parts[0]][parts[1]]]:
                wrong.append(f"{path} includes {included}: {parts[1]} does not stand on {reached[1]}")
    return wrong


def calls_of(tree, paths):
    """File -> files of the same folder of which it names a function: a call, or a pointer to it."""
    texts = {path: source.blank(tree.read(path)) for path in paths}
    defined = {path: source.functions(tree.read(path)) for path in paths}
    home = {function.name: path for path in paths for function in defined[path] if not function.static}
    calls = {}
    for path in paths:
        own = {function.name for function in defined[path]}
        named = set(re.findall(r"(?<!struct )(?<!enum )(?<![\w.>])[a-z]\w*", texts[path]))
        calls[path] = {home[name] for name in named if name in home and name not in own}
    return calls


def reached_from(calls, path):
    found, next_ones = set(), [path]
    while next_ones:
        new = calls[next_ones.pop()] - found
        found |= new
        next_ones += new
    return found


def check_circles(tree):
    """Within a folder the files stand on each other from the bottom up: none reaches itself through others."""
    folders, wrong = {}, []
    for path in tree.match(".c"):
        if not path.startswith(("tests/", "bench/")):
            folders.setdefault(os.path.dirname(path), []).append(path)
    for folder, paths in folders.items():
        calls = calls_of(tree, paths)
        reach = {path: reached_from(calls, path) for path in paths}
        circles = {tuple(sorted(other for other in reach[path] if path in reach[other])) for path in paths if path in reach[path]}
        wrong += [f"{folder}: " + ", ".join(map(os.path.basename, circle)) + " call each other" for circle in sorted(circles)]
    return wrong


def check_rules(tree):
    """rules.c is arithmetic over values: no store, bus, database or log."""
    wrong = []
    for path in tree.code():
        if not re.fullmatch(r"services/\w+/rules\w*\.[ch]", path):
            continue
        for quoted, included in source.includes(tree.read(path)):
            own = included.startswith("rules") or included.endswith(".pb-c.h")
            if quoted and not own and included not in RULES_MAY:
                wrong.append(f"{path} includes {included}")
    return wrong


def check_sql(tree):
    return [f"{path}:{number}" for path in tree.code() if not anywhere(path, SQL_HOMES)
            for number, line in enumerate(source.blank(tree.read(path), keep_strings=True).split("\n"), 1)
            if SQL.search(line)]


def all_functions(tree, with_tests):
    return [(path, function) for path in tree.match(".c") if with_tests or not path.startswith("tests/")
            for function in source.functions(tree.read(path))]


def check_function_length(tree):
    wrong = [f"{path}:{function.line} {function.name} has {function.length} lines, at most {LONGEST}"
             for path, function in all_functions(tree, True) if function.length > LONGEST]
    lengths = sorted(function.length for _, function in all_functions(tree, False))
    ninetieth = lengths[(len(lengths) * 9) // 10] if lengths else 0
    if ninetieth > NINETIETH:
        wrong.append(f"nine in ten functions must have at most {NINETIETH} lines, the ninetieth percentile is {ninetieth}")
    return wrong


def check_params(tree):
    return [f"{path}:{function.line} {function.name} has {function.params} parameters, at most {PARAMS}"
            for path, function in all_functions(tree, False)
            if function.params > PARAMS and not (path.startswith("common/") and function.name in MANY_PARAMS)]


def check_banned(tree):
    return [f"{path}:{number} {match.group(1)}" for path in tree.code()
            for number, line in enumerate(source.blank(tree.read(path)).split("\n"), 1)
            for match in BANNED.finditer(line)]


def check_one_hand(tree):
    """Pointers are compared as `x` and `!x`, sizes written `sizeof(x)`."""
    other = re.compile(r"[!=]=\s*NULL\b|\bNULL\s*[!=]=|\bsizeof\s+[^(\s]")
    return [f"{path}:{number} {match.group()}" for path in tree.code() if not path.startswith(("tests/", "bench/"))
            for number, line in enumerate(source.blank(tree.read(path)).split("\n"), 1) for match in other.finditer(line)]


def check_one_hand(tree):
    """Pointers are `x` and `!x`, never compared with NULL; sizeof has parentheses."""
    return [f"{path}:{number} {match.group().strip()}" for path in tree.code() if path.startswith(HAND_HOMES)
            for number, line in enumerate(source.blank(tree.read(path)).split("\n"), 1) for match in HAND.finditer(line)]


def check_pragma_once(tree):
    return [path for path in tree.match(".h") if "#pragma once" not in tree.read(path)]


def check_header_comments(tree):
    """A paragraph of a header that declares functions has a comment: it is the contract."""
    prototype = re.compile(r"^(?!typedef|static|#|struct \w+ {|enum)[A-Za-z_][\w \t*]*\b(\w+)\([^;{]*\)[^;{]*;", re.M)
    wrong = []
    for path in tree.match(".h"):
        if path.startswith("tests/"):
            continue
        for paragraph in re.split(r"\n[ \t]*\n", tree.read(path)):
            match = prototype.search(source.blank(paragraph))
            if match and "/*" not in paragraph and "//" not in paragraph:
                wrong.append(f"{path}: {match.group(1)} has no comment")
    return wrong


def check_format(tree):
    paths = tree.code()
    if not paths:
        return []
    try:
        run = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=tree.root, text=True,
                             capture_output=True, check=False)
    except FileNotFoundError:
        return ["clang-format is not installed"]
    return sorted({line.split(":")[0] for line in run.stderr.splitlines() if "error:" in line})


CHECKS = {f"door-{name}": (lambda tree, name=name: door(tree, name)) for name in DOORS} | {
    "includes": check_includes, "rooms": check_rooms, "circles": check_circles, "rules-are-pure": check_rules, "sql-in-files": check_sql,
    "one-hand": check_one_hand, "function-length": check_function_length, "parameters": check_params, "banned-functions": check_banned,
    "one-hand": check_one_hand, "pragma-once": check_pragma_once, "header-comments": check_header_comments, "format": check_format,
}
