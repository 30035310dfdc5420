"""What a config means, and every way in which it can be at fault."""

from __future__ import annotations

import time
from datetime import date
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import config
from components.config import TUNNEL_KEYS
from components.faults import Collector
from components.model import Forward, Mode, PortRange, Protocol, Settings, Site
from components.notation import KEYS as FORWARD_KEYS
from components.peers import DEVICE_KEYS, HOME_KEYS

from . import samples

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "faults.yaml").read_text())


def read(raw: dict[str, Any], networks: tuple[str, ...] = ()) -> tuple[Settings | None, list[str]]:
    faults = Collector()
    settings = config.read(raw, faults, Site(tuple(IPv4Network(n) for n in networks)))
    return settings, [str(fault) for fault in faults.faults]


def forward(notation: object) -> Forward:
    settings, faults = read({"homes": [{"name": "home", "forwards": [notation]}]})
    assert settings, faults
    return settings.homes[0].forwards[0]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_fault_is_found_at_once(case: dict[str, Any]) -> None:
    settings, faults = read(case["config"], tuple(case.get("networks", ())))
    assert faults == case["faults"]
    assert settings is None


def test_there_are_at_least_a_hundred_cases() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize(
    ("notation", "ports", "to", "protocol"),
    [
        ("80:8080", (80, 80), (8080, 8080), "tcp"),
        ("443", (443, 443), (443, 443), "tcp"),
        (25, (25, 25), (25, 25), "tcp"),
        ("5353:5353/udp", (5353, 5353), (5353, 5353), "udp"),
        ("5353/UDP", (5353, 5353), (5353, 5353), "udp"),
        ("27015-27020:27015/udp", (27015, 27020), (27015, 27020), "udp"),
        ("1000-1002:2000-2002", (1000, 1002), (2000, 2002), "tcp"),
        ("65535:1", (65535, 65535), (1, 1), "tcp"),
        ({"port": 443, "to": 8081}, (443, 443), (8081, 8081), "tcp"),
        ({"port": "10-12", "to": 20, "protocol": "udp"}, (10, 12), (20, 22), "udp"),
        ({"port": 9}, (9, 9), (9, 9), "tcp"),
        ({"port": 1, "to": 2}, (1, 1), (2, 2), "tcp"),
        (" 80 : 8080 ", (80, 80), (8080, 8080), "tcp"),
    ],
)
def test_notations(
    notation: object, ports: tuple[int, int], to: tuple[int, int], protocol: str
) -> None:
    expected = Forward(PortRange(*ports), PortRange(*to), Protocol(protocol))
    assert forward(notation) == expected


def forwards(*notations: object, **home: object) -> tuple[Forward, ...]:
    settings, faults = read({"homes": [{"name": "home", "forwards": [*notations], **home}]})
    assert settings, faults
    return settings.homes[0].forwards


@pytest.mark.parametrize(
    "notation", ["53:5353/both", "53:5353/Both", {"port": 53, "to": 5353, "protocol": "both"}]
)
def test_both_is_one_forward_for_each_protocol(notation: object) -> None:
    ports, to = PortRange(53, 53), PortRange(5353, 5353)
    assert forwards(notation) == (
        Forward(ports, to, Protocol.TCP),
        Forward(ports, to, Protocol.UDP),
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["203.0.113.0/24"], ["203.0.113.0/24"]),
        (["203.0.113.9", "2001:db8::1"], ["203.0.113.9/32", "2001:db8::1/128"]),
        (["203.0.113.0/255.255.255.0", "2001:DB8::/32"], ["203.0.113.0/24", "2001:db8::/32"]),
        (["0.0.0.0/0", "::/0"], ["0.0.0.0/0", "::/0"]),
    ],
)
def test_from_is_a_list_of_networks_of_either_family(written: list[str], meant: list[str]) -> None:
    found = forwards({"port": 80, "protocol": "both", "from": written})
    assert [f.sources for f in found] == [tuple(map(ip_network, meant))] * 2


@pytest.mark.parametrize(
    ("notation", "entry", "to"),
    [
        ({"port": 25}, (25, 25), (25, 25)),
        ({"port": 25, "to": 26}, (25, 25), (26, 26)),
        ({"port": 25, "to": 26, "via": 2525}, (2525, 2525), (26, 26)),
        ({"port": "30-32", "to": 120, "via": 220}, (220, 222), (120, 122)),
        ({"port": "30-32", "via": "220-222"}, (220, 222), (30, 32)),
    ],
)
def test_a_lan_host_is_entered_by_the_relays_port_or_by_via(
    notation: dict[str, object], entry: tuple[int, int], to: tuple[int, int]
) -> None:
    (found,) = forwards({**notation, "host": "192.168.1.50"})
    assert found.host == IPv4Address("192.168.1.50")
    assert (found.entry, found.to) == (PortRange(*entry), PortRange(*to))


def test_the_same_way_to_a_lan_host_may_be_had_from_two_ports() -> None:
    way = {"to": 80, "host": "192.168.1.50", "via": 9000}
    assert len(forwards({"port": 80, **way}, {"port": 81, **way}, "82:9001")) == 3


def test_a_forward_may_hide_its_callers_alone() -> None:
    shown, hidden = forwards("80:8080", {"port": 81, "to": 8080, "mode": "masquerade"})
    assert (shown.mode, hidden.mode) == (None, Mode.MASQUERADE)


def test_ports_that_overlap_are_one_interval_of_nft() -> None:
    settings, faults = read(
        {
            "homes": [
                {
                    "name": "home",
                    "protected": True,
                    "accept": [22, "20-25", "26", "22/udp"],
                    "egress": [25, 25, "25-30/both", "30-31"],
                }
            ]
        }
    )
    assert settings, faults
    home = settings.homes[0]
    assert [str(o) for o in home.accept] == ["tcp/20-26", "udp/22"]
    assert [str(o) for o in home.egress.ports] == ["tcp/25-31", "udp/25-30"]


