"""Take each generated rule out in turn: a probe of the matrix must miss it.

python -m tests.netns.mutate [WORD]    all rules, or those whose name holds WORD; exit status 1
                                       where one is missed by nobody
"""

from __future__ import annotations

import signal
import sys
import time

from .conftest import wireguard_env
from .matrix.allowed import IDLE
from .matrix.run import Result, run, survivors

SHOWN = 3


def main(words: list[str]) -> int:
    """Print a line for each rule; 1 where a rule is idle."""
    start = time.monotonic()

    def tell(result: Result) -> None:
        names = sorted(result.missed)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        who = ", ".join(names[:SHOWN]) + more
        if not names:
            who = f"allowed: {IDLE[result.mutant.kind]}" if result.mutant.kind in IDLE else "NOBODY"
        print(f"{result.mutant.name}\n    missed by: {who}", flush=True)

    results = run(wireguard_env(), lambda m: all(word in m.name for word in words), tell)
    idle = [kind for kind in survivors(results) if kind not in IDLE]
    noticed = {result.mutant.kind for result in results if result.missed}
    stale = sorted(noticed & set(IDLE))
    seconds = time.monotonic() - start
    print(f"\n{len(results)} rules taken out in {seconds:.0f} s, {len(idle)} missed by nobody")
    for kind in idle:
        print(f"  idle: {kind}")
    for kind in stale:
        print(f"  allowed, but missed: {kind}")
    return 1 if idle or stale else 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)  # the namespaces are taken down
    sys.exit(main(sys.argv[1:]))
