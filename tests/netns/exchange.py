"""An exchange that goes on while the network changes under it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .topology import Host

HOLD = [sys.executable, str(Path(__file__).resolve().parent / "hold.py")]


@dataclass
class Exchange:
    """A connected socket on a host; each ``ask`` sends a message and gives what came back.

    An error comes back as its name: ``TimeoutError`` after two seconds, ``ConnectionRefusedError``.
    """

    process: subprocess.Popen[str]

    def ask(self, message: str = "?") -> str:
        assert self.process.stdin
        self.process.stdin.write(f"{message}\n")
        self.process.stdin.flush()
        return self.line()

    def line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the exchange ended"
        return line.strip()


@contextlib.contextmanager
def exchange(host: Host, kind: str, to: str, port: int, source: int = 0) -> Iterator[Exchange]:
    """One that is connected; an AssertionError tells why where nobody takes the connection."""
    with subprocess.Popen(
        host.argv([*HOLD, kind, to, str(port), str(source)]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=host.env,
    ) as process:
        try:
            made = Exchange(process)
            assert (said := made.line()) == "connected", said
            yield made
        finally:
            process.terminate()
