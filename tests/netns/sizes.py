"""Messages of a size, that no router may cut, and what the network says of them; IPv4.

sizes.py serve HOST PORT      answers "N" with N bytes, by TCP and UDP; by UDP it sends the name of
                              the error where N bytes do not fit what it knows of the path
sizes.py tcp HOST PORT N      asks for N bytes and prints how many came
sizes.py udp HOST PORT N      the same by one datagram; prints the error's name where that came
sizes.py push HOST PORT N     sends N bytes and prints the ICMP error: TYPE CODE MTU FROM
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import threading

WAIT = 3  # seconds
IP_RECVERR, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 11, 10, 2  # ip(7); Python has no names for them


def whole(sock: socket.socket) -> None:
    """No datagram of it is cut on its way: one that is too large is an error."""
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)


def serve(host: str, port: int) -> None:
    tcp = socket.create_server((host, port))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    whole(udp)
    udp.bind((host, port))

    def accept() -> None:
        while True:
            connection, _ = tcp.accept()
            with connection:
                connection.settimeout(2 * WAIT)
                try:
                    connection.sendall(bytes(int(connection.recv(64))))
                    connection.recv(1)  # until the caller has gone
                except OSError:
                    continue

    threading.Thread(target=accept, daemon=True).start()
    while True:
        asked, caller = udp.recvfrom(64)
        try:
            udp.sendto(bytes(int(asked)), caller)
        except OSError as error:
            udp.sendto(errno.errorcode[error.errno or 0].encode(), caller)


def fetch(kind: str, host: str, port: int, size: int) -> str:
    stream = kind == "tcp"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as own:
        own.settimeout(WAIT)
        own.connect((host, port))
        own.send(str(size).encode())
        got = 0
        try:
            while got < size and (piece := own.recv(65536)):
                if piece[:1] == b"E":
                    return piece.decode()
                got += len(piece)
        except TimeoutError:
            pass
        return str(got)


def push(host: str, port: int, size: int) -> str:
    """What comes back of one datagram, from the socket's queue of errors; empty for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        whole(own)
        own.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        own.connect((host, port))
        own.send(bytes(size))
        waiting = select.poll()
        waiting.register(own, select.POLLERR)
        if not waiting.poll(WAIT * 1000):
            return ""
        _, notes, _, _ = own.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
        for level, kind, data in notes:
            if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR):
                # struct sock_extended_err, and the address of who said so.
                _, _, icmp, code, mtu = struct.unpack_from("=IBBBxI", data)
                return f"{icmp} {code} {mtu} {socket.inet_ntoa(data[20:24])}"
        return ""


if __name__ == "__main__":
    verb, host, port, *rest = sys.argv[1:]
    if verb == "serve":
        serve(host, int(port))
    elif verb == "push":
        print(push(host, int(port), int(rest[0])))
    else:
        print(fetch(verb, host, int(port), int(rest[0])))
