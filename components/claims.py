"""Which ports have an owner already, found in the logarithm of how many there are."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .model import PortRange, Protocol

Owner = TypeVar("Owner")


@dataclass
class Claims(Generic[Owner]):
    """Ports by protocol, each with the first who took it."""

    taken: defaultdict[Protocol, list[tuple[int, int, Owner]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def take(self, protocol: Protocol, ports: PortRange, owner: Owner) -> list[Owner]:
        """Give ``owner`` those that are free; who has the others, each once, in their order."""
        rows = self.taken[protocol]  # disjoint, and in order
        start = bisect_left(rows, ports.first, key=lambda row: row[1])
        end, free, gaps = start, ports.first, []
        while end < len(rows) and rows[end][0] <= ports.last:
            first, last, _ = rows[end]
            if free < first:
                gaps.append((free, first - 1, owner))
            free, end = last + 1, end + 1
        if free <= ports.last:
            gaps.append((free, ports.last, owner))
        found = rows[start:end]
        rows[start:end] = sorted([*found, *gaps], key=lambda row: row[0])
        return [*{id(row[2]): row[2] for row in found}.values()]
