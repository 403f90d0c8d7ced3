"""Proves that each check can fail: plants a violation in a copy of the tree and expects the check to name it."""
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
import check
import source

# check: (file to write, text, what the finding must contain). A text that begins with + is appended to the file,
# one of the form "old -> new" replaces, None deletes the file.
C = "/* Planted. */\n"
LONG = C + "static void planted_long(void)\n{\n" + "\t;\n" * 90 + "}\n"
PLANTS = {
    "door-zeromq": ("gateway/http/planted.c", C + "#include <zmq.h>\n", "gateway/http/planted.c"),
    "door-civetweb": ("gateway/http/planted.c", C + "#include <civetweb.h>\n", "gateway/http/planted.c"),
    "door-libpq": ("services/audit/store_planted.c", C + "#include <libpq-fe.h>\n", "store_planted.c"),
    "door-openssl": ("services/session/planted.c", C + "#include <openssl/evp.h>\n", "session/planted.c"),
    "door-text-libraries": ("services/session/planted.c", C + "#include <utf8proc.h>\n", "session/planted.c"),
    "door-password-libraries": ("services/claims/planted.c", C + "#include <argon2.h>\n", "claims/planted.c"),
    "includes": ("common/base/planted.c", C + '#include "../../services/identity/store.h"\n', "common/base/planted.c"),
    "rooms": ("common/base/planted.c", C + '#include "bus/client.h"\n', "base does not stand on bus"),
    "circles": ("common/base/clock.c", "+\nvoid planted(void)\n{\n\tlog_wanted(0);\n}\n", "clock.c, log.c, secret.c call each other"),
    "rules-are-pure": ("services/audit/rules.c", "+\n#include \"base/log.h\"\n", "rules.c includes base/log.h"),
    "sql-in-files": ("services/audit/h_planted.c", C + 'const char *x = "SELECT 1 FROM y";\n', "h_planted.c:2"),
    "one-hand": ("common/base/planted.c", C + "int planted(int *p)\n{\n\treturn p == NULL;\n}\n", "planted.c:4 == NULL"),
    "function-length": ("common/base/planted.c", LONG, "planted_long has 9"),
    "parameters": ("common/base/planted.c", C + "int planted(int a, int b, int c,\n            int d, int (*e)(int, int), int f)\n{\n}\n",
                   "planted has 6"),
    "banned-functions": ("common/base/planted.c", C + "int planted(void)\n{\n\treturn atoi(\"1\");\n}\n", "planted.c:4 atoi"),
    "one-hand": ("common/base/planted.c", C + "int planted(void *x)\n{\n\treturn x == NULL;\n}\n", "planted.c:4 == NULL"),
    "pragma-once": ("common/base/planted.h", C, "common/base/planted.h"),
    "header-comments": ("common/base/planted.h", C + "#pragma once\n\nint planted_it(int a,\n               int b);\n", "planted_it"),
    "format": ("common/base/planted.c", C + "int   planted ;\n", "common/base/planted.c"),
    "first-line": ("common/base/planted.c", "#include <stdio.h>\n", "common/base/planted.c"),
    "readmes": ("planted/planted.txt", "x\n", "planted has no README.md"),
    "contract": ("proto/audit.proto", "@id 4001 -> @id 4002", "id 4002"),
    "generated": ("proto/errors.txt", "There is no such -> There is not any", "docs/api/errors.md"),
    "common-schema": ("services/audit/schema/0001_init.sql", "fillfactor = 70 -> fillfactor = 71", "audit/schema/0001"),
    "compose": ("compose.yaml", "services:\n  planted:\n    image: x\n", "no service identity"),
    "launcher": ("deploy/launcher/plan.sh", 'SERVICES="audit -> SERVICES="other', "does not start audit"),
    "services": ("services/audit/main.c", None, "services/audit/main.c"),
    "machine-paths": ("common/base/planted.c", C + "/* /" + "home/someone/x */\n", "common/base/planted.c:2"),
    "configuration": ("docs/configuration.md", "| `DENIZEN_KEK` -> | `DENIZEN_KEX`", "DENIZEN_KEK is not there"),
    "links": ("docs/planted.md", "# Planted\n\n[x](nowhere.md)\n", "nowhere.md leads nowhere"),
    "tests-named": ("tests/unit/planted.c", C + "Test(a, b)\n{\n}\n", "tests/unit/planted.c"),
}
# Other contracts that must be refused: (file, change, part of the refusal).
BAD_CONTRACTS = [
    ("proto/processes.txt", "audit      4 7004 audit    -  -> audit      4 7004 audit    session ", "cycle"),
    ("proto/identity.proto", "@errors not_found -> @errors not_there", "unknown error not_there"),
    ("proto/identity.proto", "@callers gateway @event user_created -> @callers nobody @event user_created", "unknown caller"),
    ("proto/identity.proto", "@callers session,claims -> @callers session,audit", "does not declare identity as a peer"),
    ("proto/identity.proto", "@event key_created -> @event key_invented", "unknown event"),
    ("proto/identity.proto", "@event key_created -> @event session_ended", "does not declare the event"),
    ("proto/identity.proto", "GET /v1/keys @ -> GET /v1/{user}/{x} @", "path parameter user"),
    ("proto/identity.proto", "GET /v1/attribute-schema -> GET /v1/users", "routes overlap"),
    ("proto/identity.proto", "@id 1040 -> @id 2999", "outside 1000..1999"),
    ("proto/identity.proto", "@id 1040 @kind read -> @id 1040 @kind lies", "@kind"),
    ("proto/identity.proto", "@id 1040 @kind -> @id 1040 @kin", "unknown annotation"),
    ("proto/identity.proto", "optional string id = 1; -> required string id = 1;", "only optional and repeated"),
    ("proto/identity.proto", "optional Key management_key -> optional CreateProjectReply management_key", "contains itself"),
    ("proto/identity.proto", "optional Key management_key -> optional Kex management_key", "unknown type"),
    ("proto/identity.proto", 'syntax = "proto2" -> syntax = "proto3"', "proto2"),
    ("proto/identity.proto", "optional string given_name = 8 -> optional string given_name = 9", "used twice"),
    ("proto/identity.proto", "optional string given_name = 8 -> optional string name_json = 8", "member name"),
    ("proto/errors.txt", "5   already_exists -> 50  already_exists", "expected 5"),
    ("proto/errors.txt", "409 no   A resource -> 409 maybe A resource", "not a row"),
    ("proto/processes.txt", "identity   1 7001 -> identity   1", "not a row"),
    ("proto/processes.txt", "claims,signing_key -> claims", "signing_key_rotated: no process"),
    ("proto/events.proto", "@revokes signing_keys -> @revokes keys", "@revokes must be one of"),
    ("proto/events.proto", "@audience user -> @audience all", "@audience must be"),
    ("proto/events.proto", "@audience user -> @audienc user", "unknown annotation"),
    ("proto/identity.proto", "USER_STATUS_INVITED = 1; -> // @revokes user\n  USER_STATUS_INVITED = 1;", "is no event"),
]


