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

import sys
import tempfile
from collections.abc import Callable, Sequence
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

from .changes import ROUND_TRIP, Labels, column, command, report, series, told
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


def said(door: Door, what: str) -> str:
    """Bring a plan and confirm it; what that says."""
    done = door.operate("bring", what, address="127.0.0.1", port=NEAR)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stderr


def brought(door: Door, size: Size, pairs: int) -> list[dict[str, dict[str, float]]]:
    """N times: no change, a port in, and out again."""
    without, with_it = plan(door.lab, size), plan(door.lab, size, f"{PORT}:{SERVED}")

    def bring(what: str, asks: Callable[[], object] | None = None) -> dict[str, float]:
        return told(lambda: said(door, what), door.connections, asks)

    said(door, without)
    return series(
        pairs,
        lambda: bring(without),
        lambda: bring(with_it, lambda: door.lab.call("tcp", PORT)),
        lambda: bring(without),
    )


ROWS: Labels = {
    "bringing it without a change, s": lambda rows: column(rows, "no change", "up"),
    "bringing it with a port added, s": lambda rows: column(rows, "added", "up"),
    "of that, the machine to bring it, s": lambda rows: column(rows, "added", "brought"),
    "first answer by it, s": lambda rows: column(rows, "added", "first answer"),
    "bringing it with it taken away, s": lambda rows: column(rows, "removed", "up"),
    "SSH connections without a change": lambda rows: column(rows, "no change", "logins"),
    "SSH connections with one": lambda rows: column(rows, "added", "logins"),
}


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
            found["sizes"][str(size)] = brought(door, size, pairs)
            report(str(size), found["sizes"][str(size)], ROWS)
    return found | {"load": loads(before)}


if __name__ == "__main__":
    command("bench.bring", __doc__, 10, measure)
