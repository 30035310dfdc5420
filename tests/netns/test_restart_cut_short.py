"""A change for which the tunnel is stopped and started, unconfirmed or cut short anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.plan import HostPlan

from . import killing, living, rotating
from .conftest import Lab, make
from .living import BIN, STATE, apply, bring, run, time_is_up, timers
from .test_cut_short import kill
from .topology import internet

EVERY = 30
LOOK = """
wg show wg0 public-key; wg show wg0 listen-port
wg show wg0 dump | awk 'NR > 1 { print $1, $2, $4 }'
{ ip -o addr show dev wg0 scope global; ip -o link show wg0; } | sed 's/^[0-9]*: //'
ip route show dev wg0; ip -6 route show dev wg0
nft list table ip cgnat-relay; nft list table ip6 cgnat-relay; iptables -S; ip6tables -S
find /etc/wireguard -maxdepth 1 -name 'wg0.*' ! -name '*.new' -exec cat {} +
"""


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net)
        made.relay_up()
        rotating.begin(made)
        apply(made, planned(made))
        made.home_up()
        made.serve("home", 8081)
        yield made


def planned(lab: Lab, **tunnel: object) -> HostPlan:
    home = {"name": "home", "forwards": ["91:8081/udp"]}
    return living.plan(lab, [home], "tunnel", "peers", "rules", tunnel=tunnel)


def running(lab: Lab) -> list[str]:
    """What the kernel has of the relay, and the files; sorted, as each start has another order."""
    return sorted(run(lab, "{ " + LOOK + "} 2>&1", check=False).splitlines())


def number(lab: Lab) -> str:
    """The interface's: each start gives it another."""
    return lab.net["relay"].run("ip -o link show wg0").partition(":")[0]


def answers(lab: Lab) -> None:
    """The home, once it has dialled anew: by itself that may take two minutes."""
    rotating.home_takes(lab)
    assert lab.call("udp", 91) == "203.0.113.9"


@pytest.mark.parametrize(
    "tunnel",
    [{"mtu": 1380}, {"network": "10.99.0.0/24"}, {"ipv6": False}],
    ids=lambda x: next(iter(x)),
)
def test_one_that_nobody_confirms_is_taken_back(lab: Lab, tunnel: dict[str, object]) -> None:
    before, first = running(lab), number(lab)
    assert bring(lab, planned(lab, **tunnel))
    assert running(lab) != before
    assert number(lab) != first, "the off-case: it goes on without a restart"
    time_is_up(lab)
    assert running(lab) == before
    answers(lab)


def test_the_timer_takes_back_what_a_killed_run_left(lab: Lab) -> None:
    before, gone, changed = running(lab), 0, 0

    def cut(step: int) -> bool:
        lab.net["relay"].run(f"truncate -s 0 {BIN}/timers")
        return kill(lab, planned(lab, mtu=1380), step)

    for step in killing.each(lab, cut, EVERY, turn=0, turns=2):
        moved = running(lab) != before
        assert timers(lab) or not moved, f"changed before the timer was set, at step {step}"
        changed += moved
        gone += "wg0" not in lab.net["relay"].run("wg show interfaces")
        time_is_up(lab)
        assert running(lab) == before, f"killed at step {step}"
    assert changed > 3, "few kills came after a change"
    assert gone, "no kill came while there was no tunnel"
    answers(lab)


def test_the_next_run_finishes_what_a_killed_one_left(lab: Lab) -> None:
    before, other = running(lab), planned(lab, mtu=1380)
    apply(lab, other)
    after = running(lab)
    apply(lab, planned(lab))
    assert running(lab) == before
    for step in killing.each(lab, lambda at: kill(lab, other, at), EVERY, turn=1, turns=2):
        apply(lab, other)
        assert running(lab) == after, f"killed at step {step}"
        assert lab.net["relay"].run(f"find {STATE} -path '*unfinished*'") == ""
        apply(lab, planned(lab))
        assert running(lab) == before
    answers(lab)
