"""The other forms of a home's config say what homeConfig says."""

from __future__ import annotations

import configparser
import re
from typing import Any

import pytest
import yaml

from components.formats import FORMATS, PLAIN_ONLY, home_formats
from components.formats.sections import sections
from components.home import home_config
from components.keys import RelayKeys
from components.model import Settings
from components.wireguard import Uplink

from . import samples

HOOKS = ("PreUp", "PostUp", "PreDown", "PostDown")
TRANSPARENT: dict[str, dict[str, Any]] = {
    "usual": {},
    "without IPv6": {"ipv6": False},
    "protected": {"protected": True},
    "egress": {"egress": "all"},
}


class Made:
    """One home of one relay: its homeConfig and its other forms."""

    def __init__(self, **home: Any) -> None:
        raw = {"name": "home", "forwards": ["80:8080"], **home}
        settings: Settings = samples.settings(homes=[raw])
        self.keys: RelayKeys = samples.keys(settings)
        settings = settings.drawn(self.keys.prefix)
        uplink = Uplink(self.keys.wireguard.public, "relay.example:51820")
        given = (settings.homes[0], settings.tunnel, self.keys.peers["home"], uplink)
        self.config = home_config(*given)
        self.formats = home_formats(*given)


def ini(text: str) -> dict[str, list[tuple[str, str]]]:
    """The sections of a systemd file; keys may repeat."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), [])
        elif line and line[0] != "#":
            key, _, value = line.partition("=")
            current.append((key, value))
    return found


def test_a_masquerade_home_has_every_form() -> None:
    assert set(Made(mode="masquerade").formats) == set(FORMATS)


def test_a_transparent_home_has_those_that_carry_its_return_path() -> None:
    assert set(Made().formats) == set(FORMATS) - set(PLAIN_ONLY)


@pytest.mark.parametrize("form", sorted(PLAIN_ONLY))
def test_plain_forms_have_no_command(form: str) -> None:
    made = Made(mode="masquerade")
    assert made.formats[form] == {"wg0.conf": made.config}
    assert not sections(made.config).hooks


@pytest.mark.parametrize("home", TRANSPARENT.values(), ids=TRANSPARENT.keys())
def test_networkd_runs_every_command_of_home_config_in_its_order(home: dict[str, Any]) -> None:
    made = Made(**home)
    script = made.formats["systemd-networkd"]["wg0-tunnel"]
    bodies = re.findall(r"^(?:up|down)\)\n(.*?)\t;;", script, re.DOTALL | re.MULTILINE)
    ran = [line.strip() for body in bodies for line in body.splitlines()]
    own = [line for line in ran if not line.startswith("ip link set dev wg0")]
    wanted = [
        value.replace("%i", "wg0")
        for hook in HOOKS
        for key, _, value in (line.partition(" = ") for line in made.config.splitlines())
        if key == hook
    ]
    assert own == wanted
    assert len(ran) == len(own) + 2
    assert "%" not in script


@pytest.mark.parametrize("home", [*TRANSPARENT.values(), {"mode": "masquerade"}])
def test_networkd_has_the_same_tunnel(home: dict[str, Any]) -> None:
    made = Made(**home)
    files = made.formats["systemd-networkd"]
    netdev, network = ini(files["wg0.netdev"]), ini(files["wg0.network"])
    whole = sections(made.config)
    assert netdev["WireGuardPeer"] == [*whole.peer]
    assert dict(netdev["NetDev"])["MTUBytes"] == dict(whole.interface)["MTU"]
    wireguard = dict(netdev["WireGuard"])
    assert wireguard["PrivateKey"] == made.keys.peers["home"].private
    assert wireguard.get("FirewallMark") == dict(whole.interface).get("FwMark")
    addresses = [value for key, value in network["Network"] if key == "Address"]
    assert len(addresses) == (1 if home.get("ipv6") is False or "mode" in home else 2)
    assert all(address in made.config for address in addresses)
    tables = re.findall(r"route replace default dev %i table (\d+)", made.config)
    assert [value for key, value in network.get("Route", []) if key == "Table"] == tables


def test_networkd_without_commands_has_no_unit() -> None:
    assert set(Made(mode="masquerade").formats["systemd-networkd"]) == {"wg0.netdev", "wg0.network"}


@pytest.mark.parametrize("form", ["docker-compose", "systemd-networkd"])
def test_rules_are_beside_a_config_that_needs_them(form: str) -> None:
    assert "declared" in Made(protected=True).formats[form]["wg0.rules"]
    assert "wg0.rules" not in Made().formats[form]


def test_the_sidecar_is_home_config_itself_and_may_do_what_it_needs() -> None:
    made = Made()
    files = made.formats["docker-compose"]
    assert files["wg0.conf"] == made.config
    services = yaml.safe_load(files["compose.yaml"])["services"]
    assert services["tunnel"]["cap_add"] == ["NET_ADMIN"]
    assert services["tunnel"]["sysctls"] == {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.all.src_valid_mark": "1",
    }
    assert services["example"]["network_mode"] == "service:tunnel"
    assert files[".dockerignore"] == "*\n"
    keys = re.findall(r"^(?:PrivateKey|PresharedKey) = (.*)$", made.config, re.MULTILINE)
    for name, text in files.items():
        assert name == "wg0.conf" or not any(key in text for key in keys)


def test_the_image_has_what_the_commands_run() -> None:
    """Each first word of a command, by the Debian package that has it."""
    packages = {
        "ip": "iproute2",
        "iptables": "iptables",
        "ip6tables": "iptables",
        "nft": "nftables",
        "sysctl": "procps",
        "wg-quick": "wireguard-tools",
    }
    made = Made(protected=True, egress="all")
    words = {"wg-quick"}
    for key, value in sections(made.config).interface:
        if key in HOOKS:
            pieces = re.split(r"\|\||&&|;|\|", re.sub(r"'[^']*'|\"[^\"]*\"", "", value))
            words |= {piece.split()[0] for piece in pieces if piece.strip()}
    assert words - {"[", ":", "cat", "echo"} == set(packages)
    assert set(packages.values()) <= set(made.formats["docker-compose"]["Dockerfile"].split())


def test_the_parts_of_a_config_are_not_shown() -> None:
    made = Made()
    assert made.keys.peers["home"].private not in repr(sections(made.config))


def test_systemd_files_have_no_section_twice_but_routes() -> None:
    for name, text in Made().formats["systemd-networkd"].items():
        if name.endswith((".netdev", ".service")):
            parser = configparser.ConfigParser(interpolation=None)
            parser.optionxform = str  # type: ignore[assignment, method-assign]
            parser.read_string(text)  # raises for a section or a key twice
