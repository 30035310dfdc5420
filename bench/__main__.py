"""Measure the relay against the proxies, print the tables and draw the plots.

    python3 -m bench [--full] [--cpu CPU] [--page PAGE] FOLDER

Into FOLDER go kernel.json and, where this machine's kernel has no WireGuard, userspace.json: then
kernel.json is of a lab VM. Short: five rounds. Full: ten, and five on each line with delay and
loss. PAGE gets the tables between its markers.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.netns.conftest import wireguard_env

from . import cli, peers
from .compare import (
    CPU,
    FAILURES,
    FULL,
    LINED,
    SHORT,
    Plan,
    Result,
    measure,
    reason,
    stopped,
    within_vm,
)
from .progress import say
from .report import filled, read, text

SHORT_LIMIT, FULL_LIMIT = 1200, 4800  # seconds for the rounds of one machine


def main() -> None:
    """Measure, write, print and draw."""
    parser = cli.parser("bench", __doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--cpu", default=CPU, help="of the VM, as QEMU names it; '' as in the lab")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stopped)
    start, missing = time.monotonic(), ""
    short, full = Plan(SHORT, SHORT_LIMIT, short=True), Plan(FULL, FULL_LIMIT, LINED)
    plan = replace(full if options.full else short, cpu=options.cpu)

    def keep(result: Result) -> None:
        cli.write(options.folder / f"{result['wireguard']}.json", result, indent=None)

    keep(measure(peers.get(), plan, keep))
    if "WIREGUARD_GO" in wireguard_env():
        say("the same in a lab VM, whose kernel has WireGuard")
        try:
            keep(within_vm(peers.get(), plan))
        except FAILURES as error:
            missing = f"with the kernel's WireGuard, in a VM: {reason(error)}"
    results = read(options.folder)
    for name, result in results.items():
        print(text(name, result))
    from .plots import pictures  # measuring needs no library for it

    for path in pictures(options.folder):
        print(path)
    if options.page:
        options.page.write_text(filled(options.page.read_text(), results))
    say(f"all in {time.monotonic() - start:.0f} s")
    if missing:
        sys.exit(f"missing: what was to be measured {missing}")


if __name__ == "__main__":
    cli.run(main)
