"""Whoever has a port by now that the relay is to take is found before it is adopted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .adopted import ADDRESS, TERMS, Machine
from .test_preflight import listen
from .topology import hosts

NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT\n"
TO = "-j DNAT --to-destination 172.17.0.2:80"
DOCKER = f"""\
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 443 {TO}
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8443 {TO}"""
KUBERNETES = f"""\
:SERVICES - [0:0]
:SVC - [0:0]
:SEP - [0:0]
-A PREROUTING -j SERVICES
-A SERVICES -d 10.43.0.1/32 -p tcp -m tcp --dport 443 -j SVC
-A SVC -m statistic --mode random --probability 0.5 -j SEP
-A SEP -p tcp -m tcp {TO}"""
# Rules of iptables, and what is found: the chain, and which ports.
SAVED = {
    f"-A PREROUTING -p tcp -m tcp --dport 80 {TO}": ("PREROUTING", "80/tcp"),
    f"-A PREROUTING -i eth0 -p tcp -m multiport --dports 9,80:81 {TO}": ("PREROUTING", "80/tcp"),
    f"-A PREROUTING -d {ADDRESS}/32 -p udp -m udp --dport 27019:27030 {TO}": (
        "PREROUTING",
        "27019-27020/udp",
    ),
    "-A PREROUTING -p udp -m udp --dport 51820 -j REDIRECT --to-ports 4500": (
        "PREROUTING",
        "51820/udp",
    ),
    "-A PREROUTING -i eth+ -p tcp -m tcp -j DNAT --to-destination 10.0.0.9": (
        "PREROUTING",
        "80/tcp 443/tcp",
    ),
    DOCKER: ("DOCKER", "443/tcp"),
    KUBERNETES: ("", ""),
    f"-A OUTPUT -p tcp -m tcp --dport 80 {TO}": ("", ""),
    f"-A PREROUTING -p tcp -m tcp --dport 8080 {TO}": ("", ""),
    f"-A PREROUTING -p udp -m udp --dport 80 {TO}": ("", ""),
    f"-A PREROUTING -i br0 -p tcp -m tcp --dport 80 {TO}": ("", ""),
    f"-A PREROUTING -d 10.9.9.9/32 -p tcp -m tcp --dport 80 {TO}": ("", ""),
    f"-A PREROUTING -p tcp -m mark --mark 0x1 {TO}": ("", ""),
    "-A PREROUTING -p icmp -j DNAT --to-destination 10.0.0.9": ("", ""),
    f'-A PREROUTING -p tcp -m tcp --dport 8080 -m comment --comment "no --dport 80" {TO}': ("", ""),
    "-A PREROUTING -p tcp -m tcp --dport 80 -j ACCEPT": ("", ""),
}
OWN = """
table {} own {{
	set web {{ type inet_service; elements = {{ 8080, 80 }} }}
	map shared {{ type inet_service : ipv4_addr; elements = {{ 443 : 10.0.0.9, 8443 : 10.0.0.8 }} }}
	chain pre {{ type nat hook prerouting priority -100; {}; }}
}}
"""
# The same, of a table of the owner's own in nft.
RULES = {
    "ip tcp dport 80 dnat to 10.0.0.9:8080": "80/tcp",
    "inet tcp dport { 22, 443 } redirect to :4443": "443/tcp",
    "inet tcp dport @web dnat ip to 10.0.0.9": "80/tcp",
    "ip dnat to tcp dport map @shared": "443/tcp",
    "ip dnat to udp dport map { 27000-27015 : 10.0.0.9, 53 : 10.0.0.8 }": "27015/udp",
    'ip iifname { "eth0", "br0" } udp dport 51000-52000 redirect to :4500': "51820/udp",
    f"ip ip daddr {ADDRESS} meta l4proto tcp dnat to 10.0.0.9": "80/tcp 443/tcp",
    'ip iifname "br0" tcp dport 80 dnat to 10.0.0.9': "",
    "ip ip daddr { 10.9.9.9, 10.9.9.8 } tcp dport 80 dnat to 10.0.0.9": "",
    "ip tcp dport 8080 dnat to 10.0.0.9:80": "",
    "ip tcp dport 80 accept": "",
    'ip tcp dport 8080 redirect to :81 comment "not tcp dport 80"': "",
    "ip6 tcp dport 80 dnat to fd00::9": "80/tcp",
}


@pytest.fixture
def machine(wg_env: dict[str, str]) -> Iterator[Machine]:
    with hosts("adopted", wg_env) as net:
        yield Machine(net["adopted"])


def leads(machine: Machine, chain: str, ports: str) -> None:
    """What is found is that chain and those ports, and without it nothing."""
    expected = [
        f"chain {chain} leads {port} elsewhere, and its callers would no longer get there"
        for port in ports.split()
    ]
    found = machine.look()
    assert [cause for _, cause, _ in found] == expected
    assert all(kind == "fault" and "take that rule away" in fix for kind, _, fix in found)


@pytest.mark.parametrize("rules", SAVED)
def test_a_rule_of_iptables_leads_it_elsewhere(machine: Machine, rules: str) -> None:
    machine.host.run("iptables-restore", stdin=NAT.format(rules))
    chain, ports = SAVED[rules]
    leads(machine, f"{chain} of table nat in iptables", ports)


@pytest.mark.parametrize("words", RULES)
def test_a_rule_of_the_owners_own_leads_it_elsewhere(machine: Machine, words: str) -> None:
    family, _, rule = words.partition(" ")
    text = OWN.format(family, rule)
    if family == "ip6":
        text = text.replace("ipv4_addr", "ipv6_addr").replace("10.0.0.", "fd00::")
    machine.host.run("nft -f -", stdin=text)
    leads(machine, f"pre of table {family} own in nft", RULES[words])
    machine.host.run(f"nft flush chain {family} own pre")
    assert machine.look() == []


def test_the_same_table_by_nft_itself(machine: Machine) -> None:
    """Of the name and with the chain that iptables has."""
    own = OWN.replace(" own {{", " nat {{").format("ip", "tcp dport 80 redirect to :81")
    machine.host.run("nft -f -", stdin=own)
    leads(machine, "pre of table ip nat in nft", "80/tcp")


def test_ipv6_counts_where_the_relay_has_it(machine: Machine) -> None:
    rule = "-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00::9]:80"
    machine.host.run("ip6tables-restore", stdin=NAT.format(rule))
    leads(machine, "PREROUTING of table nat in ip6tables", "80/tcp")
    machine.host.run("nft -f -", stdin=OWN.format("ip6", "tcp dport 80 redirect to :81"))
    assert machine.look(terms=[term for term in TERMS if term != "ipv6"]) == []


def test_a_port_that_is_listened_on_as_well_is_told_once(machine: Machine) -> None:
    """As Docker's with its proxy."""
    machine.host.run("iptables-restore", stdin=NAT.format(DOCKER))
    who, _ = listen(machine, "0.0.0.0", 443)  # noqa: S104
    cause = f"{who} listens on 443/tcp, and callers would no longer reach it"
    assert machine.causes() == [cause]


