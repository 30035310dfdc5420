"""The outputs of a stack, as the ``pulumi`` command prints them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Forward:
    """A row of the ``forwards`` output. ``reach`` is ``host:port`` as seen from this machine."""

    home: str
    listen: str
    to: str
    reach: str

    @property
    def port(self) -> str:
        """Port and protocol on the public address, ``80/tcp``."""
        return self.listen.rpartition(":")[2]


def read(stack: str | None = None, secrets: bool = False) -> dict[str, Any]:
    """Every output of a stack, by default of the selected one. Exits where there are none.

    Secret ones are left out unless asked for.
    """
    command = ["pulumi", "stack", "output", "--json"]
    command += ["--stack", stack] if stack else []
    command += ["--show-secrets"] if secrets else []
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("there is no pulumi on PATH; install it, or after make up run: . .dev/env")
    which = f"stack {stack}" if stack else "the selected stack"
    if done.returncode:
        sys.exit(f"the outputs of {which} cannot be read: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    if "forwards" not in found:
        sys.exit(f"{which} has no relay yet; run: pulumi up (in the lab: make up)")
    return dict(found)


def forwards(outputs: dict[str, Any]) -> list[Forward]:
    """The forwards, in the config's order."""
    return [Forward(**row) for row in outputs["forwards"]]


def stacks() -> list[str]:
    """The names of the stacks in this backend. Exits where the engine cannot tell."""
    done = subprocess.run(["pulumi", "stack", "ls", "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the stacks cannot be listed, nothing was removed: {done.stderr.strip()}")
    return [str(row["name"]) for row in json.loads(done.stdout)]
