"""What a change costs on a relay that runs, over a line of 50 ms.

    python3 -m bench.changes [--vm] [--pairs N] [--json FILE]

A machine (``bench/machines.py``) is adopted, and a home joins. A relay of one forward and one of
1,000 forwards and 250 peers each have, N times in turn, an ``up`` without a change, a port added,
and that port taken away. Of each: seconds from the start of ``pulumi up`` to the first answer
through the new port and to its end, and how often SSH let us in.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import cli
from .cli import Keep
from .dataplane import machine as this_machine
from .machines import ADDED, PORT, ROUND_TRIP, Machine, configure, in_a_vm, in_namespaces
from .origins import begun, ended
from .ratio import Ratio, ratio
from .sizes import LARGEST, SMALLEST, Size

Rows = Sequence[dict[str, dict[str, float]]]  # an act, and its numbers
Labels = Mapping[str, Callable[[Rows], list[float]]]
Act = Callable[[], dict[str, float]]
BROUGHT = re.compile(r"brought .* in ([0-9.]+) s")


def answered(asks: Callable[[], object], act: Callable[[], str]) -> tuple[float, str]:
    """Seconds from the start of what is done until a caller is answered, and what that said."""
    began = time.monotonic()
    first: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set() and not first:
            if asks():
                first.append(time.monotonic() - began)
            else:
                over.wait(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        found = act()
        asking.join(timeout=30)
    finally:
        over.set()
        asking.join()
    if not first:
        raise AssertionError(f"the port that was added never answered:\n{found}")
    return first[0], found


def told(
    act: Callable[[], str],
    logins: Callable[[], int],
    asks: Callable[[], object] | None = None,
) -> dict[str, float]:
    """How long an update takes, of that the machine to bring its plan, and how often it enters.

    With ``asks`` also when that is answered first.
    """
    before, began = logins(), time.monotonic()
    ended: list[float] = []

    def update() -> str:
        said = act()
        ended.append(time.monotonic() - began)
        return said

    first, said = answered(asks, update) if asks else (None, update())
    brought = BROUGHT.search(said)
    row = {"up": ended[0], "brought": float(brought[1]) if brought else 0.0}
    row |= {} if first is None else {"first answer": first}
    return {**row, "logins": logins() - before}


def ups(machine: Machine, size: Size, pairs: int) -> list[dict[str, dict[str, float]]]:
    """N times: no change, a port in, and out again."""

    def up(asks: Callable[[], object] | None = None) -> dict[str, float]:
        return told(machine.up, machine.logins, asks)

    def added() -> dict[str, float]:
        configure(machine, size, ADDED)
        return up(lambda: machine.answers(PORT))

    def removed() -> dict[str, float]:
        configure(machine, size)
        return up()

    return [{"no change": up(), "added": added(), "removed": removed()} for _ in range(pairs)]


def measure(machine: Machine, pairs: int, sizes: Sequence[Size], keep: Keep) -> dict[str, Any]:
    """Each size on one machine, from the smallest on; what there is of it is kept after each."""
    found: dict[str, Any] = {"machine": this_machine(), **begun()}
    found |= {"round trip ms": ROUND_TRIP, "sizes": {}}
    configure(machine, sizes[0])
    machine.up()
    machine.house()
    for size in sizes:
        configure(machine, size)
        machine.up()
        found["sizes"][str(size)] = ups(machine, size, pairs)
        report(str(size), found["sizes"][str(size)])
        keep(ended(found))
    return found


def column(rows: Rows, act: str, what: str) -> list[float]:
    """One number of each row."""
    return [row[act][what] for row in rows]


def beyond(rows: Rows) -> list[float]:
    """Seconds from an ``up`` to the first answer, beyond an ``up`` without a change."""
    answers, idle = column(rows, "added", "first answer"), column(rows, "no change", "up")
    return [a - b for a, b in zip(answers, idle, strict=True)]


ROWS: Labels = {
    "`up` without a change, s": lambda rows: column(rows, "no change", "up"),
    "`up` with a port added, s": lambda rows: column(rows, "added", "up"),
    "of that, the machine to bring it, s": lambda rows: column(rows, "added", "brought"),
    "first answer by it, s": lambda rows: column(rows, "added", "first answer"),
    "the same, beyond an `up` without a change, s (at most 3)": beyond,
    "`up` with it taken away, s": lambda rows: column(rows, "removed", "up"),
    "SSH connections of an `up` without a change": lambda rows: column(rows, "no change", "logins"),
    "SSH connections of an `up` with one": lambda rows: column(rows, "added", "logins"),
}


def slower(sizes: Mapping[str, Rows]) -> Ratio:
    """How many times as long an ``up`` with a port added takes the large relay."""
    many, few = (column(sizes[str(size)], "added", "up") for size in (LARGEST, SMALLEST))
    return ratio(many, few)


def report(size: str, rows: Rows) -> None:
    """Medians, least and most, for a person."""
    print(f"forwards of peers: {size}")
    for label, of in ROWS.items():
        values = of(rows)
        middle = statistics.median(values)
        print(f"  {label:<57} {middle:6.2f} ({min(values):.2f} to {max(values):.2f})", flush=True)


def main() -> None:
    """Measure, print, and write."""
    parser = cli.parser("bench.changes", __doc__)
    parser.add_argument("--vm", action="store_true", help="in a lab VM, not in namespaces")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write machine, versions and each pair here")
    options = parser.parse_args()
    with in_a_vm() if options.vm else in_namespaces() as machine:
        keep = partial(cli.write, options.json)
        result = measure(machine, options.pairs, [SMALLEST, LARGEST], keep)
    print(f"with a port added, {LARGEST} against {SMALLEST}: {slower(result['sizes'])}")


if __name__ == "__main__":
    cli.run(main)
