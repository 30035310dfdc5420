"""The relay's rules as text, and that the kernel's tools accept them."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv6Network, ip_address, ip_network

import pytest

from components import firewall, rules
from components.family import Family
from components.home import home_config
from components.model import Site
from components.wireguard import Uplink

from . import samples


def test_each_forward_is_one_element() -> None:
    text = rules.nat(samples.settings())
    home, games, nas = (home.address for home in samples.settings().homes)
    for element in (
        f"tcp . 80 : {home} . 8080,",
        f"tcp . 443 : {home} . 8081,",
        f"udp . 5353 : {home} . 5353,",
        f"udp . 27015-27020 : {games},",
        f"tcp . 2049 : {nas} . 2049,",
    ):
        assert text.count(element) == 1


def test_a_shifted_range_is_spelled_out() -> None:
    text = rules.nat(samples.settings())
    games = samples.settings().homes[1].address
    assert f"tcp . 3000 : {games} . 4000," in text
    assert f"tcp . 3001 : {games} . 4001," in text


def test_only_masquerade_homes_are_masqueraded() -> None:
    text = rules.nat(samples.settings())
    members = text.split("set hidden")[1].split("\tset")[0]
    assert "tcp . 2049," in members
    assert members.count(" . ") == 2  # the type, and that


def test_no_forwards_leave_no_empty_elements() -> None:
    assert "elements = {\n\t\t}" not in rules.nat(samples.settings(homes=[{"name": "home"}]))


def test_filter_rules_do_not_grow_with_forwards() -> None:
    many = samples.settings(homes=[{"name": "home", "forwards": list(range(1000, 1100))}])
    assert rules.filter_rules(many) == rules.filter_rules(samples.settings())


def test_answers_come_first() -> None:
    """Or each packet of each flow would walk every rule."""
    chain = [r for r in rules.filter_rules(samples.settings()).splitlines() if r[:2] == "-A"]
    assert "ESTABLISHED,RELATED" in chain[0]
    assert "REJECT" in chain[-1]


@pytest.mark.parametrize("version", [4, 6])
def test_closed_to_the_public_ssh_lets_devices_in(version: int) -> None:
    given = samples.settings(devices=["laptop", {"name": "phone", "ipv6": False}])
    settings = given.drawn(IPv6Network("fd00:1:2:3::/64"))
    chain = firewall.rules(settings, version, closed=True).splitlines()
    ssh = [rule for rule in chain if "--dport 22 " in rule]
    devices = [d for d in settings.devices if version == 4 or d.ipv6]
    family = Family.V4 if version == 4 else Family.V6
    addresses = [settings.tunnel.address(device, family) for device in devices]
    start = "-A RELAY-INPUT -i wg0 -s"
    assert ssh == [f"{start} {a} -p tcp --dport 22 -j ACCEPT" for a in addresses]
    assert len(ssh) == (2 if version == 4 else 1)
    rest = [rule for rule in chain if rule not in ssh]
    both = firewall.rules(settings, version).splitlines()
    assert rest == [rule for rule in both if "--dport 22 " not in rule]


def test_an_adopted_machines_own_rules_are_asked_about_ssh() -> None:
    """fail2ban's bans among them; but where it is closed devices are let in, whatever they say."""
    given = samples.settings(devices=["laptop"])
    settings = replace(given, site=Site(adopted=True, guarded=True, ssh_port=22))
    chain = firewall.rules(settings, 4).splitlines()
    assert [r for r in chain if "--dport 22 " in r] == [
        "-A RELAY-INPUT -p tcp --dport 22 -j RETURN"
    ]
    assert chain.index("-A RELAY-INPUT -j DROP") == len(chain) - 2
    closed = firewall.rules(settings, 4, closed=True)
    assert "--dport 22 -j ACCEPT" in closed
    assert "RETURN" not in closed


