"""A usual ruleset of the owner's own, with the lines of docs/adopt.md for it, and without."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ..hand_written import LINES, OWN, PAGE, written
from .conftest import RELAY, RELAY6, Lab, make
from .exchange import HOLD, exchange
from .living import adopted
from .test_flushed import let_in
from .topology import internet

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
        made.net["home"].start([*HOLD, "serve", "0.0.0.0", "8081"])  # noqa: S104
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


INCLUDE = re.findall(r'^(include ".*")$', PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("included", [True, False])
def test_a_reload_that_has_ours_in_it_resets_nothing(lab: Lab, included: bool) -> None:
    relay = lab.net["relay"]
    (line,) = INCLUDE
    relay.write(CONF, written() + (f"{line}\n" if included else ""))
    relay.run(f"nft -f {CONF}")
    relay.run("/usr/local/lib/cgnat-relay/restore all")
    assert let_in(lab)
    with exchange(lab.net["client"], "tcp", RELAY, 81) as flow:
        relay.run(f"nft -f {CONF}")
        assert flow.ask() == (CALLER if included else "ConnectionResetError")
    relay.run("/usr/local/lib/cgnat-relay/restore all")


def test_they_are_written_where_the_ruleset_is(lab: Lab) -> None:
    """A reload takes the relay's rules away, and what its unit runs then brings them back."""
    relay = lab.net["relay"]
    dropin = relay.run("cat /etc/systemd/system/nftables.service.d/51-cgnat-relay-reload.conf")
    (after,) = re.findall(r"^ExecReload=[+]-(.*)$", dropin, re.MULTILINE)
    relay.write(CONF, written())
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
