"""A change of the machine's own firewall that is cut short anywhere, one way and the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.carrier import bundle
from components.model import Site
from components.plan import HostPlan, relay_plan

from . import killing, living
from .conftest import Lab, make
from .living import BIN, FINE, STATE, own_files, time_is_up, timers
from .topology import internet

EVERY = 61
# What it starts goes on where the run is killed. setup would ask this machine's own systemd.
SYSTEMCTL = """#!/bin/sh
case "$*" in
"stop cgnat-relay-revert-*.timer") : >/etc/wireguard/bin/timers ;;
"start cgnat-relay-firewall.service") setsid -w sh /usr/local/lib/cgnat-relay/firewall up 9>&- ;;
*) exit 1 ;;
esac
"""
REPLACED = {"check": FINE, "setup": ":"}
LOOK = "iptables -S INPUT; iptables -S RELAY-INPUT; ip6tables -S; cat /etc/cgnat-relay/firewall.v4"


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net)
        made.relay_up()
        own_files(made)
        living.stand_in(made)
        net["relay"].write(f"{BIN}/systemctl", SYSTEMCTL)
        yield made


def plan(lab: Lab, guarded: bool) -> HostPlan:
    site = Site(adopted=True, guarded=guarded, ssh_port=22)
    parts = relay_plan(replace(lab.settings, site=site), lab.keys).parts
    return HostPlan((), tuple(p for p in parts if p.name in ("firewall", "rules")), ())


def lay(lab: Lab, wanted: HostPlan) -> None:
    unpack = ["sh", "-c", living.UNPACK]
    lab.net["relay"].run(unpack, stdin=bundle(wanted, replaced=REPLACED))


def apply(lab: Lab, wanted: HostPlan) -> None:
    lay(lab, wanted)
    said = living.run(lab, living.APPLY).splitlines()[-1]
    if said.startswith("unconfirmed "):
        living.confirm(lab, said.removeprefix("unconfirmed "))


def running(lab: Lab) -> str:
    return living.run(lab, LOOK)


@pytest.mark.parametrize("guarded", [True, False])
def test_it_is_taken_back_or_finished(lab: Lab, guarded: bool) -> None:
    """By the timer, and then by the next run; nothing is left that looks like another's hand."""
    relay = lab.net["relay"]
    after, before = plan(lab, guarded), plan(lab, not guarded)
    apply(lab, after)
    wanted = running(lab)
    apply(lab, before)
    had, changed = running(lab), 0
    assert ("-j DROP" in wanted, "-j DROP" in had) == (guarded, not guarded)

    def cut(step: int) -> bool:
        relay.run(f"truncate -s 0 {BIN}/timers")
        lay(lab, after)
        return killing.killed(lab, "/run/new/apply bring /run/new wg0", step)

    for step in killing.each(lab, cut, every=EVERY):
        moved = running(lab) != had
        assert timers(lab) or not moved, f"changed before the timer was set, at step {step}"
        changed += moved
        time_is_up(lab)
        assert running(lab) == had, f"killed at step {step}"
        if moved and step:
            assert living.settled(lab) == [], f"killed at step {step}"
            assert cut(step)
            apply(lab, after)
            assert running(lab) == wanted, f"killed at step {step}"
            apply(lab, before)
    assert changed > 2, "few kills came after a change"
    assert relay.run(f"find /etc/wireguard -name '*.new' -o -path '{STATE}/unfinished*'") == ""
