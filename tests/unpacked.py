"""Programs of Debian's packages, unpacked into the cache and not installed: nothing is started."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

from engine import obtain


def unpacked(name: str, *packages: str) -> Path:
    """The folder ``name`` of the cache with these packages (and no dependency of theirs) in it.

    Installing a server would start it on the machine of whoever runs the tests.
    """
    folder = obtain.cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        return _filled(folder, packages)


def _filled(folder: Path, packages: tuple[str, ...]) -> Path:
    done = folder / ".packages"
    if not done.exists() or done.read_text() != " ".join(packages):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tempfile.TemporaryDirectory(dir=folder) as fetched:
            subprocess.run(["apt-get", "-q", "download", *packages], cwd=fetched, check=True)
            for package in sorted(Path(fetched).glob("*.deb")):
                subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
        done.write_text(" ".join(packages))
    return folder
