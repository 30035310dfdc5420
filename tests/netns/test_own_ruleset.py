"""A ruleset of the owner's own that drops what the relay needs is found before it is adopted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .adopted import TERMS, Machine
from .topology import hosts

OWN = """
table inet own {
	chain way {
		type filter hook HOOK priority 5; policy POLICY;
		iif "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
		ct state vmap { established : accept, related : accept, invalid : drop }
		RULES
	}
}
"""
CHAIN = "chain way of table inet own in nft"
ACROSS = "sudo nft insert rule inet own way {} wg0 accept"
# What is at the hook, and how it is found.
RULESETS = {
    ("forward", "drop", ""): "fault",
    ("forward", "accept", 'counter log prefix "no: " drop'): "fault",
    ("forward", "accept", "reject with icmpx type admin-prohibited"): "fault",
    ("forward", "drop", 'iifname "eth1" accept'): "note",
    ("forward", "drop", 'iifname "wg0" accept; oifname "wg0" accept'): "",
    ("forward", "drop", "ct status dnat accept"): "",
    ("forward", "drop", "accept"): "",
    ("forward", "accept", "tcp dport 9 drop"): "",
    # Who leaves a chain whose policy is accept is let in.
    ("forward", "accept", 'iifname != "br-guest" return; drop'): "note",
    ("forward", "accept", 'iifname != "wg0" return; drop'): "note",
    ("forward", "accept", 'iifname "wg0" return; oifname "wg0" return; drop'): "",
    ("forward", "drop", 'iifname != "br-guest" return'): "fault",
    ("input", "accept", "udp dport 51820 return; drop"): "",
    ("input", "accept", "return; drop"): "",
    ("input", "drop", "udp dport 51820 return"): "fault",
    ("input", "drop", ""): "fault",
    ("input", "drop", "ct state new tcp dport { 22, 51820 } accept"): "fault",
    ("input", "drop", "udp dport { 53, 51821-51900 } accept"): "note",
    ("input", "accept", "ip saddr 192.0.2.0/24 accept; reject"): "note",
    ("input", "drop", "udp dport { 53, 51000-51900 } accept"): "",
    ("input", "accept", "udp dport 53 drop"): "",
}


@pytest.fixture
def machine(wg_env: dict[str, str]) -> Iterator[Machine]:
    with hosts("adopted", wg_env) as net:
        yield Machine(net["adopted"])


def own_rules(hook: str, policy: str, rules: str) -> str:
    return OWN.replace("HOOK", hook).replace("POLICY", policy).replace("RULES", rules)


@pytest.mark.parametrize(("hook", "policy", "rules"), RULESETS)
def test_a_ruleset_of_the_owners_own_drops(
    machine: Machine, hook: str, policy: str, rules: str
) -> None:
    machine.host.run("nft -f -", stdin=own_rules(hook, policy, rules))
    kind = RULESETS[hook, policy, rules]
    found = machine.look()
    assert [k for k, _, _ in found] == ([kind] if kind else [])
    if not kind:
        return
    ((_, cause, fix),) = found
    assert cause.startswith(f"{CHAIN} drops ")
    assert "/etc/nftables.conf" in fix
    # What it says to do mends it, and no more than that is done here.
    for line in fix.partition(", and")[0].split(" && "):
        machine.host.run(line.removeprefix("sudo "))
    assert machine.look() == []


def test_each_port_of_the_tunnels_is_let_in(machine: Machine) -> None:
    more = (*TERMS, "udp 443", "udp 4500")
    rules = own_rules("input", "drop", "udp dport 443 accept")
    machine.host.run("nft -f -", stdin=rules)
    ((kind, _, fix),) = machine.look(terms=more)
    assert kind == "note"
    add = "nft insert rule inet own way udp dport { 51820, 4500 } accept"
    assert fix.startswith(f"sudo {add}, ")
    machine.host.run(["sh", "-c", add])
    assert machine.look(terms=more) == []


@pytest.mark.parametrize(
    ("rules", "kind", "missing"),
    [
        ("udp dport 51820 accept", "fault", ["tcp dport 443"]),
        ("tcp dport 443 accept", "fault", ["udp dport 51820"]),
        ("udp dport 443 accept", "fault", ["udp dport 51820", "tcp dport 443"]),
        ("udp dport 51820 accept; tcp dport 8000-9000 accept", "note", ["tcp dport 443"]),
        ("udp dport 51820 accept; tcp dport { 22, 443 } accept", "", []),
        ("meta l4proto { tcp, udp } th dport { 443, 51820 } accept", "", []),
    ],
)
def test_the_port_of_the_tunnel_inside_tls_is_let_in(
    machine: Machine, rules: str, kind: str, missing: list[str]
) -> None:
    terms = [term for term in TERMS if term != "port tcp/443"]
    machine.host.run("nft -f -", stdin=own_rules("input", "drop", rules))
    found = machine.look("tls 443", terms=terms)
    assert [k for k, _, _ in found] == ([kind] if kind else [])
    lines = found[0][2].partition(", and")[0].split(" && ") if found else []
    assert lines == [f"sudo nft insert rule inet own way {words} accept" for words in missing]
    for line in lines:
        machine.host.run(line.removeprefix("sudo "))
    assert machine.look("tls 443", terms=terms) == []


def test_rules_of_others_tools_are_no_ruleset_of_the_owners(machine: Machine) -> None:
    """Ours stand before them, or firewalld is told in its own terms."""
    for tool in ("iptables", "ip6tables"):
        machine.host.run(f"{tool} -P FORWARD DROP")
        machine.host.run(f"{tool} -A INPUT -j REJECT")
    firewalld = own_rules("forward", "drop", "reject").replace("inet own", "inet firewalld")
    machine.host.run("nft -f -", stdin=firewalld)
    machine.host.run(
        "nft -f -", stdin=firewalld.replace("inet firewalld", "bridge own"), check=False
    )
    assert machine.look() == []
    # IPv6 is not all: it is a note.
    own = "table ip6 own { chain f { type filter hook forward priority 0; policy drop; }\n}\n"
    machine.host.run("nft -f -", stdin=own)
    assert [kind for kind, _, _ in machine.look()] == ["note"]
