"""What a home sends out by the relay's address, and all the rest by its own line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import RELAY, RELAY6, TALK, Lab, make
from .test_ipv6 import HOME6, with_own_ipv6
from .test_return_path import STATE, counted
from .topology import internet

CLIENT, CLIENT6, CARRIER, HOME = "203.0.113.9", "2001:db8:9::9", "192.0.2.2", "192.168.1.2"
NOBODY = ["", ""]
MASQUERADE = """
table ip docker {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
  }
}
"""
CASES: dict[str, Any] = {
    "a port": [25],
    "a range": ["2000-2010/udp"],
    "the tunnel's own port": ["51820/udp", 25],
    "all": "all",
}


def strict(lab: Lab) -> None:
    """Strict source filters on every line of home, before and after the tunnel is there."""
    for dev in ("all", "default", "eth0", "docker0"):
        lab.net["home"].run(f"sysctl -qw net.ipv4.conf.{dev}.rp_filter=1")


def way_out(lab: Lab, port: int) -> list[str]:
    """The address that TCP and UDP to ``port`` of a server outside must be seen with."""
    egress = lab.home().egress
    chosen = {o.protocol.value for o in egress.ports if o.ports.first <= port <= o.ports.last}
    return [RELAY if egress.everything or k in chosen else CARRIER for k in ("tcp", "udp")]


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, egress=request.param)
        strict(made)
        made.relay_up()
        made.home_up()
        for port in (25, 2005, 4000):
            made.serve("client", port)
        made.serve("home", 8080)
        made.serve("lan", 25)
        yield made


@pytest.mark.parametrize("port", [25, 2005, 4000])
def test_homes_own_programs(lab: Lab, port: int) -> None:
    assert lab.both(port, host="home", to=CLIENT) == way_out(lab, port)


@pytest.mark.parametrize("docker", [True, False], ids=["masqueraded", "routed"])
def test_a_container_behind_it(lab: Lab, docker: bool) -> None:
    home = lab.net["home"]
    # Without Docker's masquerade the router must know the way back, for what it sends itself.
    lab.net["router"].run("ip route replace 172.17.0.0/16 via 192.168.1.2")
    if docker:
        home.run("nft -f -", stdin=MASQUERADE)
    try:
        for port in (25, 2005, 4000):
            assert lab.both(port, host="container", to=CLIENT) == way_out(lab, port), port
    finally:
        if docker:
            home.run("nft delete table ip docker")


def test_the_lan_is_reached_directly(lab: Lab) -> None:
    assert lab.both(25, host="home", to="192.168.1.50") == [HOME, HOME]
    assert lab.both(8080, host="lan", to=HOME) == ["192.168.1.50"] * 2


def test_callers_are_answered_as_before(lab: Lab) -> None:
    assert lab.both(80) == [CLIENT, CLIENT]


def test_who_comes_by_homes_own_line_is_answered_by_it(lab: Lab) -> None:
    """A port that carrier and router forward to home, as one with a way in has.

    Of UDP with all by the relay a program must answer from the address that was asked: one on
    0.0.0.0 has its answer sent by the relay.
    """
    lab.net["router"].run("nft -f -", stdin=FORWARDED)
    lab.net["carrier"].run("nft -f -", stdin=FORWARDED.replace("192.168.1.2", "100.64.0.2"))
    home, table = lab.net["home"], lab.way.table
    try:
        assert lab.call("tcp", 8080, to=CARRIER) == CLIENT
        if lab.home().egress.everything:
            home.run(f"nft flush chain ip {table} own_line")
            assert lab.call("tcp", 8080, to=CARRIER) == ""
        else:
            assert lab.call("udp", 8080, to=CARRIER) == CLIENT
    finally:
        for host in ("router", "carrier"):
            lab.net[host].run("nft delete table ip forwarded")
        home.run("wg-quick down wg0")
        lab.home_up()


FORWARDED = """
table ip forwarded {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname "wan" meta l4proto { tcp, udp } th dport 8080 dnat to 192.168.1.2
  }
}
"""


def test_the_relay_refuses_what_it_was_not_told(lab: Lab) -> None:
    """With its elements taken from the relay's sets nothing gets out, though home sends it."""
    relay = lab.net["relay"]
    port = next(p for p in (25, 2005) if RELAY in way_out(lab, p))
    wanted = [RELAY if seen == RELAY else CARRIER for seen in way_out(lab, port)]
    for name in ("outbound", "outbound_ports"):
        relay.run(f"nft flush set ip cgnat-relay {name}")
    relay.run("conntrack -D --proto udp", check=False)
    try:
        refused = ["" if seen == RELAY else seen for seen in wanted]
        assert lab.both(port, host="home", to=CLIENT) == refused
    finally:
        relay.run("sh -c 'cat /etc/wireguard/wg0.ip.nft | nft -f -'")
    assert lab.both(port, host="home", to=CLIENT) == wanted


