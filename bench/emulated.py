"""A benchmark's command inside a lab VM, with this checkout and the peers' programs."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.vm.inside import Inside, booted

from . import peers
from .origins import commit, host, load
from .progress import say

THERE = "/srv/peers"  # the peers' programs
CHUNK = 4_000_000  # bytes that are handed over at a time
FAILURES = (AssertionError, OSError, subprocess.SubprocessError)


def hand_over(vm: Inside, of: peers.Peers) -> None:
    """The peers' programs, in the VM."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, path in of.programs.items():
            tar.add(path.resolve(), name)
    whole = buffer.getvalue()
    for at in range(0, len(whole), CHUNK):
        words = ("exec", "--stdin", vm.name, "--", "sh", "-c", f"cat >>{THERE}.tar.gz")
        vm.call(*words, stdin=whole[at : at + CHUNK])
    vm.run(f"sh -c 'mkdir -p {THERE}; touch {THERE}.tar.gz; tar -xzf {THERE}.tar.gz -C {THERE}'")


def run(
    words: str,
    most: float,
    of: peers.Peers | None = None,
    options: Mapping[str, str] | None = None,
    packages: str = "",
) -> dict[str, Any]:
    """What ``python3 -m WORDS`` writes as JSON there, in ``most`` seconds, and what it ran on.

    One that ends badly has kept what it had until then. ``of`` are handed over and named in the
    words; ``options`` of the VM are as ``lab start`` has them, where they differ from the lab's;
    ``packages`` are Debian's, which it needs beside the image's.
    """
    made, before, result = commit(), load(), None
    asked = [part for name, value in (options or {}).items() for part in (f"--{name}", value)]
    try:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            booted(Path(folder), *asked) as vm,
        ):
            say("the VM is up")
            if packages:
                apt = "apt-get -qq -y --no-install-recommends install"
                vm.run(f"sh -c 'apt-get -qq update && {apt} {packages} >/dev/null'", timeout=900)
            if of is not None:
                words += f" --peers {THERE}"
                if of.programs:
                    hand_over(vm, of)
            command = f"python3 -m {words} --json /srv/result >/srv/said 2>&1"
            try:
                vm.run(f"sh -c '{command} || {{ cat /srv/said; exit 1; }}'", int(most))
            except FAILURES as error:
                say(f"it did not end well, what it has kept is taken: {error}")
            result = vm.json("cat /srv/result")
    except FAILURES as error:
        if result is None:
            raise
        say(f"the VM did not end well: {error}")
    return {
        **result,
        "vm": True,
        "commit": made,
        "host": host(before),
    }
