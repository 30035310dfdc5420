"""What is measured of an arm, each the same work for all, with its unit and its better direction.

``EACH`` is measured in every round; a function gives one or more of ``MEASURES`` by their keys, and
what fails costs no other.
``ONCE`` is measured once a run.

- Throughput: iperf3, one direction at a time, as long for each; bits a second that
  the receiver got.
- Datagrams: a closed loop of 200-byte datagrams there and back, at the widest window of 64, 16, 4
  and 1 under way that loses no more than one in a thousand (``caller.py``). The sender is paced by
  the answers, so the rate is one without loss by its making, and no search is needed. Where each
  window lost some, the rate is 0.
- Round trips: a byte there and back on an open connection, one after the other. Under load, while
  one TCP stream runs from home to the client: a byte each 5 ms, whether or not the one before is
  back. The load is all that the arm carries, whose rate is told with it, and then one that each arm
  can carry; it must still flow at the end.
- Connections: opened, a byte there and back, closed.
- CPU: of a fixed number of bytes by one stream from home. ``machine`` is all that this
  machine's CPUs did meanwhile (/proc/stat: the kernel's WireGuard works in no process), less what
  they do at rest, so that it holds client and services too, the same for all arms. What iperf3
  itself costs, by a run of next to no bytes, is taken off. ``relay`` and
  ``home`` are the processes of the arm on these hosts. On a machine that does other things as well,
  ``machine`` is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from tests.waiting import eventually

from .arms import LOAD, PING, iperf
from .caller import LOSSLESS
from .contender import MORE, Contender

TICKS = os.sysconf("SC_CLK_TCK")
IDLE = (3, 4)  # idle and waiting for a disk, among the numbers of /proc/stat's first line
MUCH = 10**5  # bytes: more than a load's control connection ever brings
EVERY = 5  # ms between two round trips under load
SOON = 0.5  # seconds in which a keepalive or two may cross
CARRIED = 0.9  # of a load that is the same for all: with less it is not
QUIET = 0.1  # of all CPUs, at rest: above it a difference to rest says nothing
Values = dict[str, float]


@dataclass(frozen=True)
class Effort:
    """How much of everything: seconds a load, bytes for the CPU, and so on."""

    seconds: float = 1.0
    bytes: int = 100_000_000
    trips: int = 500
    settle: float = 1.0  # seconds that a load runs before round trips are taken
    loaded: float = 3.0  # seconds that they are taken under it
    steady: int = 500  # Mbit/s of a load that is the same for all
    opens: float = 2.0  # seconds
    held: int = 1000
    idle: float = 5.0  # seconds that the held connections say nothing


@dataclass(frozen=True)
class Measure:
    """A number's name in the tables, its unit, and whether more of it is better."""

    title: str
    unit: str
    more: bool
    digits: int = 0


MEASURES = {
    "down": Measure("TCP from home, 1 stream", "Mbit/s", True),
    "down16": Measure("TCP from home, 16 streams", "Mbit/s", True),
    "up": Measure("TCP to home, 1 stream", "Mbit/s", True),
    "datagrams": Measure("UDP without loss", "datagrams/s", True),
    "trip": Measure("round trip, idle, median", "µs", False),
    "trip99": Measure("round trip, idle, 99 %", "µs", False),
    "loaded": Measure("round trip under load, median", "µs", False),
    "loaded99": Measure("round trip under load, 99 %", "µs", False),
    "loading": Measure("that load's own rate", "Mbit/s", True),
    "steady": Measure("round trip under the same load for all, median", "µs", False),
    "steady99": Measure("round trip under the same load for all, 99 %", "µs", False),
    "opens": Measure("connections, one by one", "1/s", True),
    "opens16": Measure("connections, 16 at a time", "1/s", True),
    "machine": Measure("CPU, whole machine", "s/GB", False, 1),
    "relay": Measure("CPU, the arm's processes on the relay", "s/GB", False, 1),
    "home": Measure("CPU, the arm's processes at home", "s/GB", False, 1),
    "memory": Measure("memory of the relay's processes", "MiB", False, 1),
}


def throughput(arm: Contender, seconds: float, *words: str) -> float:
    """Mbit/s that were received."""
    end = iperf(arm, "--time", str(ceil(seconds)), *words, timeout=seconds + 60)
    return float(end["sum_received"]["bits_per_second"]) / 1e6


def down(arm: Contender, effort: Effort) -> Values:
    """One stream from home."""
    return {"down": throughput(arm, effort.seconds, "--reverse")}


def down16(arm: Contender, effort: Effort) -> Values:
    """Many from home at the same time."""
    return {"down16": throughput(arm, effort.seconds, "--reverse", "--parallel", "16")}


def up(arm: Contender, effort: Effort) -> Values:
    """One to home."""
    return {"up": throughput(arm, effort.seconds)}


