"""The caller's address at home, in namespaces: quick, and with what a VM cannot vary cheaply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.model import Mode

from .conftest import TALK, Lab, make
from .topology import Host, internet

CLIENT = "203.0.113.9"
DOCKER = """
table ip docker {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname != "docker0" meta l4proto { tcp, udp } th dport 8081 dnat to 172.17.0.2
  }
}
"""
LISTING = """
for f in -4 -6; do
  ip $f rule; ip $f route show table all | grep -v -e fe80 -e ff00; ip $f addr show scope global
done
nft list tables | grep -v filter; iptables-save; ip6tables-save
"""
STATE = ["sh", "-c", LISTING]


@pytest.fixture(scope="module", params=[0, 1, 2], ids=lambda value: f"rp_filter={value}")
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[Lab]:
    """A transparent home with Docker's rules, and one of the kernel's source filters."""
    with internet(wg_env) as net:
        made = make(net)
        home = net["home"]
        for dev in ("all", "default", "eth0", "docker0"):
            home.run(f"sysctl -qw net.ipv4.conf.{dev}.rp_filter={request.param}")
        home.run("nft -f -", stdin=DOCKER)
        made.relay_up()
        made.home_up(Mode.TRANSPARENT)
        made.serve("home", 8080)
        made.serve("home", 9001)
        made.serve("container", 8081)
        yield made


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("port", [80, 81], ids=["host", "container"])
def test_home_sees_the_caller(lab: Lab, kind: str, port: int) -> None:
    assert lab.call(kind, port) == CLIENT


def test_a_range_keeps_its_ports(lab: Lab) -> None:
    assert lab.call("udp", 9001) == CLIENT


def test_a_shifted_range_goes_port_by_port(lab: Lab) -> None:
    lab.serve("home", 8083)
    assert lab.call("tcp", 301) == CLIENT
    assert lab.call("tcp", 300) == ""


def test_undeclared_ports_do_not_answer(lab: Lab) -> None:
    assert lab.call("tcp", 8080) == ""
    assert lab.call("udp", 8999) == ""


@pytest.mark.parametrize(
    ("without", "dead"),
    [
        ("ip rule del pref {pref}", [("tcp", 80), ("udp", 80), ("tcp", 81), ("udp", 81)]),
        ("nft flush chain ip {table} return_path", [("tcp", 80), ("udp", 80)]),
        ("nft flush chain ip {table} enter", [("tcp", 80), ("tcp", 81), ("udp", 81)]),
        ("nft flush chain ip {table} hand_back", [("tcp", 81), ("udp", 81)]),
        ("nft flush chain ip {table} learn", [("udp", 80)]),
        ("nft flush chain ip {table} answer", [("udp", 80)]),
    ],
    ids=["rule", "return path", "enter", "hand back", "learn", "answer"],
)
def test_each_part_is_needed(lab: Lab, without: str, dead: list[tuple[str, int]]) -> None:
    """With a part of the return path taken away, what needs it does not answer."""
    home = lab.net["home"]
    home.run(f"nft flush set ip {lab.way.table} asked")
    home.run(without.format(pref=lab.way.first + 1, table=lab.way.table))
    try:
        assert [lab.call(kind, port) for kind, port in dead] == [""] * len(dead)
    finally:
        home.run("wg-quick down wg0")
        lab.home_up(Mode.TRANSPARENT)
    assert all(lab.call(kind, port) == CLIENT for kind, port in dead)


def test_the_relay_reaches_nothing_that_home_does_not_publish(lab: Lab) -> None:
    """Whoever rents out the relay is not let into the LAN, nor past Docker's own rules."""
    home, relay = lab.net["home"], lab.net["relay"]
    lab.serve("lan", 8088)
    lab.serve("container", 8089)
    peer = lab.keys.peers["home"].public
    for address in ("192.168.1.50", "172.17.0.2"):
        relay.run(f"ip route add {address}/32 dev wg0")
    relay.run(f"wg set wg0 peer {peer} allowed-ips 172.16.0.0/24,192.168.1.50/32,172.17.0.2/32")
    try:
        assert relay.run([*TALK, "tcp", "192.168.1.50", "8088"], check=False) == ""
        assert relay.run([*TALK, "tcp", "172.17.0.2", "8089"], check=False) == ""
        # The off-case: without that rule the container answers.
        home.run("iptables -D wg0-home -i wg0 -j DROP")
        assert relay.run([*TALK, "tcp", "172.17.0.2", "8089"], check=False) != ""
    finally:
        for address in ("192.168.1.50", "172.17.0.2"):
            relay.run(f"ip route del {address}/32 dev wg0")
        relay.run(f"wg set wg0 peer {peer} allowed-ips {lab.settings.homes[0].address}/32")
        home.run("wg-quick down wg0")
        lab.home_up(Mode.TRANSPARENT)


