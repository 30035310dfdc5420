"""The service at home, the same for every arm: bytes and datagrams go back as they came.

    service.py HOST PORT       TCP and UDP; ends with its parent's signal

A byte ``w`` is answered by the address that the service sees, and a newline.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import sys
from typing import Any

WHO = b"w"


def main(host: str, port: int) -> None:
    """Serve all callers from one thread."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    tcp = socket.create_server((host, port), backlog=1024)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, port))
    waiting = selectors.DefaultSelector()
    for sock in (tcp, udp):
        sock.setblocking(False)
        waiting.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            sock: Any = key.fileobj
            if sock is tcp:
                with contextlib.suppress(OSError):
                    caller, _ = tcp.accept()
                    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    waiting.register(caller, selectors.EVENT_READ)
            elif sock is udp:
                with contextlib.suppress(OSError):
                    while True:
                        udp.sendto(*udp.recvfrom(2048))
            else:
                try:
                    said = sock.recv(4096)
                    if said == WHO:
                        said = f"{sock.getpeername()[0]}\n".encode()
                    sock.sendall(said)
                except OSError:
                    said = b""
                if not said:
                    waiting.unregister(sock)
                    sock.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
