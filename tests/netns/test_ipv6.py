"""Callers over IPv6, and homes that have it, have none of it, or have it switched off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..waiting import eventually
from .conftest import RELAY, RELAY6, TALK, Lab, make
from .topology import Host, internet

CLIENT, CLIENT6 = "203.0.113.9", "2001:db8:9::9"
HOME6 = "2001:db8:192::2"
DOCKER6 = """
table ip6 docker {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname != "docker0" meta l4proto { tcp, udp } th dport 8081 dnat to fd17::2
  }
}
"""
FORWARDS = [
    "80:8080/both",
    "81:8081/both",
    "9000-9002:9000/both",
    "300-301:8082",
    {"port": 91, "to": 8080, "protocol": "both", "from": ["2001:db8:9::/64"]},
    {"port": 92, "to": 8080, "protocol": "both", "from": ["2001:db8:a::/64", "203.0.113.0/24"]},
    {"port": 93, "to": 8080, "protocol": "both", "mode": "masquerade"},
]
OFF = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"


def with_container(net: dict[str, Host]) -> None:
    """A container with IPv6 behind Docker-like rules."""
    net["home"].run("sysctl -qw net.ipv6.conf.all.forwarding=1")
    net["home"].run("ip addr add fd17::1/64 dev docker0 nodad")
    net["container"].run("ip addr add fd17::2/64 dev eth0 nodad")
    net["container"].run("ip route add default via fd17::1")
    net["home"].run("nft -f -", stdin=DOCKER6)


def with_own_ipv6(net: dict[str, Host]) -> None:
    """A dual-stack home: a global address, routed past the relay by carrier and router."""
    for one, dev_one, other, dev_other, link in (
        ("internet", "carrier", "carrier", "wan", "2001:db8:64"),
        ("carrier", "lan", "router", "wan", "2001:db8:65"),
        ("router", "lan", "home", "eth0", "2001:db8:192"),
    ):
        net[one].run(f"ip addr add {link}::1/64 dev {dev_one} nodad")
        net[other].run(f"ip addr add {link}::2/64 dev {dev_other} nodad")
        net[other].run(f"ip route add default via {link}::1")
    for host, link in (("internet", "2001:db8:64"), ("carrier", "2001:db8:65")):
        net[host].run("sysctl -qw net.ipv6.conf.all.forwarding=1")
        net[host].run(f"ip route add 2001:db8:192::/64 via {link}::2")
    net["internet"].run("ip route add 2001:db8:65::/64 via 2001:db8:64::2")
    net["router"].run("sysctl -qw net.ipv6.conf.all.forwarding=1")
    # Link-local addresses are looked for first, and neighbours are not heard until then.
    ping = f"ping -6 -c 1 -W 1 {CLIENT6}"
    eventually(lambda: net["home"].run(ping), "home's own line carries IPv6")


@pytest.fixture(scope="module", params=[False, True], ids=["IPv4-only home", "dual-stack home"])
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, forwards=FORWARDS)
        with_container(net)
        if request.param:
            with_own_ipv6(net)
        made.relay_up()
        made.home_up()
        made.serve_both("home", 8080)
        made.serve("home", 9001, at="::")
        made.serve("home", 8083, at="::")
        made.serve("container", 8081, at="::")
        yield made


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("port", [80, 81, 9001], ids=["host", "container", "range"])
def test_home_sees_the_callers_ipv6_address(lab: Lab, kind: str, port: int) -> None:
    assert lab.call(kind, port, to=RELAY6) == CLIENT6


def test_ipv4_is_answered_beside_it(lab: Lab) -> None:
    assert lab.both(80) == [CLIENT, CLIENT]


def test_a_shifted_range_goes_port_by_port(lab: Lab) -> None:
    assert lab.call("tcp", 301, to=RELAY6) == CLIENT6
    assert lab.call("tcp", 300, to=RELAY6) == ""


def test_undeclared_ports_do_not_answer(lab: Lab) -> None:
    assert lab.both(8080, to=RELAY6) == ["", ""]
    assert lab.both(8083, to=RELAY6) == ["", ""]


def test_sources_are_limited_by_family(lab: Lab) -> None:
    relay = lab.net["relay"]
    assert lab.both(91, to=RELAY6) == [CLIENT6, CLIENT6]
    assert lab.both(91) == ["", ""]  # IPv6 networks alone: nobody over IPv4
    assert lab.both(92, to=RELAY6) == ["", ""]
    assert lab.both(92) == [CLIENT, CLIENT]
    relay.run("nft flush set ip6 cgnat-relay limited")
    assert lab.both(92, to=RELAY6) == [CLIENT6, CLIENT6]
    relay.run("sh -c 'cat /etc/wireguard/wg0.ip6.nft | nft -f -'")
    assert lab.both(92, to=RELAY6) == ["", ""]


def test_a_masqueraded_forward_shows_the_relay(lab: Lab) -> None:
    relay6 = str(lab.settings.tunnel.inner6(lab.settings.tunnel.relay))
    assert lab.both(93, to=RELAY6) == [relay6, relay6]


def test_port_unreachable_comes_back(lab: Lab) -> None:
    """A datagram to a declared port that nobody serves is refused, and not lost."""
    with pytest.raises(AssertionError, match="refused"):
        lab.net["client"].run([*TALK, "udp", RELAY6, "9002"])
    lab.net["relay"].run("ip6tables -I FORWARD -p icmpv6 --icmpv6-type 1 -j DROP")
    try:
        with pytest.raises(AssertionError, match="timed out"):
            lab.net["client"].run([*TALK, "udp", RELAY6, "9002"])
    finally:
        lab.net["relay"].run("ip6tables -D FORWARD -p icmpv6 --icmpv6-type 1 -j DROP")


def test_segments_fit_the_tunnel(lab: Lab) -> None:
    """Both ends' segments are clamped in the handshake: 1420 less 60 bytes of headers."""
    lab.serve("container", 8089, verb="segments", at="::")
    home, relay = lab.net["home"], lab.net["relay"]
    home.run(
        "nft insert rule ip6 docker prerouting iifname != docker0 tcp dport 9000 dnat to"
        " [fd17::2]:8089"
    )
    assert int(lab.call("tcp", 9000, to=RELAY6)) <= 1360
    assert lab.largest_segment(9000, to=RELAY6) <= 1360
    relay.run("nft flush chain ip6 cgnat-relay forward")
    try:
        assert int(lab.call("tcp", 9000, to=RELAY6)) > 1360
        assert lab.largest_segment(9000, to=RELAY6) > 1360
    finally:
        relay.run("sh -c 'cat /etc/wireguard/wg0.ip6.nft | nft -f -'")


