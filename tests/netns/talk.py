"""A server that tells each caller the address it saw, and a client; for any namespace.

HOST may be an IPv4 or an IPv6 address.

talk.py serve HOST PORT            TCP and UDP; ends with its parent's signal
talk.py segments HOST PORT         TCP alone, with the size of the largest segment to send
talk.py size HOST PORT             prints the largest segment that the client may send
talk.py tcp|udp HOST PORT [SPORT]  prints the answer, or fails within two seconds
"""

from __future__ import annotations

import socket
import sys
import threading


def family(host: str) -> socket.AddressFamily:
    """The address family that an address is of."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def serve(host: str, port: int) -> None:
    """Answer each connection and each datagram with the caller's address."""
    tcp = socket.create_server((host, port), family=family(host))
    udp = socket.socket(family(host), socket.SOCK_DGRAM)
    if family(host) == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    udp.bind((host, port))

    def accept() -> None:
        while True:
            connection, caller = tcp.accept()
            with connection:
                connection.sendall(caller[0].encode())

    threading.Thread(target=accept, daemon=True).start()
    while True:
        _, caller = udp.recvfrom(2048)
        udp.sendto(caller[0].encode(), caller)


def segments(host: str, port: int) -> None:
    """Answer each connection with the largest segment that may be sent on it, in bytes."""
    with socket.create_server((host, port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                size = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                connection.sendall(str(size).encode())


def call(kind: str, host: str, port: int, source: int = 0) -> str:
    """What the server saw."""
    stream = kind != "udp"
    with socket.socket(family(host), socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as caller:
        caller.settimeout(2)
        caller.bind(("", source))
        caller.connect((host, port))
        if kind == "size":
            return str(caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        if not stream:
            caller.send(b"?")
        return caller.recv(2048).decode()


if __name__ == "__main__":
    verb, host, port, *rest = sys.argv[1:]
    if verb == "serve":
        serve(host, int(port))
    if verb == "segments":
        segments(host, int(port))
    try:
        print(call(verb, host, int(port), *map(int, rest)))
    except OSError as error:
        sys.exit(f"no answer: {error}")
