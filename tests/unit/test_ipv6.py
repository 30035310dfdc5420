"""IPv6 inside the tunnel: where it is, and that ``tunnel.ipv6: false`` leaves none of it."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

import pytest

from components.device import device_config
from components.home import home_config
from components.keys import RelayKeys, unique_local
from components.model import Settings
from components.plan import relay_plan
from components.wireguard import Uplink, relay_interface

from . import samples

SEED = "AQIDBAU="
DEVICES = ["phone", {"name": "laptop", "traffic": "all"}]


def texts(settings: Settings, keys: RelayKeys) -> dict[str, str]:
    """Every text that a relay or its peers get, but the firewall of the machine itself."""
    drawn, uplink = settings.drawn(keys.prefix), Uplink(keys.wireguard.public, "relay:51820")
    found = {
        file.path: file.content
        for file in relay_plan(settings, keys).files
        if file.path.startswith(("/etc/wireguard/", "/etc/sysctl.d/"))
    }
    for home in drawn.homes:
        found[home.name] = home_config(home, drawn.tunnel, keys.peers[home.name], uplink)
    for device in drawn.devices:
        found[device.name] = device_config(device, drawn.tunnel, keys.peers[device.name], uplink)
    return {name: without_keys(text) for name, text in found.items()}


def without_keys(text: str) -> str:
    """In base64 any word may stand by chance, ``ip6`` once in some hundred runs."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.partition(" = ")[0].endswith("Key"))


def with_ipv6(settings: Settings, keys: RelayKeys) -> set[str]:
    words = ("ip6", "ip -6", "ipv6.", "ipv6_addr", "::", str(keys.prefix)[:9])
    return {
        name
        for name, text in texts(settings, keys).items()
        # The guard of a protected home names ipv6-icmp, whatever the tunnel carries.
        if any(word in text for word in words)
    }


@pytest.mark.parametrize("egress", [[], [25], "all"])
def test_off_leaves_no_ipv6_anywhere(egress: Any) -> None:
    homes = [*samples.HOMES, {"name": "out", "egress": egress, "protected": True}]
    off = samples.settings(homes=homes, devices=DEVICES, tunnel={"ipv6": False})
    keys = samples.keys(off)
    assert with_ipv6(off, keys) == set()
    assert not any("ip6" in path for path in texts(off, keys))
    on = samples.settings(homes=homes, devices=DEVICES)
    assert with_ipv6(on, keys) >= {
        "/etc/wireguard/wg0.conf",
        "/etc/wireguard/wg0.peers",
        "/etc/wireguard/wg0.ip6.nft",
        "home",
        "out",
        "phone",
        "laptop",
    }
    assert "nas" not in with_ipv6(on, keys)  # masquerade: it asks for it, or has none


def test_a_relay_without_ipv6_runs_none_of_its_commands() -> None:
    """A kernel started with ``ipv6.disable=1`` has no /proc/sys/net/ipv6."""
    on = samples.settings()
    text = relay_interface(on.drawn(samples.keys(on).prefix), samples.keys(on))
    lines = [line for line in text.splitlines() if "ip6" in line or "ip -6" in line]
    assert len(lines) > 5
    for line in lines:
        command = line.partition(" = ")[2]
        assert command.startswith("[ ! -e /proc/sys/net/ipv6 ] || ") or command.endswith("|| :")


def test_a_peer_that_has_none_has_none_anywhere() -> None:
    homes = [{"name": "home", "ipv6": False, "forwards": ["80:8080"]}]
    settings = samples.settings(homes=homes, devices=[{"name": "phone", "ipv6": False}])
    keys = samples.keys(settings)
    assert not with_ipv6(settings, keys) & {"home", "phone", "/etc/wireguard/wg0.peers"}
    assert "tcp . 80" not in texts(settings, keys)["/etc/wireguard/wg0.ip6.nft"]


def test_the_prefix_is_the_seeds() -> None:
    """A /64 of fd00::/8 (RFC 4193), the same at every call."""
    assert unique_local(SEED) == IPv6Network("fd01:203:405::/64")
    assert unique_local(SEED) != unique_local("BQQDAgE=")


def test_adding_peers_moves_nobody() -> None:
    prefix = unique_local(SEED)
    few = samples.settings(homes=samples.HOMES[:1]).drawn(prefix)
    many = samples.settings(homes=[*reversed(samples.HOMES)], devices=DEVICES).drawn(prefix)
    before = few.tunnel.addresses(few.homes[0])
    assert before == many.tunnel.addresses(many.homes[-1])
    assert before[1] in prefix
    offset = int(before[0]) - int(few.tunnel.network.network_address)
    assert int(before[1]) == int(prefix.network_address) + offset
    everyone = [a for peer in many.peers for a in many.tunnel.addresses(peer)]
    assert len({*everyone}) == len(everyone)
