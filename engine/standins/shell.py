"""Running a child: its output line by line, its exit status, and its end on cancel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """How a child ended. ``status`` is negative for a signal; ``output`` is both streams mixed."""

    status: int
    stdout: str
    stderr: str
    output: str
    timed_out: bool = False

    @property
    def ending(self) -> str:
        """The status in words, empty for success."""
        if self.timed_out:
            return "stopped at its time limit"
        if self.status < 0:
            return f"signal: {signal.strsignal(-self.status) or -self.status}".lower()
        return f"exit status {self.status}" if self.status else ""


class Children:
    """The children now running, so that they can all be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> threading.Event:
        """Set once nothing may be started any more."""
        return self._cancelled

    def cancel(self) -> None:
        """Kill every child with its descendants; later ones are not started."""
        self._cancelled.set()
        with self._lock:
            running = list(self._running)
        for child in running:
            kill_tree(child.pid)

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        echo_stdout: Echo | None = None,
        echo_stderr: Echo | None = None,
        limit: float = 0,
    ) -> Result:
        """Run to the end of the child and of everything that holds its output open.

        The child stays in this process's group, as with the official plugin: the engine ends
        that group when it is done, so a daemon has to leave it (``setsid``).

        Raises ``OSError`` where the program or ``cwd`` is missing.
        """
        with self._lock:
            if self._cancelled.is_set():
                raise InterruptedError("cancelled")
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                cwd=cwd,
            )
            self._running.add(child)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            kill_tree(child.pid)

        timer = threading.Timer(limit, expire)
        if limit > 0:
            timer.start()
        try:
            stdout, stderr, both = bytearray(), bytearray(), bytearray()
            assert child.stdout is not None and child.stderr is not None  # noqa: S101
            work = [
                threading.Thread(target=_drain, args=(child.stdout, stdout, both, echo_stdout)),
                threading.Thread(target=_drain, args=(child.stderr, stderr, both, echo_stderr)),
            ]
            if child.stdin is not None:
                work.append(threading.Thread(target=_feed, args=(child.stdin, stdin)))
            for thread in work:
                thread.start()
            status = child.wait()
            for thread in work:
                thread.join()
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(child)
        out, err, mixed = (data.decode("utf-8", "replace") for data in (stdout, stderr, both))
        return Result(status, out, err, mixed, timed_out=expired.is_set())


def _drain(
    stream: IO[bytes], kept: bytearray, both: bytearray, echo: Callable[[str], None] | None
) -> None:
    with stream:
        for line in stream:
            kept += line
            both += line
            if echo is not None:
                echo(line.decode("utf-8", "replace").rstrip("\r\n"))


def _feed(stream: IO[bytes], text: str) -> None:
    try:
        with stream:
            stream.write(text.encode())
    except BrokenPipeError:
        return  # a command need not read what it is given


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants, parents first so that none is started anew."""
    children = _children(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_tree(child)


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except (OSError, ValueError):
        return []
