"""A rule of each kind taken out: the traffic that stands on it must be seen to fail.

`make matrix` does the same with every rule.
"""

from __future__ import annotations

from collections import defaultdict

import pytest

from .conftest import wireguard_env
from .matrix.config import generate
from .matrix.mutants import mutants
from .matrix.run import run

# Each rule, and a probe that must miss it.
SAMPLE = {
    "relay 60-cgnat-relay.conf: -net.ipv6.conf.all.forwarding = 1": "host6-tcp6[transparent]",
    "relay firewall.v4: -A RELAY-INPUT -p tcp --dport 22 -j ACCEPT": "ssh-tcp4",
    "relay firewall.v6: -A RELAY-INPUT -j DROP": "undeclared-tcp6",
    "relay wg0.conf: MTU = 1380": "segments-in-size4[transparent]",
    "relay wg0.peers: AllowedIPs INNER6/128": "device-all-tcp6",
    "relay wg0.ip.nft: elements of ports": "host-tcp4[transparent]",
    "relay wg0.ip.nft: elements of allowed": "from-udp4[masquerade]",
    "relay wg0.ip.nft: not_internet: 10.0.0.0/8": "inner-10.9.9.9",
    "relay wg0.ip.nft: udp dport @other_ports redirect to :51820": "other-port-tcp4",
    "relay wg0.ip6.nft: fib daddr type != local return": "device-all-80-tcp6",
    "relay wg0.iptables: -A WG0-FORWARD -j REJECT --reject-with icmp-admin-prohibited": (
        "device-no-device-tcp4"
    ),
    "peer wg0.conf: ip arrive: ct state new"
    " ct mark set ct mark and 0x00ffffff or MARK": "host-tcp4[transparent]",
    "peer wg0.conf: ip6 arrive: ct mark and 0xff000000 == MARK"
    " meta mark set meta mark and 0x00ffffff or MARK": "container-tcp6[transparent]",
    "peer wg0.conf: ip6 hand_back: iif != %i ct mark and 0xff000000 == MARK"
    " meta mark set meta mark and 0x00ffffff or MARK": "container-tcp6[transparent]",
    "peer wg0.conf: PostUp = iptables -w -A %i-home -i %i -j DROP": "behind-home-udp4",
    "peer wg0.conf: PostUp = ip -6 rule del protocol kernel from INNER6 lookup TABLE"
    " 2>/dev/null || :; ip -6 rule add protocol kernel from INNER6 lookup TABLE"
    " 2>/dev/null || :": "host6-tcp6[transparent]",
    "peer wg0.rules: add element ip TABLE lan_hosts { 192.168.1.2, 192.168.1.50 }": (
        "lan-host-tcp4[transparent]"
    ),
    "peer wg0.conf: PersistentKeepalive = 25": "host-tcp4[masquerade]",
}


@pytest.fixture(scope="module")
def results() -> dict[str, set[str]]:
    """All of them taken out, one after the other: who missed a rule of that kind, on any host."""
    missed: dict[str, set[str]] = defaultdict(set)
    for result in run(wireguard_env(), lambda mutant: mutant.kind in SAMPLE, lambda _: None):
        missed[result.mutant.kind] |= set(result.missed)
    return missed


def test_they_are_rules_that_are_generated() -> None:
    assert set(SAMPLE) <= {mutant.kind for mutant in mutants(generate())}


@pytest.mark.parametrize(("kind", "probe"), SAMPLE.items(), ids=str)
def test_it_is_missed(results: dict[str, set[str]], kind: str, probe: str) -> None:
    assert probe in results[kind]