@pytest.mark.parametrize("version", [4, 6])
def test_firewall_lets_ssh_in_and_ends_in_a_drop(version: int) -> None:
    settings = samples.settings(ssh={"port": 2200}, tunnel={"port": 4500})
    chain = [r for r in firewall.rules(settings, version).splitlines() if r[:2] == "-A"]
    assert "-A RELAY-INPUT -p tcp --dport 2200 -j ACCEPT" in chain
    assert "-A RELAY-INPUT -p udp --dport 4500 -j ACCEPT" in chain
    assert chain[-1] == "-A RELAY-INPUT -j DROP"
    assert "INPUT DROP" not in firewall.rules(settings, version)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # AWS, Google, Azure, Hetzner, DigitalOcean, Oracle
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle's first cloud
        "168.63.129.16",  # Azure's host
        "10.0.0.1",
        "255.255.255.255",
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "64:ff9b::a9fe:a9fe",  # 169.254.169.254 by a NAT64
        "2002:a9fe:a9fe::1",  # and by 6to4
        "::ffff:169.254.169.254",
        "fec0::1",
    ],
)
def test_egress_keeps_out_of_a_providers_own(address: str) -> None:
    assert _kept_out(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "198.51.100.7", "2620:fe::fe", "2001:db8::1"])
def test_egress_reaches_the_internet(address: str) -> None:
    assert not _kept_out(address)


def _kept_out(address: str) -> bool:
    networks = rules.NOT_INTERNET[Family.V6 if ":" in address else Family.V4]
    return any(ip_address(address) in ip_network(network) for network in networks)


def test_only_a_home_that_meets_itself_is_shown_the_relay() -> None:
    text = rules.nat(samples.settings())
    members = text.split("set selves")[1].split("\tset")[0]
    for home in samples.settings().homes:
        assert f"{home.address} . {home.address}," in members
    assert members.count("172.16.0.") == 2 * len(samples.settings().homes)


def test_no_protocol_is_turned_round_before_an_interval() -> None:
    """What newer kernels refuse, with nft 1.0.9: see ``family.PORT``."""
    homes = [{"name": "home", "forwards": ["80:8080"], "protected": True, "egress": [25]}]
    settings = samples.settings(homes=homes)
    keys = samples.keys(settings)
    home = settings.homes[0]
    uplink = Uplink(keys.wireguard.public, "relay.example:51820")
    texts = [rules.nat(settings, family) for family in Family]
    texts.append(home_config(home, settings.tunnel, keys.peers[home.name], uplink))
    for text in texts:
        assert "ct protocol . th dport" in text
        assert not re.search(r"meta l4proto \.|\. meta l4proto", text)


@pytest.mark.parametrize("family", Family)
def test_a_packet_of_an_established_flow_is_asked_little(family: Family) -> None:
    """What each packet meets beside NAT, which is asked of a flow's first alone."""
    chains = re.findall(
        r"chain (\w+) \{\n(.*?)\t\}", rules.nat(samples.settings(), family), re.DOTALL
    )
    met = {name: text.splitlines()[1:] for name, text in chains if "type filter" in text}
    assert {name: len(asked) for name, asked in met.items()} == {"forged": 1, "forward": 2}
    assert all(" jump " in rule for rule in met["forward"])


@pytest.mark.parametrize("family", Family)
def test_only_a_machine_that_keeps_its_firewall_refuses_homes_here(family: Family) -> None:
    """Where the relay guards it INPUT lets nobody in; the tunnel's own packets are asked once."""
    given = samples.settings(tunnel={"next": {"key": 2, "port": 51822}})
    assert "chain input" not in rules.nat(given, family)
    own = replace(given, site=Site(adopted=True, guarded=False, ssh_port=2200))
    text = rules.nat(own, family)
    chain = re.findall(r"chain input \{\n(.*?)\t\}", text, re.DOTALL)[0].splitlines()
    assert len(chain) == 2
    assert re.match(r"\t\tct state != .* iifname \{ \"wg0\", \"wg0-2\" \} .* jump itself", chain[1])
    assert text.count("tcp dport 2200 return") == 2
