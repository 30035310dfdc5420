"""What some tests add to the picture of ``topology``.

A second house behind the same carrier, whose LAN has the same network as the first:

    carrier 100.64.1.1 ── 100.64.1.2 router2 192.168.1.1 ─┬─ 192.168.1.2 home2
                                                          └─ 192.168.1.50 lan2
A second relay, elsewhere on the internet:

    internet 192.0.2.193 ── 192.0.2.194 relay2
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .topology import NAT, Host, bridge, cable, hosts, link, number, route

RELAY2 = "192.0.2.194"


@contextlib.contextmanager
def second_house(net: dict[str, Host]) -> Iterator[dict[str, Host]]:
    """All hosts of ``net``, and router2, home2 and lan2."""
    with hosts("router2 home2 lan2", net["home"].env) as more:
        every = {**net, **more}
        cable(
            every,
            ("router2", "wan", "carrier", "lan2"),
            ("home2", "eth0", "router2", "port1"),
            ("lan2", "eth0", "router2", "port2"),
        )
        bridge(more["router2"])
        number(
            every,
            ("carrier", "lan2", "100.64.1.1/24"),
            ("router2", "wan", "100.64.1.2/24"),
            ("router2", "lan", "192.168.1.1/24"),
            ("home2", "eth0", "192.168.1.2/24"),
            ("lan2", "eth0", "192.168.1.50/24"),
        )
        route(
            every,
            ("router2", "100.64.1.1"),
            ("home2", "192.168.1.1"),
            ("lan2", "192.168.1.1"),
        )
        for host in ("router2", "home2"):
            more[host].run("sysctl -qw net.ipv4.ip_forward=1")
        more["router2"].run("nft -f -", stdin=NAT.format(dev="wan"))
        yield every


@contextlib.contextmanager
def second_relay(net: dict[str, Host]) -> Iterator[dict[str, Host]]:
    """All hosts of ``net``, and relay2."""
    with hosts("relay2", net["home"].env) as more:
        every = {**net, **more}
        link(more["relay2"], "eth0", net["internet"], "relay2")
        more["relay2"].run(f"ip addr add {RELAY2}/26 dev eth0")
        # In the phone's network, but longer: it goes there and not to the phone.
        net["internet"].run("ip addr add 192.0.2.193/26 dev relay2")
        more["relay2"].run("ip route add default via 192.0.2.193")
        more["relay2"].run("sysctl -qw net.ipv4.ip_forward=1")
        yield every