def test_the_relays_own_rules_are_none_of_the_owners(machine: Machine) -> None:
    own = OWN.replace(" own {{", " cgnat-relay {{")
    machine.host.run("nft -f -", stdin=own.format("ip", "tcp dport 80 dnat to 10.0.0.9"))
    assert machine.look() == []


def test_a_rule_for_an_inner_interface_counts_once_it_is_the_way_out(machine: Machine) -> None:
    machine.host.run("ip link add br0 type bridge")
    machine.host.run("ip link set br0 up")
    rule = "-A PREROUTING -i br0 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 81"
    machine.host.run("iptables-restore", stdin=NAT.format(rule))
    assert machine.look() == []
    machine.host.run("ip route add default dev br0 table 7")
    leads(machine, "PREROUTING of table nat in iptables", "80/tcp")


@pytest.mark.parametrize("at", ["127.0.0.1", "0.0.0.0", ADDRESS, "::"])  # noqa: S104
def test_what_is_in_the_way_of_the_tunnel_inside_tls(machine: Machine, at: str) -> None:
    """On loopback too: it is to listen on any address itself."""
    terms = [term for term in TERMS if term != "port tcp/443"]
    who, _ = listen(machine, at, 443)
    ((kind, cause, fix),) = machine.look("tls 443", terms=terms)
    assert (kind, cause) == ("fault", f"443/tcp, for the tunnel inside TLS, is taken by {who}")
    assert "tunnel.tls.port" in fix
    assert machine.look("tls 8443", terms=terms) == machine.look(terms=terms) == []


def test_loopback_of_ipv6_is_not_in_its_way(machine: Machine) -> None:
    terms = [term for term in TERMS if term != "port tcp/443"]
    listen(machine, "::1", 443)
    assert machine.look("tls 443", terms=terms) == []
    # Somebody is in that of the tunnel itself.
    listen(machine, "::1", 51820)
    assert len(machine.look("tls 443", terms=terms)) == 1


def test_a_clients_own_socket_is_no_service(machine: Machine) -> None:
    """It is bound to a port that the kernel chose; a server may be at one of those as well."""
    low, high = map(int, machine.host.run("cat /proc/sys/net/ipv4/ip_local_port_range").split())
    wide, one = f"port udp/{low - 1000}-{low + 1000}", f"port udp/{high - 1}"
    who = {p: listen(machine, "0.0.0.0", p)[0] for p in (low - 1, low + 1, high - 1)}  # noqa: S104
    lost = "and callers would no longer reach it"
    assert {(kind, cause) for kind, cause, _ in machine.look(terms=[wide, one])} == {
        ("fault", f"{who[low - 1]} listens on {low - 1}/udp, {lost}"),
        ("note", f"{who[low + 1]} has {low + 1}/udp, in a range that is to be forwarded"),
        ("fault", f"{who[high - 1]} listens on {high - 1}/udp, {lost}"),
    }
