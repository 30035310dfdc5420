"""Which port answers whom: protocols, ranges, allowed networks, modes, several homes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import RELAY6, Lab, make
from .houses import second_house
from .test_return_path import DOCKER
from .topology import internet

CLIENT, CLIENT6 = "203.0.113.9", "2001:db8:9::9"
PHONE = "192.0.2.130"
FORWARDS: list[Any] = [
    "80:8080",
    "80:8080/udp",
    "81:8081/both",  # a container's, by Docker's own rule
    "82:8080/both",
    "83:8080",
    "87:8087/both",  # a service on the tunnel's address alone
    "84:8080/udp",
    "9000-9002:9000/both",
    "300-302:9000/both",
    # The networks of one list overlap, and are of both families.
    {
        "port": 91,
        "to": 8080,
        "protocol": "both",
        "from": ["203.0.113.0/24", CLIENT, "203.0.0.0/16", "2001:db8:9::/48", CLIENT6],
    },
    {"port": 92, "to": 8080, "protocol": "both", "from": ["2001:db8:9::/64"]},
    {"port": 93, "to": 8080, "protocol": "both", "from": [f"{PHONE}/32", "2001:db8:a::/48"]},
    {"port": 94, "to": 8080, "protocol": "both", "from": ["0.0.0.0/0"]},
    {"port": "400-401", "to": 9000, "protocol": "both", "from": ["203.0.113.0/24"]},
    {"port": 95, "to": 8080, "protocol": "both", "mode": "masquerade"},
    {"port": 96, "to": 8081, "protocol": "both", "mode": "masquerade"},
    {"port": 97, "to": 8080, "mode": "masquerade", "from": [PHONE]},
]
HOMES = [
    {"name": "home", "forwards": FORWARDS},
    {"name": "other", "forwards": ["85:8080/both", "86:8090"]},
]
KINDS = ("tcp", "udp")


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as first, second_house(first) as net:
        made = make(net, {"homes": HOMES})
        for host in ("home", "home2"):
            net[host].run("nft -f -", stdin=DOCKER)
        made.relay_up()
        made.home_up()
        made.home_up(name="other", host="home2")
        for port in (8080, 9000, 9001):
            made.serve("home", port)
            made.serve("home", port, at="::")
        for address in made.settings.tunnel.addresses(made.home()):
            made.serve("home", 8087, at=str(address))
        made.serve("home2", 8080)
        made.serve("home2", 8090)
        made.serve("container", 8081)
        yield made


def both(port: int) -> list[tuple[str, int]]:
    return [(kind, port) for kind in KINDS]


def test_protocols_are_forwarded_as_written(lab: Lab) -> None:
    """One alone, the other alone, or both; the other protocol of the same port is silent."""
    asked = [ask for port in (80, 81, 82, 83, 84) for ask in both(port)]
    silent = {("udp", 83), ("tcp", 84)}
    assert lab.calls(*asked) == {ask: "" if ask in silent else CLIENT for ask in asked}


def test_a_service_on_the_tunnels_address_alone(lab: Lab) -> None:
    """It answers the caller; dialled on the LAN it is not there."""
    assert lab.calls(*both(87)) == dict.fromkeys(both(87), CLIENT)
    assert lab.calls(*both(87), to=RELAY6) == dict.fromkeys(both(87), CLIENT6)
    assert lab.calls(*both(8087), host="lan", to="192.168.1.2") == dict.fromkeys(both(8087), "")


def test_ranges_keep_their_ports_or_shift_them(lab: Lab) -> None:
    """Home listens on 9000 and 9001 alone, so a port astray would be silent or answer."""
    asked = [ask for port in (9000, 9001, 9002, 9003, 300, 301, 302, 303) for ask in both(port)]
    answer = {9000, 9001, 300, 301}
    assert lab.calls(*asked) == {(k, p): CLIENT if p in answer else "" for k, p in asked}
    assert "tcp . 9000-9002 : " in lab.net["relay"].run("nft list map ip cgnat-relay ranges")
    assert "300" not in lab.net["relay"].run("nft list map ip cgnat-relay ranges")


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_networks_lets_in_those_alone(lab: Lab, kind: str) -> None:
    """91: client by both families; 92: by IPv6 alone; 93: the phone; 94: any IPv4."""
    ports = [(kind, port) for port in (91, 92, 93, 94)]
    seen4 = lab.calls(*ports)
    seen6 = lab.calls(*ports, to=RELAY6)
    phone = lab.calls(*ports, host="phone")
    assert [*seen4.values()] == [CLIENT, "", "", CLIENT]
    assert [*seen6.values()] == [CLIENT6, CLIENT6, "", ""]
    assert [*phone.values()] == ["", "", PHONE, PHONE]


def test_a_list_holds_for_every_port_of_a_range(lab: Lab) -> None:
    asked = [*both(400), *both(401)]
    assert set(lab.calls(*asked).values()) == {CLIENT}
    assert set(lab.calls(*asked, host="phone").values()) == {""}


def test_without_the_list_all_come_in(lab: Lab) -> None:
    """What keeps a stranger out is the set ``limited``."""
    relay = lab.net["relay"]
    relay.run("nft flush set ip cgnat-relay limited")
    try:
        assert set(lab.calls(*both(93), *both(92)).values()) == {CLIENT}
    finally:
        relay.run("nft -f /etc/wireguard/wg0.ip.nft")
    assert set(lab.calls(*both(93)).values()) == {""}


def test_a_forward_hides_its_callers_while_its_home_sees_others(lab: Lab) -> None:
    """On the same target port as a transparent one, at home itself and at a container."""
    relay6 = str(lab.settings.tunnel.inner6(lab.settings.tunnel.relay))
    seen = lab.calls(*both(95), *both(96), *both(80), *both(81))
    assert seen == {(k, p): "172.16.0.1" if p > 90 else CLIENT for k, p in seen}
    assert lab.calls(*both(95), to=RELAY6) == dict.fromkeys(both(95), relay6)
    assert lab.calls(*both(82), to=RELAY6) == dict.fromkeys(both(82), CLIENT6)
    assert lab.call("tcp", 97, host="phone") == "172.16.0.1"
    assert lab.call("tcp", 97) == ""
    # The off-case: without the mark home sees the caller.
    lab.net["relay"].run("nft flush set ip cgnat-relay hidden")
    try:
        assert lab.calls(*both(95)) == dict.fromkeys(both(95), CLIENT)
    finally:
        lab.net["relay"].run("nft -f /etc/wireguard/wg0.ip.nft")


def test_homes_have_forwards_of_their_own(lab: Lab) -> None:
    """85 and 86 end at the other home, and fall silent with it alone."""
    asked = [*both(85), ("tcp", 86), *both(80)]
    assert lab.calls(*asked) == dict.fromkeys(asked, CLIENT)
    other = lab.net["home2"]
    other.run("wg-quick down wg0")
    try:
        assert lab.calls(*asked) == {(k, p): CLIENT if p == 80 else "" for k, p in asked}
    finally:
        lab.home_up(name="other", host="home2")
    assert lab.calls(*asked) == dict.fromkeys(asked, CLIENT)
