"""A protected home takes what is forwarded to it, even when the relay itself dials."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest

from components.wireguard import hosts

from ..waiting import eventually
from .conftest import RELAY6, Lab, make
from .test_return_path import DOCKER
from .topology import internet

CLIENT, CLIENT6 = "203.0.113.9", "2001:db8:9::9"
DOCKER6 = """
table ip6 docker {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname != "docker0" meta l4proto { tcp, udp } th dport { 8081, 8091 } dnat to fd17::2
  }
}
"""
FORWARDS: list[Any] = [
    "80:8080/both",
    "81:8081/both",
    "300-301:8085/both",
    {"port": 90, "to": 8093, "host": "192.168.1.2", "via": 2093, "protocol": "both"},
    # Enters on a port where home has a service of its own, on all its addresses.
    {"port": 92, "to": 8090, "host": "192.168.1.50", "via": 8087, "protocol": "both"},
]
KINDS = ("tcp", "udp")
# Declared: 8080, 8081 by the container, 8085, 2093; accepted: 22, TCP alone.
OPEN = [(kind, port) for kind in KINDS for port in (8080, 8081, 8086, 2093)] + [("tcp", 22)]
SHUT = [(kind, port) for kind in KINDS for port in (8088, 8091)] + [("udp", 22)]
# One packet of another protocol by the tunnel; home counts what gets past the guard.
RAW = """
import socket, sys
to, protocol = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in to else socket.AF_INET
socket.socket(family, socket.SOCK_RAW, protocol).sendto(bytes(32), (to, 0))
"""
# Home asks a machine on its LAN, once, and then tells what comes to that socket.
ASKS = """
import socket
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(("192.168.1.2", 5555))
asking.settimeout(5)
asking.connect(("192.168.1.50", 8090))
asking.send(b"?")
print(asking.recv(99).decode(), flush=True)
print(asking.recv(99).decode(), flush=True)
"""
# What that machine might have answered, said by another.
FORGED = """
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
udp = (8090).to_bytes(2, "big") + (5555).to_bytes(2, "big") + (14).to_bytes(2, "big") + bytes(2)
pair = socket.inet_aton("192.168.1.50") + socket.inet_aton(sys.argv[1])
ip = bytes([69, 0, 0, 34, 0, 1, 0, 0, 64, 17, 0, 0]) + pair
own.sendto(ip + udp + b"forged", (sys.argv[1], 0))
"""
COUNTER = """
table inet past {{
  chain guard {{
    type filter hook prerouting priority -155;
    iifname "wg0" meta l4proto {protocol} counter
  }}
}}
"""


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, forwards=FORWARDS, protected=True, accept=[22])
        home, container = net["home"], net["container"]
        home.run("ip addr add fd17::1/64 dev docker0 nodad")
        container.run("ip addr add fd17::2/64 dev eth0 nodad")
        container.run("ip route add default via fd17::1")
        home.run("sysctl -qw net.ipv6.conf.all.forwarding=1")
        home.run("nft -f -", stdin=DOCKER.replace("8081", "{ 8081, 8091 }"))
        home.run("nft -f -", stdin=DOCKER6)
        made.relay_up()
        made.home_up()
        for at in ("0.0.0.0", "::"):  # noqa: S104
            for port in (22, 8080, 8086, 8087, 8088):
                made.serve("home", port, at=at)
            for port in (8081, 8091):
                made.serve("container", port, at=at)
        made.serve("home", 8093, at="192.168.1.2")
        made.serve("lan", 8090)
        yield made


def dialled(lab: Lab, *asked: tuple[str, int], six: bool = False) -> dict[tuple[str, int], str]:
    """As one who has taken the relay over: to home's own addresses in the tunnel."""
    tunnel, home = lab.settings.tunnel, lab.home()
    to = tunnel.inner6(home.address) if six else home.address
    return lab.calls(*asked, host="relay", to=str(to))


def held_at(lab: Lab) -> bool:
    """Home waits in a PostUp, and has shaken hands with the relay."""
    home = lab.net["home"]
    waits = home.run("ls /run/held", check=False) != ""
    return waits and home.run("wg show wg0 latest-handshakes").split()[-1] != "0"


def unguarded(lab: Lab) -> None:
    lab.net["home"].run(f"nft flush chain inet {lab.way.table} guard")


def guarded(lab: Lab) -> None:
    """As wg-quick leaves it."""
    lab.net["home"].run("wg-quick down wg0")
    lab.home_up()


