"""The command line: ``python3 -m doctor [--stack NAME]``, in the virtual environment.

Ends 0 where all forwards answer that are for this computer, 1 where one does not. How the relay is
entered is in the stack's state; it goes to ``operate`` by standard input, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    from components.carrier import observing
    from handout import outputs
except ModuleNotFoundError as missing:
    sys.exit(f"doctor: {missing.name} is not installed here; run: .venv/bin/python -m doctor")

PROJECT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, and give the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m doctor", description=__doc__)
    parser.add_argument("--stack", help="by default the selected one")
    stack = parser.parse_args(arguments).stack
    told = outputs.read(stack, secrets=True)
    targets = [*asked(told)]
    request = entry(stack) | {
        "bundle": observing(targets),
        "targets": targets,
    }
    done = subprocess.run(
        [sys.executable, "-m", "operate", "diagnose"],
        cwd=PROJECT,
        input=json.dumps(request),
        text=True,
        check=False,
    )
    return done.returncode


def asked(told: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    """Each forward as ``operate.doctor.Target`` has it; of a range its first port."""
    for row in outputs.forwards(dict(told)):
        ports, _, protocol = row.port.partition("/")
        own = address(told["homeConfigs"][row.home])
        host, _, to = row.to.rpartition(":")
        yield {
            "protocol": protocol,
            "port": int(ports.partition("-")[0]),
            "reach": row.reach,
            "home": row.home,
            "address": own,
            "to": to.partition("-")[0] + ("" if host == own else f" of {host}"),
        }


def address(config: str) -> str:
    """A home's address in the tunnel, from its config."""
    line = next(x for x in config.splitlines() if x.startswith("Address = "))
    return line.removeprefix("Address = ").partition("/")[0]


def entry(stack: str | None) -> dict[str, Any]:
    """How the relay is entered, from the last update's own request. Exits where there is none."""
    words = ["pulumi", "stack", "export", "--show-secrets", *(["--stack", stack] if stack else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"doctor: the stack's state cannot be read: {done.stderr.strip()}")
    for resource in json.loads(done.stdout)["deployment"]["resources"]:
        command = resource.get("inputs", {}).get("create")
        if isinstance(command, str) and command.startswith("python3 -m operate bring"):
            given = resource["inputs"]["stdin"]
            text = json.loads(given["plaintext"]) if isinstance(given, dict) else given
            return dict(json.loads(text))
    sys.exit("doctor: the stack has no relay yet; run: pulumi up")


if __name__ == "__main__":
    sys.exit(main())
