"""The real ``__main__.py`` under mocks, with the providers' real SDKs.

For each line of standard input, a stack's config in JSON, it prints a line: what was registered,
by name, with inputs and options, and the outputs; or the fault. Run by the interpreter that has the
SDKs; what a provider would answer is in ``answers.py``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import pulumi
from google.protobuf import json_format
from pulumi.runtime import config, mocks, rpc, settings, stack

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.clouds import answers  # noqa: E402

LOOKS = ("command:local:run",)  # how a preview asks the machine
SIGNATURE = rpc._special_sig_key


class Provider(pulumi.runtime.Mocks):
    """Stands in for every provider: gives back what it was given, and what ``answers`` adds."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        state = dict(args.inputs)
        if args.typ == "random:index/randomBytes:RandomBytes":
            raw = hashlib.sha256(args.name.encode()).digest()[: int(args.inputs["length"])]
            state |= {"base64": base64.b64encode(raw).decode(), "hex": raw.hex()}
        number = str(int(hashlib.sha256(args.name.encode()).hexdigest()[:6], 16))
        return number, state | answers.resource(args.typ, args.name, args.inputs)

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any] | answers.Failed:
        self.calls.append(args.token)
        if args.token in LOOKS:
            return {"stdout": json.dumps(answers.NOT_REACHED), "stderr": ""}
        return answers.call(args.token, args.args)


class Monitor(mocks.MockMonitor):
    """Keeps what the engine would be told of each resource: its options are not the mocks'."""

    def __init__(self, found: Provider) -> None:
        super().__init__(found)
        self.registered: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        if request.type == "pulumi:pulumi:Stack":
            return super().RegisterResource(request)
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=False)
        self.registered[request.name] = {
            "type": request.type,
            "parent": request.parent.rpartition("::")[2],
            "protect": request.protect,
            "ignore": list(request.ignoreChanges),
            "deleteBeforeReplace": request.deleteBeforeReplace,
            "replacementTrigger": json_format.MessageToDict(request.replacement_trigger),
            "dependencies": sorted(urn.rpartition("::")[2] for urn in request.dependencies),
            "inputs": plain(inputs),
            "secrets": sorted(secrets(inputs)),
        }
        return super().RegisterResource(request)


class Said(logging.Logger):
    """Keeps what the program tells the engine to show."""

    def __init__(self, name: str, level: int) -> None:
        super().__init__(name, level)
        self.messages: list[str] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def plain(value: Any) -> Any:
    """The value without the marks of secrets."""
    if isinstance(value, dict):
        if SIGNATURE in value:
            return plain(value.get("value"))
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def secrets(value: Any, path: str = "") -> list[str]:
    """The paths of what is marked as secret."""
    if isinstance(value, dict):
        if SIGNATURE in value:
            return [path]
        return [p for k, v in value.items() for p in secrets(v, f"{path}.{k}".lstrip("."))]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in secrets(v, f"{path}[{i}]")]
    return []


def preview(raw: dict[str, Any]) -> dict[str, Any]:
    """What the program does with a stack's config."""
    said = Said("preview", logging.INFO)
    provider = Provider()
    monitor = Monitor(provider)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mocks.set_mocks(
        provider,
        project="cgnat-relay",
        stack="test",
        preview=False,
        monitor=monitor,
        logger=said,
    )
    config.set_all_config(
        {k: v if isinstance(v, str) else json.dumps(v) for k, v in raw.items()}, []
    )
    outputs: dict[str, Any] = {}

    async def drive() -> None:
        settings.set_root_resource(None)
        await stack.run_in_stack(
            lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")
        )
        for key, value in settings.get_root_resource().outputs.items():
            outputs[key] = await pulumi.Output.from_input(value).future()

    try:
        loop.run_until_complete(drive())
    except pulumi.RunError as error:
        return {"fault": str(error), "resources": monitor.registered, "calls": provider.calls}
    except Exception:
        return {"crash": traceback.format_exc()}
    return {
        "resources": monitor.registered,
        "outputs": outputs,
        "calls": provider.calls,
        "log": said.messages,
    }


def main() -> None:
    """A line out for each line in. What the program prints itself is for standard error."""
    answer, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(preview(json.loads(line))), file=answer, flush=True)


if __name__ == "__main__":
    main()
