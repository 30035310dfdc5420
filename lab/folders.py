"""Where things lie on this machine, and how they are written and locked.

Nothing here is a constant path: the state follows ``$CGNAT_RELAY_LAB`` or the checkout, the
images follow ``$XDG_CACHE_HOME``.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.errors import LabError

PROJECT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def lab() -> Path:
    """Give this lab's state folder; it is made on first use, for its owner alone."""
    folder = Path(os.environ.get("CGNAT_RELAY_LAB") or PROJECT / ".dev" / "lab").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LabError(
            f"the lab's folder {folder} cannot be made: {error.strerror}; "
            "point CGNAT_RELAY_LAB at a folder of yours"
        ) from error
    return folder


def cache() -> Path:
    """Give the folder of the built images, shared by every lab of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "cgnat-relay" / "images"


def vm(name: str) -> Path:
    """Give the folder of one VM, whether it exists or not; the name must be a host name."""
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is no name for a machine: use lower-case letters, digits and hyphens, "
            "at most 63, and no hyphen at either end"
        )
    return lab() / name


def names() -> list[str]:
    """List the machines of this lab: every folder that a reservation or a VM has left."""
    return sorted(path.name for path in lab().iterdir() if path.is_dir() and path.name[0] != ".")


def write_private(path: Path, data: bytes) -> None:
    """Write a file in one step, readable by its owner alone, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file in one step."""
    write_private(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object, or None where there is no such file."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{path} is not valid JSON ({error}); remove it and start again") from error
    if not isinstance(value, dict):
        raise LabError(f"{path} holds no JSON object; remove it and start again")
    return value


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file until the block ends; others wait their turn."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locked_vm(name: str) -> Iterator[Path]:
    """Hold one VM's lock, which outlives the VM's folder, and give that folder."""
    folder = vm(name)
    with locked(folder.parent / f".{name}.lock"):
        yield folder
