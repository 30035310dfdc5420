"""How large a relay is: so many forwards, of so many peers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NETWORK = "10.77.0.0/16"
PORT = 5201  # the first forward, of the one home that is connected
FIRST, LAST = 5000, 5999  # the range, which holds that port
ELSEWHERE = 10_000
FORWARDS, PEERS = (1, 10, 100, 1000), (1, 50, 250)


@dataclass(frozen=True)
class Size:
    """``ranged``: the forwards are one range of the first home."""

    forwards: int
    peers: int
    ranged: bool = False

    def __str__(self) -> str:
        return f"{self.what} of {self.peers:,}"

    @property
    def what(self) -> str:
        """The forwards alone."""
        return f"{self.forwards:,}{' as a range' if self.ranged else ''}"

    def homes(
        self, first: str = f"{PORT}:{PORT}", more: Iterable[str] = ()
    ) -> list[dict[str, Any]]:
        """The config's ``homes``: single forwards go round, and the first home has ``more``."""
        found = [
            {
                "name": f"home{n}" if n else "home",
                "address": f"10.77.{n // 200}.{n % 200 + 2}",
                "forwards": [],
            }
            for n in range(self.peers)
        ]
        if self.ranged:
            found[0]["forwards"] = [f"{FIRST}-{FIRST + self.forwards - 1}"]
        else:
            for n in range(self.forwards):
                found[n % self.peers]["forwards"].append(f"{ELSEWHERE + n}:80" if n else first)
        found[0]["forwards"] += more
        return found

    def config(self, **first: Any) -> dict[str, Any]:
        """The config's keys that make it."""
        return {"homes": self.homes(**first), "tunnel": {"network": NETWORK}}


SMALLEST = Size(1, 1)
LARGEST = Size(FORWARDS[-1], PEERS[-1])
ALL = tuple(
    Size(forwards, peers, ranged)
    for peers in PEERS
    for forwards, ranged in [*((n, False) for n in FORWARDS), (FORWARDS[-1], True)]
)
NAMED = {str(size): size for size in ALL}


def read(text: str) -> Size:
    """``1000x250`` or ``1000rx250``, a range. Raises ValueError."""
    forwards, found, peers = text.partition("x")
    if not found:
        raise ValueError(f"{text} is no size; write FORWARDSxPEERS, as 1000x250, or 1000rx1")
    return Size(int(forwards.removesuffix("r")), int(peers), forwards.endswith("r"))
