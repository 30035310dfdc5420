"""The relay against the proxies, on the same machine with the same work.

    python3 -m bench.compare [--rounds N] [--limit S] [--vm] [--cpu CPU] [--lines N] [--short]
                             [--arms A,B] [--json FILE]

Arms (``contender.py``, ``proxies.py``), all up at once and measured in turn, so that the machine's
drift meets all alike, in an order that is drawn anew each time. What is measured: ``measures.py``.
``--vm`` does it inside a lab VM, whose kernel has WireGuard and netem; without it, on this
machine's kernel or else with the userspace WireGuard. ``--lines N`` adds N rounds on lines with
delay and loss; with ``--rounds 0`` there is nothing else. A peer that cannot be had is missing, and
an arm that fails at something is told, with the reason. ``report.py`` makes tables of the JSON,
``plots.py`` pictures.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.netns.conftest import wireguard_env

from . import cli, contender, emulated, peers, proxies
from .ciphers import speeds
from .cli import Keep
from .contender import Contender, serve
from .dataplane import machine
from .judged import PROXIES
from .line import Line, become, can_delay
from .measures import EACH, ON_A_LINE, Effort, Values, added, once, restarted, still
from .origins import begun, compilers, ended
from .progress import say
from .ratio import SEED

LINES = [Line(delay, loss) for delay in (20, 80) for loss in (0.1, 1.0)]
EACH_ROUND = 480  # seconds, more than any takes here
SHORT, FULL, LINED = 5, 10, 5  # rounds: the short form, the full one, and that on bad lines
QUICK: dict[str, Any] = {"seconds": 0.5, "settle": 0.3, "loaded": 0.6, "opens": 0.5}
EFFORTS = {  # on a real machine and an emulated one, and the same in short
    "here": Effort(bytes=200_000_000),
    "here-short": Effort(bytes=60_000_000, trips=300, **QUICK),
    "emulated": Effort(bytes=25_000_000, trips=300, steady=15),
    "emulated-short": Effort(bytes=10_000_000, trips=150, steady=15, **QUICK),
}
FAILURES = (AssertionError, OSError, ValueError, KeyError, subprocess.SubprocessError)
# Of a VM, as the lab has it. QEMU's `max` has AES and wide vectors, but each is emulated by a call:
# ChaCha20 is slower with them than without.
CPU = ""
MEMORY = "2048"  # MiB of a VM: with 768 it thrashed once all arms had held 1,000 connections
Result = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds, the seconds that they may take, rounds on bad lines."""

    rounds: int = SHORT
    limit: float = 600
    lines: int = 0
    short: bool = False
    machine: str = "here"
    arms: tuple[str, ...] = ()
    cpu: str = CPU

    @property
    def effort(self) -> Effort:
        """How much of each measure."""
        return EFFORTS[self.machine + ("-short" if self.short else "")]


Up = AbstractContextManager[Contender]


def ways(env: dict[str, str], of: peers.Peers) -> dict[str, Callable[[], Up]]:
    """How each arm is brought up."""
    return {
        "wire": partial(contender.wire, env),
        "bare": partial(contender.bare, env),
        "relay": partial(contender.relay, env),
        "masquerade": partial(contender.relay, env, mode="masquerade"),
        "article": partial(contender.article, env),
        "frp": partial(proxies.frp, env, of),
        "rathole": partial(proxies.rathole, env, of),
        "chisel": partial(proxies.chisel, env, of),
        "ssh": partial(proxies.ssh, env),
    }


def reason(error: BaseException) -> str:
    """The first line that an error says; of a program that ended with a traceback, the last."""
    lines = f"{type(error).__name__}: {error}".strip().splitlines()
    return lines[-1 if "Traceback" in lines[0] else 0][:200]


def bring_up(stack: ExitStack, of: peers.Peers, wanted: Sequence[str]) -> list[Contender]:
    """All arms that can be had; those that cannot are ``missing``."""
    found, env = [], wireguard_env()
    for name, up in ways(env, of).items():
        if wanted and name not in wanted:
            continue
        if name in of.missing:
            continue
        with contextlib.ExitStack() as one:
            try:
                arm = one.enter_context(up())
                serve(arm)
            except FAILURES as error:
                of.missing[name] = reason(error)
                say(f"{name} is missing: {of.missing[name]}")
                continue
            stack.push(one.pop_all())
        found.append(arm)
        say(f"{name} is up")
    return found


