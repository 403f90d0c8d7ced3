"""The driver and helpers of tests/suite serve these tests as well; each file starts and removes a suite of its own."""
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "suite")]
pytest.register_assert_rewrite("helpers", "checker")
FIGURES = []


@pytest.fixture(scope="session")
def figures():
    """Lines that are printed at the end: what was measured, whether or not a limit was met."""
    return FIGURES


def pytest_terminal_summary(terminalreporter):
    for line in FIGURES:
        terminalreporter.write_line(line)
