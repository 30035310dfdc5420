"""What a larger config costs who runs Pulumi: seconds of each command, bytes of what is kept.

    python3 -m bench.growth [--rounds N] [--sizes S,S] [--json FILE]

A machine is adopted, so that the same one can have every size (``bench/sizes.py``) in turn; it is
in network namespaces (``bench/machines.py``), for what is measured is here. Of each size N times:
``preview``, an ``up`` without a change, an ``up`` with a port added and one with it taken away.
Once: the state's file, and user-data for a machine's first boot, in each form.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.first_boot import Form, forms
from components.plan import relay_plan
from tests.unit import samples

from . import cli
from .changes import told
from .cli import Keep
from .dataplane import machine as this_machine
from .machines import ADDED, FIRST, Machine, configure, in_namespaces
from .origins import begun, ended
from .sizes import ALL, Size, read

ACTS = ("preview", "no-op up", "port added", "port removed")


def user_data(size: Size) -> dict[str, int]:
    """Bytes of user-data by how much it says, from the fullest on."""
    settings = samples.settings(**size.config(first=FIRST))
    keys = samples.keys(settings)
    plan = relay_plan(settings, keys)
    return {name: len(text.encode()) for name, text in forms(plan, keys, Form.TEXT)}


def state(machine: Machine) -> int:
    """Bytes of the state's file, without its backup and history."""
    folder = machine.stack.folder / "engine" / "state" / ".pulumi" / "stacks"
    return sum(file.stat().st_size for file in folder.rglob("*.json"))


def timed(machine: Machine, *words: str) -> dict[str, float]:
    """Seconds of a command of the engine's, and of that the machine to bring its plan."""
    return told(lambda: machine.stack.pulumi(*words), machine.logins)


def measure(sizes: Sequence[Size], rounds: int, keep: Keep) -> None:
    """One size after the other, on one machine; what there is of it is kept after each."""
    found: dict[str, Any] = {"machine": this_machine(), **begun(), "sizes": {}}
    up = ("up", "--yes", "--skip-preview")
    with in_namespaces() as machine:
        for size in sizes:
            configure(machine, size)
            first = timed(machine, *up)
            seen: dict[str, list[dict[str, float]]] = {act: [] for act in ACTS}
            for _ in range(rounds):
                seen["preview"].append(timed(machine, "preview"))
                seen["no-op up"].append(timed(machine, *up))
                configure(machine, size, ADDED)
                seen["port added"].append(timed(machine, *up))
                configure(machine, size)
                seen["port removed"].append(timed(machine, *up))
            found["sizes"][str(size)] = {
                "from the size before": first,
                **seen,
                "user-data": user_data(size),
                "state": state(machine),
            }
            report(str(size), found["sizes"][str(size)])
            keep(ended(found))


def middle(row: dict[str, Any], act: str, what: str = "up") -> float:
    """The median of one act."""
    return statistics.median(one[what] for one in row[act])


def report(size: str, row: dict[str, Any]) -> None:
    """A line for a person."""
    acts = "   ".join(f"{act} {middle(row, act):5.2f}" for act in ACTS)
    print(f"{size:<24} {acts}   state {row['state']:,}   user-data {row['user-data']}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.growth", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default=None, help="FORWARDSxPEERS, as 1x1,1000x250,1000rx1")
    parser.add_argument("--json", type=Path, help="write machine, versions and each number here")
    options = parser.parse_args()
    sizes = [read(word) for word in options.sizes.split(",")] if options.sizes else ALL
    measure(sizes, options.rounds, partial(cli.write, options.json))


if __name__ == "__main__":
    cli.run(main)
