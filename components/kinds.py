"""The kinds of machine that the config can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from . import adopt, lab
from .faults import Collector, nearest
from .machine import MachineKind

KINDS: dict[str, Callable[[Mapping[str, object], str, Collector], MachineKind]] = {
    "adopt": adopt.read,
    "lab": lab.read,
}


def read(value: object, faults: Collector, path: str = "vps") -> MachineKind | None:
    """The machine that ``vps`` names; None where faults were noted."""
    if not isinstance(value, Mapping):
        faults.add(path, "is a mapping with a kind", "write {kind: lab}")
        return None
    options = cast(Mapping[str, object], value)
    kind = options.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        reason = "missing" if kind is None else f"unknown kind {kind!r}"
        faults.add(f"{path}.kind", reason, nearest(str(kind), KINDS))
        return None
    return KINDS[kind](options, path, faults)