class Faults:
    """What an arm could not do, by arm and measure: the reason, and how often."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, str]] = {}
        self.count: Counter[tuple[str, str]] = Counter()

    def seen(self) -> dict[str, dict[str, str]]:
        """As the result tells them."""
        return {
            arm: {what: f"{often(self.count[arm, what])}{why}" for what, why in last.items()}
            for arm, last in self.last.items()
        }

    def without(self, arm: Contender, what: str, measure: Callable[[], Any]) -> Any:
        """What is measured, or nothing and a note."""
        try:
            return measure()
        except FAILURES as error:
            self.last.setdefault(arm.name, {})[what] = reason(error)
            self.count[arm.name, what] += 1
            say(f"{arm.name}, {what}: {reason(error)}")
            return None


def often(times: int) -> str:
    """How many of a fault's times one line stands for."""
    return f"{times} times, the last: " if times > 1 else ""


def drawn(arms: Sequence[Contender], draw: Random) -> list[Contender]:
    """The arms in an order of chance: after whom one comes differs as well as when."""
    return draw.sample(arms, len(arms))


def one_round(arms: Sequence[Contender], draw: Random, effort: Effort, faults: Faults) -> Result:
    """Each arm's values; a measure's arms one after the other."""
    found: dict[str, Values] = {arm.name: {} for arm in arms}
    for measure in EACH:
        for arm in drawn(arms, draw):
            values = faults.without(arm, measure.__name__, partial(measure, arm, effort))
            found[arm.name] |= values or {}
    return found


def on_a_line(arm: Contender, line: Line, effort: Effort, faults: Faults) -> Values:
    """One arm's values there; what fails costs no other."""
    if not faults.without(arm, f"still, {line}", partial(still, arm)):
        return {}
    found = {
        key: faults.without(arm, f"{key}, {line}", partial(of, arm, effort))
        for key, of in ON_A_LINE.items()
    }
    return {key: value for key, value in found.items() if value is not None}


def on_lines(
    arms: Sequence[Contender], plan: Plan, draw: Random, faults: Faults
) -> Iterator[list[Result]]:
    """Rounds on each line with delay and loss; what there is so far, after each line."""
    found: list[Result] = [{"delay": x.delay, "loss": x.loss, "rounds": []} for x in LINES]
    until = time.monotonic() + plan.limit
    for turn in range(plan.lines):
        for line, result in zip(LINES, found, strict=True):
            if time.monotonic() > until:
                return
            for arm in arms:
                become(arm.net, line)
            values = {
                arm.name: on_a_line(arm, line, plan.effort, faults) for arm in drawn(arms, draw)
            }
            result["rounds"].append({name: v for name, v in values.items() if v})
            say(f"{line}, round {turn + 1} of {plan.lines}")
            yield found


