"""A server that tells each caller the address it saw, and a client; for any namespace.

HOST may be an IPv4 or an IPv6 address.

talk.py serve HOST PORT            TCP and UDP; ends with its parent's signal
talk.py segments HOST PORT         TCP alone, with the size of the largest segment to send
talk.py size HOST PORT             prints the largest segment that the client may send
talk.py tcp|udp HOST PORT [SPORT [FROM]]  prints the answer, or fails within two seconds
talk.py count HOST PORT            TCP: numbers its bytes until the caller has enough
talk.py download HOST PORT SECONDS [SILENCE]
                                   prints how many numbered bytes came, each as it should be; fails
                                   after a silence of 5 seconds, or so many; ends at SIGTERM too, as
                                   ``pings`` does
talk.py echo HOST PORT             UDP: what came goes back
talk.py pings HOST PORT SECONDS    prints how many datagrams were sent and how many came back
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time

ENOUGH = threading.Event()  # SIGTERM: the caller has heard enough


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
        with contextlib.suppress(OSError):  # whom this host has no route to stays unanswered
            udp.sendto(caller[0].encode(), caller)


def segments(host: str, port: int) -> None:
    """Answer each connection with the largest segment that may be sent on it, in bytes."""
    with socket.create_server((host, port), family=family(host)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                size = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
                connection.sendall(str(size).encode())


def call(kind: str, host: str, port: int, source: int = 0, own: str = "") -> str:
    """What the server saw; ``source`` and ``own`` are the caller's port and address."""
    stream = kind != "udp"
    with socket.socket(family(host), socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as caller:
        caller.settimeout(2)
        caller.bind((own, source))
        caller.connect((host, port))
        if kind == "size":
            return str(caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        if not stream:
            caller.send(b"?")
        return caller.recv(2048).decode()


def count(host: str, port: int) -> None:
    """Send 1,000 numbered words every 20 ms on each connection."""

    def send(connection: socket.socket) -> None:
        number = 0
        with contextlib.suppress(OSError), connection:
            while True:
                block = range(number, number + 1000)
                connection.sendall(b"".join(i.to_bytes(8, "big") for i in block))
                number += 1000
                time.sleep(0.02)  # the pace, not a wait

    with socket.create_server((host, port), family=family(host)) as server:
        while True:
            threading.Thread(target=send, args=(server.accept()[0],), daemon=True).start()


def download(host: str, port: int, seconds: float, silence: float = 5) -> int:
    """Read for a time; each word must be the one after the last, and come before a silence."""
    expected, rest = 0, b""
    end = time.monotonic() + seconds
    with socket.create_connection((host, port), timeout=5) as caller:
        caller.settimeout(silence)
        while time.monotonic() < end and not ENOUGH.is_set():
            got = caller.recv(65536)
            if not got:
                raise OSError(f"the stream ended after {expected} words")
            rest += got
            for at in range(0, len(rest) - 7, 8):
                if int.from_bytes(rest[at : at + 8], "big") != expected:
                    raise OSError(f"word {expected} is missing")
                expected += 1
            rest = rest[len(rest) - len(rest) % 8 :]
    return expected * 8


def echo(host: str, port: int) -> None:
    """Send each datagram back."""
    udp = socket.socket(family(host), socket.SOCK_DGRAM)
    udp.bind((host, port))
    while True:
        data, caller = udp.recvfrom(2048)
        udp.sendto(data, caller)


def pings(host: str, port: int, seconds: float) -> str:
    """Send a datagram every 10 ms from one port for a time, and count what comes back."""
    back: set[bytes] = set()
    with socket.socket(family(host), socket.SOCK_DGRAM) as caller:
        caller.connect((host, port))
        caller.settimeout(0.5)

        def listen() -> None:
            while True:
                try:
                    back.add(caller.recv(64))
                except OSError:  # nothing has come for a while, or it was refused
                    if over.is_set():
                        return

        over = threading.Event()
        listener = threading.Thread(target=listen)
        listener.start()
        sent = 0
        try:
            while sent < seconds * 100 and not ENOUGH.wait(0.01):
                with contextlib.suppress(ConnectionRefusedError):
                    caller.send(sent.to_bytes(8, "big"))
                sent += 1
        finally:
            over.set()
            listener.join()
    return f"{sent} {len(back)}"


if __name__ == "__main__":
    verb, host, port, *rest = sys.argv[1:]
    if verb in ("download", "pings"):
        signal.signal(signal.SIGTERM, lambda *_: ENOUGH.set())
    if verb in ("count", "echo"):
        {"count": count, "echo": echo}[verb](host, int(port))
    if verb in ("download", "pings"):
        print({"download": download, "pings": pings}[verb](host, int(port), *map(float, rest)))
        sys.exit()
    if verb == "serve":
        serve(host, int(port))
    if verb == "segments":
        segments(host, int(port))
    try:
        print(call(verb, host, int(port), *map(int, rest[:1]), *rest[1:]))
    except OSError as error:
        sys.exit(f"no answer: {error}")
