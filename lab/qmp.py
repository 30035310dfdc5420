"""QEMU's monitor: ask a running VM's QEMU something over its QMP socket."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import sockets
from lab.errors import LabError

TIMEOUT = 30.0  # seconds for one answer; a loaded machine under emulation takes its time


class Monitor:
    """An open QMP session."""

    def __init__(self, channel: sockets.Channel) -> None:
        self._channel = channel

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one QMP command and give what it returns."""
        self._channel.send({"execute": command, "arguments": arguments})
        while True:
            answer = self._channel.receive()
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error'].get('desc', answer)}")
            if "return" in answer:
                return answer["return"]
            # Everything else is an event that nobody here waits for.

    def human(self, line: str) -> str:
        """Run a command of the human monitor, which alone can forward ports; give its text."""
        return str(self.execute("human-monitor-command", **{"command-line": line})).strip()


@contextlib.contextmanager
def session(socket: Path, timeout: float = TIMEOUT) -> Iterator[Monitor]:
    """Open a QMP session with the VM whose socket this is.

    Its end is a LabError whatever breaks: QEMU gone, hung, or talking something else.
    """
    try:
        with sockets.connected(socket, timeout) as channel:
            if "QMP" not in channel.receive():
                raise LabError(f"{socket} did not greet as QEMU's monitor does")
            monitor = Monitor(channel)
            monitor.execute("qmp_capabilities")
            yield monitor
    except (OSError, EOFError, ValueError) as error:
        raise LabError(
            f"the VM {socket.parent.name} does not answer on its monitor "
            f"({str(error) or type(error).__name__}); see `python3 -m lab status`"
        ) from error