def test_a_device_is_a_name_or_a_mapping() -> None:
    settings, faults = read({"homes": [{"name": "a"}], "devices": ["p", {"name": "q"}]})
    assert settings, faults
    assert [device.name for device in settings.devices] == ["p", "q"]


@pytest.mark.parametrize(
    "notations",
    [
        [f"{port}:{port + 1}" for port in range(1000, 4000)],
        ["80:80"] * 3000,
        [{"port": p, "to": 9, "host": "192.168.1.5", "from": ["::/0"]} for p in range(1, 3001)],
    ],
    ids=["apart", "one port", "LAN"],
)
def test_three_thousand_forwards_are_read_at_once(notations: list[object]) -> None:
    """0.1 s where it was written; what grows with the square of them takes 5."""
    start = time.process_time()
    read({"homes": [{"name": "home", "forwards": notations}], "ssh": {"port": 65000}})
    assert time.process_time() - start < 1.5


def test_defaults() -> None:
    settings, _ = read({"homes": [{"name": "home", "forwards": ["80:8080"]}]})
    assert settings
    assert settings.tunnel.network == IPv4Network("172.16.0.0/24")
    assert settings.tunnel.relay == IPv4Address("172.16.0.1")
    assert (settings.tunnel.port, settings.tunnel.mtu, settings.tunnel.keepalive) == (
        51820,
        1420,
        25,
    )
    assert settings.homes[0].mode is Mode.TRANSPARENT
    assert settings.ssh_port == 22


def test_every_port_that_must_reach_the_relay_is_opened() -> None:
    settings, faults = read(
        {
            "homes": [{"name": "home", "forwards": ["80:8080", "53:53/both"]}],
            "tunnel": {"otherPorts": [4500, 123], "tls": True},
        }
    )
    assert settings, faults
    shown = [str(opening) for opening in settings.openings]
    assert shown == ["tcp/53", "tcp/80", "tcp/443", "udp/53", "udp/123", "udp/4500"]


def test_addresses_stay_whatever_is_added_removed_or_reordered() -> None:
    names = ["home", "mail", "games", "nas"]
    alone = {name: read({"homes": [{"name": name}]})[0] for name in names}
    together, faults = read({"homes": [{"name": name} for name in reversed(names)]})
    assert together, faults
    for home in together.homes:
        only = alone[home.name]
        assert only
        assert home.address == only.homes[0].address


def test_the_same_port_may_be_tcp_and_udp() -> None:
    assert read({"homes": [{"name": "home", "forwards": ["53:53", "53:53/udp"]}]})[1] == []


def test_tcp_may_have_the_tunnels_port_and_udp_that_of_ssh() -> None:
    assert read({"homes": [{"name": "a", "forwards": ["51820:1", "22:2/udp"]}]})[1] == []


LOOP: list[object] = []
LOOP.append(LOOP)
ODD = [
    *(None, 1, -1, True, 1.5, float("nan"), 10**5000, 0xF**9999),
    *("x", "", "80:", "-", "\u0668\u0660", "\ud800", "80\n", "fe80::1%x", "x" * 100_000, b"80"),
    *([], {}, [[]], [[[[]]]], {"": {}}, {"1": 1}, {1: 2}, {None: None}, {(1,): 1}, LOOP),
    *((), ("a",), {1}, range(3), date(2026, 1, 1), ...),
]
WHERE = {
    "": ("homes", "devices", "tunnel", "ssh", 1, None),
    "home": ("", *HOME_KEYS, 1),
    "forward": ("", *FORWARD_KEYS, 1),
    "device": ("", *DEVICE_KEYS, 1),
    "tunnel": (*TUNNEL_KEYS, 1),
    "ssh": ("port", 1),
}


@pytest.mark.parametrize(
    ("what", "key"), [(what, key) for what, keys in WHERE.items() for key in keys]
)
def test_no_shape_ends_in_a_traceback(what: str, key: object) -> None:
    """Every key with every oddity for its value, alone and in a list; an empty key is the whole."""
    for odd in [*ODD, *([value] for value in ODD)]:
        settings, faults = read(_with(what, key, odd))
        assert bool(settings) != bool(faults)
        assert all(len(fault) < 1000 for fault in faults), "an oddity is shown in short"


def _with(what: str, key: object, odd: object) -> dict[Any, Any]:
    """A config that is right but for one value."""
    if what == "forward":
        inner = {"port": 1, "host": "192.168.1.50", key: odd} if key else odd
        return {"homes": [{"name": "home", "forwards": [inner]}]}
    if what == "home":
        return {"homes": [{"name": "home", key: odd} if key else odd]}
    if what == "device":
        return {"homes": [{"name": "home"}], "devices": [{"name": "d", key: odd} if key else odd]}
    return {"homes": [{"name": "home"}], **({what: {key: odd}} if what else {key: odd})}


@pytest.mark.parametrize(
    ("config", "crosses"),
    [
        ({}, False),
        ({"devices": [{"name": "phone", "reach": []}]}, False),
        ({"devices": ["phone"]}, True),
        ({"devices": [{"name": "phone", "reach": [], "traffic": "all"}]}, True),
        ({"homes": [{"name": "home", "forwards": [80], "egress": [25]}]}, True),
        ({"homes": [{"name": "home", "forwards": [80], "egress": "all"}]}, True),
    ],
)
def test_who_may_send_what_no_forward_led_there(config: dict[str, Any], crosses: bool) -> None:
    assert samples.settings(**config).crosses == crosses
