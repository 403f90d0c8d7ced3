"""One suite for all tests of this folder; each test makes its own users, each file its own project where totals matter."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import denizen  # noqa: E402

if not hasattr(denizen.jsonschema, "Draft202012Validator"):
    pytest.exit("these tests need python3-jsonschema 4, as Debian 12 and Ubuntu 24.04 have it", returncode=1)
pytest.register_assert_rewrite("helpers")


@pytest.fixture(scope="session")
def suite():
    running = denizen.Suite(environment={"DENIZEN_LOG_LEVEL": "debug"}).up()
    yield running
    running.remove()


@pytest.fixture()
def api(suite):
    """A client with the management key of the first project."""
    client = suite.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def other(suite):
    """Credentials of a second project."""
    return suite.project("other")


@pytest.fixture(scope="module")
def project(suite):
    """A client with the management key of a project that only this file uses."""
    client = suite.new_project()
    yield client
    client.close()


@pytest.fixture()
def fresh(suite):
    """A client with the management key of a project that only this test uses."""
    client = suite.new_project()
    yield client
    client.close()


def pytest_collection_modifyitems(items):
    """Secrets are looked for when everything else has run; the processes are killed just before that."""
    late = {"test_feed_sdk": 1, "test_secrets": 2}
    items.sort(key=lambda item: late.get(item.module.__name__, 0))
