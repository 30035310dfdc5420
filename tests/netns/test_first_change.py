"""The first change of a machine that had no relay, cut short anywhere: all of it, or nothing.

systemd, apt and dpkg are stand-ins (``untouched``); files, rules and kernel settings are real.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from operate import remote

from ..waiting import eventually
from . import killing, living, untouched
from .conftest import Lab
from .living import BIN, RECOVER, STATE, confirm, run, time_is_up, timers
from .untouched import brought, gone, holds, lay, left

EVERY = 19
# What is there before anything of the machine's own is changed, and a little after all is undone.
BEGUN = (STATE,)  # and STATE.new, STATE.over
GUARD = "cgnat-relay-recover.service"
# What stays after a reboot until the timer comes: packages, and what takes them back. Settings and
# what is in /run are the memory's, which is lost.
PACKAGES = ("conntrack", "iptables", "nftables", "wireguard-tools")
WAITS = (
    *(STATE, f"/etc/systemd/system/{GUARD} ", f"{untouched.WANTS}/{GUARD} "),
    *(*PACKAGES, "/run/cgnat-relay", "/run/systemd/system/cgnat-relay-revert-boot.service "),
    *("/proc/sys/", "no /proc/sys/"),
)

REFUSES_ONCE = """#!/bin/sh
if [ ! -e /run/refused ]; then
	touch /run/refused
	exit 1
