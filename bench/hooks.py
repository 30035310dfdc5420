"""What share of the CPU time is spent in the kernel's packet hooks, and on which part of the rules.

    python3 -m bench.hooks [--rounds N] [--limit S] [--json FILE] [--against CHECKOUT]

``bench/dataplane.py`` sees the sum, and on a busy machine not even that. Here perf(1) samples all
CPUs while an arm is sent datagrams of 64 bytes. Of the samples in that arm's processes, on whose
time soft interrupts run, those within the hooks are counted: what else the machine does weighs
little. The arms are the relay with all that is generated, the relay with one part of it taken away,
and the bare tunnel, up at once and measured in turn. With ``--against`` it is the relay as another
checkout makes it instead of the parts: what a change of the rules has brought.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from tests.netns.conftest import wireguard_env

from . import cli
from .arms import CLIENTS, Arm, bare_arm, iperf, other_arm, relay_arm, serve
from .dataplane import LASTS, machine
from .ratio import ratio

FREQUENCY = 1999  # samples a second and CPU
EVERY, ALL = "hooks", "all"
# What stands on the stack of a sample within a hook. Those of NAT call no other.
PARTS = {
    EVERY: {"nf_hook_slow"},
    "chains": {"nft_do_chain"},
    "conntrack": {"nf_conntrack_in"},
    "NAT": {f"nf_nat_ipv4_{hook}" for hook in ("pre_routing", "out", "local_in", "local_fn")},
}
ROUTED = f"ip route replace {CLIENTS} dev wg0"  # for a home that does not mark
UNFILTERED = "iptables -D FORWARD -{way} wg0 -j WG0-FORWARD"
# The relay's and home's rules without one part: host and commands.
WITHOUT: dict[str, tuple[str, list[str]]] = {
    "relay's chain forged": ("relay", ["nft delete chain ip cgnat-relay forged"]),
    "relay's chain forward": ("relay", ["nft delete chain ip cgnat-relay forward"]),
    "relay's filter": ("relay", [UNFILTERED.format(way=way) for way in "io"]),
    "home's set asked": ("home", ["nft flush chain ip {table} learn"]),
    "home's chain answer": ("home", ["nft delete chain ip {table} answer"]),
    "home's filter": ("home", ["nft delete table ip filter"]),
    "home's table": ("home", [ROUTED, "nft delete table ip {table}"]),
}


@contextlib.contextmanager
def lessened(env: dict[str, str], part: str) -> Iterator[Arm]:
    """The relay's arm without one of ``WITHOUT``."""
    with relay_arm(env) as arm:
        host, commands = WITHOUT[part]
        for command in commands:
            arm.net[host].run(command.format(table=arm.lab.way.table))
        yield arm


RELAY = "relay"
Up = Callable[[dict[str, str]], AbstractContextManager[Arm]]


def arms(against: Path | None) -> dict[str, Up]:
    """What is measured, by name."""
    found: dict[str, Up] = {
        "bare tunnel": bare_arm,
        "conntrack alone": partial(bare_arm, tracked=True),
        RELAY: relay_arm,
    }
    if against is not None:
        return {**found, "relay, the other checkout's": partial(other_arm, checkout=against)}
    return {**found, **{f"without {part}": partial(lessened, part=part) for part in WITHOUT}}


