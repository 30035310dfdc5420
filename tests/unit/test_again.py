"""What failed is run once more: each test alone, but of the machines' the whole file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..__main__ import failures, pytest

TESTS = """
import pytest

@pytest.fixture
def broken(): raise OSError

@pytest.mark.parametrize("name", ["a.b::c/d [e]", "fine"])
def test_one(name): assert name == "fine"

def test_two(broken): pass

def test_three(): pass
"""


def test_failures_are_named_as_pytest_takes_them(tmp_path: Path) -> None:
    for layer in ("netns", "vm"):
        folder = tmp_path / "tests" / layer
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "test_it.py").write_text(TESTS)
    (tmp_path / "tests/__init__.py").touch()
    report = tmp_path / "report.xml"
    assert ran(report, ["tests"]).returncode == 1
    found = failures(report)
    assert found == [
        "tests/netns/test_it.py::test_one[a.b::c/d [e]]",
        "tests/netns/test_it.py::test_two",
        "tests/vm/test_it.py",
    ]
    assert "collected 6 items" in ran(report, found).stdout
    assert failures(report) == found


def ran(report: Path, what: list[str]) -> subprocess.CompletedProcess[str]:
    command = [*pytest(report, what), "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=report.parent, capture_output=True, text=True)
