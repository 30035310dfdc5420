"""The hosts on a caller's way to a home, and the delay and loss of that home's line.

    client 203.0.113.9 ── internet ─┬─ 198.51.100.7 relay
                                    └─ 192.0.2.2 router 192.168.1.1
                                                   192.168.1.2 home

Not the NAT of carrier and router in ``tests/netns/topology.py``: those are others' machines, and
here their work is done by the CPUs that are measured. It would count against who sends a datagram
for each segment, as a tunnel does; a proxy's own TCP passes a host as packets of up to 64 KiB.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.netns.topology import (
    PUBLIC_ADDRESSES,
    PUBLIC_CABLES,
    PUBLIC_GATEWAYS,
    Host,
    cable,
    forward,
    hosts,
    number,
    route,
)

ROUTER, HOUSE, HOME = "192.0.2.2", "192.168.1.0/24", "192.168.1.2"
CABLES = (
    *PUBLIC_CABLES,
    ("router", "wan", "internet", "router"),
    ("home", "eth0", "router", "lan"),
)
ADDRESSES = (
    *PUBLIC_ADDRESSES,
    ("internet", "router", "192.0.2.1/24"),
    ("router", "wan", f"{ROUTER}/24"),
    ("router", "lan", "192.168.1.1/24"),
    ("home", "eth0", f"{HOME}/24"),
)
GATEWAYS = (*PUBLIC_GATEWAYS, ("router", "192.0.2.1"), ("home", "192.168.1.1"))
ENDS = (("internet", "router"), ("router", "wan"))  # of home's line, with their devices
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
    with hosts("client internet relay router home", env) as net:
        cable(net, *CABLES)
        number(net, *ADDRESSES)
        route(net, *GATEWAYS)
        net["internet"].run(f"ip route add {HOUSE} via {ROUTER}")
        forward(net, "internet", "relay", "router", "home")
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