@contextlib.contextmanager
def sampled(file: Path, frequency: int = FREQUENCY) -> Iterator[None]:
    """Samples of all CPUs into ``file``, from before the first line within to after the last."""
    order, answer = os.pipe(), os.pipe()
    words = ["perf", "record", "-a", "-g", "-e", "cpu-clock", "-F", str(frequency), "-o", str(file)]
    process = subprocess.Popen(
        [*words, "--delay=-1", f"--control=fd:{order[0]},{answer[1]}"],
        pass_fds=(order[0], answer[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(order[0])
    os.close(answer[1])
    try:
        os.write(order[1], b"enable\n")
        if not os.read(answer[0], 5):
            raise AssertionError("perf record does not run here: it needs root and perf events")
        yield
        os.write(order[1], b"disable\n")
        os.read(answer[0], 5)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        os.close(order[1])
        os.close(answer[0])


def counted(samples: str, pids: set[int]) -> Counter[str]:
    """Of what ``perf script`` prints, the samples in these processes and in iperf3, by part."""
    found: Counter[str] = Counter()
    for sample in samples.split("\n\n"):
        head, *stack = sample.strip("\n").split("\n")
        name, _, pid = head.strip().rpartition(" ")
        if name.strip() != "iperf3" and not (pid.isdigit() and int(pid) in pids):
            continue
        symbols = {words[1] for line in stack if len(words := line.split(None, 1)) == 2}
        found[ALL] += 1
        if PARTS[EVERY] & symbols:
            found.update(part for part, names in PARTS.items() if names & symbols)
    return found


def cost(arm: Arm) -> dict[str, float]:
    """Shares of the CPU time that the datagrams take, by part; in all, nanoseconds for each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples"
        with sampled(file):
            sent = iperf(arm, *LASTS, "--udp", "--bitrate", "0", "--length", "64")["sum"]
        script = ["perf", "script", "-i", str(file), "--fields", "comm,pid,ip,sym"]
        said = subprocess.run(script, capture_output=True, text=True, check=True, timeout=120)
    pids = {pid for host in arm.net.values() for pid in host.inside()}
    found = counted(said.stdout, pids)
    each = found[ALL] / FREQUENCY / (sent["packets"] - sent["lost_packets"]) * 1e9
    return {**{part: found[part] / found[ALL] for part in PARTS}, ALL: each}


def measure(make: dict[str, Up], rounds: int, limit: float) -> list[dict[str, dict[str, float]]]:
    """These arms, ``rounds`` times or as often as fits in ``limit`` seconds."""
    env = wireguard_env()
    with contextlib.ExitStack() as stack:
        up = {name: stack.enter_context(arm(env)) for name, arm in make.items()}
        for arm in up.values():
            serve(arm)
        rows: list[dict[str, dict[str, float]]] = []
        began = time.monotonic()
        while len(rows) < rounds and time.monotonic() - began < limit:
            order = list(up) if len(rows) % 2 else [*up][::-1]
            found = {name: cost(up[name]) for name in order}
            rows.append({name: found[name] for name in up})
        return rows


def table(rows: list[dict[str, dict[str, float]]]) -> str:
    """The result for a person, in Markdown."""
    lines = [
        f"| % of the CPU time | {' | '.join(PARTS)} | µs a datagram | hooks to relay (95 % CI) |",
        "|---" * (len(PARTS) + 3) + "|",
    ]
    for arm in rows[0]:
        shares = [statistics.median(row[arm][part] for row in rows) for part in PARTS]
        each = statistics.median(row[arm][ALL] for row in rows) / 1000
        to_relay = ratio([r[arm][EVERY] for r in rows], [r[RELAY][EVERY] for r in rows])
        shown = " | ".join(f"{100 * share:.1f}" for share in shares)
        lines.append(f"| {arm} | {shown} | {each:.0f} | {to_relay} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.hooks", __doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--limit", type=float, default=400, help="seconds for all rounds")
    parser.add_argument("--json", type=Path, help="write each round here")
    parser.add_argument("--against", type=Path, help="a checkout to compare with")
    options = parser.parse_args()
    if shutil.which("perf") is None:
        raise AssertionError("perf is not there; install it: apt-get install linux-perf")
    began, load = time.monotonic(), os.getloadavg()[0]
    rows = measure(arms(options.against), options.rounds, options.limit)
    cli.write(options.json, {"machine": machine(), "rounds": rows})
    print(
        f"Linux {machine()['kernel']}, {machine()['cpus']} x {machine()['cpu']}, load {load:.1f} to"
        f" {os.getloadavg()[0]:.1f}, {len(rows)} rounds in {time.monotonic() - began:.0f} s\n\n"
        + table(rows),
        flush=True,
    )


if __name__ == "__main__":
    cli.run(main)
