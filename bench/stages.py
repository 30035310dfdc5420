"""From what the engine, systemd and cloud-init say of a start: who did what, from when until when.

All moments are seconds; what reads the guest's clock takes ``boot``, when its kernel began.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

RESOURCE = re.compile(r"^ \+\s+(\S+) (\S+) (creating|created)\b")
PACKAGES, COMMANDS = "cloud-init: packages", "cloud-init: commands"
UPDATE, INSTALL, SETUP = "apt-get update", "apt-get install", "units: firewall, tunnel, rules"
# Parts of cloud-init as it calls them, and what they are to a reader.
PARTS = {
    "init-local": "cloud-init: local",
    "init-network": "cloud-init: network",
    "modules-config": "cloud-init: config",
    "modules-final/config-package-update-upgrade-install": PACKAGES,
    "modules-final/config-scripts-user": COMMANDS,
}


@dataclass(frozen=True)
class Stage:
    """``lane`` is who is busy, ``name`` with what."""

    lane: str
    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start


def shifted(stages: Iterable[Stage], by: float) -> list[Stage]:
    """The same, ``by`` seconds later."""
    return [replace(stage, start=stage.start + by, end=stage.end + by) for stage in stages]


def resources(
    lane: str, lines: Iterable[tuple[float, str]], names: Mapping[str, str]
) -> list[Stage]:
    """From the engine's lines as they came: each resource of ``names``, from creating to created.

    A resource is told by the end of its name.
    """
    began: dict[str, float] = {}
    found = []
    for moment, line in lines:
        match = RESOURCE.match(line)
        told = [name for end, name in names.items() if match and match[2].endswith(end)]
        if not match or not told:
            continue
        if match[3] == "creating":
            began.setdefault(match[2], moment)
        else:
            found.append(Stage(lane, told[0], began.get(match[2], moment), moment))
    return found


def cloud_init(lane: str, events: Sequence[Mapping[str, Any]], boot: float) -> list[Stage]:
    """From ``cloud-init analyze dump``: its stages that are in ``PARTS``.

    ``boot`` is the wall clock's time when the kernel began.
    """
    began: dict[str, float] = {}
    found = []
    for event in events:
        name, moment = str(event["name"]), float(event["timestamp"]) - boot
        if name not in PARTS:
            continue
        if event["event_type"] == "start":
            began[name] = moment
        elif name in began:
            found.append(Stage(lane, PARTS[name], began[name], moment))
    return found


def properties(text: str) -> list[dict[str, str]]:
    """``systemctl show`` of several units: a mapping each, as they stand between empty lines."""
    blocks = [block for block in text.strip().split("\n\n") if block.strip()]
    return [
        dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        for block in blocks
    ]


def unit(lane: str, name: str, given: Mapping[str, str]) -> Stage | None:
    """A unit's start, from leaving ``inactive`` to ``active``; None where it did not start."""
    start = int(given.get("InactiveExitTimestampMonotonic") or 0) / 1e6
    end = int(given.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    return Stage(lane, name, start, end) if 0 < start <= end else None


def opened(stages: Iterable[Stage], moments: Sequence[float]) -> list[Stage]:
    """What stands around apt's work, in its parts; ``moments`` are apt's own, whole seconds."""
    found = []
    for stage in stages:
        inside = [m for m in moments if stage.start - 1 <= m <= stage.end + 1]
        if stage.name not in (PACKAGES, COMMANDS) or not inside:
            found.append(stage)
            continue
        first, last = max(inside[0], stage.start), min(inside[-1], stage.end)
        found.append(Stage(stage.lane, UPDATE, stage.start, first))
        found.append(Stage(stage.lane, INSTALL, first, last))
        if stage.name == COMMANDS:
            found.append(Stage(stage.lane, SETUP, last, stage.end))
    return found


def total(stages: Iterable[Stage]) -> float:
    """When the last ends, from the first's start."""
    found = list(stages)
    return max(s.end for s in found) - min(s.start for s in found)


def plain(stages: Iterable[Stage], since: float = 0.0) -> list[dict[str, Any]]:
    """For JSON, in tenths of a millisecond after ``since``."""
    return [
        asdict(s) | {"start": round(s.start - since, 3), "end": round(s.end - since, 3)}
        for s in stages
    ]


def read(rows: Iterable[Mapping[str, Any]]) -> list[Stage]:
    """From JSON."""
    return [Stage(**row) for row in rows]
