"""What a config means, and every way in which it can be at fault."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import config
from components.faults import Collector
from components.model import Forward, Mode, PortRange, Protocol, Settings

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "faults.yaml").read_text())


def read(raw: dict[str, Any], networks: tuple[str, ...] = ()) -> tuple[Settings | None, list[str]]:
    faults = Collector()
    settings = config.read(raw, faults, [IPv4Network(n) for n in networks])
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


def test_there_are_at_least_forty_cases() -> None:
    assert len(CASES) >= 40


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
    ],
)
def test_notations(
    notation: object, ports: tuple[int, int], to: tuple[int, int], protocol: str
) -> None:
    expected = Forward(PortRange(*ports), PortRange(*to), Protocol(protocol))
    assert forward(notation) == expected


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


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, True, 1.5, [[]], {"": {}}, {"1": 1}])
@pytest.mark.parametrize("key", ["homes", "tunnel", "ssh"])
def test_no_shape_ends_in_a_traceback(key: str, value: object) -> None:
    read({"homes": [{"name": "home"}], key: value})
    for inner in ("name", "forwards", "mode", "address", "publicKey"):
        read({"homes": [{"name": "home", inner: value}]})
    for inner in ("port", "to", "protocol"):
        read({"homes": [{"name": "home", "forwards": [{"port": 1, inner: value}]}]})
    for inner in ("network", "port", "mtu", "keepalive"):
        read({"homes": [{"name": "home"}], "tunnel": {inner: value}})
