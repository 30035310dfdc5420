"""Servers and callers of one host, in one process: a probe costs a thread, not an interpreter.

Runs inside a host's namespaces. One JSON request a line on standard input, one JSON answer a line
on standard output; requests run side by side and end in any order.

    {"id": 1, "serve": [["0.0.0.0", 8080, "address"]]}     -> {"id": 1, "seen": "ready"}
    {"id": 2, "call": {"kind": "tcp", "to": "...", "port": 80, "wait": 1.0}}
                                                           -> {"id": 2, "seen": "203.0.113.9"}
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

LARGE = 1400  # bytes of UDP payload: more than fits the tunnel in one piece
CLOSED, PROHIBITED, SILENCE = "closed", "prohibited", "silence"
REFUSALS = {
    errno.ECONNREFUSED: CLOSED,
    errno.EHOSTUNREACH: PROHIBITED,
    errno.EACCES: PROHIBITED,
}
TRANSPARENT = {
    socket.AF_INET: (socket.SOL_IP, 19),  # linux/in.h: IP_TRANSPARENT
    socket.AF_INET6: (socket.IPPROTO_IPV6, 75),  # linux/in6.h: IPV6_TRANSPARENT
}
ECHO_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address: str, port: int, what: str) -> None:
    """Answer with the caller's address, or with the largest segment that may be sent to it.

    Where ``what`` is ``large``, the address fills a datagram of ``LARGE`` bytes.
    """
    stream = socket.create_server((address, port), family=family(address), backlog=64)
    packets = socket.socket(family(address), socket.SOCK_DGRAM)
    if family(address) == socket.AF_INET6:
        packets.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    packets.bind((address, port))

    def accept() -> None:
        while True:
            connection, caller = stream.accept()
            with connection, contextlib.suppress(OSError):
                said = caller[0]
                if what == "segments":
                    said = str(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
                connection.sendall(said.encode())

    def answer() -> None:
        while True:
            # An ICMP error about an earlier answer, or no way to this caller.
            with contextlib.suppress(OSError):
                _, caller = packets.recvfrom(4096)
                text = caller[0].partition("%")[0].encode()
                packets.sendto(text.ljust(LARGE if what == "large" else 0), caller)

    for loop in (accept, answer):
        threading.Thread(target=loop, daemon=True).start()


def call(ask: dict[str, Any]) -> str:
    """What the far side saw, or how it was refused."""
    kinds: dict[str, Callable[[dict[str, Any]], str]] = {
        "tcp": _stream,
        "size": _stream,
        "udp": _datagram,
        "large": _datagram,
        "ping": _ping,
        "send": _send,
        "hear": _hear,
    }
    try:
        return kinds[ask["kind"]](ask)
    except TimeoutError:
        return SILENCE
    except OSError as error:
        return REFUSALS.get(error.errno or 0, f"error: {error.strerror}")


def _socket(ask: dict[str, Any], kind: int, protocol: int = 0) -> socket.socket:
    made = socket.socket(family(ask["to"]), kind, protocol)
    made.settimeout(ask["wait"])
    if ask.get("device"):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, ask["device"].encode())
    if ask.get("source") or ask.get("from_port"):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # An address that is not ours as well: whoever is outside may forge one.
        made.setsockopt(*TRANSPARENT[made.family], 1)
        made.bind(_address(ask.get("source", ""), ask.get("from_port", 0), made.family))
    return made


def _address(host: str, port: int, ip: socket.AddressFamily | int) -> tuple[Any, ...]:
    """With its scope, where it has one."""
    flags = socket.AI_PASSIVE
    return tuple(socket.getaddrinfo(host or None, port, ip, socket.SOCK_DGRAM, 0, flags)[0][4])


def _target(ask: dict[str, Any], port: int) -> tuple[Any, ...]:
    return _address(ask["to"], port, family(ask["to"]))


def _stream(ask: dict[str, Any]) -> str:
    with _socket(ask, socket.SOCK_STREAM) as caller:
        caller.connect(_target(ask, ask["port"]))
        if ask["kind"] == "size":
            return str(caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        return caller.recv(4096).decode()


def _datagram(ask: dict[str, Any]) -> str:
    with _socket(ask, socket.SOCK_DGRAM) as caller:
        caller.connect(_target(ask, ask["port"]))
        caller.send(b"?")
        return caller.recv(4096).decode().strip()


def _send(ask: dict[str, Any]) -> str:
    with _socket(ask, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"?", _target(ask, ask["port"]))
    return "sent"


def _hear(ask: dict[str, Any]) -> str:
    """What comes to an address of this host's, whoever asked for it."""
    with _socket(ask, socket.SOCK_DGRAM) as ear:
        return ear.recv(4096).decode().strip()


def _ping(ask: dict[str, Any]) -> str:
    ip = family(ask["to"])
    protocol = socket.IPPROTO_ICMP if ip == socket.AF_INET else socket.getprotobyname("ipv6-icmp")
    mark = os.urandom(8)
    body = struct.pack("!BBHHH", ECHO_REQUEST[ip], 0, 0, os.getpid() & 0xFFFF, 1) + mark
    if ip == socket.AF_INET:  # the kernel sums ICMPv6 itself
        body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    with _socket(ask, socket.SOCK_RAW, protocol) as caller:
        caller.sendto(body, _target(ask, 0))
        until = time.monotonic() + ask["wait"]
        while time.monotonic() < until:
            packet, sender = caller.recvfrom(4096)
            header = (packet[0] & 15) * 4 if ip == socket.AF_INET else 0
            if packet[header] != ECHO_REQUEST[ip] and packet.endswith(mark):
                return str(sender[0])
    return SILENCE


def _checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def advertise(device: str) -> str:
    """One router advertisement (RFC 4861) without a prefix: this host is the default router."""
    protocol = socket.getprotobyname("ipv6-icmp")
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol) as router:
        router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        scope = socket.if_nametoindex(device)
        router.sendto(
            struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0, 0, scope)
        )
    return "sent"


def handle(request: dict[str, Any]) -> str:
    """The answer to one request."""
    if "serve" in request:
        for address, port, what in request["serve"]:
            serve(address, port, what)
        return "ready"
    return advertise(request["advertise"]) if "advertise" in request else call(request["call"])


def main() -> None:
    said = threading.Lock()

    def work(request: dict[str, Any]) -> None:
        try:
            seen = handle(request)
        except Exception as error:
            seen = f"error: {error!r}"
        with said:
            print(json.dumps({"id": request["id"], "seen": seen}), flush=True)

    for line in sys.stdin:
        threading.Thread(target=work, args=(json.loads(line),), daemon=True).start()


if __name__ == "__main__":
    main()
