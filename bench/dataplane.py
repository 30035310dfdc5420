"""What the relay's rules cost a packet: the relay against the same tunnel without them.

    python3 -m bench.dataplane [--pairs N] [--vm] [--json FILE]

The arms (see ``bench/arms.py``) are up at once and are measured in turn, so that the machine's
drift meets all alike. ``--vm`` does it inside a lab VM, whose kernel has WireGuard; without it,
this machine's kernel or else the userspace WireGuard. Each load lasts a second:

- TCP, 1 and 16 streams: bits a second that home received.
- UDP of 64 and of 1,300 bytes, sent as fast as it goes: datagrams a second that home received.
- idle: the median round trip of one byte.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.netns.conftest import wireguard_env
from tests.waiting import eventually

from . import cli, emulated
from .arms import LOAD, PING, Arm, bare_arm, iperf, relay_arm, serve
from .keepalive import DAY, Counter
from .origins import CONGESTION, begun, ended, processor, tools
from .ratio import ratio

TRIPS = 300
SECONDS = 1
LASTS = ("--time", str(SECONDS))
THROUGHPUT, ROUND_TRIP = 0.97, 1.05  # targets for the ratio of relay to bare tunnel
EMPTY = 20 + 8 + 32  # bytes of a keepalive: IPv4, UDP, a WireGuard data message without payload


def tcp(arm: Arm, streams: int) -> float:
    """Bits a second."""
    return float(iperf(arm, *LASTS, "--parallel", str(streams))["sum_received"]["bits_per_second"])


def udp(arm: Arm, size: int) -> float:
    """Datagrams a second that arrived, of as many as could be sent."""
    total = iperf(arm, *LASTS, "--udp", "--bitrate", "0", "--length", str(size))["sum"]
    return float((total["packets"] - total["lost_packets"]) / total["seconds"])


def round_trip(arm: Arm) -> float:
    """Microseconds, the median of ``TRIPS``."""
    script = str(Path(__file__).with_name("pingpong.py"))
    command = ["python3", script, "call", arm.to, str(PING), str(TRIPS)]
    return float(arm.net["client"].run(command, timeout=60).split()[0])


MEASURES: dict[str, tuple[str, float, Callable[[Arm], float]]] = {
    "TCP, 1 stream": ("Mbit/s", 1e6, lambda arm: tcp(arm, 1)),
    "TCP, 16 streams": ("Mbit/s", 1e6, lambda arm: tcp(arm, 16)),
    "UDP, 64 bytes": ("datagrams/s", 1, lambda arm: udp(arm, 64)),
    "UDP, 1300 bytes": ("datagrams/s", 1, lambda arm: udp(arm, 1300)),
    "round trip, idle": ("µs", 1, round_trip),
}


def measure(pairs: int, limit: float) -> dict[str, Any]:
    """All arms up here, measured ``pairs`` times, or as often as fits in ``limit`` seconds."""
    env = wireguard_env()
    userspace = "WIREGUARD_GO" in env
    with (
        relay_arm(env) as relay,
        bare_arm(env) as bare,
        bare_arm(env, tracked=True) as tracked,
        relay_arm(env) as idle,
    ):
        counter = Counter(idle)
        arms = (relay, bare, tracked)
        for arm in arms:
            serve(arm)
        rows: list[dict[str, dict[str, float]]] = []
        began, made = time.monotonic(), begun()
        while len(rows) < pairs and time.monotonic() - began < limit:
            order = arms if len(rows) % 2 else arms[::-1]
            rows.append(
                {
                    name: {arm.name: value(arm) / scale for arm in order}
                    for name, (_, scale, value) in MEASURES.items()
                }
            )
        return {
            "machine": machine(),
            "wireguard": "userspace" if userspace else "kernel",
            **ended(made),
            "seconds": round(time.monotonic() - began, 1),
            "processes": processes(relay, userspace),
            "pairs": rows,
            "keepalive": counter.read(),
        }


def machine() -> dict[str, Any]:
    """What it ran on."""
    said = subprocess.run(["iperf3", "--version"], capture_output=True, text=True, check=True)
    return {
        **processor(),
        "congestion": CONGESTION.read_text().strip(),
        "iperf3": said.stdout.split()[1],
        "python": platform.python_version(),
        "tools": tools("nft", "iptables", "wireguard-tools"),
    }


def processes(arm: Arm, userspace: bool) -> dict[str, list[str]]:
    """Who runs on relay and home while the client is busy; raises where that is one of ours."""
    busy = arm.net["client"].start(
        ["iperf3", "--client", arm.to, "--port", str(LOAD), "--time", str(5 * SECONDS)]
    )
    eventually(lambda: "ESTAB" in arm.net["client"].run("ss -Htn"), "a busy client")
    found = {host: arm.busy(host) for host in ("relay", "home")}
    busy.wait(timeout=60)
    daemon = ["wireguard"] if userspace else []
    if found != {"relay": daemon, "home": sorted([*daemon, "iperf3", "python3"])}:
        raise AssertionError(f"more runs than WireGuard and home's services: {found}")
    return found


def table(result: dict[str, Any]) -> str:
    """The result for a person, in Markdown."""
    on, seen = result["machine"], result["load"]
    lines = [
        f"{result['wireguard']} WireGuard, Linux {on['kernel']}, {on['cpus']} x {on['cpu']},"
        f" load {seen['before']:.1f} to {seen['after']:.1f}, {len(result['pairs'])} pairs in"
        f" {result['seconds']:.0f} s",
        "",
        "| | bare tunnel | relay | relay to bare (95 % CI) | target | | conntrack alone to bare |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (unit, _, _) in MEASURES.items():
        relay, bare, tracked = (
            [pair[name][arm] for pair in result["pairs"]] for arm in ("relay", "bare", "tracked")
        )
        trip = name.startswith("round trip")
        target = ROUND_TRIP if trip else THROUGHPUT
        r, of_tracking = ratio(relay, bare), ratio(tracked, bare)
        sign = "at most" if trip else "at least"
        lines.append(
            f"| {name}, {unit} | {statistics.median(bare):,.0f} | {statistics.median(relay):,.0f} |"
            f" {r} | {sign} {target} | {r.verdict(target, more_is_better=not trip)} |"
            f" {of_tracking} |"
        )
    idle = result["keepalive"]
    seen = ", ".join(
        f"{name.replace('_', ' ')} {c['packets']} of {c['bytes'] // c['packets']} bytes"
        for name, c in idle["seen"].items()
        if c["packets"]
    )
    lines += [
        "",
        f"Processes while busy: relay {result['processes']['relay'] or 'none'},"
        f" home {result['processes']['home']}.",
        f"Idle home, {idle['seconds']:.0f} s: {seen}; {idle['bytes_per_day']:,} bytes a day."
        f" Keepalives alone: {DAY // 25 * EMPTY:,}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.dataplane", __doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--limit", type=float, default=240, help="seconds for all pairs")
    parser.add_argument("--vm", action="store_true", help="inside a lab VM, with its kernel")
    parser.add_argument("--json", type=Path, help="write machine, versions and each pair here")
    options = parser.parse_args()
    if options.vm:
        words = f"--pairs {options.pairs} --limit {options.limit}"
        result = emulated.run(f"bench.dataplane {words}", options.limit + 300)
    else:
        result = measure(options.pairs, options.limit)
    cli.write(options.json, result)
    print(table(result), flush=True)


if __name__ == "__main__":
    cli.run(main)
