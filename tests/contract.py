"""Writes events.gen.[hc] of the contract with one event more, which no code names. Usage: contract.py PROTO_DIR OUT_DIR

The tests link these facts in place of the suite's: what they see of that event comes from its declaration alone.
"""
import os
import re
import shutil
import sys
import tempfile

EVENT = "  // @revokes epoch @audience user\n  EVENT_TYPE_USER_SUSPENDED = 900;\n"


def main(proto, out):
    sys.path.insert(0, os.path.join(proto, "gen"))
    import tables
    with tempfile.TemporaryDirectory() as made:
        folder = os.path.join(made, "proto")
        shutil.copytree(proto, folder, ignore=shutil.ignore_patterns("gen"))
        path = os.path.join(folder, "events.proto")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"(enum EventType \{\n.*?\n)(\})", rf"\1{EVENT}\2", text, count=1, flags=re.S))
        tables.main(folder, made)
        os.makedirs(out, exist_ok=True)
        for name in ("events.gen.h", "events.gen.c"):
            shutil.copyfile(os.path.join(made, name), os.path.join(out, name))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
