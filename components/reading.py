"""Reading plain values of a config: each notes its fault, gives a stand-in, and reading goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from .faults import Collector, nearest, shown


def section(value: object, path: str, keys: Sequence[str], faults: Collector) -> dict[str, object]:
    """A mapping with known keys only; an absent one is empty."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        faults.add(path, "is a mapping", f"known here: {', '.join(keys)}")
        return {}
    found = dict(cast(Mapping[str, object], value))
    known(found, keys, f"{path}.", faults)
    return found


def known(
    section: Mapping[Any, object], keys: Sequence[str], prefix: str, faults: Collector
) -> None:
    """Note each key of ``section`` that is not in ``keys``, with the nearest that is."""
    for key in section:
        if key not in keys:
            name = key if isinstance(key, str) else shown(key)
            faults.add(f"{prefix}{name}", "unknown key", nearest(key, keys))


def integer(value: object, path: str, low: int, high: int, faults: Collector) -> int:
    """A whole number, ``low`` to ``high``; 0 stands in where it is not."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    faults.add(path, f"{shown(value)} is not a whole number from {low} to {high}", "correct it")
    return 0


def flag(value: object, path: str, faults: Collector) -> bool:
    """true or false; false stands in where it is neither."""
    if isinstance(value, bool):
        return value
    faults.add(path, f"{shown(value)} is neither true nor false", "write true or false")
    return False


def word(value: object, path: str, words: Sequence[str], what: str, faults: Collector) -> str:
    """One of ``words``; the first stands in where it is not."""
    if isinstance(value, str) and value in words:
        return value
    faults.add(path, f"unknown {what} {shown(value)}", nearest(value, words))
    return words[0]


def items(
    value: object, path: str, example: str, faults: Collector
) -> tuple[tuple[str, object], ...]:
    """A list's items, each with its key path; an absent list is empty."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        faults.add(path, "is a list", f"write {example}")
        return ()
    return tuple((f"{path}[{index}]", item) for index, item in enumerate(value))
