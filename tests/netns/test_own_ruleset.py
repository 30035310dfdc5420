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