def measure(of: peers.Peers, plan: Plan, keep: Keep = lambda _: None) -> Result:
    """All arms up here, and all that is asked of them.

    ``keep`` is given what there is after each round, for a run that does not end well.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the proxies, as a unit would
    faults, found, draw = Faults(), list[Result](), Random(SEED)  # noqa: S311 - an order
    delayed: list[Result] = []
    with torn_down() as stack:
        began, start = time.monotonic(), begun()
        arms = bring_up(stack, of, plan.arms)
        made = {"machine": machine(), **made_with(of), "vm": False, "effort": vars(plan.effort)}
        made |= {"ciphers": speeds()}

        singly: Result = {}

        def so_far() -> Result:
            return {
                **made,
                **ended(start),
                "seconds": round(time.monotonic() - began),
                "arms": [arm.name for arm in arms],
                "versions": {arm.name: arm.version for arm in arms},
                "missing": of.missing,
                "faults": faults.seen(),
                "cut short": True,
                "rounds": rounded(found),
                "lines": rounded(delayed),
                "once": singly,
            }

        until = time.monotonic() + plan.limit
        while len(found) < plan.rounds and time.monotonic() < until:
            found.append(one_round(arms, draw, plan.effort, faults))
            say(f"round {len(found)} of {plan.rounds}, {time.monotonic() - began:.0f} s")
            keep(so_far())
        if plan.lines and not can_delay(arms[0].net):
            say("no line is delayed: this kernel has no netem")
        elif plan.lines:
            for lined in on_lines(arms, plan, draw, faults):
                delayed = lined
                keep(so_far())
            for arm in arms:
                become(arm.net, Line())
        for name, seen in each_once(arms, plan, faults) if plan.rounds else ():
            singly[name] = singly.get(name, {}) | seen
            keep(so_far())
        return so_far() | {"cut short": cut_short(plan, found, delayed)}


@contextlib.contextmanager
def torn_down() -> Iterator[ExitStack]:
    """All arms end with it; what was measured is not lost where one does not."""
    stack = ExitStack()
    try:
        yield stack
    finally:
        try:
            stack.close()
        except FAILURES as error:
            say(f"an arm did not end: {reason(error)}")


def cut_short(plan: Plan, found: Sequence[Result], delayed: Sequence[Result]) -> bool:
    """Whether the limit came before all rounds were done."""
    return len(found) < plan.rounds or any(len(x["rounds"]) < plan.lines for x in delayed)


def made_with(of: peers.Peers) -> Result:
    """Which WireGuard, and who built the programs."""
    programs, go = dict(of.programs), wireguard_env().get("WIREGUARD_GO")
    if go:
        programs["wireguard"] = Path(go)
    return {
        "wireguard": "userspace" if go else "kernel",
        "built": compilers(programs),
    }


def each_once(
    arms: Sequence[Contender], plan: Plan, faults: Faults
) -> Iterator[tuple[str, Result]]:
    """What is measured once, by the arm's name, one arm after the other.

    But all tunnels are restarted at the same time: one is dialled anew within three minutes, of
    which nearly all is waiting. A proxy's restart takes seconds, and no other may work meanwhile.
    """
    for arm in arms:
        yield arm.name, faults.without(arm, "once", partial(once, arm, plan.effort)) or {}
        yield arm.name, in_time(added, faults, arm) or {}
    if plan.short:
        return
    for arm in arms:
        if arm.name in PROXIES:
            yield arm.name, in_time(restarted, faults, arm) or {}
    waiting = [arm for arm in arms if arm.name not in PROXIES]
    with ThreadPoolExecutor(len(waiting)) as pool:
        seen = list(pool.map(partial(in_time, restarted, faults), waiting))
    for arm, found in zip(waiting, seen, strict=True):
        yield arm.name, found or {}


def in_time(change: Callable[[Contender], Any], faults: Faults, arm: Contender) -> Any:
    """A change of an arm, or a note of its failure."""
    return faults.without(arm, change.__name__, partial(change, arm))


def rounded(value: Any) -> Any:
    """Numbers with four digits that count: the rest is noise, and the files stay small."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def within_vm(of: peers.Peers, plan: Plan) -> Result:
    """The same inside a lab VM."""
    words = f"bench.compare --rounds {plan.rounds} --limit {plan.limit} --lines {plan.lines}"
    words += " --machine emulated"
    words += " --short" if plan.short else ""
    words += f" --arms {','.join(plan.arms)}" if plan.arms else ""
    most = plan.limit * (2 if plan.lines else 1) + 1800
    result = emulated.run(words, most, of, {"cpu": plan.cpu, "memory": MEMORY})
    host = {**result["host"], "cpu asked": plan.cpu, "ciphers": speeds()}  # its VM has ended
    return {**result, "missing": result["missing"] | of.missing, "host": host}


def give(result: Result, path: Path | None) -> None:
    """Into a file, or for a person to read."""
    if path:
        cli.write(path, result, indent=None)
    else:
        json.dump(result, sys.stdout, indent=1)


def stopped(*_: object) -> None:
    """What was started ends with us, also by a signal."""
    sys.exit(1)


def main() -> None:
    """Measure, and write or print."""
    parser = cli.parser("bench.compare", __doc__)
    parser.add_argument("--rounds", type=int, default=SHORT)
    parser.add_argument(
        "--limit", type=float, help=f"seconds for all rounds; {EACH_ROUND} for each"
    )
    parser.add_argument("--lines", type=int, default=0, help="rounds on lines with delay and loss")
    parser.add_argument("--vm", action="store_true", help="inside a lab VM, with its kernel")
    parser.add_argument("--cpu", default=CPU, help="of the VM, as QEMU names it; '' as in the lab")
    parser.add_argument("--json", type=Path, help="write all values here")
    parser.add_argument("--arms", default="", help="only these, with commas between")
    parser.add_argument("--peers", type=Path, help="a folder with the peers' programs")
    parser.add_argument("--short", action="store_true", help="shorter loads, and no restarts")
    parser.add_argument("--machine", choices=("here", "emulated"), default="here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stopped)
    of = peers.found(options.peers) if options.peers else peers.get()
    arms = tuple(name for name in options.arms.split(",") if name)
    if unknown := sorted({*arms} - {*ways({}, of)}):
        parser.error(f"no such arm: {', '.join(unknown)}; there are {', '.join(ways({}, of))}")
    rounds = max(options.rounds, options.lines * len(LINES))
    plan = Plan(
        options.rounds,
        EACH_ROUND * rounds if options.limit is None else options.limit,
        options.lines,
        options.short,
        options.machine,
        arms,
        options.cpu,
    )
    kept = {"keep": partial(cli.write, options.json, indent=None)} if options.json else {}
    result = within_vm(of, plan) if options.vm else measure(of, plan, **kept)
    give(result, options.json)


if __name__ == "__main__":
    cli.run(main)
