"""Files with secrets: their owner's alone, and never in place of something else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .peers import HandoutError


def write(files: Mapping[Path, bytes], force: bool = False) -> None:
    """Write all files, 0600, making their folders (0700) if need be; or none of them.

    A file that is there with other contents may be another home's: HandoutError, unless ``force``.
    """
    for path, data in files.items():
        if path.is_dir():
            raise HandoutError(f"{path} is a folder; name a file")
        if not force and path.exists() and path.read_bytes() != data:
            raise HandoutError(
                f"{path} is there with other contents, perhaps another home's;"
                " take another place, or add --force"
            )
    for path, data in files.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a new file, so that neither mode nor link of the old stays
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