ASKED = [("tcp", 80), ("udp", 80), ("tcp", 81), ("udp", 81)]
OWN_SOURCE, MARKED = "ip -6 rule del pref {source}", "ip -6 rule del pref {mark}"
NEEDED = {
    # A home without IPv6 of its own routes by the source, and UDP behind the main table.
    False: [
        ((OWN_SOURCE, MARKED), [("tcp", 80), ("tcp", 81)]),
        ((OWN_SOURCE, MARKED, "ip -6 rule del pref {last}"), ASKED),
        ((OWN_SOURCE, "nft flush chain ip6 {table} enter"), [("tcp", 80), ("tcp", 81)]),
    ],
    # One with its own has a way out for all, and it is the wrong one.
    True: [
        ((MARKED,), [("tcp", 81), ("udp", 81)]),
        (("nft flush chain ip6 {table} enter",), [("tcp", 81), ("udp", 81)]),
        (("nft flush chain ip6 {table} learn",), [("udp", 80)]),
        (("nft flush chain ip6 {table} answer",), [("udp", 80)]),
    ],
}


def test_each_part_is_needed(lab: Lab) -> None:
    """With parts of the return path taken away, what needs them does not answer."""
    home, way = lab.net["home"], lab.way
    numbers = {"mark": way.first + 1, "source": way.first + 2, "last": way.last}
    for without, dead in NEEDED[HOME6 in home.run("ip -6 addr show dev eth0")]:
        home.run(f"nft flush set ip6 {way.table} asked")
        for command in without:
            home.run(command.format(table=way.table, **numbers))
        try:
            assert [lab.call(*ask, to=RELAY6) for ask in dead] == [""] * len(dead), without
        finally:
            home.run("wg-quick down wg0")
            lab.home_up()
        assert all(lab.call(*ask, to=RELAY6) == CLIENT6 for ask in dead)


