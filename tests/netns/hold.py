"""One exchange that goes on, and a server that keeps its connections; for any namespace.

hold.py serve HOST PORT              answers each message with the caller's address
hold.py tcp|udp HOST PORT [SPORT]    prints ``connected``; for each line of standard input,
                                     sends it and prints the answer, or the name of the error
"""

from __future__ import annotations

import socket
import sys
import threading

WAIT = 2  # seconds for an answer


def serve(host: str, port: int) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, port))
    tcp = socket.create_server((host, port))

    def keep(connection: socket.socket, caller: str) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(caller.encode())

    def accept() -> None:
        while True:
            connection, caller = tcp.accept()
            threading.Thread(target=keep, args=(connection, caller[0]), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    while True:
        _, caller = udp.recvfrom(65536)
        udp.sendto(caller[0].encode(), caller)


def exchange(kind: str, host: str, port: int, source: int = 0) -> None:
    stream = kind == "tcp"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind(("", source))
        own.settimeout(WAIT)
        try:
            own.connect((host, port))
        except OSError as error:
            print(type(error).__name__)
            return
        print("connected", flush=True)
        for line in sys.stdin:
            try:
                own.send(line.encode())
                print(own.recv(65536).decode(), flush=True)
            except OSError as error:
                print(type(error).__name__, flush=True)


if __name__ == "__main__":
    verb, host, port, *rest = sys.argv[1:]
    if verb == "serve":
        serve(host, int(port))
    else:
        exchange(verb, host, int(port), *map(int, rest))
