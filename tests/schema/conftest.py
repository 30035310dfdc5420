"""cloud-init's own validator, from Debian's package, unpacked and not installed.

Installing cloud-init on an operator's machine would have it configure that machine at next boot.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..unpacked import unpacked

Validate = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cloud_init() -> Path:
    """The folder with cloud-init's Python packages."""
    return unpacked("cloud-init", "cloud-init") / "usr" / "lib" / "python3" / "dist-packages"


@pytest.fixture(scope="session")
def validate(cloud_init: Path) -> Validate:
    """Runs ``cloud-init schema`` on a file; exit status 0 and no deprecation is valid."""

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", "cloudinit.cmd.main", "schema", "-c"]
        env = {**os.environ, "PYTHONPATH": str(cloud_init)}
        return subprocess.run([*command, str(file)], env=env, capture_output=True, text=True)

    return run
