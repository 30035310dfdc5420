"""A usual ruleset of an owner's own, and the lines that docs/adopt.md has for it."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "adopt.md"
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


def written() -> str:
    """The ruleset with those lines in it, each before what drops; nft itself quotes a name."""
    text = OWN
    for line in LINES:
        _, _, rule = line.partition("inet filter ")
        chain, _, words = rule.partition(" ")
        text = re.sub(rf"(chain {chain} \{{\n.*\n)", rf"\g<1>\t\t{words}\n", text)
    return text
