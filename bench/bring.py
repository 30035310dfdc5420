"""What the relay's own part of a change costs where no CPU is emulated.

    python3 -m bench.bring [--pairs N] [--json FILE]

As ``bench.changes``, in network namespaces: an update's two SSH connections over a line of 50 ms,
which bring a plan and confirm it. A relay of one forward and one of 1,000 forwards and 250 peers
each are brought what they have, a port more, and that port less, N times in turn. The engine's part
of ``pulumi up`` is not in it, nor the connection that looks at the relay first: both are the same
with a change and without. So the seconds to the first answer are what a change costs beyond an
``up`` without. The line is a stand-in, ``bench/delay.py``, and so is systemd.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.carrier import bundle
from tests.netns import living
from tests.netns.conftest import RELAY, Lab, wireguard_env
from tests.netns.door import PORT as SSH
from tests.netns.door import Door, opened
from tests.netns.topology import internet
from tests.unit import samples
from tests.waiting import eventually

from .changes import BROUGHT, ROUND_TRIP, report, slower
from .dataplane import machine
from .origins import load, loads
from .sizes import LARGEST, NETWORK, SMALLEST, Size

NEAR, SERVED, PORT = 2200, 8081, 8443
LINE = Path(__file__).with_name("delay.py")


def plan(lab: Lab, size: Size, *more: str) -> str:
    """That size, and so many forwards more of the home that is connected."""
    homes = size.homes(first=f"91:{SERVED}", more=more)
    wanted = living.plan(lab, homes, tunnel={"network": NETWORK})
    return bundle(wanted, ["home home"], replaced={"check": living.FINE})


def brought(door: Door, what: str) -> dict[str, float]:
    """Seconds that bringing a plan and confirming it took, and of that the machine."""
    before, began = door.connections(), time.monotonic()
    done = door.operate("bring", what, address="127.0.0.1", port=NEAR)
    ended = time.monotonic() - began
    if done.returncode:
        raise AssertionError(done.stderr)
    said = re.search(BROUGHT, done.stderr)
    logins = door.connections() - before
    return {"up": ended, "brought": float(said[1]) if said else 0.0, "logins": logins}


def added(door: Door, what: str) -> dict[str, float]:
    """The same, and when the new port answered first."""
    first: list[float] = []
    over = threading.Event()
    began = time.monotonic()

    def ask() -> None:
        while not over.is_set() and not first:
            if door.lab.call("tcp", PORT):
                first.append(time.monotonic() - began)
            else:
                over.wait(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        row = brought(door, what)
        asking.join(timeout=30)
    finally:
        over.set()
        asking.join()
    if not first:
        raise AssertionError("the port that was added never answered")
    return {"first answer": first[0], **row}


def series(door: Door, size: Size, pairs: int) -> list[dict[str, dict[str, float]]]:
    """N times: no change, a port in, and out again."""
    without, with_it = plan(door.lab, size), plan(door.lab, size, f"{PORT}:{SERVED}")
    brought(door, without)
    found = []
    for _ in range(pairs):
        row = {"no change": brought(door, without), "added": added(door, with_it)}
        row["removed"] = brought(door, without)
        found.append(row)
    return found


def measure(pairs: int, sizes: Sequence[Size]) -> dict[str, Any]:
    """Each size on one relay, from the smallest on."""
    env, before = wireguard_env(), load()
    found: dict[str, Any] = {"machine": machine(), "round trip ms": ROUND_TRIP, "sizes": {}}
    with internet(env) as net, tempfile.TemporaryDirectory() as folder:
        keys = samples.keys(samples.settings(**LARGEST.config()))
        settings = samples.settings(**SMALLEST.config(first=f"91:{SERVED}"))
        lab = Lab(net, settings.drawn(keys.prefix), keys)
        lab.relay_up()
        lab.home_up()
        lab.serve("home", SERVED)
        door = opened(lab, Path(folder))
        client = net["client"]
        client.start([sys.executable, str(LINE), str(NEAR), RELAY, str(SSH), str(ROUND_TRIP)])
        eventually(lambda: f":{NEAR} " in client.run("ss -Hlnt"), "the line")
        for size in sizes:
            found["sizes"][str(size)] = series(door, size, pairs)
            report(str(size), found["sizes"][str(size)])
    return found | {"load": loads(before)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.bring",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write machine, versions and each pair here")
    options = parser.parse_args()
    result = measure(options.pairs, [SMALLEST, LARGEST])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"a port more, {LARGEST} against {SMALLEST}: {slower(result['sizes'])}")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(str(error))
