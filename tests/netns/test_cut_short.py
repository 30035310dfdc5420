"""A change of a living relay that is cut short anywhere; the next one does all that it left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.carrier import bundle, command
from components.plan import HostPlan

from ..waiting import eventually
from . import living
from .conftest import Lab, make
from .living import STATE, apply, lay, run
from .topology import internet

# Ends the whole group of processes before the command whose number is $3.
KILLED = """
set -T
step=0 last=$3
trap 'step=$((step + 1)); if [ $step -eq $last ]; then kill -9 0; fi' DEBUG
. /run/new/apply
"""
# Every eleventh: 14 kills. CUT_SHORT_EVERY=1 kills at each step there is.
STEPS = range(3, 2000, int(os.environ.get("CUT_SHORT_EVERY", "11")))


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net)
        made.relay_up()
        made.home_up()
        made.serve("home", 8081)
        yield made


def plans(lab: Lab) -> tuple[HostPlan, HostPlan]:
    """Two plans with other forwards and other peers; port 91 is in the first alone, 92 in both."""
    first = {"name": "home", "forwards": ["91:8081/udp", "92:8081/udp"]}
    second = {"name": "home", "forwards": ["92:8081/udp", "93:8081/tcp"]}
    return living.plan(lab, [first, {"name": "one"}]), living.plan(lab, [second, {"name": "two"}])


def running(lab: Lab) -> tuple[str, list[str]]:
    """What the kernel has: the table, and who may dial."""
    relay = lab.net["relay"]
    table = relay.run("nft list table ip cgnat-relay")
    dump = [line.split("\t") for line in relay.run("wg show wg0 dump").splitlines()[1:]]
    return table, sorted(f"{peer[0]} {peer[1]} {peer[3]}" for peer in dump)


def test_the_next_run_finishes_what_a_killed_one_left(lab: Lab) -> None:
    relay = lab.net["relay"]
    first, second = plans(lab)
    apply(lab, second)
    after = running(lab)
    apply(lab, first)
    before = running(lab)
    assert before != after
    kills = changed = 0
    for step in STEPS:
        assert lab.call("udp", 91) == "203.0.113.9"
        lay(lab, second)
        relay.write("/run/bin/killed", KILLED)
        command = f"setsid -w bash /run/bin/killed /run/new wg0 {step} || echo $?"
        killed = run(lab, command, check=False)
        if killed != "137\n":
            assert "1\n" not in killed
            break
        kills += 1
        changed += running(lab) != before
        apply(lab, second)
        assert running(lab) == after, f"killed at step {step}"
        flows = relay.run("conntrack -L -p udp --orig-port-dst 91")
        assert "dport=91 " not in flows, f"killed at step {step}"
        assert (
            relay.run(f"find /etc/wireguard -name '*.new' -o -path '{STATE}/*' ! -name known") == ""
        )
        apply(lab, first)
        assert running(lab) == before
    print(f"{kills} kills, {changed} of them left the relay between the plans")
    assert kills >= 5
    assert changed, "no kill came after a change"


def test_a_full_disk_changes_nothing(lab: Lab) -> None:
    relay = lab.net["relay"]
    first, _ = plans(lab)
    apply(lab, first)
    before, files = running(lab), relay.run("ls -R /etc/wireguard")
    wide = [f"{port}:{port + 1}" for port in range(10_000, 12_000)]
    second = living.plan(lab, [{"name": "home", "forwards": wide}, {"name": "two"}])
    relay.run("mount -o remount,size=64k /etc/wireguard")
    try:
        with pytest.raises(AssertionError, match="nothing of it runs"):
            apply(lab, second)
        assert running(lab) == before
        assert relay.run("ls -R /etc/wireguard") == files
    finally:
        relay.run("mount -o remount,size=50% /etc/wireguard")
    apply(lab, second)
    assert running(lab) != before, "the off-case: with room it changes"


@pytest.mark.parametrize(
    ("path", "good"),
    [("/etc/wireguard/wg0.ip.nft", "masquerade"), ("/etc/wireguard/wg0.peers", "/32")],
)
def test_a_file_that_does_not_load_brings_back_the_plan_before(
    lab: Lab, path: str, good: str
) -> None:
    first, second = plans(lab)
    apply(lab, first)
    before = running(lab)
    parts = tuple(
        replace(
            part,
            files=tuple(
                replace(f, content=f.content.replace(good, "nonsense")) if f.path == path else f
                for f in part.files
            ),
        )
        for part in second.parts
    )
    with pytest.raises(AssertionError, match="the relay runs the one before"):
        apply(lab, replace(second, parts=parts))
    assert running(lab) == before
    apply(lab, second)
    assert running(lab) != before


def test_runs_come_one_after_the_other_and_leave_no_key_behind(lab: Lab) -> None:
    """By the very command that the carrier sends."""
    relay = lab.net["relay"]
    first, second = plans(lab)
    apply(lab, second)
    after = running(lab)
    apply(lab, first)
    carried = ["sh", "-c", "PATH=/run/bin:$PATH; " + command("wg0", ["home"])]
    # The check asks systemd, of which there is none here: the plan is taken back.
    relay.run("mkdir -p /run/cgnat-relay/files")  # what a killed one left
    relay.write("/run/cgnat-relay/files/key", "secret")
    # One that hangs before it has said all keeps nobody out.
    hangs = subprocess.Popen(relay.argv(carried), stdin=subprocess.PIPE)
    try:
        several = [
            subprocess.Popen(
                relay.argv(carried), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for one in several:
            assert one.stdin
            one.stdin.write(bundle(second))
            one.stdin.close()
            one.stdin = None
        said = [one.communicate(timeout=120)[1] for one in several]
    finally:
        hangs.kill()
        hangs.communicate()
    assert all("the relay runs the one before" in text for text in said), said
    assert running(lab) != after
    # The one that hung runs as well, once its connection is gone, and has nothing to bring.
    found = ["sh", "-c", "find /run/cgnat-relay* -type f"]
    only = "/run/cgnat-relay.lock\n"
    eventually(lambda: relay.run(found, check=False) == only, "no file but the lock")
