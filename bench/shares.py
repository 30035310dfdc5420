"""What the CPU does while an arm carries a load, by kind of work.

    python3 -m bench.shares [--load stream|opens] [--vm] [--cpu CPU] [--arms A,B] [--rounds N]
                            [--json FILE]

The load is one TCP stream from home, or connections one by one, each with a byte there and back.

perf samples every CPU by a timer, as an emulated one counts no events; a sample belongs to the kind
that its symbol's name tells (``KINDS``, the first that fits), and idle ones to none. Where
interrupts are off, a sample counts for what switches them on again. The shares are of the CPU
seconds that a gigabyte or a thousand connections take, measured meanwhile (/proc/stat), the
sampling itself included. A
program that is stripped has its own ciphers among ``PROGRAM``: so are frp, rathole and chisel,
and OpenSSH has half of its cipher (Poly1305; ChaCha20 is OpenSSL's).
``--vm`` does it inside a lab VM, which gets Debian's perf.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import cli, emulated, peers
from .arms import iperf
from .ciphers import speeds
from .cli import Keep
from .compare import CPU, MEMORY, Faults, bring_up, give, made_with, torn_down
from .contender import Contender
from .dataplane import machine
from .hooks import sampled
from .measures import machine_busy
from .origins import begun, ended
from .progress import say

ARMS = ("wire", "bare", "relay", "article", "frp", "rathole", "ssh")
SECONDS = 10  # of a load: for as long as that the samples are some thousand


def stream(arm: Contender) -> float:
    """Gigabytes that one stream from home brought."""
    end = iperf(arm, "--reverse", "--time", str(SECONDS), timeout=300)
    return float(end["sum_received"]["bytes"]) / 1e9


def opens(arm: Contender) -> float:
    """Thousands of connections, one by one."""
    return float(arm.call("opens", 1, SECONDS, timeout=300)) * SECONDS / 1000


# What is carried, and how many of what the seconds are a result's.
LOADS: dict[str, tuple[str, Callable[[Contender], float]]] = {
    "stream": ("seconds a gigabyte", stream),
    "opens": ("seconds a thousand connections", opens),
}
IDLE = r"default_idle|safe_halt|mwait|acpi_idle|cpu_idle_poll|intel_idle|arch_cpu_idle"
# Of a symbol and the program or module that it is in, the first that fits.
KINDS = (
    ("ciphers", r"chacha|poly1305|blake2|curve25519|aes|ghash|gcm|sha\d|libcrypto"),
    ("copies, checksums", r"cop(y|ies)|memcpy|memmove|memset|clear_page|csum|rep_movs|rep_stos"),
    ("filter, NAT, conntrack", r"\bnf_|nft_|nf_tables|conntrack|ipt_|\bxt_|x_tables|_nat\b"),
    ("WireGuard's own", r"\bwg_|\[wireguard\]"),
    ("network", r"tcp|udp|\bip6?_|skb|sock|\bsk_|dev_|veth|net_|napi|neigh|fib|dst_|gro|gso|qdisc"),
    ("queues, timers, switching", r"sched|queue|timer|tick|wake|lock|irq|rcu|task|workqueue|poll"),
)
PROGRAM, KERNEL, UNKNOWN = "programs themselves", "the kernel's rest", "perf could not tell"
ALL = (*(name for name, _ in KINDS), KERNEL, PROGRAM, UNKNOWN)
RATE = 499  # samples a second and CPU: no divisor of the kernel's own ticks


def kind(symbol: str, where: str) -> str:
    """What a sample is counted as; empty for an idle CPU. ``where`` is a program or [a module]."""
    if re.search(IDLE, symbol):
        return ""
    if where == "[unknown]":
        return UNKNOWN
    inside = where.startswith("[")
    for name, pattern in KINDS:
        if (inside or name == KINDS[0][0]) and re.search(pattern, f"{symbol} {where}"):
            return name
    return KERNEL if inside else PROGRAM


def read(lines: Iterable[str]) -> Counter[tuple[str, str]]:
    """Samples by symbol and place, of ``perf report``'s lines ``SAMPLES|PLACE|[k] SYMBOL``."""
    found: Counter[tuple[str, str]] = Counter()
    for line in lines:
        count, _, rest = line.partition("|")
        where, _, symbol = rest.partition("|")
        if count.strip().isdigit() and symbol:
            found[symbol.strip()[4:], where.strip()] += int(count)
    return found