def test_the_relays_firewall_holds_over_ipv6(lab: Lab) -> None:
    """As the host's own script loads it; with the drop taken away the port answers."""
    relay = lab.net["relay"]
    lab.serve("relay", 22, at="::")
    lab.serve("relay", 2222, at="::")
    lab.firewall_up()
    try:
        assert lab.call("tcp", 22, to=RELAY6) == CLIENT6
        assert lab.both(2222, to=RELAY6) == ["", ""]
        assert lab.both(80, to=RELAY6) == [CLIENT6, CLIENT6]
        relay.run("ip6tables -D RELAY-INPUT -j DROP")
        assert lab.both(2222, to=RELAY6) == [CLIENT6, CLIENT6]
    finally:
        lab.firewall("down")
    assert "RELAY-INPUT" not in relay.run("ip6tables-save")


def test_a_dual_stack_home_keeps_its_own_line(wg_env: dict[str, str]) -> None:
    with internet(wg_env) as net:
        lab = make(net)
        with_own_ipv6(net)
        lab.relay_up()
        lab.home_up()
        lab.serve("client", 4000, at="::")
        assert lab.both(4000, host="home", to=CLIENT6) == [HOME6, HOME6]
        lab.serve("home", 8080, at="::")
        assert lab.both(8080, to=HOME6) == [CLIENT6, CLIENT6]
        assert lab.both(80, to=RELAY6) == [CLIENT6, CLIENT6]


@pytest.mark.parametrize("where", ["home", "relay"])
def test_a_host_with_ipv6_off_comes_up(wg_env: dict[str, str], where: str) -> None:
    with internet(wg_env) as net:
        net[where].run(OFF)
        lab = make(net)
        lab.relay_up()
        lab.home_up()
        lab.serve("home", 8080)
        assert lab.both(80) == [CLIENT, CLIENT]
        net[where].run("wg-quick down wg0")
        assert "wg0" not in net[where].run("ip link")


def test_masquerade_has_ipv6_where_it_asks_for_it(wg_env: dict[str, str]) -> None:
    homes = {
        "homes": [
            {"name": "plain", "mode": "masquerade", "forwards": ["80:8080/both"]},
            {"name": "six", "mode": "masquerade", "ipv6": True, "forwards": ["81:8080/both"]},
        ]
    }
    with internet(wg_env) as net:
        lab = make(net, homes)
        relay6 = str(lab.settings.tunnel.inner6(lab.settings.tunnel.relay))
        lab.relay_up()
        lab.serve_both("home", 8080)
        lab.home_up(name="plain")
        assert lab.both(80) == ["172.16.0.1"] * 2
        assert lab.both(80, to=RELAY6) == ["", ""]
        net["home"].run("wg-quick down wg0")
        lab.home_up(name="six")
        assert lab.both(81) == ["172.16.0.1"] * 2
        assert lab.both(81, to=RELAY6) == [relay6, relay6]
        net["relay"].run("nft flush chain ip6 cgnat-relay postrouting")
        assert lab.both(81, to=RELAY6) == ["", ""]
        assert lab.both(81, to=RELAY) != ["", ""]
