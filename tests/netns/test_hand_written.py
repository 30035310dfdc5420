"""A usual ruleset of the owner's own, with the lines of docs/adopt.md for it, and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import RELAY, RELAY6, Lab, make
from .living import adopted
from .test_flushed import let_in
from .topology import internet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adopt.md"
LINES = re.findall(r"^\$ sudo (nft insert rule .*)$", PAGE.read_text(), re.MULTILINE)
# As the wikis have it: SSH and answers, and nothing is forwarded.
OWN = """\
flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state vmap { established : accept, related : accept, invalid : drop }
		iif "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport 22 accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
	chain output {
		type filter hook output priority filter; policy accept;
	}
}
"""
CONF = "/etc/nftables.conf"
CALLER, CALLER6 = "203.0.113.9", "2001:db8:9::9"
ALL = [CALLER, CALLER, CALLER6, CALLER6]


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net)
        adopted(made, guarded=False)
        relay = net["relay"]
        relay.write(CONF, OWN)
        relay.run(f"nft -f {CONF}")
        relay.run("/usr/local/lib/cgnat-relay/firewall up")
        relay.run("wg-quick up wg0")
        made.serve_both("home", 8080)
        yield made


def answers(lab: Lab) -> list[str]:
    """What home's service sees of a caller by TCP and UDP, IPv4 and IPv6."""
    lab.net["relay"].run("conntrack -F", check=False)
    found = (lab.calls(("tcp", 80), ("udp", 80), to=to) for to in (RELAY, RELAY6))
    return [seen for calls in found for seen in calls.values()]


def test_the_lines_are_three() -> None:
    assert [re.sub(r"^nft insert rule inet filter ", "", line) for line in LINES] == [
        "input udp dport 51820 accept",
        "forward iifname wg0 accept",
        "forward oifname wg0 accept",
    ]


def test_each_of_them_lets_in_what_it_is_for(lab: Lab) -> None:
    relay = lab.net["relay"]
    with pytest.raises(AssertionError, match="handshake: not within"):
        lab.home_up()
    tunnel, comes, goes = LINES
    relay.run(tunnel)
    assert let_in(lab)
    assert answers(lab) == [""] * 4
    relay.run(goes)
    assert answers(lab) == [""] * 4, "home's answers come from the tunnel"
    relay.run(comes)
    assert answers(lab) == ALL


def test_they_are_written_where_the_ruleset_is(lab: Lab) -> None:
    """A reload takes the relay's rules away, and what its unit runs then brings them back."""
    relay = lab.net["relay"]
    dropin = relay.run("cat /etc/systemd/system/nftables.service.d/51-cgnat-relay-reload.conf")
    (after,) = re.findall(r"^ExecReload=[+]-(.*)$", dropin, re.MULTILINE)
    written = OWN
    for line in LINES:
        _, _, rule = line.partition("inet filter ")
        chain, _, words = rule.partition(" ")
        # Before what drops; nft itself writes a name in quotes.
        written = re.sub(rf"(chain {chain} \{{\n.*\n)", rf"\g<1>\t\t{words}\n", written)
    relay.write(CONF, written)
    relay.run(f"nft -f {CONF}")
    assert answers(lab) == [""] * 4
    relay.run(after)
    assert answers(lab) == ALL
    assert let_in(lab)
    # The off-case: the ruleset without the lines, and the relay's own rules are there.
    relay.write(CONF, OWN)
    relay.run(f"nft -f {CONF}")
    relay.run(after)
    assert answers(lab) == [""] * 4
    assert not let_in(lab)
