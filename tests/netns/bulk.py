"""A TCP server that takes as much as it is told, then answers with as much as it is asked for.

bulk.py serve HOST PORT              ends with its parent's signal
bulk.py call HOST PORT SENT ASKED    prints ASKED once as many bytes came back; fails after four
                                     idle seconds

The server answers only once it has all SENT bytes, as TLS does with a ClientHello.
"""

from __future__ import annotations

import socket
import sys
import threading

IDLE = 4  # seconds; three retransmissions of a first segment fit in
FAMILY = {True: socket.AF_INET6, False: socket.AF_INET}


def serve(host: str, port: int) -> None:
    """Answer each connection; a caller that hangs keeps nobody else waiting."""
    with socket.create_server((host, port), family=FAMILY[":" in host]) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    """Take what is announced, then send what is asked for."""
    with connection:
        connection.settimeout(5 * IDLE)  # it is the caller who gives up
        try:
            got = connection.recv(65536)
            sent, asked = map(int, got.partition(b"\n")[0].split())
            left = sent - len(got)
            while left > 0 and (more := connection.recv(65536)):
                left -= len(more)
            if left == 0:
                connection.sendall(bytes(asked))
        except OSError:
            return  # the caller's side says that nothing came


def call(host: str, port: int, sent: int, asked: int) -> int:
    """Send ``sent`` bytes at once and count what comes back; OSError where it is not all."""
    with socket.create_connection((host, port), timeout=IDLE) as caller:
        caller.sendall(f"{sent} {asked}\n".encode().ljust(sent, b"\0"))
        count = 0
        while count < asked and (more := caller.recv(65536)):
            count += len(more)
        if count < asked:
            raise OSError(f"{count} bytes came of {asked}")
        return count


if __name__ == "__main__":
    verb, host, port, *sizes = sys.argv[1:]
    if verb == "serve":
        serve(host, int(port))
    try:
        print(call(host, int(port), *map(int, sizes)))
    except OSError as error:
        sys.exit(f"hangs: {error}")