def test_what_is_forwarded_answers_by_both_families(lab: Lab) -> None:
    asked = [(kind, port) for kind in KINDS for port in (80, 81, 301)]
    assert lab.calls(*asked) == dict.fromkeys(asked, CLIENT)
    assert lab.calls(*asked, to=RELAY6) == dict.fromkeys(asked, CLIENT6)
    assert lab.calls(("tcp", 90), ("udp", 90)) == {("tcp", 90): CLIENT, ("udp", 90): CLIENT}


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_even_the_relay_gets_no_other_port(lab: Lab, six: bool) -> None:
    """Host services and containers alike; without the guard all of them answer."""
    can = [ask for ask in OPEN if not six or ask[1] != 2093]  # a LAN host is IPv4's alone
    asked = [*can, *SHUT]
    relay = lab.settings.tunnel.relay
    me = str(lab.settings.tunnel.inner6(relay) if six else relay)
    assert dialled(lab, *asked, six=six) == {ask: me if ask in can else "" for ask in asked}
    unguarded(lab)
    try:
        assert dialled(lab, *asked, six=six) == dict.fromkeys(asked, me)
    finally:
        guarded(lab)


def test_a_port_that_leads_to_the_lan_is_not_one_of_home(lab: Lab) -> None:
    """The relay names home's address on the LAN, where the same port is home's own service."""
    relay, own = lab.net["relay"], "192.168.1.2"
    asked = [(kind, 8087) for kind in KINDS]
    assert dialled(lab, *asked) == dict.fromkeys(asked, own), "the LAN host, who sees home"
    peer = lab.keys.peers["home"].public
    relay.run(f"ip route add {own}/32 dev wg0")
    relay.run(f"wg set wg0 peer {peer} allowed-ips {lab.home().address}/32,{own}/32")
    try:
        assert lab.calls(*asked, host="relay", to=own) == dict.fromkeys(asked, "")
        unguarded(lab)
        me = str(lab.settings.tunnel.relay)
        assert lab.call("tcp", 8087, host="relay", to=own) == me
    finally:
        relay.run(f"ip route del {own}/32 dev wg0")
        addresses = ",".join(hosts(lab.settings.tunnel.addresses(lab.home())))
        relay.run(f"wg set wg0 peer {peer} allowed-ips {addresses}")
        guarded(lab)


def test_the_relay_does_not_answer_for_the_lan(lab: Lab) -> None:
    """What home asked its LAN is an established flow, and yet not one of the tunnel's."""
    home, relay, own = lab.net["home"], lab.net["relay"], "192.168.1.2"
    peer = lab.keys.peers["home"].public
    relay.run(f"ip route add {own}/32 dev wg0")
    relay.run(f"wg set wg0 peer {peer} allowed-ips {lab.home().address}/32,{own}/32")

    def said() -> str:
        command = home.argv([sys.executable, "-c", ASKS])
        asking = subprocess.Popen(command, stdout=PIPE, stderr=DEVNULL, text=True)
        assert asking.stdout
        assert asking.stdout.readline().strip() == own
        relay.run([sys.executable, "-c", FORGED, own])
        return asking.communicate(timeout=30)[0].strip()

    try:
        assert said() == ""
        unguarded(lab)
        assert said() == "forged"
    finally:
        relay.run(f"ip route del {own}/32 dev wg0")
        addresses = ",".join(hosts(lab.settings.tunnel.addresses(lab.home())))
        relay.run(f"wg set wg0 peer {peer} allowed-ips {addresses}")
        guarded(lab)


def test_what_the_guard_drops_does_not_lead_home_astray(lab: Lab) -> None:
    """Who asks is answered by the tunnel, so nobody is learned who may not ask."""
    home, relay, inner = lab.net["home"], lab.net["relay"], str(lab.home().address)

    def asked() -> str:
        home.run(f"nft flush set ip {lab.way.table} asked")
        relay.run([sys.executable, "-c", FORGED, inner])
        relay.run(f"ping -c 1 -W 2 {inner}")  # goes the same way behind it
        home.run("conntrack -D -p udp --orig-port-dst 5555", check=False)
        return home.run([sys.executable, "-c", ASKS], check=False).strip()

    assert asked() == "192.168.1.2"
    unguarded(lab)
    try:
        assert asked() == ""
    finally:
        guarded(lab)


