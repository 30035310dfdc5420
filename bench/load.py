"""All that is asked of one forwarded port: much at once, one byte there and back, new connections.

load.py serve HOST PORT                          ends with its parent's signal
load.py call HOST PORT SECONDS                   each for so long; prints JSON
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import struct
import sys
import threading
import time

MUCH, LITTLE = b"m", b"l"  # the first byte says what a connection is for
BLOCK = bytes(256 * 1024)
WARM_UP = 20
# Ended by a reset: a thousand a second in TIME_WAIT would leave no port to dial from.
ABORT = struct.pack("ii", 1, 0)


def serve(host: str, port: int) -> None:
    """Answer each connection in a thread of its own."""
    with socket.create_server((host, port), backlog=128) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    """Count what comes, or send back each byte."""
    with connection, contextlib.suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if connection.recv(1) == MUCH:
            count = 0
            while block := connection.recv(1 << 20):
                count += len(block)
            connection.sendall(struct.pack("!Q", count))
        else:
            while byte := connection.recv(1):
                connection.sendall(byte)


def dialled(host: str, port: int, what: bytes) -> socket.socket:
    """A connection that has said what it is for."""
    connection = socket.create_connection((host, port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(what)
    return connection


def much(host: str, port: int, seconds: float) -> float:
    """Mbit/s that arrived on one connection."""
    with dialled(host, port, MUCH) as connection:
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            connection.sendall(BLOCK)
        connection.shutdown(socket.SHUT_WR)
        count = struct.unpack("!Q", connection.recv(8, socket.MSG_WAITALL))[0]
        return float(count * 8 / 1e6 / (time.perf_counter() - start))


def trips(host: str, port: int, seconds: float) -> float:
    """The median round trip of one byte on an idle connection, in microseconds."""
    found = []
    with dialled(host, port, LITTLE) as connection:
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end or len(found) < 2 * WARM_UP:
            connection.sendall(b"?")
            connection.recv(1)
            found.append(time.perf_counter() - start)
    return statistics.median(found[WARM_UP:]) * 1e6


def dials(host: str, port: int, seconds: float) -> float:
    """New connections a second, one after the other, each with one byte there and back."""
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        with dialled(host, port, LITTLE) as connection:
            connection.sendall(b"?")
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        count += 1
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    verb, to, number, *rest = sys.argv[1:]
    if verb == "serve":
        serve(to, int(number))
    lasts = float(rest[0])
    print(
        json.dumps(
            {
                "throughput": much(to, int(number), lasts),
                "round trip": trips(to, int(number), lasts),
                "new connections": dials(to, int(number), lasts),
            }
        )
    )
