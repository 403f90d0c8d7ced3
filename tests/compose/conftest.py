"""One engine and one running suite for all tests of this folder; the driver of tests/suite serves here as well."""
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "suite")]
from engine import Engine, Unusable  # noqa: E402
from stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def engine():
    """A test machine without an engine fails: that these tests did not run must be seen."""
    try:
        with Engine() as engine:
            yield engine
    except Unusable as lack:
        pytest.fail(str(lack), pytrace=False)


@pytest.fixture(scope="session")
def stack(engine, tmp_path_factory):
    stack = Stack()
    try:
        stack.build(tmp_path_factory.mktemp("build"))
        stack.up()
        yield stack
    finally:
        stack.down()
