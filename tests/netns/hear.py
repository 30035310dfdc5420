"""A connection on which one side alone speaks; for any namespace.

hear.py listen PORT FILE    IPv4 and IPv6: what comes is added to FILE, and nothing is answered
hear.py say HOST PORT       prints ``connected``; sends each line of its standard input
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path


def listen(port: int, path: str) -> None:
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def keep(connection: socket.socket) -> None:
        with connection, Path(path).open("ab", buffering=0) as file:
            while heard := connection.recv(65536):
                file.write(heard)

    while True:
        threading.Thread(target=keep, args=(server.accept()[0],), daemon=True).start()


def say(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=2) as connection:
        print("connected", flush=True)
        for line in sys.stdin:
            connection.sendall(line.encode())


if __name__ == "__main__":
    verb, first, second = sys.argv[1:]
    if verb == "listen":
        listen(int(first), second)
    else:
        say(first, int(second))