def profile(arm: Contender, load: str) -> dict[str, Any]:
    """A load under the sampling, which begins before it and ends after it."""
    each, carry = LOADS[load]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with sampled(data, RATE):
            before = machine_busy()
            carried = carry(arm)
            busy = machine_busy() - before
        words = ["perf", "report", "-i", str(data), "--stdio", "-q", "-t", "|", "--no-children"]
        words += ["-g", "none", "-F", "sample,dso,sym"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    samples = read(done.stdout.splitlines())
    if not samples:
        raise AssertionError(f"perf saw nothing: {done.stderr}")
    return {each: busy / carried, **counted(samples)}


def counted(samples: Counter[tuple[str, str]]) -> dict[str, Any]:
    """How many there are, the share of each kind, and the symbols that have most."""
    kinds: Counter[str] = Counter()
    for (symbol, where), count in samples.items():
        kinds[kind(symbol, where)] += count
    idle = kinds.pop("", 0)
    total = kinds.total()
    return {
        "samples": total,
        "idle": idle,
        "kinds": {name: kinds[name] / total for name in ALL},
        "most": [
            [symbol, where, count / total]
            for (symbol, where), count in samples.most_common(40)
            if kind(symbol, where)
        ],
    }


def measure(
    of: peers.Peers, arms: Sequence[str], rounds: int, load: str, keep: Keep = lambda _: None
) -> dict[str, Any]:
    """Each arm in turn, so many times; ``keep`` is given what there is after each."""
    found: dict[str, list[dict[str, Any]]] = {}
    faults = Faults()
    with torn_down() as stack:
        made, up = begun(), bring_up(stack, of, arms)
        on = {"machine": machine(), **made_with(of), "ciphers": speeds(), "vm": False}
        on |= {"carried": load, "seconds": SECONDS}

        def so_far() -> dict[str, Any]:
            return {
                **on,
                **ended(made),
                "missing": of.missing,
                "faults": faults.seen(),
                "arms": found,
            }

        for turn in range(rounds):
            for arm in up:
                seen = faults.without(arm, load, partial(profile, arm, load))
                if seen:
                    found.setdefault(arm.name, []).append(seen)
                say(f"{arm.name}, {turn + 1} of {rounds}")
                keep(so_far())
        return so_far()


def main() -> None:
    """Measure, and write or print."""
    parser = cli.parser("bench.shares", __doc__)
    parser.add_argument("--vm", action="store_true", help="inside a lab VM, with its kernel")
    parser.add_argument("--cpu", default=CPU, help="of the VM, as QEMU names it; '' as in the lab")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", choices=LOADS, default="stream")
    parser.add_argument("--json", type=Path, help="write all values here")
    parser.add_argument("--peers", type=Path, help="a folder with the peers' programs")
    options = parser.parse_args()
    of = peers.found(options.peers) if options.peers else peers.get()
    if options.vm:
        words = f"bench.shares --arms {options.arms} --rounds {options.rounds}"
        words += f" --load {options.load}"
        asked = {"cpu": options.cpu, "memory": MEMORY}
        result = emulated.run(words, 3600, of, asked, packages="linux-perf")
        result["host"] |= {"cpu asked": options.cpu, "ciphers": speeds()}
    else:
        kept = {"keep": partial(cli.write, options.json)} if options.json else {}
        result = measure(of, options.arms.split(","), options.rounds, options.load, **kept)
    give(result, options.json)


if __name__ == "__main__":
    cli.run(main)
