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

from .topology import NAT, Host, hosts, link

RELAY2 = "192.0.2.194"


@contextlib.contextmanager
def second_house(net: dict[str, Host]) -> Iterator[dict[str, Host]]:
    """All hosts of ``net``, and router2, home2 and lan2."""
    with hosts("router2 home2 lan2", net["home"].env) as more:
        every = {**net, **more}
        for one, dev_one, other, dev_other in (
            ("router2", "wan", "carrier", "lan2"),
            ("home2", "eth0", "router2", "port1"),
            ("lan2", "eth0", "router2", "port2"),
        ):
            link(every[one], dev_one, every[other], dev_other)
        router = more["router2"]
        router.run("ip link add lan type bridge")
        for port in ("port1", "port2"):
            router.run(f"ip link set {port} master lan")
        router.run("ip link set lan up")
        for host, dev, address in (
            ("carrier", "lan2", "100.64.1.1/24"),
            ("router2", "wan", "100.64.1.2/24"),
            ("router2", "lan", "192.168.1.1/24"),
            ("home2", "eth0", "192.168.1.2/24"),
            ("lan2", "eth0", "192.168.1.50/24"),
        ):
            every[host].run(f"ip addr add {address} dev {dev}")
        for host, gateway in (
            ("router2", "100.64.1.1"),
            ("home2", "192.168.1.1"),
            ("lan2", "192.168.1.1"),
        ):
            more[host].run(f"ip route add default via {gateway}")
        for host in ("router2", "home2"):
            more[host].run("sysctl -qw net.ipv4.ip_forward=1")
        router.run("nft -f -", stdin=NAT.format(dev="wan"))
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
