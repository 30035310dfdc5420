"""What our program adds to an engine's own time, and our user-data to a machine's own boot.

    python3 -m bench.startup [--pairs N]

1. ``pulumi preview`` and a no-op ``pulumi up`` of a relay, against a program of three resources on
   the same engine: N interleaved pairs; as it is, where each asks the machine over SSH what was
   changed by hand, and without that (``drift: false``).
2. ``pulumi up`` from nothing, against the same VM booted with only the same ``packages:``; one
   each, alone on the machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from components.plan import PACKAGES, UPDATES
from tests.relay_stack import Stack
from tests.waiting import eventually

from . import cli

THREE = """
from pulumi_random import RandomBytes

for name in ("one", "two", "three"):
    RandomBytes(name, length=32)
"""
HOMES = [{"name": "home", "forwards": ["80:8080", "443:8081", "5353:5353/udp"]}]


def timed(what: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.monotonic()
    what()
    return time.monotonic() - start


def only_packages() -> dict[str, object]:
    """The cloud-config that installs a relay's packages, as lean, and does no more."""
    lean = {"path": "/etc/apt/apt.conf.d/50lean", "content": 'APT::Install-Recommends "0";\n'}
    return {"packages": [*PACKAGES, *UPDATES], "write_files": [lean]}


def power_on(stack: Stack, name: str, config: Mapping[str, object]) -> None:
    """Start a VM with that cloud-config and nothing else."""
    stack.lab("reserve", name)
    stack.lab("start", name, stdin="#cloud-config\n" + json.dumps(config))


def booted(stack: Stack, name: str) -> None:
    """Wait until cloud-init has ended; until the guest's agent is up, asking it fails."""
    # Not by its own command, whose Python would work beside it.
    done = "until [ -e /run/cloud-init/result.json ]; do sleep 0.5; done; echo done"
    eventually(lambda: stack.inside(name, done), f"the boot of {name}", within=900)


def boot_with_packages(stack: Stack) -> float:
    """Seconds from power-on until cloud-init has installed the relay's packages, and no more."""
    start = time.monotonic()
    power_on(stack, "floor", only_packages())
    booted(stack, "floor")
    taken = time.monotonic() - start
    stack.lab("stop", "floor")
    return taken


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.startup", __doc__)
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        relay = Stack(folder / "relay", name="bench")
        relay.configure(vps={"kind": "lab"}, homes=HOMES)
        relay.init()
        try:
            floor = boot_with_packages(relay)
            print(f"boot with the same packages only    {floor:6.1f} s", flush=True)
            up = timed(relay.up)
            print(f"pulumi up, from nothing to ready    {up:6.1f} s   ratio {up / floor:.2f}")
            floor_stack = three(folder / "three")
            compare("asks the machine", relay, floor_stack, pairs)
            relay.configure(vps={"kind": "lab"}, homes=HOMES, drift=False)
            compare("drift: false", relay, floor_stack, pairs)
            relay.destroy()
        finally:
            relay.lab("down")


def three(folder: Path) -> Stack:
    """The program of three resources, brought up."""
    stack = Stack(folder, name="bench", program=folder)
    (folder / "__main__.py").write_text(THREE)
    stack.configure()
    stack.init()
    project = {"name": "cgnat-relay", "runtime": {"name": "python", "options": {"virtualenv": ""}}}
    project["runtime"]["options"]["virtualenv"] = sys.prefix  # type: ignore[index]
    (folder / "Pulumi.yaml").write_text(json.dumps(project))
    stack.up()
    return stack


def compare(how: str, relay: Stack, floor: Stack, pairs: int) -> None:
    """Interleaved pairs, so that this computer's other work meets both alike."""
    print(how)
    for label, words in (("preview", ["preview"]), ("no-op up", ["up", "--yes", "--skip-preview"])):
        ours, theirs = [], []
        for _ in range(pairs):
            ours.append(timed(lambda words=words: relay.pulumi(*words)))
            theirs.append(timed(lambda words=words: floor.pulumi(*words)))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"{label:<9} relay {statistics.median(ours):5.2f} s"
            f" ({min(ours):.2f} to {max(ours):.2f})"
            f"   three resources {statistics.median(theirs):5.2f} s"
            f" ({min(theirs):.2f} to {max(theirs):.2f})   ratio {ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main)
