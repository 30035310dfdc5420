"""Running mutants: which probes miss the rule that was taken out."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .ask import wrong
from .config import Files, generate
from .mutants import Mutant, mutants
from .probes import PROBES
from .world import CannotStartError, World, world

NEVER_UP = "the interface does not come up"


@dataclass(frozen=True)
class Result:
    """A mutant and who noticed: probes by name with what they saw, none for a survivor."""

    mutant: Mutant
    missed: dict[str, str]


def unaltered(made: World) -> None:
    """Every probe sees what it must while every rule is there."""
    seen = wrong(made, PROBES)
    wanted = {probe.name: probe.want for probe in PROBES}
    assert not seen, {name: f"saw {seen[name]}, must see {wanted[name]}" for name in seen}


def starts(mutant: Mutant) -> bool:
    """Whether a tunnel's start tells of this rule, and not what it carries then."""
    return "other_ports" in mutant.rule or "firewall" in mutant.path


def put(made: World, mutant: Mutant, files: Files) -> None:
    """The mutant's file as in ``files``; the relay's rules are loaded, all else starts again."""
    content = files[mutant.path]
    if mutant.host != "relay" or not made.load(mutant.path, content, starts(mutant)):
        made.apply(mutant.host, files)


def mend(made: World, mutant: Mutant) -> None:
    """The rule is there again, and nothing is missed: what is missed next is the next rule's."""
    put(made, mutant, made.generated.files[mutant.host])
    unaltered(made)


def trial(made: World, mutant: Mutant) -> Result:
    """One mutant; its host is left as the mutant has it."""
    try:
        put(made, mutant, mutant.files)
    except CannotStartError:
        # What came up halfway is taken down by the whole file.
        made.apply(mutant.host)
        return Result(mutant, {NEVER_UP: ""})
    # A rule is idle only if it is missed by nobody twice: what must be silent is asked once else.
    return Result(mutant, wrong(made, PROBES) or wrong(made, PROBES))


def run(
    env: dict[str, str],
    wanted: Callable[[Mutant], bool],
    tell: Callable[[Result], None],
    workers: int = 2,
) -> list[Result]:
    """Every kind of rule that is ``wanted``, at one host after the other until it is missed."""
    results: list[Result] = []
    lock = threading.Lock()
    generated = generate()
    kinds: dict[str, list[str]] = defaultdict(list)
    for mutant in mutants(generated):
        if wanted(mutant) and mutant.host not in kinds[mutant.kind]:
            kinds[mutant.kind].append(mutant.host)
    # Host by host and file by file: what a mutant left is overwritten by the next.
    queue = sorted(filter(kinds.get, kinds), key=lambda kind: (kinds[kind][0], kind))

    def work(_: int) -> None:
        own = generate()  # two worlds have different keys, and the same rules
        with world(env, own) as made:
            by_name = {(m.kind, m.host): m for m in mutants(own)}
            unaltered(made)
            altered: Mutant | None = None
            while True:
                with lock:
                    kind = queue.pop(0) if queue else ""
                if not kind:
                    if altered:
                        mend(made, altered)
                    return
                for host in kinds[kind]:
                    mutant = by_name[kind, host]
                    same = altered and (altered.host, altered.path) == (host, mutant.path)
                    if altered and (not same or starts(altered)):
                        mend(made, altered)
                    altered = mutant
                    result = trial(made, mutant)
                    if result.missed:
                        break
                with lock:
                    results.append(result)
                    tell(result)

    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(work, range(workers)))
        except BaseException:
            with lock:
                queue.clear()  # the others end after the rule that they are at
            raise
    return results


def survivors(results: Iterable[Result]) -> list[str]:
    """Kinds of rules that nothing missed."""
    return sorted(result.mutant.kind for result in results if not result.missed)