@pytest.mark.parametrize("early", [True, False], ids=["PreUp", "PostUp"])
def test_the_guard_is_there_before_the_tunnel(lab: Lab, early: bool) -> None:
    """A relay that dials while home starts: a connection made then would live on.

    The start is held before its first PostUp; guarded by a PostUp instead, home would answer.
    """
    home, conf = lab.net["home"], "/etc/wireguard/wg0.conf"
    asked, me = [("tcp", 8088)], str(lab.settings.tunnel.relay)
    home.run("wg-quick down wg0")
    text = home.run(f"cat {conf}")
    held = "touch /run/held; until [ -e /run/go ]; do sleep 0.05; done"
    if not early:
        text = text.replace("PreUp = ", "PostUp = ")
    home.write(conf, text.replace("PostUp = ", f"PostUp = {held}\nPostUp = ", 1))
    starting = home.start(["wg-quick", "up", "wg0"])
    try:
        eventually(lambda: held_at(lab), "home waits with its tunnel up")
        assert dialled(lab, *asked) == dict.fromkeys(asked, "" if early else me)
    finally:
        home.run("touch /run/go")
        assert starting.wait(timeout=30) == 0
        home.run("rm /run/go /run/held")
        guarded(lab)
    assert dialled(lab, *SHUT) == dict.fromkeys(SHUT, "")


def test_the_rules_are_data_that_may_be_loaded_anew(lab: Lab) -> None:
    """Twice is the same; a rules file without a port closes it on the living tunnel."""
    home = lab.net["home"]
    rules = home.run("cat /etc/wireguard/wg0.rules")
    listing = home.run(f"nft list table inet {lab.way.table}")
    home.run("nft -f /etc/wireguard/wg0.rules")
    assert home.run(f"nft list table inet {lab.way.table}") == listing
    home.run("nft -f -", stdin=re.sub(r"(declared_tcp \{.*)8080-8081", r"\g<1>8081", rules))
    assert lab.calls(("tcp", 80), ("udp", 80)) == {("tcp", 80): "", ("udp", 80): CLIENT}
    home.run("nft -f /etc/wireguard/wg0.rules")
    assert lab.call("tcp", 80) == CLIENT


@pytest.mark.parametrize("protocol", [132, 47, 4, 41])
def test_no_other_protocol_gets_past(lab: Lab, protocol: int) -> None:
    """SCTP, GRE and tunnels in IP, by IPv4 and IPv6; without the guard they arrive."""
    home, relay, tunnel = lab.net["home"], lab.net["relay"], lab.settings.tunnel
    home.run("nft -f -", stdin=COUNTER.format(protocol=protocol))
    addresses = [str(address) for address in tunnel.addresses(lab.home())]

    def arrived() -> int:
        home.run("nft reset counters")
        for address in addresses:
            relay.run([sys.executable, "-c", RAW, address, str(protocol)])
        # Ping goes the same way behind them, so what came has come.
        for address in addresses:
            relay.run(f"ping -c 1 -W 2 {address}")
        listing = home.run("nft list table inet past")
        return int(listing.split("packets ")[1].split()[0])

    try:
        assert arrived() == 0
        unguarded(lab)
        assert arrived() == 2
    finally:
        home.run("nft delete table inet past")
        guarded(lab)


def test_ping_still_works(lab: Lab) -> None:
    """Of both families, and home's own is answered."""
    relay, tunnel = lab.net["relay"], lab.settings.tunnel
    for address in tunnel.addresses(lab.home()):
        relay.run(f"ping -c 1 -W 2 {address}")
    lab.net["home"].run(f"ping -c 1 -W 2 {tunnel.relay}")


def test_an_unprotected_home_takes_what_the_relay_dials(lab: Lab) -> None:
    """The off-case of the config's own key."""
    settings = lab.settings
    unprotected = replace(lab.home(), protected=False, accept=())
    lab.net["home"].run("wg-quick down wg0")
    assert "cgnat-relay" not in lab.net["home"].run("nft list tables"), "down leaves nothing"
    lab.settings = replace(settings, homes=(unprotected,))
    try:
        lab.home_up()
        assert dialled(lab, *SHUT) == dict.fromkeys(SHUT, str(settings.tunnel.relay))
    finally:
        lab.net["home"].run("wg-quick down wg0")
        lab.settings = settings
        lab.home_up()
    assert dialled(lab, *SHUT) == dict.fromkeys(SHUT, "")
