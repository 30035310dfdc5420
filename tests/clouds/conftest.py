"""Stacks on every cloud, previewed by one process that has the real SDKs."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import yaml

from components.kinds import CLOUDS

from . import sdks

EXAMPLES = sdks.ROOT / "examples"
DEADLINE = 120  # seconds for one preview; the slowest SDK is read in 5
HOMES = [{"name": "home", "forwards": ["80:8080", "27015-27020:27015/udp"]}]
KINDS = [cloud.provider.kind for cloud in CLOUDS]
# Each provider's own, and no other: none is of use anywhere.
CREDENTIALS: dict[str, dict[str, str]] = {
    "hetzner": {"hcloud:token": "t" * 64},
    "digitalocean": {"digitalocean:token": "t" * 64},
    "linode": {"linode:token": "t" * 64},
    "vultr": {"vultr:apiKey": "t" * 36},
    "lightsail": {"aws:accessKey": "T" * 20, "aws:secretKey": "t" * 40},
    "oracle": {
        "oci:tenancyOcid": "ocid1.tenancy.oc1..a",
        "oci:userOcid": "ocid1.user.oc1..a",
        "oci:fingerprint": ":".join(["00"] * 16),
        "oci:privateKey": "t" * 64,
    },
    "ionos": {"ionoscloud:token": "t" * 64},
}


@dataclass(frozen=True)
class Run:
    """What the program did with a config."""

    found: dict[str, Any]

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """By name: type, parent, options, inputs, and the paths of what is secret in them."""
        return dict(self.found["resources"])

    @cached_property
    def fault(self) -> str:
        """What the user is told instead."""
        assert not self.found["resources"], "resources were registered before the fault"
        return str(self.found["fault"])

    @property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return dict(self.found["outputs"])

    @property
    def log(self) -> list[str]:
        """What a preview says."""
        return list(self.found["log"])

    def inputs(self, name: str) -> dict[str, Any]:
        """A resource's inputs, with secrets in plain."""
        return dict(self.resources[name]["inputs"])


Preview = Callable[..., Run]


class Program:
    """The process with the SDKs. No credentials of this machine's reach it."""

    def __init__(self) -> None:
        self.python = sdks.python()
        self.process: subprocess.Popen[str] | None = None

    def ask(self, line: str) -> dict[str, Any]:
        """What becomes of a config; a process that crashed on it is not asked again."""
        if self.process is None:
            keep = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
            self.process = subprocess.Popen(
                [self.python, "-W", "ignore", "-m", "tests.clouds.preview"],
                cwd=sdks.ROOT,
                env=keep | {"HOME": "/nonexistent"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.process.stdin
        assert self.process.stdout
        print(line, file=self.process.stdin, flush=True)
        there, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        answer = self.process.stdout.readline() if there else ""
        found = json.loads(answer) if answer else {"crash": f"no answer in {DEADLINE} s"}
        if "crash" in found:
            self.end()
        return dict(found)

    def end(self) -> None:
        """Nothing of it is left."""
        if self.process:
            self.process.kill()
            with self.process:
                self.process = None


@pytest.fixture(scope="session")
def program() -> Iterator[Program]:
    """One for all tests: the SDKs are imported once."""
    found = Program()
    yield found
    found.end()


@pytest.fixture(scope="session")
def preview(program: Program) -> Preview:
    """``preview("hetzner", vps={…}, homes=[…])``; the same config is previewed once."""
    runs: dict[str, Run] = {}

    def run(kind: str, credentials: dict[str, str] | None = None, **raw: Any) -> Run:
        raw = {"homes": HOMES, **raw}
        raw["vps"] = {"kind": kind, **needed(kind), **raw.get("vps", {})}
        config = {f"cgnat-relay:{key}": value for key, value in raw.items()}
        config |= CREDENTIALS[kind] if credentials is None else credentials
        line = json.dumps(config)
        if line not in runs:
            runs[line] = Run(program.ask(line))
        assert "crash" not in runs[line].found, runs[line].found["crash"]
        return runs[line]

    return run


def example(kind: str) -> dict[str, Any]:
    """A kind's example as its file has it."""
    return dict(yaml.safe_load((EXAMPLES / f"Pulumi.{kind}.yaml").read_text())["config"])


def needed(kind: str) -> dict[str, Any]:
    """What a kind's example says of the machine, beside plan and region: what has no default."""
    vps = example(kind)["cgnat-relay:vps"]
    return {k: v for k, v in vps.items() if k not in ("kind", "region", "plan", "labels")}
