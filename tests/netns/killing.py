"""A script of the relay's that is killed at one of its commands, in whatever shell that is.

Each command of the script, of its subshells and of the scripts that it runs adds a byte to one
file, and the one that adds the last ends the whole group of processes. What systemd would run is in
no such group (``living``, ``untouched``), and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from .conftest import Lab
from .living import BIN, run

KILLING = f"{BIN}/killing"
COUNT = f"{KILLING}/count"
# bash, for sh knows no such trap; like sh it lets `set -e` end a substitution.
COUNTED = f"""
set -T
shopt -s inherit_errexit
/usr/local/lib/cgnat-relay/firewall() {{ sh /usr/local/lib/cgnat-relay/firewall "$@"; }}
trap 'printf . >>{COUNT}
	read -r -d "" counted <{COUNT} || :
	if [ "$KILLED_AT" -gt 0 ] && [ "${{#counted}}" -ge "$KILLED_AT" ]; then kill -9 0; fi' DEBUG
"""
# First of its name in PATH.
SH = f"""#!/bin/bash
case $1 in -*) exec /bin/sh "$@" ;; esac
script=$1
shift
. {KILLING}/counted
. "$script"
"""


def killed(lab: Lab, command: str, step: int, stdin: str = "") -> bool:
    """Run a script with its words, and end all of it at a step; whether it got there.

    Step 0 is at no command: the run comes to its end.
    """
    relay = lab.net["relay"]
    relay.run(f"mkdir -p {KILLING}")
    for name, text in {"counted": COUNTED, "sh": SH, "count": ""}.items():
        relay.write(f"{KILLING}/{name}", text)
    relay.run(f"chmod 755 {KILLING}/sh")
    begin = f"PATH={KILLING}:$PATH KILLED_AT={step} setsid -w sh {command}"
    hit = run(lab, f"{begin} || echo $?", check=False, stdin=stdin).endswith("137\n")
    assert not hit or step <= counted(lab), "killed by something else"
    return hit


def counted(lab: Lab) -> int:
    return len(lab.net["relay"].run(f"cat {COUNT}"))


def each(
    lab: Lab, cut: Callable[[int], bool], every: int, turn: int = 0, turns: int = 1
) -> Iterator[int]:
    """Each step of so many up to the last; all of them must be reached.

    The first is 0, a whole run, which tells how many there are. ``turns`` tests may share them;
    with ``CUT_SHORT_EVERY`` each of them has each of so many.
    """
    if "CUT_SHORT_EVERY" in os.environ:
        every, turn, turns = int(os.environ["CUT_SHORT_EVERY"]), 0, 1
    assert not cut(0)
    last = counted(lab) - 2  # a run may have one or two less than another
    yield 0
    steps = [*range(1 + every * turn, last, every * turns), last]
    for step in steps:
        assert cut(step), f"step {step} is never reached"
        yield step
    print(f"{len(steps)} kills in {last} steps")
