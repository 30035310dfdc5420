"""A change of keys that is cut short anywhere is taken back, or finished by the next run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ..waiting import eventually
from . import killing, living, rotating
from .conftest import Lab, make
from .living import STATE
from .rotating import comes_with, following, home_takes
from .test_cut_short import kill
from .test_rotate_relay import FORWARDS, HIDDEN, begin, bring, comes, finished, planned
from .topology import internet

EVERY = 71
LOOK = """
for dev in wg0 wg0-2; do
	wg show $dev public-key; wg show $dev listen-port
	wg show $dev dump | awk 'NR > 1 { print $1, $2, $4 }' | sort
done 2>&1
iptables -S; ip6tables -S; ip route show proto 77; ip -6 route show proto 77
find /etc/wireguard /etc/systemd/system /usr/local/lib/cgnat-relay -path '*cgnat-relay*/*' -prune \\
	-o -type f -name 'wg*' ! -name '*.arrived' ! -name '*.new' -exec sha256sum {} + | sort
"""


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"devices": ["laptop"]}, forwards=[*FORWARDS, HIDDEN])
        made.relay_up()
        rotating.begin(made)
        bring(made)
        made.home_up()
        made.serve_both("home", 8082)
        yield made


def running(lab: Lab) -> str:
    """What there is, in the kernel and in files."""
    return living.run(lab, LOOK, check=False)


def cut_short(lab: Lab, before: str) -> list[int]:
    """Phase 2 by the plan of ``lab``'s keys, killed at steps; the timer takes each back.

    At which of them the relay was between the plans.
    """
    plan, changed = planned(lab), list[int]()

    def cut(step: int) -> bool:
        lab.net["relay"].run(f"truncate -s 0 {living.BIN}/timers")
        return kill(lab, plan, step)

    for step in killing.each(lab, cut, every=EVERY):
        if step and running(lab) != before:
            changed.append(step)
        living.time_is_up(lab)
        assert running(lab) == before, f"killed at step {step}"
    assert len(changed) > 2, "few kills came after a change"
    return changed


def test_phase_two_of_the_relays_key(lab: Lab) -> None:
    begin(lab)
    home_takes(lab)
    comes(lab)
    both, before = (lab.settings, lab.keys), running(lab)
    finished(lab)
    bring(lab)
    after = running(lab)
    then = lab.settings, lab.keys
    lab.settings, lab.keys = both
    bring(lab)
    assert running(lab) == before
    home_takes(lab)  # what was settled is forgotten, and who came is not called
    comes(lab)
    lab.settings, lab.keys = then
    changed = cut_short(lab, before)
    # The next run finishes what was left, wherever that was.
    for step in (changed[0], changed[-1]):
        assert kill(lab, planned(lab), step)
        bring(lab)
        assert running(lab) == after, f"killed at step {step}"
        eventually(lambda: lab.call("udp", 82), "the home answers", within=30)
        lab.settings, lab.keys = both
        bring(lab)
        home_takes(lab)
        comes(lab)
        lab.settings, lab.keys = then
    assert lab.net["relay"].run(f"find {STATE} -name 'unfinished*'") == ""


def test_phase_two_of_a_homes_key(lab: Lab) -> None:
    new = following(lab)
    bring(lab)
    home_takes(lab)
    comes_with(lab, new)
    before = running(lab)
    lab.keys = replace(lab.keys, peers=lab.keys.peers | {"home": new})
    cut_short(lab, before)
    assert lab.call("udp", 82)
