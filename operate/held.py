"""What a machine holds of a plan, told in a few lines from the bundle that brought it."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
import zlib
from collections.abc import Iterator
from itertools import groupby

from .remote import STATE


def held(bundle: str, interface: str) -> Iterator[str]:
    """Names and counts, no content; of what is no bundle nothing but the folder that there is."""
    packages, units, parts = (_list(bundle, name) for name in ("packages", "units", "parts"))
    if packages:
        yield f"packages, those of them that were not there before: {', '.join(packages)}"
    if units:
        yield f"{len(units)} units, enabled: {', '.join(units)}"
    paths = sorted(line.split(" ", 1)[1].rpartition("/")[::2] for line in parts)
    if paths:
        yield f"{len(paths)} files, with its keys among them:"
    for folder, files in groupby(paths, lambda path: path[0]):
        yield f"  {folder}: {', '.join(name for _, name in files)}"
    yield f"what it knew of itself: {STATE}"
    yield (
        f"in its kernel: forwarding, interface {interface}, nft tables cgnat-relay, chains"
        f" {interface.upper()}-FORWARD and RELAY-INPUT"
    )


def _list(bundle: str, name: str) -> list[str]:
    """The lines of one of a bundle's lists."""
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(bundle))) as tar:
            found = tar.extractfile(name)
            return found.read().decode().splitlines() if found else []
    except (binascii.Error, tarfile.TarError, zlib.error, OSError, EOFError, KeyError):
        return []
