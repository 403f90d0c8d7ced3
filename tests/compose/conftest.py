"""One engine and one running suite for all tests of this folder."""
import pytest

from engine import Engine, Unusable
from stack import Stack


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
