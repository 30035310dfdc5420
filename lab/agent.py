"""Commands inside a VM through QEMU's guest agent, which needs no network.

Each question is a connection of its own: the agent serves one at a time, so a long command does
not keep others out.
"""

import base64
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import sockets
from lab.errors import LabError

TIMEOUT = 20.0  # seconds for the agent to be there
ANSWER = 180.0  # seconds for one answer: a question is put once, and a busy VM is slow to reply
PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds between looks at a running command; the last repeats
LONG = 0.01  # of the time so far, where that is more: each look takes some of the VM's CPU


@dataclass(frozen=True)
class Done:
    """How a command in the VM ended; a signal counts as 128 and its number, as in a shell."""

    code: int
    stdout: bytes
    stderr: bytes


class AbsentError(Exception):
    """The agent does not answer, or not yet; nothing was asked of it."""


def ask(socket: Path, command: str, timeout: float = TIMEOUT, **arguments: Any) -> Any:
    """Ask the agent one thing; AbsentError where it is not there (yet).

    AbsentError is told before the question is put, so that asking again cannot do a thing twice.
    """
    with contextlib.ExitStack() as stack:
        try:
            channel = stack.enter_context(sockets.connected(socket, timeout))
            _sync(channel)
            channel.wait(max(timeout, ANSWER))
        except (OSError, EOFError, ValueError) as error:
            raise AbsentError from error
        try:
            channel.send({"execute": command, "arguments": arguments})
            answer = channel.receive()
        except (OSError, EOFError, ValueError) as error:
            raise LabError(
                f"the VM's agent fell silent at {command}; look at its console"
            ) from error
    if "error" in answer:
        raise LabError(f"the VM's agent refused: {answer['error'].get('desc', answer)}")
    return answer.get("return")


def execute(
    socket: Path,
    command: list[str],
    stdin: bytes | None = None,
    timeout: float = 600.0,
    alive: Callable[[], bool] = lambda: True,
) -> Done:
    """Run a command in the VM and wait for its end, at most ``timeout`` seconds.

    The agent may not run yet while a VM boots, so its absence is waited out as well, as long as
    the VM is ``alive``.
    """
    began = time.monotonic()
    deadline = began + timeout
    arguments: dict[str, Any] = {
        "path": command[0],
        "arg": command[1:],
        "capture-output": True,
    }
    if stdin is not None:
        arguments["input-data"] = base64.b64encode(stdin).decode()
    process = _patiently(socket, alive, deadline, "guest-exec", **arguments)["pid"]
    for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
        status = _patiently(socket, alive, deadline, "guest-exec-status", pid=process)
        if status["exited"]:
            return _done(status)
        if time.monotonic() > deadline:
            break
        time.sleep(max(pause, LONG * (time.monotonic() - began)))
    with contextlib.suppress(AbsentError):
        ask(socket, "guest-exec", path="kill", arg=["-KILL", str(process)])
    raise LabError(f"{command[0]} did not end within {timeout:.0f} s and was killed")


def _patiently(
    socket: Path, alive: Callable[[], bool], deadline: float, command: str, **arguments: Any
) -> Any:
    """Ask again until the agent is there, or never will be."""
    while True:
        left = deadline - time.monotonic()
        try:
            return ask(socket, command, max(1.0, min(TIMEOUT, left)), **arguments)
        except AbsentError as error:
            if not alive():
                raise LabError(f"the VM {socket.parent.name} was switched off meanwhile") from error
            if time.monotonic() > deadline:
                raise LabError(
                    f"the agent in {socket.parent.name} does not answer: the VM boots still, "
                    f"hangs, or is gone; see `python3 -m lab console {socket.parent.name}`"
                ) from error
            time.sleep(PAUSES[-1])


def _sync(channel: sockets.Channel) -> None:
    """Pass over what an earlier asker left half said: it ends at the answer to our number."""
    number = secrets.randbelow(2**31)
    sync = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
    channel.send(sync, prefix=b"\xff")
    while channel.receive().get("return") != number:
        pass


def _done(status: dict[str, Any]) -> Done:
    code = 128 + status["signal"] if "signal" in status else status.get("exitcode", 1)
    return Done(
        code,
        base64.b64decode(status.get("out-data", "")),
        base64.b64decode(status.get("err-data", "")),
    )
