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

from engine import obtain

Validate = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cloud_init() -> Path:
    """The folder with cloud-init's Python packages."""
    folder = obtain.cache() / "cloud-init"
    modules = folder / "usr" / "lib" / "python3" / "dist-packages"
    if not (modules / "cloudinit").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-q", "download", "cloud-init"], cwd=folder, check=True)
        package = sorted(folder.glob("cloud-init_*.deb"))[-1]
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return modules


@pytest.fixture(scope="session")
def validate(cloud_init: Path) -> Validate:
    """Runs ``cloud-init schema`` on a file; exit status 0 and no deprecation is valid."""

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", "cloudinit.cmd.main", "schema", "-c"]
        env = {**os.environ, "PYTHONPATH": str(cloud_init)}
        return subprocess.run([*command, str(file)], env=env, capture_output=True, text=True)

    return run
