"""Whether docs/scale.md's targets are met, from what was measured. A verdict is of all values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.table import markdown

from .changes import beyond, slower
from .judged import VERDICTS
from .ratio import Ratio
from .scale import TARGETS, many, pooled
from .sizes import FORWARDS, LARGEST, SMALLEST, Size
from .stages import read, total
from .timeline import LEAN, RELAY, TARGET

Result = dict[str, Any]
SECONDS, TIMES = 3.0, 2.0  # of one port more: beyond no change, and on the largest relay
OPEN = "not measured yet"


def over(values: Sequence[float], most: float) -> str:
    """``met`` where all of them are, ``missed`` where none is, else ``undecided``."""
    good = [value <= most for value in values]
    return "met" if all(good) else "undecided" if any(good) else "missed"


def packets(result: Result) -> tuple[str, str]:
    """What 1,000 forwards cost a flow and a new connection, with few peers and many as one."""
    seen: list[tuple[str, Ratio, str]] = []
    for ranged in (False, True):
        arms, named = many(result, ranged), Size(FORWARDS[-1], 1, ranged).what
        for what, (more, target) in TARGETS.items() if arms else ():
            found = pooled(result, arms, what)
            verdict = found.verdict(target, more_is_better=more)
            seen.append((f"{what}, {named}", found, verdict))
    verdicts = [verdict for *_, verdict in seen]
    whole = next(verdict for verdict in VERDICTS if verdict in verdicts)
    counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    those = "; ".join(f"{name}: {r}" for name, r, verdict in seen if verdict != "met")
    return whole, f"of {len(seen)} ratios {counted}{f' ({those})' if those else ''}"


def previews(result: Result) -> tuple[str, str]:
    """How much longer a preview takes, against how much larger the config is."""
    sizes = result["sizes"]
    wide, tall = Size(FORWARDS[-1], 1), Size(1, LARGEST.peers)
    found, values = [], []
    for size, times in ((wide, FORWARDS[-1]), (tall, LARGEST.peers)):
        most = max(row["up"] for row in sizes[str(size)]["preview"])
        least = min(row["up"] for row in sizes[str(SMALLEST)]["preview"])
        values.append(most / least / times)
        found.append(f"{most / least:.1f} times as long for {size} as for {SMALLEST}")
    return over(values, 1.0), f"at most {', '.join(found)} (the slowest to the fastest)"


def ports(result: Result) -> tuple[str, str]:
    """Seconds to the first answer through a port more, beyond an update without a change."""
    small, large = (beyond(result["sizes"][str(size)]) for size in (SMALLEST, LARGEST))
    shown = (f"{min(x):.1f} to {max(x):.1f} s" for x in (small, large))
    return over(small, SECONDS), "{}; on the largest relay {}".format(*shown)


def large(result: Result) -> tuple[str, str]:
    """How many times as long one port more takes on the largest relay."""
    found = slower(result["sizes"])
    return found.verdict(TIMES, more_is_better=False), f"{found} times"


def ratios(result: dict[str, Any]) -> list[dict[str, float]]:
    """Of the relay's start to each other, round by round."""
    whole = [{label: total(read(rows)) for label, rows in one.items()} for one in result["rounds"]]
    return [{label: one[RELAY] / seconds for label, seconds in one.items()} for one in whole]


def starts(result: Result) -> tuple[str, str]:
    """The relay's start to one with the same packages alone."""
    values = [one[LEAN] for one in ratios(result)]
    return over(values, TARGET), f"{min(values):.2f} to {max(values):.2f} times"


ROWS = (
    (
        "1,000 forwards cost an established flow nothing, a new connection at most 10 %:"
        " userspace WireGuard",
        "scale",
        packets,
    ),
    ("the same: the kernel's WireGuard, in a lab VM", "scale-vm", packets),
    ("the time of `preview` grows slower than the config", "growth", previews),
    ("a port more at most 3 s beyond an `up` without a change, over 50 ms", "changes", ports),
    ("the same in a lab VM, whose CPU is emulated", "changes-vm", ports),
    ("1,000 forwards and 250 peers in less than 2 times the time of one", "changes", large),
    ("the same in a lab VM", "changes-vm", large),
    ("from power-on at most 1.2 times the same packages", "timeline", starts),
)


def targets(results: dict[str, Result]) -> list[str]:
    """A row for each target."""
    rows = []
    for what, name, judge in ROWS:
        rows.append([what, *(judge(results[name]) if name in results else (OPEN, ""))])
    return markdown(["target", "", "seen"], rows)
