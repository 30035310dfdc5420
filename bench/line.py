"""The hosts on a caller's way to a home, and the delay and loss of that home's line.

    client 203.0.113.9 ── internet ─┬─ 198.51.100.7 relay
                                    └─ 192.0.2.2 carrier 100.64.0.1   NAT
                                          100.64.0.2 router 192.168.1.1   NAT
                                                     192.168.1.2 home

The part of ``tests/netns/topology.py`` that a packet passes here, for many arms at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.netns.topology import (
    ADDRESSES,
    CABLES,
    GATEWAYS,
    Host,
    cable,
    hand_on,
    hosts,
    number,
    route,
)

ENDS = (("internet", "carrier"), ("carrier", "wan"))  # of home's line, with their devices
ROOM = 20_000  # packets that wait in the line's delay; more than any arm has under way


@dataclass(frozen=True)
class Line:
    """What a home's line adds: milliseconds there and back, percent of packets each way."""

    delay: int = 0
    loss: float = 0

    def __str__(self) -> str:
        return f"{self.delay} ms, {self.loss:g} % loss" if self.delay or self.loss else "none"


@contextlib.contextmanager
def way(env: dict[str, str]) -> Iterator[dict[str, Host]]:
    """The hosts, joined."""
    with hosts("client internet relay carrier router home", env) as net:
        cable(net, *CABLES, ("home", "eth0", "router", "lan"))
        number(net, *ADDRESSES)
        route(net, *GATEWAYS)
        hand_on(net)
        yield net


def can_delay(net: dict[str, Host]) -> bool:
    """Whether this kernel has netem; leaves none behind."""
    host, dev = ENDS[0]
    try:
        net[host].run(f"tc qdisc replace dev {dev} root netem delay 1ms")
    except AssertionError:
        return False
    net[host].run(f"tc qdisc del dev {dev} root")
    return True


def become(net: dict[str, Host], line: Line) -> None:
    """Give home's line its delay and loss, half of the delay each way."""
    for host, dev in ENDS:
        shape = f"delay {line.delay / 2:g}ms loss {line.loss:g}% limit {ROOM}"
        net[host].run(f"tc qdisc replace dev {dev} root netem {shape}")