def test_callers_from_a_network_that_home_uses_too(lab: Lab) -> None:
    """A client whose own address is in 192.168.1.0/24, home's LAN."""
    client, internet_host = lab.net["client"], lab.net["internet"]
    client.run("ip addr add 192.168.1.77/32 dev eth0")
    internet_host.run("ip route add 192.168.1.77/32 via 203.0.113.9")
    client.run("ip route replace default via 203.0.113.1 src 192.168.1.77")
    try:
        assert lab.call("tcp", 80) == "192.168.1.77"
        assert lab.call("udp", 80) == "192.168.1.77"
        assert lab.call("tcp", 81) == "192.168.1.77"
    finally:
        client.run("ip route replace default via 203.0.113.1")
        client.run("ip addr del 192.168.1.77/32 dev eth0")
        internet_host.run("ip route del 192.168.1.77/32")


def test_up_twice_is_the_same_and_down_leaves_nothing(wg_env: dict[str, str]) -> None:
    with internet(wg_env) as net:
        lab = make(net)
        home: Host = net["home"]
        before = home.run(STATE)
        lab.relay_up()
        lab.home_up(Mode.TRANSPARENT)
        up = home.run(STATE)
        text = home.run("cat /etc/wireguard/wg0.conf")
        for line in text.splitlines():
            if line.startswith("PostUp = "):
                home.run(["sh", "-ec", line.removeprefix("PostUp = ").replace("%i", "wg0")])
        assert counted(home.run(STATE)) == counted(up)
        home.run("wg-quick down wg0")
        assert counted(home.run(STATE)) == counted(before)


def test_a_home_that_drops_by_policy_answers(wg_env: dict[str, str]) -> None:
    """As ufw (INPUT) and Docker (FORWARD) leave it; without our accepts it is silent."""
    with internet(wg_env) as net:
        lab, home = make(net), net["home"]
        home.run("nft -f -", stdin=DOCKER)
        for chain in ("INPUT", "FORWARD"):
            home.run(f"iptables -P {chain} DROP")
        home.run("iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        lab.relay_up()
        lab.home_up(Mode.TRANSPARENT)
        lab.serve("home", 8080)
        lab.serve("container", 8081)
        asked = [(kind, port) for kind in ("tcp", "udp") for port in (80, 81)]
        assert [lab.call(*ask) for ask in asked] == [CLIENT] * 4
        home.run("iptables -D INPUT -i wg0 -j ACCEPT")
        assert [lab.call(*ask) for ask in asked] == ["", CLIENT, "", CLIENT]
        home.run("iptables -D wg0-home 1")  # answers, by their connection's mark
        assert [lab.call(*ask) for ask in asked] == [""] * 4


def test_segments_fit_the_tunnel(wg_env: dict[str, str]) -> None:
    """Both ends' segments are clamped in the handshake: 1420 less 40 bytes of headers."""
    with internet(wg_env) as net:
        lab = make(net)
        net["home"].run("nft -f -", stdin=DOCKER)
        lab.relay_up()
        lab.home_up(Mode.TRANSPARENT)
        lab.serve("container", 8081, verb="segments")
        assert int(lab.call("tcp", 81)) <= 1380
        assert lab.largest_segment(81) <= 1380
        net["relay"].run("nft flush chain ip cgnat-relay forward")
        assert int(lab.call("tcp", 81)) > 1380
        assert lab.largest_segment(81) > 1380


def test_a_home_with_its_own_key_joins(wg_env: dict[str, str]) -> None:
    """Its private key is made there and put where the placeholder is."""
    with internet(wg_env) as net:
        private = net["home"].run("wg genkey").strip()
        public = net["home"].run("wg pubkey", stdin=private).strip()
        lab = make(net, publicKey=public)
        own = replace(lab.keys.peers["home"], public=public, private=None)
        lab.keys = replace(lab.keys, peers={"home": own})
        lab.relay_up()
        lab.home_up(Mode.TRANSPARENT, private)
        lab.serve("home", 8080)
        assert lab.call("tcp", 80) == CLIENT


def test_masquerade_shows_the_relay(wg_env: dict[str, str]) -> None:
    with internet(wg_env) as net:
        lab = make(net, mode="masquerade")
        lab.relay_up()
        lab.home_up(Mode.MASQUERADE)
        lab.serve("home", 8080)
        assert lab.call("tcp", 80) == "172.16.0.1"
        assert lab.call("udp", 80) == "172.16.0.1"
        net["relay"].run("nft flush chain ip cgnat-relay postrouting")
        assert lab.call("tcp", 80) == ""


def counted(state: str) -> list[str]:
    """The state without counters, dates, and base chains that are empty; in any order.

    The empty tables that iptables leaves behind are not ours: what is in them is listed anyway.
    """
    return sorted(line for line in state.splitlines() if line and line[0] not in "#:*C")
