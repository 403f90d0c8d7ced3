"""The tours of README.md and docs/tour.md: their shell blocks are run word for word and must print what stands below them."""
import json
import re
import subprocess

import pytest
from denizen import ROOT

BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.M | re.S)
END = "--- end of block ---"


def steps(text):
    """(shell, expected output) of each step: a block `sh`, and the block `json` that follows it at once, if one does."""
    found = []
    for kind, body in BLOCK.findall(text):
        if kind == "sh":
            found.append([body, ""])
        else:
            assert found and found[-1][1] == "", "an output block must follow a shell block"
            found[-1][1] = body
    return found


class Shell:
    """One bash for a whole tour, in a directory that has the project's data/credentials.json."""

    def __init__(self, directory):
        self.errors = open(directory / "errors", "w+")
        self.process = subprocess.Popen(["bash"], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def run(self, block):
        """What the block prints. A background job of the block is over by then, because the tours wait for theirs."""
        self.process.stdin.write(f"{block}\necho '{END}'\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == END + "\n":
                break
            lines.append(line)
        return "".join(lines)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.errors.seek(0)
        return self.errors.read()


@pytest.mark.parametrize("document", ["README.md", "docs/tour.md"])
def test_tour(suite, tmp_path, document):
    credentials = suite.project("tour")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/credentials.json").write_text(json.dumps(credentials))
    tour = steps((ROOT / document).read_text())
    assert len(tour) > 8, "the tour was not found"
    shell = Shell(tmp_path)
    for block, expected in tour:
        assert shell.run(block) == expected, f"{document}:\n{block}"
        suite.settle()  # events of different services reach the ledger in the order of the blocks
    assert shell.close() == ""