def plant(root, path, text):
    """Applies one change; returns what puts the file back."""
    full = os.path.join(root, path)
    before = None
    if os.path.exists(full):
        with open(full, encoding="utf-8") as file:
            before = file.read()
    if text is None:
        os.remove(full)
    else:
        if text.startswith("+"):
            text = before + text[1:]
        elif " -> " in text and before is not None:
            old, _, new = text.partition(" -> ")
            if old not in before:
                raise LookupError(f"{path} does not hold: {old}")
            text = before.replace(old, new, 1)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def restore():
        if before is None:
            os.remove(full)
            if not os.listdir(os.path.dirname(full)):
                os.rmdir(os.path.dirname(full))
        else:
            with open(full, "w", encoding="utf-8") as file:
                file.write(before)
    return restore


def prove(root, name, path, text, expected):
    """True when the check names the planted violation, and did not before."""
    clean = check.CHECKS[name](source.Tree(root))
    if any(expected in finding for finding in clean):
        print(f"FAIL {name}: finds {expected} in the clean tree")
        return False
    try:
        restore = plant(root, path, text)
    except (LookupError, TypeError, FileNotFoundError) as error:
        print(f"FAIL {name}: could not plant: {error}")
        return False
    found = check.CHECKS[name](source.Tree(root))
    restore()
    if any(expected in finding for finding in found):
        print(f"ok {name} {path}")
        return True
    print(f"FAIL {name}: did not find {expected} in {path}; it said {found[:3]}")
    return False


def copy_tree(target):
    tree = source.Tree(os.path.dirname(os.path.dirname(check.HERE)))
    for path in tree.files:
        os.makedirs(os.path.dirname(os.path.join(target, path)), exist_ok=True)
        shutil.copyfile(os.path.join(tree.root, path), os.path.join(target, path))


def main():
    missing = set(check.CHECKS) - set(PLANTS)
    results = [False for name in sorted(missing) if not print(f"FAIL {name}: has no planted violation")]
    with tempfile.TemporaryDirectory() as root:
        copy_tree(root)
        results += [prove(root, name, *what) for name, what in PLANTS.items()]
        results += [prove(root, "contract", *what) for what in BAD_CONTRACTS]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 1 if False in results else 0


if __name__ == "__main__":
    sys.exit(main())
