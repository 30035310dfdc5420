"""Debian's packages, unpacked into the cache and not installed.

Installing a server would start it on the machine of whoever runs the tests.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from engine import obtain


def unpacked(name: str, *packages: str) -> Path:
    """The folder ``name`` in the cache with these packages in it; whole, or not there."""
    folder = obtain.cache() / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / name
            made.mkdir()
            subprocess.run(["apt-get", "-q", "download", *packages], cwd=made, check=True)
            for package in made.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(package), str(made)], check=True)
                package.unlink()
            made.rename(folder)
    return folder