@pytest.mark.parametrize("chain", ["leave", "leave_tag"])
def test_each_part_is_needed(lab: Lab, chain: str) -> None:
    """A container's address means nothing to the relay; its answers pass by their mark."""
    home = lab.net["home"]
    port = next(p for p in (25, 2005) if RELAY in way_out(lab, p))
    kind = "tcp" if way_out(lab, port)[0] == RELAY else "udp"
    home.run(f"nft flush chain ip {lab.way.table} {chain}")
    home.run("conntrack -D --proto udp", check=False)
    try:
        assert lab.call(kind, port, host="container", to=CLIENT) == ""
    finally:
        home.run("wg-quick down wg0")
        lab.home_up()
    assert lab.call(kind, port, host="container", to=CLIENT) == RELAY


def test_another_full_tunnel_takes_no_rule_of_ours(lab: Lab) -> None:
    """What wg-quick runs where its own full tunnel goes down."""
    home = lab.net["home"]
    for family in ("-4", "-6"):
        home.run(f"ip {family} rule delete table main suppress_prefixlength 0", check=False)
    test_the_lan_is_reached_directly(lab)
    assert lab.both(25, host="home", to=CLIENT) == way_out(lab, 25)


def test_down_leaves_nothing(wg_env: dict[str, str]) -> None:
    with internet(wg_env) as net:
        before = net["home"].run(STATE)
        for egress in CASES.values():
            lab = make(net, egress=egress)
            lab.relay_up()
            lab.home_up()
            assert "suppress_prefixlength 1" in net["home"].run("ip -6 rule")
            net["home"].run("wg-quick down wg0")
            net["relay"].run("wg-quick down wg0")
            assert counted(net["home"].run(STATE)) == counted(before)


def test_a_home_without_egress_gets_nothing_out(wg_env: dict[str, str]) -> None:
    """It routes by hand what the relay was never told of."""
    with internet(wg_env) as net:
        lab = make(net)
        lab.relay_up()
        lab.home_up()
        lab.serve_both("client", 4000)
        home, relay = net["home"], net["relay"]
        own, own6 = lab.inner("home")
        home.run(f"ip route add {CLIENT} dev wg0 src {own}")
        home.run(f"ip -6 route add {CLIENT6} dev wg0 src {own6}")
        assert lab.both(4000, host="home", to=CLIENT) == NOBODY
        assert lab.both(4000, host="home", to=CLIENT6) == NOBODY
        relay.run(f"nft add element ip cgnat-relay outbound {{ {own} }}")
        relay.run(f"nft add element ip6 cgnat-relay outbound {{ {own6} }}")
        assert lab.both(4000, host="home", to=CLIENT) == [RELAY, RELAY]
        assert lab.both(4000, host="home", to=CLIENT6) == [RELAY6, RELAY6]


def test_a_dual_stack_home_sends_all_and_is_reached_by_its_own_line(
    wg_env: dict[str, str],
) -> None:
    with internet(wg_env) as net:
        lab = make(net, egress="all")
        with_own_ipv6(net)
        lab.relay_up()
        lab.home_up()
        lab.serve("client", 25, at="::")
        lab.serve("home", 8080, at="::")
        assert lab.both(25, host="home", to=CLIENT6) == [RELAY6, RELAY6]
        assert lab.both(80, to=RELAY6) == [CLIENT6, CLIENT6]
        assert lab.call("tcp", 8080, to=HOME6) == CLIENT6
        net["home"].run(f"nft flush chain ip6 {lab.way.table} own_line")
        assert lab.call("tcp", 8080, to=HOME6) == ""


def test_ipv6_goes_the_same_way(wg_env: dict[str, str]) -> None:
    """A home without IPv6 of its own gets out over it, by the relay's address."""
    with internet(wg_env) as net:
        lab = make(net, egress="all")
        lab.relay_up()
        lab.home_up()
        lab.serve("client", 25, at="::")
        assert lab.both(25, host="home", to=CLIENT6) == [RELAY6, RELAY6]
        net["relay"].run("nft flush set ip6 cgnat-relay outbound")
        net["relay"].run("conntrack -D -f ipv6 --proto udp", check=False)
        assert net["home"].run([*TALK, "tcp", CLIENT6, "25"], check=False) == ""
