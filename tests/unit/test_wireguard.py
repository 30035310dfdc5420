"""The texts that wg-quick reads, on the relay and at home."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from components import wireguard
from components.device import device_config
from components.home import Way, home_config
from components.keys import RelayKeys
from components.model import Settings
from components.wireguard import PLACEHOLDER, Uplink

from . import samples


def config_of(name: str, settings: Settings, keys: RelayKeys) -> str:
    settings = settings.drawn(keys.prefix)
    home = next(home for home in settings.homes if home.name == name)
    uplink = Uplink(keys.wireguard.public, "relay.example:51820")
    return home_config(home, settings.tunnel, keys.peers[name], uplink)


@pytest.fixture
def settings() -> Settings:
    return samples.settings()


@pytest.fixture
def keys(settings: Settings) -> RelayKeys:
    return samples.keys(settings)


def test_home_config_does_not_depend_on_forwards(settings: Settings, keys: RelayKeys) -> None:
    homes = [
        {**home, "forwards": ["9:9"] if i == 0 else []} for i, home in enumerate(samples.HOMES)
    ]
    other = samples.settings(homes=homes)
    for home in settings.homes:
        assert config_of(home.name, settings, keys) == config_of(home.name, other, keys)


def test_home_config_has_what_the_tunnel_needs(settings: Settings, keys: RelayKeys) -> None:
    text = config_of("home", settings, keys)
    home = keys.peers["home"]
    for line in (
        f"Address = {settings.homes[0].address}/24",  # IPv6's must not fail the tunnel: PostUp
        f"PrivateKey = {home.private}",
        "MTU = 1420",
        "Table = off",
        f"PublicKey = {keys.wireguard.public}",
        f"PresharedKey = {home.preshared}",
        "Endpoint = relay.example:51820",
        "AllowedIPs = 0.0.0.0/0, ::/0",
        "PersistentKeepalive = 25",
    ):
        assert line in text.splitlines()


def test_masquerade_asks_nothing_of_home(settings: Settings, keys: RelayKeys) -> None:
    text = config_of("nas", settings, keys)
    assert "AllowedIPs = 172.16.0.0/24" in text.splitlines()
    assert "PostUp" not in text
    assert "Table" not in text


def test_a_home_with_its_own_key_gets_a_placeholder(settings: Settings, keys: RelayKeys) -> None:
    own = replace(keys.peers["home"], private=None)
    text = config_of("home", settings, replace(keys, peers={**keys.peers, "home": own}))
    assert f"PrivateKey = {PLACEHOLDER}" in text.splitlines()


@pytest.mark.parametrize(("traffic", "whole"), [("vpn", False), ("all", True)])
def test_a_device_sends_all_or_only_the_tunnels(traffic: str, whole: bool) -> None:
    settings = samples.settings(devices=[{"name": "phone", "traffic": traffic}])
    keys = samples.keys(settings)
    tunnel = settings.drawn(keys.prefix).tunnel
    uplink = Uplink(keys.wireguard.public, "relay.example:51820")
    text = device_config(settings.devices[0], tunnel, keys.peers["phone"], uplink)
    allowed = "0.0.0.0/0, ::/0" if whole else f"172.16.0.0/24, {keys.prefix}"
    assert f"AllowedIPs = {allowed}" in text.splitlines()


def test_no_hash_in_a_command(settings: Settings, keys: RelayKeys) -> None:
    """wg-quick cuts a line there, also inside ``${x#y}``."""
    texts = (config_of("home", settings, keys), wireguard.relay_interface(settings, keys))
    for line in "".join(texts).splitlines():
        if line.startswith(("PostUp", "PreDown", "PostDown")):
            assert "#" not in line


def test_no_predown_can_fail(settings: Settings, keys: RelayKeys) -> None:
    """A failing PreDown aborts the down and leaves the interface up."""
    texts = (config_of("home", settings, keys), wireguard.relay_interface(settings, keys))
    downs = [x for x in "".join(texts).splitlines() if x.startswith(("PreDown", "PostDown"))]
    assert downs
    assert all(line.endswith("|| :") for line in downs)


def test_two_relays_at_one_home_share_no_mark_table_or_rule(settings: Settings) -> None:
    first, second = samples.keys(settings), samples.keys(settings)
    while Uplink(first.wireguard.public, "").slot == Uplink(second.wireguard.public, "").slot:
        second = samples.keys(settings)  # one chance in 254

    def numbers(keys: RelayKeys) -> set[tuple[str, str]]:
        return set(
            re.findall(r"(pref|table|fwmark|lookup) (\d\w+)", config_of("home", settings, keys))
        )

    assert not numbers(first) & numbers(second)


def test_egress_by_one_relay_comes_behind_the_answers_of_every_other() -> None:
    """Or a home with all its traffic by one would answer the other's callers by it as well."""
    slots = [Way(slot) for slot in range(1, 255)]
    used = [p for way in slots for p in range(way.first, way.first + 8)]
    out = [p for way in slots for p in range(way.out, way.out + 4)]
    assert max(used) < min(out)
    assert max(out) < 32766 < min(way.last for way in slots)
    assert len({*used, *out}) == len(used) + len(out)


def test_the_filter_is_there_before_the_first_peer_and_goes_after_the_last(
    settings: Settings, keys: RelayKeys
) -> None:
    lines = wireguard.relay_interface(settings, keys).splitlines()
    ups = [line for line in lines if line.startswith("PostUp")]
    assert "iptables-restore" in ups[0]
    assert "addconf" in ups[-2]
    assert "call back" in ups[-1]
    assert not any("iptables" in line for line in lines if line.startswith("PreDown"))


def test_peers_and_interface_are_apart(settings: Settings, keys: RelayKeys) -> None:
    interface = wireguard.relay_interface(settings, keys)
    peers = wireguard.relay_peers(settings, keys)
    assert "[Peer]" not in interface
    assert peers.count("[Peer]") == len(settings.homes)
    assert keys.wireguard.private not in peers
    for home in settings.homes:
        assert f"AllowedIPs = {home.address}/32" in peers
