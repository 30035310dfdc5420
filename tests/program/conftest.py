"""A Pulumi program under mocks: every registered resource is recorded, nothing is run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import config, mocks, settings, stack

ROOT = Path(__file__).resolve().parents[2]
SIGNATURE = "4dabf18193072939515e22adb298388d"  # the signature of a secret on the wire
RESERVED = {
    "publicIp": "198.51.100.15",
    "reach": "127.70.1.2",
    "endpointHost": "192.168.1.2",
    "endpointPort": 20000,
    "sshHost": "127.70.1.2",
    "sshPort": 22,
}

LOOK = {
    "reached": True,
    "is": "here",
    "owner": "",
    "summary": [],
    "drift": "",
    "changed": [],
    "faults": [],
    "notes": [],
    "pairs": {},
    "ways": {},
}


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Answers as the lab and the random provider do, and keeps what was asked."""

    resources: dict[str, mocks.MockResourceArgs] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    look: dict[str, Any] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    preview: bool = False

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        assert args.name not in self.resources, f"two resources are named {args.name}"
        self.resources[args.name] = args
        state = dict(args.inputs)
        if args.typ == "random:index/randomBytes:RandomBytes" and not self.preview:
            raw = hashlib.sha256(args.name.encode()).digest()[: int(args.inputs["length"])]
            state |= {"base64": base64.b64encode(raw).decode(), "hex": raw.hex()}
        if args.typ == "command:local:Command":
            state |= {"stdout": self._stdout(str(plain(args.inputs["create"])))}
        self.states[args.name] = state
        return f"{args.name}-id", state

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        assert args.token == "command:local:run", f"the program calls {args.token}"  # noqa: S105
        self.calls.append(dict(args.args))
        return {"stdout": json.dumps(LOOK | self.look), "stderr": ""}

    @staticmethod
    def _stdout(command: str) -> str:
        words = command.split()
        if "reserve" in words:
            return json.dumps(RESERVED)
        if "open" in words:
            openings = words[words.index("open") + 2 :]
            return json.dumps({o: f"127.70.1.2:{o.split('/')[1]}" for o in openings})
        return ""

    def of_type(self, token: str) -> list[str]:
        return sorted(name for name, args in self.resources.items() if args.typ == token)


def plain(value: Any) -> Any:
    """The value inside a secret, as the engine would see it."""
    return value["value"] if is_secret(value) else value


def is_secret(value: Any) -> bool:
    """Whether a resource's input reached the engine marked as secret."""
    return isinstance(value, Mapping) and SIGNATURE in value


@dataclass
class Run:
    """What a program registered and exported."""

    recorder: Recorder
    outputs: dict[str, Any]
    secret: dict[str, bool]


Program = Callable[..., Run]


@pytest.fixture
def program() -> Program:
    """Runs a program under mocks: ``program({"homes": […]})`` is the real ``__main__.py``.

    ``preview``: of a stack that has nothing yet.
    """

    def run(
        raw: Mapping[str, Any] | None = None,
        body: Callable[[], None] | None = None,
        preview: bool = False,
    ) -> Run:
        recorder = Recorder(preview=preview)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        settings.set_root_resource(None)
        pulumi.runtime.set_mocks(recorder, project="cgnat-relay", stack="test", preview=preview)
        config.set_all_config(
            {f"cgnat-relay:{key}": json.dumps(value) for key, value in (raw or {}).items()}, []
        )
        outputs: dict[str, Any] = {}
        secret: dict[str, bool] = {}

        def main() -> None:
            if body:
                body()
            else:
                runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")

        async def drive() -> None:
            settings.set_root_resource(None)
            await stack.run_in_stack(main)
            root = settings.get_root_resource()
            for key, value in root.outputs.items():
                output = pulumi.Output.from_input(value)
                outputs[key] = await output.future()
                secret[key] = await output.is_secret()

        try:
            loop.run_until_complete(drive())
        finally:
            # The next program would wait for what one that failed has left.
            settings.SETTINGS.outputs.clear()
            loop.close()
            asyncio.set_event_loop(None)
        return Run(recorder, outputs, secret)

    return run
