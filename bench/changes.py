"""What a change costs on a relay that runs, over a link of 50 ms.

    python3 -m bench.changes [--pairs N] [--json FILE]

A machine is adopted, a home joins, and the link gets 50 ms of round trip (netem, in the machine).
A relay of one forward and one of 1,000 forwards and 250 peers each have, N times in turn, an ``up``
without a change, a port added, and that port taken away. Of each: seconds from the start of
``pulumi up`` to the first answer through the new port and to its end, and how often SSH let us in.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.vm.adopted import Adopted, fresh

from .dataplane import machine as this_machine
from .origins import load, loads
from .ratio import Ratio, ratio
from .sizes import LARGEST, SMALLEST, Size

ROUND_TRIP = 50  # ms
FIRST, ADDED, PORT = "80:8080", "8443:8080", 8443
DELAY = (
    "tc qdisc replace dev $(ip -o route show default | awk '{ print $5; exit }')"
    f" root netem delay {ROUND_TRIP}ms"
)
LETS_IN = "journalctl -q -o cat -t sshd -t sshd-session | grep -c 'Accepted publickey' || :"
Rows = Sequence[dict[str, dict[str, float]]]  # an act, and its numbers
BROUGHT = re.compile(r"brought .* in ([0-9.]+) s")


def configure(machine: Adopted, size: Size, *more: str) -> None:
    """That size, and so many forwards more of the home that is connected."""
    machine.configure(**size.config(first=FIRST, more=more))


def changed(machine: Adopted) -> dict[str, float]:
    """Seconds from the start of an ``up`` until the new port answers, and until it has ended."""
    before = logins(machine)
    began = time.monotonic()
    first: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set() and not first:
            if machine.answers(PORT):
                first.append(time.monotonic() - began)
            else:
                over.wait(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        said = machine.up()
        ended = time.monotonic() - began
        asking.join(timeout=30)
    finally:
        over.set()
        asking.join()
    if not first:
        raise AssertionError(f"the port that was added never answered:\n{said}")
    return {"first answer": first[0], **told(said, ended), "logins": logins(machine) - before}


def told(said: str, seconds: float) -> dict[str, float]:
    """How long an ``up`` took, and of that the machine to bring its plan."""
    brought = BROUGHT.search(said)
    return {"up": seconds, "brought": float(brought[1]) if brought else 0.0}


def timed(machine: Adopted) -> dict[str, float]:
    """An ``up`` with nothing to look out for."""
    before, began = logins(machine), time.monotonic()
    said = machine.up()
    found = told(said, time.monotonic() - began)
    return {**found, "logins": logins(machine) - before}


def logins(machine: Adopted) -> int:
    """How often SSH has let somebody in."""
    return int(machine.run(LETS_IN))


def series(machine: Adopted, size: Size, pairs: int) -> list[dict[str, dict[str, float]]]:
    """N times: no change, a port in, and out again."""
    found = []
    for _ in range(pairs):
        row = {"no change": timed(machine)}
        configure(machine, size, ADDED)
        row["added"] = changed(machine)
        configure(machine, size)
        row["removed"] = timed(machine)
        found.append(row)
    return found


def measure(pairs: int, sizes: Sequence[Size]) -> dict[str, Any]:
    """Each size on one machine, from the smallest on."""
    found: dict[str, Any] = {"machine": this_machine(), "round trip ms": ROUND_TRIP, "sizes": {}}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        fresh(Path(name)) as machine,
    ):
        before = load()
        configure(machine, sizes[0])
        machine.up()
        machine.house()
        machine.run(DELAY)
        for size in sizes:
            configure(machine, size)
            machine.up()
            found["sizes"][str(size)] = series(machine, size, pairs)
            report(str(size), found["sizes"][str(size)])
        found["load"] = loads(before)
        machine.destroy()
    return found


def column(rows: Rows, act: str, what: str) -> list[float]:
    """One number of each row."""
    return [row[act][what] for row in rows]


def beyond(rows: Rows) -> list[float]:
    """Seconds from an ``up`` to the first answer, beyond an ``up`` without a change."""
    answers, idle = column(rows, "added", "first answer"), column(rows, "no change", "up")
    return [a - b for a, b in zip(answers, idle, strict=True)]


ROWS: dict[str, Callable[[Rows], list[float]]] = {
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
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.changes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write machine, versions and each pair here")
    options = parser.parse_args()
    result = measure(options.pairs, [SMALLEST, LARGEST])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"up with a port added, {LARGEST} against {SMALLEST}: {slower(result['sizes'])}")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(str(error))