def udp(arm: Contender, effort: Effort) -> Values:
    """Datagrams a second, and how many were under way; nothing of an arm that carries none."""
    if not arm.udp:
        return {}
    found = arm.call("datagrams", 200, effort.seconds / 2)
    return {
        "datagrams": found["rate"] if found["lost"] <= LOSSLESS else 0.0,
        "window": found["window"],
    }


@contextlib.contextmanager
def load(arm: Contender, most: str = "0") -> Iterator[Callable[[], int]]:
    """One TCP stream from home that is running, and what asks how many bytes it brought.

    ``most``: bits a second, as iperf3 has it; 0 is as many as go.
    """
    client = arm.net["client"]
    words = ["--port", str(LOAD), "--reverse", "--time", "60", "--bitrate", most]
    if most != "0":
        words += ["--length", "8K"]  # or it comes in bursts of 128 KiB, with silence between
    started = [client.start(["iperf3", "--client", arm.to, *words])]
    sockets = f"ss -Htni state established dport = :{LOAD}"

    def brought() -> int:
        return received(client.run(sockets))

    def flows() -> bool:
        if started[-1].poll() is not None:  # its server was winding up the load before
            started.append(client.start(["iperf3", "--client", arm.to, *words]))
        return brought() > MUCH

    try:
        eventually(flows, f"a load on {arm.name}")
        yield brought
    finally:
        for running in started:
            running.terminate()
            running.wait(timeout=30)
            client.started.remove(running)


def received(sockets: str) -> int:
    """The most bytes that a socket has received: of two, control and data, the data's."""
    words = [w.partition(":") for w in sockets.split()]
    return max((int(n) for what, _, n in words if what == "bytes_received"), default=0)


def trips(arm: Contender, effort: Effort) -> Values:
    """Idle."""
    found = arm.call("trips", effort.trips, effort.seconds)
    return {"trip": found["median"], "trip99": found["p99"]}


def loaded(arm: Contender, effort: Effort) -> Values:
    """Under all that the arm carries."""
    found, rate = under(arm, effort)
    return {"loaded": found["median"], "loaded99": found["p99"], "loading": rate}


def steady(arm: Contender, effort: Effort) -> Values:
    """Under a load that each arm can carry."""
    found, rate = under(arm, effort, f"{effort.steady}M")
    if rate < CARRIED * effort.steady:
        raise AssertionError(f"it carries {rate:.0f} of {effort.steady} Mbit/s")
    return {"steady": found["median"], "steady99": found["p99"], "steadily": rate}


def under(arm: Contender, effort: Effort, most: str = "0") -> tuple[Values, float]:
    """Round trips under a load that flows from before the first one to after the last; its rate."""
    with load(arm, most) as brought:
        time.sleep(effort.settle)  # past its slow start, until its queues are what they will be
        start, before = time.monotonic(), brought()
        found = arm.call("paced", EVERY, effort.loaded)
        took, after = time.monotonic() - start, brought()
        eventually(lambda: brought() > after, f"the load on {arm.name} still flows", within=5)
    return found, (after - before) * 8 / 1e6 / took


def opens(arm: Contender, effort: Effort) -> Values:
    """One by one."""
    return {"opens": arm.call("opens", 1, effort.opens)}


def opens16(arm: Contender, effort: Effort) -> Values:
    """Many at a time."""
    return {"opens16": arm.call("opens", 16, effort.opens)}


def machine_busy() -> float:
    """CPU seconds that this machine has worked since it was started."""
    numbers = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(int(n) for i, n in enumerate(numbers) if i not in IDLE) / TICKS


def process_busy(pids: list[int]) -> float:
    """CPU seconds of these processes, with the children that they have waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, rest[11:15]))
    return total / TICKS


def memory(arm: Contender) -> float:
    """MiB that the processes on the relay hold; of what several share, each has its part (Pss)."""
    kib = 0
    for pid in arm.daemons("relay"):
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kib += sum(int(line.split()[1]) for line in said if line.startswith("Pss:"))
    return kib / 1024


def cpu(arm: Contender, effort: Effort) -> Values:
    """One stream from home: CPU seconds a gigabyte, and memory of the relay's processes."""
    pids = {host: arm.daemons(host) for host in ("relay", "home")}
    start, before = time.monotonic(), machine_busy()
    time.sleep(effort.seconds / 2)  # at rest, which is what is measured
    rest = (machine_busy() - before) / (time.monotonic() - start)

    def spent(size: int) -> Values:
        at: Values = {}

        def begins() -> None:
            at.update({host: process_busy(pids[host]) for host in pids})
            at.update(start=time.monotonic(), machine=machine_busy())

        end = iperf(arm, "--reverse", "--bytes", str(size), timeout=120, begins=begins)
        found = {host: process_busy(pids[host]) - at[host] for host in pids}
        machine = machine_busy() - at["machine"] - rest * (time.monotonic() - at["start"])
        return {**found, "machine": machine, "bytes": float(end["sum_received"]["bytes"])}

    least, most = spent(MUCH), spent(effort.bytes)
    gigabytes = (most["bytes"] - least["bytes"]) / 1e9
    found = {key: (most[key] - least[key]) / gigabytes for key in (*pids, "machine")}
    if rest >= QUIET * (os.cpu_count() or 1):
        del found["machine"]
    return {**found, "memory": memory(arm)}


