"""Where the time goes from power-on until a relay is ready, beside two floors.

    python3 -m bench.timeline [--rounds N] [--cold] [--json FILE]

Three starts of the same VM, one after the other, N times: with user-data that says nothing, with
the same packages and no more, and by ``pulumi up`` from nothing. The engine's progress, systemd's
timestamps and cloud-init's own events become stages with start and end. ``--cold`` first makes the
virtual environment, the engine and the image in an empty cache, as the first ``make up`` does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lab import command
from tests.relay_stack import ROOT, Stack

from . import cli
from .cli import Keep
from .dataplane import machine
from .origins import begun, ended
from .stages import (
    Stage,
    cloud_init,
    opened,
    plain,
    properties,
    read,
    resources,
    shifted,
    total,
    unit,
)
from .startup import HOMES, booted, only_packages, power_on

HERE, THERE = "this computer", "the machine"
LEAN, RELAY = "the same packages", "relay"
FLOORS: dict[str, dict[str, Any]] = {"nothing": {}, LEAN: only_packages()}
TARGET = 1.2  # for the relay's ratio to the same packages
COMMANDS = {
    "-address": "an address",
    "-server": "disk and QEMU",
    "-booted": "wait for SSH",
    "-plan": "bring the plan, check",
}
UNITS = {
    "ssh.service": "SSH",
    "cgnat-relay-firewall.service": "firewall",
    "wg-quick@wg0.service": "tunnel and forwards",
}
SHOW = "Id,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"
# What a guest tells of its start: its clocks, systemd's, cloud-init's events and log.
ASK = f"""
cut -d ' ' -f 1 /proc/uptime; date +%s.%N
systemctl show -p UserspaceTimestampMonotonic --value
echo ---; systemctl show -p {SHOW} {" ".join(UNITS)}
echo ---; cloud-init analyze dump
echo ---; sed -n 's/^[SE][a-z]*-Date: *//p' /var/log/apt/history.log 2>/dev/null |
while read -r date; do date -d "$date" +%s; done
"""


def guest(stack: Stack, name: str) -> list[Stage]:
    """The stages in a VM, in this computer's seconds, from power-on on."""
    before = time.time()
    said = stack.inside(name, ASK)
    now = (before + time.time()) / 2
    clocks, units, events, apt = said.split("---\n")
    uptime, wall, userspace = (float(word) for word in clocks.split())
    userspace /= 1e6
    found = [
        Stage(THERE, "kernel", 0.0, userspace),
        *opened(
            cloud_init(THERE, json.loads(events), wall - uptime),
            [float(moment) - (wall - uptime) for moment in apt.split()],
        ),
        *(
            stage
            for given in properties(units)
            if (stage := unit(THERE, UNITS[given["Id"]], given)) is not None
        ),
    ]
    first = min((s.start for s in found if s.name.startswith("cloud-init")), default=userspace)
    found.append(Stage(THERE, "systemd", userspace, first))
    kernel = now - uptime
    return [
        Stage(THERE, "QEMU and firmware", powered(stack, name), kernel),
        *shifted(found, kernel),
    ]


def powered(stack: Stack, name: str) -> float:
    """When QEMU wrote its pid."""
    return (stack.folder / "lab" / name / command.PID).stat().st_mtime


def floor(stack: Stack, name: str, config: dict[str, Any]) -> list[Stage]:
    """A VM with that cloud-config and nothing else, until cloud-init has ended."""
    began = time.time()
    power_on(stack, name, config)
    started = time.time()
    booted(stack, name)
    found = [Stage(HERE, COMMANDS["-server"], began, started), *guest(stack, name)]
    stack.lab("stop", name)
    return found


def up(stack: Stack) -> list[Stage]:
    """``pulumi up`` from nothing, with the stages that its machine tells of."""
    began = time.time()
    lines = [(time.time(), line) for line in stack.lines("up", "--yes", "--skip-preview")]
    ended = time.time()
    found = resources(HERE, lines, COMMANDS)
    first = min(stage.start for stage in found)
    return [
        Stage(HERE, "engine and program begin", began, first),
        *found,
        Stage(HERE, "engine ends", max(stage.end for stage in found), ended),
        *guest(stack, "bench-relay"),
    ]


@contextmanager
def staged(found: list[Stage], name: str) -> Iterator[None]:
    """One more stage of this computer's."""
    began = time.time()
    yield
    found.append(Stage(HERE, name, began, time.time()))


def prepare(cold: bool) -> list[Stage]:
    """What ``make up`` does before: found in the cache, or made in an empty one."""
    found: list[Stage] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        env = {**os.environ, **({"XDG_CACHE_HOME": name} if cold else {})}

        def run(*words: str) -> None:
            subprocess.run(words, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)

        if cold:
            with staged(found, "Python's packages"):
                run(sys.executable, "-m", "venv", f"{name}/venv")
                pip = (f"{name}/venv/bin/python", "-m", "pip", "install", "-q", "--no-cache-dir")
                run(*pip, "-r", "requirements.txt")
        with staged(found, "engine"):
            run(sys.executable, "-m", "engine", "get")
        with staged(found, "image"):
            run(sys.executable, "-m", "lab", "image", "--variant", "vps")
    return found


def started(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The floors and the relay, each alone in its turn."""
    found: dict[str, list[dict[str, Any]]] = {}
    stack = Stack(folder, name="bench")
    stack.configure(vps={"kind": "lab"}, homes=HOMES)
    stack.init()
    try:
        for number, (label, config) in enumerate(FLOORS.items()):
            stages = floor(stack, f"floor{number}", config)
            found[label] = plain(stages, min(s.start for s in stages))
        stages = up(stack)
        found[RELAY] = plain(stages, min(s.start for s in stages))
        stack.destroy()
    finally:
        stack.lab("down")
    return found


def measure(rounds: int, cold: bool, keep: Keep) -> None:
    """What is made before, and so many rounds; what there is of it is kept after each."""
    made = begun()
    prepared = prepare(cold)
    found = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for number in range(rounds):
            found.append(started(Path(name) / str(number)))
            report(found[-1])
            keep(
                {
                    "machine": machine(),
                    **ended(made),
                    "cold": cold,
                    "prepared": plain(prepared, prepared[0].start),
                    "rounds": found,
                }
            )


def report(starts: dict[str, list[dict[str, Any]]]) -> None:
    """A line a stage, and the ratios."""
    for label, rows in starts.items():
        print(label)
        for s in sorted(read(rows), key=lambda s: (s.lane, s.start)):
            print(f"  {s.lane:<14} {s.name:<30} {s.start:7.1f} {s.end:7.1f} {s.seconds:7.1f} s")
    whole = {label: total(read(rows)) for label, rows in starts.items()}
    for label, seconds in whole.items():
        ratio = whole[RELAY] / seconds
        print(f"{label:<20} {seconds:6.1f} s   relay to it {ratio:.2f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.timeline", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="with an empty cache: minutes more")
    parser.add_argument("--json", type=Path, help="write machine, versions and each stage here")
    options = parser.parse_args()
    measure(options.rounds, options.cold, partial(cli.write, options.json))


if __name__ == "__main__":
    cli.run(main)
