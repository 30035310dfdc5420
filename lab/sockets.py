"""Line-by-line JSON over the Unix sockets in a VM's folder."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Channel:
    """One connection that sends and receives one JSON object per line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""

    def wait(self, timeout: float) -> None:
        """From here on, wait so many seconds for each send and receive."""
        self._connection.settimeout(timeout)

    def send(self, message: dict[str, Any], *, prefix: bytes = b"") -> None:
        """Send one object; ``prefix`` goes before it as it is."""
        self._connection.sendall(prefix + json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Wait for the next object; EOFError when the other side hangs up."""
        while b"\n" not in self._pending:
            data = self._connection.recv(65536)
            if not data:
                raise EOFError("the other side closed the connection")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        # QEMU's guest agent puts a byte 0xff, never part of UTF-8, before an answer to a sync.
        value = json.loads(line.rpartition(b"\xff")[2])
        return value if isinstance(value, dict) else {"return": value}


@contextlib.contextmanager
def connected(path: Path, timeout: float) -> Iterator[Channel]:
    """Connect to a Unix socket, however long its folder's path is.

    Addresses of Unix sockets end at 108 bytes, so the folder is named by a descriptor.
    ``timeout``, in seconds, holds for each send and receive.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            yield Channel(connection)
    finally:
        os.close(folder)
