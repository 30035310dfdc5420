"""Forwards to a host on home's LAN, to home's own LAN address, and the rules that are data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.home_rules import home_rules
from components.wireguard import Uplink

from ..unit import samples
from ..waiting import eventually
from .conftest import RELAY, Lab, make
from .exchange import HOLD, exchange
from .houses import second_house
from .topology import internet

CLIENT = "203.0.113.9"
LAN, OWN = "192.168.1.50", "192.168.1.2"
KINDS = ("tcp", "udp")
FORWARDS: list[Any] = [
    "80:8080/both",
    {"port": 25, "to": 26, "host": LAN, "protocol": "both"},
    {"port": 90, "to": 8090, "host": LAN, "via": 2090, "protocol": "both"},
    {"port": "500-501", "to": 600, "host": LAN, "via": 700, "protocol": "both"},
    {"port": 93, "to": 8093, "host": OWN, "protocol": "both"},
    {"port": 95, "to": 8094, "host": OWN, "via": 8094, "protocol": "both"},
    {"port": 96, "to": 8096, "host": LAN, "via": 2096},
    {"port": 94, "to": 8090, "host": LAN, "via": 2094, "from": [CLIENT]},
]
# The same LAN, the same LAN addresses, the same entry ports.
OTHER: list[Any] = [
    {"port": 1090, "to": 8090, "host": LAN, "via": 2090, "protocol": "both"},
    {"port": 1093, "to": 8093, "host": OWN, "via": 93, "protocol": "both"},
]
RULES = "/etc/wireguard/wg0.rules"


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as first, second_house(first) as net:
        made = make(
            net,
            {"homes": [{"name": "home", "forwards": FORWARDS}, {"name": "b", "forwards": OTHER}]},
        )
        made.relay_up()
        made.home_up()
        made.home_up(name="b", host="home2")
        made.serve("home", 8080)
        made.serve("lan", 26)
        made.serve("lan", 8090)
        made.serve("lan", 601)
        made.serve("home", 8093, at=OWN)
        made.serve("home", 8094, at=OWN)
        made.serve("home2", 8093, at=OWN)
        yield made


def both(*ports: int) -> list[tuple[str, int]]:
    return [(kind, port) for port in ports for kind in KINDS]


def load(lab: Lab, forwards: list[Any]) -> None:
    """Home's rules made anew from other forwards, and loaded on the living tunnel."""
    settings = samples.settings(homes=[{"name": "home", "forwards": forwards}])
    text = home_rules(settings.homes[0], lab.uplink)
    assert text is not None
    lab.net["home"].write(RULES, text)
    lab.net["home"].run(f"nft -f {RULES}")


def elements(lab: Lab) -> list[str]:
    """What the rules filled, without the callers of the last minutes."""
    kept, skip = [], False
    for line in lab.net["home"].run(f"nft list table ip {lab.way.table}").splitlines():
        skip = line.startswith("\tset asked") or (skip and line != "\t}")
        if not skip:
            kept.append(line)
    return kept


def test_a_lan_host_answers_and_sees_home(lab: Lab) -> None:
    """By the same port, by another, and by a shifted range; 500 has nobody behind it."""
    asked = both(25, 90, 500, 501)
    assert lab.calls(*asked) == {(k, p): "" if p == 500 else OWN for k, p in asked}


def test_homes_own_lan_address_keeps_the_caller(lab: Lab) -> None:
    """The service listens on that address alone, so without the hand-on nobody answers."""
    assert lab.calls(*both(93)) == dict.fromkeys(both(93), CLIENT)
    home = lab.net["home"]
    home.run(f"nft flush map ip {lab.way.table} lan")
    try:
        assert lab.calls(*both(93)) == dict.fromkeys(both(93), "")
    finally:
        home.run(f"nft -f {RULES}")


def test_udp_of_the_lan_address_must_not_be_learned(lab: Lab) -> None:
    """Why ``handed_on`` exists: the answer's source would be set to the tunnel's address."""
    home = lab.net["home"]
    assert lab.calls(*both(95)) == dict.fromkeys(both(95), CLIENT)
    home.run(f"nft flush set ip {lab.way.table} handed_on")
    try:
        assert lab.calls(*both(95)) == {("tcp", 95): CLIENT, ("udp", 95): ""}
    finally:
        home.run(f"nft -f {RULES}")
        home.run(f"nft flush set ip {lab.way.table} asked")
    assert lab.calls(*both(95)) == dict.fromkeys(both(95), CLIENT)


