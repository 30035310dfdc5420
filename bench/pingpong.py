"""One byte there and back, over one TCP connection without Nagle's delay.

pingpong.py serve HOST PORT        ends with its parent's signal
pingpong.py call HOST PORT COUNT   prints the median and the 99th percentile, in microseconds
"""

from __future__ import annotations

import socket
import statistics
import sys
import time

WARM_UP = 20  # round trips that are not counted


def serve(host: str, port: int) -> None:
    """Send back each byte, to one caller after the other."""
    with socket.create_server((host, port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while byte := connection.recv(1):
                    connection.sendall(byte)


def call(host: str, port: int, count: int) -> list[float]:
    """The round trips, in seconds."""
    found = []
    with socket.create_connection((host, port), timeout=10) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(WARM_UP + count):
            start = time.perf_counter()
            caller.sendall(b"?")
            caller.recv(1)
            found.append(time.perf_counter() - start)
    return found[WARM_UP:]


if __name__ == "__main__":
    verb, host, port, *rest = sys.argv[1:]
    if verb == "serve":
        serve(host, int(port))
    trips = call(host, int(port), int(rest[0]))
    print(statistics.median(trips) * 1e6, statistics.quantiles(trips, n=100)[98] * 1e6)