fi
echo answered >>/run/refused
exec /bin/sh /run/systemctl "$@"
"""


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with untouched.machine(wg_env) as made:
        yield made


@pytest.fixture(scope="module")
def before(lab: Lab) -> list[str]:
    return holds(lab)


def kill(lab: Lab, step: int) -> bool:
    """Whether the run had not come to its end by then."""
    lay(lab)
    return killing.killed(lab, "/run/new/apply bring /run/new wg0", step)


def only_begun(found: list[str]) -> bool:
    return all(line.split()[0].startswith(BEGUN) for line in found)


def power_cut(lab: Lab) -> None:
    """What is loaded is gone, and so are timers."""
    relay = lab.net["relay"]
    relay.run("nft flush ruleset")
    relay.run("ip link delete wg0", check=False)
    relay.write(f"{BIN}/timers", "")


def cut_short(lab: Lab, before: list[str], turn: int) -> Iterator[int]:
    """A third of the steps, or all (``each``); nothing is there before, all must be gone after."""
    changed = 0

    def cut(step: int) -> bool:
        assert left(lab, before) == []
        return kill(lab, step)

    for step in killing.each(lab, cut, EVERY, turn, turns=3):
        changed += not only_begun(left(lab, before))
        yield step
    assert changed > 5, "few kills came after a change"


def test_the_timer_undoes_all_of_it(lab: Lab, before: list[str]) -> None:
    for step in cut_short(lab, before, 0):
        found = left(lab, before)
        if not timers(lab):
            assert only_begun(found), f"changed before the timer was set, at step {step}: {found}"
        time_is_up(lab)
        found = left(lab, before)
        if found:
            assert not timers(lab), (step, found)
            assert only_begun(found), (step, found)
            gone(lab)


def test_after_a_reboot_nothing_runs_and_the_timer_undoes_the_rest(
    lab: Lab, before: list[str]
) -> None:
    for step in cut_short(lab, before, 1):
        enabled = lab.net["relay"].run(f"ls {untouched.WANTS}").split()
        power_cut(lab)
        if GUARD not in enabled:
            # Cut in its first moment: lists of ours may be there, and the unit, not enabled yet.
            found = [
                x for x in left(lab, before) if not x.startswith(f"/etc/systemd/system/{GUARD}")
            ]
            assert only_begun(found), f"nothing takes it back at boot, at step {step}: {found}"
            gone(lab)
            continue
        run(lab, RECOVER)
        found = [x for x in left(lab, before) if not x.startswith(WAITS)]
        assert found == [], f"at step {step}"
        time_is_up(lab)
        assert left(lab, before) == [], f"at step {step}"


def test_one_that_does_not_work_is_undone_at_once(lab: Lab, before: list[str]) -> None:
    lay(lab, living.BROKEN)
    with pytest.raises(AssertionError, match="all that was done there has been undone"):
        run(lab, living.APPLY)
    assert left(lab, before) == []
    brought(lab)  # the off-case
    assert len(left(lab, before)) > 20
    gone(lab)


def test_one_that_nobody_confirms_is_undone(lab: Lab, before: list[str]) -> None:
    lay(lab)
    token = run(lab, living.APPLY).split()[-1]
    time_is_up(lab)
    assert left(lab, before) == []
    with pytest.raises(AssertionError, match="not confirmed in time"):
        confirm(lab, token)


def test_what_cannot_be_undone_yet_is_tried_again(lab: Lab, before: list[str]) -> None:
    """apt is locked meanwhile: nothing of ours runs, and nobody can confirm it any more."""
    lay(lab)
    token = run(lab, living.APPLY).split()[-1]
    run(lab, f"touch {BIN}/locked")
    (*_, (due, last)) = timers(lab)
    lab.net["relay"].write(living.CLOCK, f"{due}.00\n")
    for _ in range(2):
        with pytest.raises(AssertionError, match="Could not get lock"):
            run(lab, last)
        found = [x for x in left(lab, before) if not x.startswith(WAITS)]
        assert found == [], "all but packages"
    with pytest.raises(AssertionError, match="not confirmed in time"):
        confirm(lab, token)
    run(lab, f"rm {BIN}/locked")
    run(lab, last)
    assert left(lab, before) == []


def test_a_disk_that_is_full_at_boot_is_met_again_until_there_is_room(
    lab: Lab, before: list[str]
) -> None:
    """What the change put there boots; it is taken back as soon as that can be done."""
    relay = lab.net["relay"]
    brought(lab)
    rules = "/etc/wireguard/wg0.ip.nft"
    old = relay.run(f"cat {rules}")
    other = living.edited(untouched.adopting(lab), rules, lambda text: text + "# another\n")
    living.lay(lab, other)
    untouched.stand_in(lab)
    assert run(lab, living.APPLY).splitlines()[-1].startswith("unconfirmed ")
    power_cut(lab)
    relay.write(f"{BIN}/timers", "0 :\n")  # room for a line of the stand-in's
    told = f"{STATE}/unfinished/token {STATE}/unfinished/deadline {STATE}/confirmed"
    relay.run(f"rm {told}")  # which would make room
    with living.room(lab, 0):
        run(lab, RECOVER)
        assert relay.run(f"cat {rules}") != old, "the off-case: there was no room"
    time_is_up(lab)
    assert relay.run(f"cat {rules}") == old
    assert "udp . 80 :" in relay.run("nft list table ip cgnat-relay")
    assert relay.run(f"find {STATE} -name 'unfinished*'") == ""
    gone(lab)
    assert left(lab, before) == []


def test_a_plan_that_was_taken_back_at_boot_cannot_be_confirmed(
    lab: Lab, before: list[str]
) -> None:
    lay(lab)
    token = run(lab, living.APPLY).split()[-1]
    run(lab, RECOVER)
    with pytest.raises(AssertionError, match="not confirmed in time"):
        confirm(lab, token)
    time_is_up(lab)
    assert left(lab, before) == []


def test_a_boot_at_which_systemd_refuses_once_takes_it_back(lab: Lab, before: list[str]) -> None:
    """As it does while /run has no room for what a reload needs."""
    relay = lab.net["relay"]
    lay(lab)
    run(lab, living.APPLY)
    power_cut(lab)
    relay.run(f"mv {BIN}/systemctl /run/systemctl")
    relay.write(f"{BIN}/systemctl", REFUSES_ONCE)
    relay.run(f"chmod 755 {BIN}/systemctl")
    run(lab, RECOVER)
    assert "answered" in relay.run("cat /run/refused")
    time_is_up(lab)
    untouched.stand_in(lab)
    assert left(lab, before) == []


def test_a_lock_that_was_taken_away_is_taken_anew(lab: Lab) -> None:
    """Undo takes it away: who had waited for it would else keep nobody out."""
    relay = lab.net["relay"]
    lock = "/run/cgnat-relay.lock"
    holder = subprocess.Popen(
        relay.argv(["sh", "-c", f"exec 9>{lock}; flock 9; echo has; read x; rm {lock}"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    assert holder.stdout.readline() == "has\n"
    asked = remote.undo("wg0").replace("sh $new/undo ours", ":")
    asked = asked.replace("sh $new/undo all wg0", f"! flock -n {lock} true")
    words = ["sh", "-c", asked.replace("base64 -d | tar -xzf - -C $new", ":")]
    waits = subprocess.Popen(relay.argv(words), stdin=subprocess.DEVNULL)
    children = Path(f"/proc/{waits.pid}/task/{waits.pid}/children")
    comm = "/proc/{}/comm"
    eventually(
        lambda: [
            p for p in children.read_text().split() if "flock" in Path(comm.format(p)).read_text()
        ],
        "it waits for the lock",
    )
    holder.communicate("go\n")
    assert waits.wait(timeout=30) == 0, "another had it as well"
    relay.run(f"rm {lock}")


def test_the_next_run_finishes_it(lab: Lab, before: list[str]) -> None:
    for _ in cut_short(lab, before, 2):
        brought(lab)
        gone(lab)