EACH: tuple[Callable[[Contender, Effort], Values], ...] = (
    cpu,
    down,
    down16,
    up,
    udp,
    trips,
    loaded,
    steady,
    opens,
    opens16,
)


# What is measured of an arm on a line with delay and loss; loads are longer there, and come last: a
# proxy with one connection for all goes on emptying it of a load that has ended.
ON_A_LINE: dict[str, Callable[[Contender, Effort], float]] = {
    "trip": lambda arm, _: arm.call("trips", 30, 5)["median"],
    "opens16": lambda arm, effort: arm.call("opens", 16, 2 * effort.seconds),
    "down": lambda arm, effort: throughput(arm, 3 * effort.seconds, "--reverse"),
    "down16": lambda arm, effort: throughput(
        arm, 3 * effort.seconds, "--reverse", "--parallel", "16"
    ),
}


def still(arm: Contender) -> bool:
    """Once next to nothing crosses the relay: a load that has ended may still be on its way."""
    return eventually(lambda: crossing(arm) < MUCH / 10, f"{arm.name} is still", within=60)


def crossing(arm: Contender) -> int:
    """Bytes that reach the relay's interfaces while one looks."""

    def count() -> int:
        # Not by /sys, which tells of the namespace that it was mounted from.
        _, _, *devices = arm.net["relay"].run("cat /proc/net/dev").splitlines()
        return sum(int(line.partition(":")[2].split()[0]) for line in devices)

    before = count()
    time.sleep(SOON)  # which is what is measured
    return count() - before


def talking(arm: Contender, *words: object) -> subprocess.Popen[str]:
    """A caller that is spoken with while it runs."""
    return subprocess.Popen(
        arm.net["client"].argv(arm.dialling(*map(str, words))),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def through(
    arm: Contender, change: Callable[[], object], port: int, within: float
) -> dict[str, Any]:
    """What a change does to an open connection; afterwards new ones are answered at ``port``."""
    with talking(arm, "trickle") as caller:
        hear(caller, "flowing")
        start = time.monotonic()
        change()
        try:
            eventually(lambda: arm.call("who", port=port), f"{arm.name} at {port}", within)
        except AssertionError:
            caller.kill()
            raise
        back = round(time.monotonic() - start, 1)
        go_on(caller)
        return {**json.loads(caller.communicate()[0]), "back": back}


def go_on(caller: subprocess.Popen[str]) -> None:
    """A line to a caller, which may have ended."""
    if caller.stdin:
        with contextlib.suppress(BrokenPipeError):
            os.write(caller.stdin.fileno(), b"\n")


def hear(caller: subprocess.Popen[str], word: str) -> None:
    """Wait for a word of a caller's; raises ``AssertionError`` where it ends before."""
    said = caller.stdout.readline() if caller.stdout else ""
    if said != f"{word}\n":
        raise AssertionError(f"the caller did not get to say {word}: {said}")


def held(arm: Contender, effort: Effort) -> dict[str, Any]:
    """Many idle connections, and what the relay's processes hold with them."""
    before = memory(arm)
    with talking(arm, "hold", effort.held, effort.idle) as caller:
        hear(caller, "open")
        during = memory(arm)
        go_on(caller)
        found = json.loads(caller.communicate()[0])
    return {**found, "asked": effort.held, "memory": [round(before, 1), round(during, 1)]}


def once(arm: Contender, effort: Effort) -> dict[str, Any]:
    """What needs no spread."""
    return {
        "version": arm.version,
        "sees": arm.call("who"),
        "processes": sorted(Path(f"/proc/{p}/comm").read_text()[:-1] for p in arm.daemons("relay")),
        "held": held(arm, effort),
    }


def added(arm: Contender) -> dict[str, Any]:
    """An open connection while a port is added."""
    if arm.add_port is None:
        return {"adds": arm.adds}
    return {"adds": arm.adds, "added": through(arm, arm.add_port, MORE, within=60)}


def restarted(arm: Contender) -> dict[str, Any]:
    """An open connection while the relay's side is restarted, which needs minutes for some."""
    if arm.restart is None:
        return {}
    return {"restarts": arm.restarts, "restarted": through(arm, arm.restart, PING, within=240)}
