"""What must not pass: peers beyond their reach, forged addresses, neighbours of the relay.

Each is tried, and tried again with the one rule taken away that refuses it: then it passes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import RELAY, RELAY6, Lab, make
from .topology import internet

NOBODY = ["", ""]
INTERNET, INTERNET6 = "198.51.100.1", "2001:db8:7::1"
FORWARDS = [
    "80:8080/both",
    {
        "port": 81,
        "to": 8080,
        "protocol": "both",
        "from": ["172.16.0.0/24", "fd00::/8"],
    },
]
HOMES = [{"name": "home", "forwards": FORWARDS}, {"name": "other", "forwards": ["90:8080/both"]}]
DEVICES = [{"name": "phone", "reach": []}, {"name": "laptop", "reach": ["homes", "devices"]}]


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"homes": HOMES, "devices": DEVICES})
        made.relay_up()
        made.home_up()
        made.home_up(name="other", host="lan")
        made.device_up("phone")
        made.device_up("laptop", host="laptop")
        for host in ("home", "lan", "laptop"):
            made.serve_both(host, 8080)
        yield made


def reload(lab: Lab) -> None:
    """The relay's rules as they were generated, and no flow of before."""
    relay = lab.net["relay"]
    for family, tool in (("ip", "iptables"), ("ip6", "ip6tables")):
        relay.run(f"sh -c 'cat /etc/wireguard/wg0.{family}.nft | nft -f -'")
        relay.run(f"sh -c 'cat /etc/wireguard/wg0.{tool} | {tool}-restore --noflush'")
        relay.run(f"conntrack -D -f {'ipv6' if family == 'ip6' else 'ipv4'}", check=False)


@pytest.mark.parametrize("name", ["other", "laptop"])
def test_a_home_dials_nobody_in_the_tunnel(lab: Lab, name: str) -> None:
    """An intruder at one home is not at the next; and it may route all it likes."""
    home, relay = lab.net["home"], lab.net["relay"]
    tool = {"ip": "iptables", "ip6": "ip6tables"}
    for family, mine, theirs in zip(tool, lab.inner("home"), lab.inner(name), strict=True):
        home.run(f"ip route add {theirs} dev wg0 src {mine}", check=False)
        assert lab.both(8080, host="home", to=theirs) == NOBODY
        relay.run(f"{tool[family]} -D WG0-FORWARD 4")
        try:
            assert lab.both(8080, host="home", to=theirs) == [mine, mine]
        finally:
            reload(lab)
        assert lab.both(8080, host="home", to=theirs) == NOBODY


def test_a_peer_has_no_address_but_its_own(lab: Lab) -> None:
    """The phone, which reaches nobody, sends as the laptop, which reaches all."""
    phone, relay = lab.net["phone"], lab.net["relay"]
    laptop, laptop6 = lab.inner("laptop")
    home, home6 = lab.inner("home")
    for own, to in ((laptop, home), (laptop6, home6)):
        family = "-6" if ":" in own else "-4"
        phone.run(f"ip {family} addr add {own} dev wg0 {'nodad' if ':' in own else ''}")
        assert [lab.call(k, 8080, host="phone", to=to, own=own) for k in ("tcp", "udp")] == NOBODY
    # The off-case: WireGuard lets it pass where the relay's peers say so.
    lab.net["laptop"].run("wg-quick down wg0")
    peer = lab.keys.peers["phone"].public
    relay.run(f"wg set wg0 peer {peer} allowed-ips {laptop}/32,{laptop6}/128")
    try:
        for own, to in ((laptop, home), (laptop6, home6)):
            assert [lab.call(k, 8080, host="phone", to=to, own=own) for k in ("tcp", "udp")] == [
                own,
                own,
            ]
    finally:
        for name in ("phone", "laptop"):
            allowed = ",".join(lab.inner(name))
            relay.run(f"wg set wg0 peer {lab.keys.peers[name].public} allowed-ips {allowed}")
        phone.run("wg-quick down wg0")
        lab.device_up("phone")
        lab.device_up("laptop", host="laptop")


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_nobody_outside_passes_for_a_peer(lab: Lab, family: str) -> None:
    """A datagram from the internet with a forged source in the tunnel's network.

    Its answer goes to whom it names, so home is asked whom it learned of.
    """
    client, home, relay = lab.net["client"], lab.net["home"], lab.net["relay"]
    six = family == "ip6"
    forged = lab.inner("laptop")[six]
    client.run(f"ip addr add {forged} dev lo {'nodad' if six else ''}")
    home.run(f"nft flush set {family} {lab.way.table} asked")

    def learned() -> bool:
        for port in (80, 81):
            lab.call("udp", port, to=RELAY6 if six else RELAY, own=forged)
        return f"{forged} . " in home.run(f"nft list set {family} {lab.way.table} asked")

    assert not learned()
    relay.run(f"nft flush chain {family} cgnat-relay forged")
    try:
        assert learned()
    finally:
        reload(lab)
        home.run(f"nft flush set {family} {lab.way.table} asked")
    assert not learned()


@pytest.mark.parametrize("name", ["home", "laptop"])
def test_a_neighbour_does_not_route_into_the_tunnel(lab: Lab, name: str) -> None:
    """Whoever shares the relay's segment sends it packets for the network inside."""
    neighbour, relay = lab.net["internet"], lab.net["relay"]
    neighbour.run("ip route replace 172.16.0.0/24 via 198.51.100.7")
    neighbour.run(f"ip route replace {lab.settings.tunnel.prefix} via {RELAY6}")
    tool = {"ip": "iptables", "ip6": "ip6tables"}
    for (family, seen), theirs in zip(
        (("ip", INTERNET), ("ip6", INTERNET6)), lab.inner(name), strict=True
    ):
        assert lab.both(8080, host="internet", to=theirs) == NOBODY
        relay.run(f"{tool[family]} -D WG0-FORWARD 4")
        try:
            if name == "home":  # a device has no way back to it
                assert lab.both(8080, host="internet", to=theirs) == [seen, seen]
        finally:
            reload(lab)
        assert lab.both(8080, host="internet", to=theirs) == NOBODY
