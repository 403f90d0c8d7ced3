"""One suite for all tests of this folder; each test makes its own users."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import denizen  # noqa: E402


@pytest.fixture(scope="session")
def suite():
    running = denizen.Suite().up()
    yield running
    running.remove()


@pytest.fixture()
def api(suite):
    client = suite.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def other(suite):
    """Credentials of a second project."""
    return suite.project("other")
