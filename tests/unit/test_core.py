"""The core stands alone: it is imported where there is no pulumi."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pulumi_command.local  # noqa: F401 - while warnings are none: it warns when imported
import pytest

import components

ROOT = Path(__file__).resolve().parents[2]
CORE = ["config", "device", "home_rules", "plan", "userdata"]  # these import all the rest


def imports(names: list[str]) -> str:
    """What of pulumi a new interpreter has loaded after these imports."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*sorted(n for n in sys.modules if n.split('.')[0].startswith('pulumi')))"
    )
    command = [sys.executable, "-c", code, *names]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_core_imports_no_pulumi() -> None:
    assert imports([f"components.{name}" for name in CORE]).split() == []


def test_the_shell_does() -> None:
    """The off-case: were it loaded, it would be seen."""
    assert "pulumi" in imports(["components.machine"]).split()


@pytest.mark.parametrize("name", components.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(components, name).__name__ == name


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        components.Nothing  # noqa: B018 - the question is the test