def test_lan_hosts_need_the_masquerade_and_the_forwarding(lab: Lab) -> None:
    home = lab.net["home"]
    home.run(f"nft flush set ip {lab.way.table} lan_hosts")
    assert lab.calls(*both(25)) == dict.fromkeys(both(25), "")
    home.run(f"nft -f {RULES}")
    home.run("sysctl -qw net.ipv4.ip_forward=0")
    try:
        assert lab.calls(*both(25)) == dict.fromkeys(both(25), "")
    finally:
        home.run("sysctl -qw net.ipv4.ip_forward=1")
    assert lab.calls(*both(25)) == dict.fromkeys(both(25), OWN)


def test_a_list_of_networks_holds_for_a_lan_host(lab: Lab) -> None:
    assert lab.call("tcp", 94) == OWN
    assert lab.call("tcp", 94, host="phone") == ""


def test_homes_with_the_same_lan_do_not_clash(lab: Lab) -> None:
    """The other's LAN host is silent until it listens; then it answers there alone."""
    assert lab.calls(*both(1090)) == dict.fromkeys(both(1090), "")
    assert lab.calls(*both(1093)) == dict.fromkeys(both(1093), CLIENT)
    lab.serve("lan2", 8090)
    asked = both(90, 1090)
    assert lab.calls(*asked) == dict.fromkeys(asked, OWN)
    assert lab.net["lan2"].run("ss -Hlntu sport = 26") == ""
    assert lab.call("tcp", 25) == OWN


def test_rules_are_loaded_on_a_living_tunnel(lab: Lab) -> None:
    """A new target answers, a removed one stops, connections live on; twice is the same."""
    home, lan = lab.net["home"], lab.net["lan"]
    lan.start([*HOLD, "serve", LAN, "8096"])
    eventually(lambda: f"{LAN}:8096 " in lan.run("ss -Hlnt"), "the LAN host listens")
    kept = [f for f in FORWARDS if f not in (FORWARDS[1], FORWARDS[6])]
    # The relay hands port 90 to 2090 before and after: what changes is at home.
    kept[kept.index(FORWARDS[2])] = {**FORWARDS[2], "to": 8091}
    peers = home.run("wg show wg0 peers")
    since = home.run("wg show wg0 latest-handshakes")
    with exchange(lab.net["client"], "tcp", RELAY, 96) as running:
        assert running.ask() == OWN
        load(lab, kept)
        once = elements(lab)
        home.run(f"nft -f {RULES}")
        assert elements(lab) == once
        assert running.ask() == OWN  # a flow keeps where it was handed to
        with (
            pytest.raises(AssertionError, match="ConnectionRefusedError"),
            exchange(lab.net["client"], "tcp", RELAY, 96),
        ):
            pass
        assert lab.calls(*both(25, 90)) == {
            **dict.fromkeys(both(25), ""),
            **dict.fromkeys(both(90), ""),
        }
        lab.serve("lan", 8091)
        assert lab.calls(*both(90)) == dict.fromkeys(both(90), OWN)
        load(lab, FORWARDS)
        assert lab.calls(*both(25)) == dict.fromkeys(both(25), OWN)
        assert running.ask() == OWN
    assert home.run("wg show wg0 peers") == peers
    assert home.run("wg show wg0 latest-handshakes") == since


def test_rules_that_do_not_fit_leave_the_tunnel_up_and_say_so(lab: Lab) -> None:
    """A file made for another relay names a table that is not there."""
    home = lab.net["home"]
    other = Uplink(samples.keys(lab.settings).wireguard.public, lab.uplink.endpoint)
    while other.slot == lab.uplink.slot:
        other = Uplink(samples.keys(lab.settings).wireguard.public, lab.uplink.endpoint)
    wrong = home_rules(lab.home(), other)
    right = home_rules(lab.home(), lab.uplink)
    assert wrong is not None
    assert right is not None
    home.run("wg-quick down wg0")
    home.write(RULES, wrong)
    said = home.run(["sh", "-c", "wg-quick up wg0 2>&1"])
    try:
        assert "wg0.rules does not fit this wg0.conf: take both anew" in said
        eventually(lambda: lab.call("tcp", 80) == CLIENT, "the tunnel is up")
        assert lab.calls(*both(25)) == dict.fromkeys(both(25), "")
    finally:
        home.write(RULES, right)
        home.run(f"nft -f {RULES}")
    assert lab.calls(*both(25)) == dict.fromkeys(both(25), OWN)


def test_a_home_without_targets_on_its_lan_needs_no_rules(lab: Lab) -> None:
    plain = replace(lab.home(), forwards=lab.home().forwards[:2])
    assert home_rules(plain, lab.uplink) is None
