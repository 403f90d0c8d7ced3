"""One suite for the clients of other products: served at natural paths, under /descope and at a host of its own."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "suite"))
import denizen  # noqa: E402

SETTINGS = """DENIZEN_DIALECT_HOSTS=descope.example=descope
DENIZEN_CORS_ORIGINS=descope=https://app.example
"""


@pytest.fixture(scope="session")
def suite():
    running = denizen.Suite(replicas="", environment={"DENIZEN_LOG_LEVEL": "debug"})
    (running.data / "config").mkdir()
    (running.data / "config/gateway.env").write_text(SETTINGS)
    yield running.up()
    running.remove()


@pytest.fixture(scope="session")
def project(suite):
    """A client with the management key of a project of its own."""
    client = suite.new_project("descope")
    yield client
    client.close()
