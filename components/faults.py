"""What is wrong with a config, told so that the user can mend all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

LONGEST = 120  # characters of a value that a fault shows


@dataclass(frozen=True)
class Fault:
    """One fault: the key path as the user wrote it, why it cannot be, and what to do."""

    path: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.fix}"


class Faults(Exception):  # noqa: N818 - a collection of faults, not one error
    """All faults of one config, raised once; ``faults`` holds them in the order of the config."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(report(self.faults))


@dataclass
class Collector:
    """Gathers faults while a config is read, so that reading goes on after the first."""

    _noted: dict[Fault, None] = field(default_factory=dict)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """In the order in which they were met."""
        return tuple(self._noted)

    def __len__(self) -> int:
        return len(self._noted)

    def add(self, path: str, reason: str, fix: str) -> None:
        """Note one fault, once, and go on."""
        self._noted[Fault(path, reason, fix)] = None

    def done(self) -> None:
        """Raise ``Faults`` if there were any."""
        if self._noted:
            raise Faults(self.faults)


def report(faults: tuple[Fault, ...]) -> str:
    """The text a user sees: a count, then a line for each fault."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    lines = "\n".join(f"  {fault}" for fault in faults)
    return f"{count} in the configuration, nothing was created:\n{lines}"


def shown(value: object) -> str:
    """A value as a fault names it: ``repr``, cut where it is long.

    Python refuses to write a number of more than 4,300 digits.
    """
    try:
        text = repr(value)
    except ValueError:
        return "a number beyond all bounds"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def nearest(word: object, known: Iterable[str]) -> str:
    """Advice that names the nearest known word, or all of them where none is near."""
    words = sorted(known)
    text = word[:LONGEST] if isinstance(word, str) else shown(word)
    close = difflib.get_close_matches(text, words, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(words)}"
