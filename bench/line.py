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

CARRIER, ROUTER = "192.0.2.2", "100.64.0.2"  # towards a house, as the picture has them
HOUSE, HOME = "192.168.1.0/24", "192.168.1.2"
ENDS = (("internet", "carrier"), ("carrier", "wan"))  # of home's line, with their devices
SENDERS = ("client", "relay", "home")
MANY = 65_535  # segments that a device takes as one, by default
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
        for host in ("client", "home"):  # thousands of connections a second wait for their end
            net[host].run("sysctl -qw net.ipv4.tcp_tw_reuse=1")
            net[host].run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65535"])
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


def send_segments(net: dict[str, Host], many: int) -> None:
    """How many segments leave a host as one packet.

    netem loses what it is given as one, so what it is to lose must be as a wire carries it.
    """
    for host in SENDERS:
        net[host].run(f"ip link set eth0 gso_max_segs {many}")


def become(net: dict[str, Host], line: Line) -> None:
    """Give home's line its delay and loss, half of the delay each way."""
    send_segments(net, 1 if line.delay or line.loss else MANY)
    for host, dev in ENDS:
        shape = f"delay {line.delay / 2:g}ms loss {line.loss:g}% limit {ROOM}"
        net[host].run(f"tc qdisc replace dev {dev} root netem {shape}")
