"""A change of a living relay that is cut short anywhere; the next one does all that it left."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.carrier import bundle
from components.plan import File, HostPlan
from operate import remote

from ..waiting import eventually
from . import killing, living
from .conftest import Lab, make
from .living import BIN, RECOVER, STATE, apply, bring, confirm, lay, run, time_is_up, timers
from .topology import internet

EVERY = 29
# What the last sync before the change's end has met.
SYNC = f"""#!/bin/sh
if [ -d {STATE}/unfinished ]; then cat /etc/wireguard/wg0.* >/run/synced; fi
"""
CONFIRM = f"{STATE}/unfinished/tools/apply confirm wg0"


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


def both(lab: Lab, of: Callable[[Lab], Any]) -> tuple[HostPlan, HostPlan, Any, Any]:
    """The two plans, and what ``of`` sees of each; the first runs then."""
    first, second = plans(lab)
    apply(lab, second)
    after = of(lab)
    apply(lab, first)
    before = of(lab)
    assert before != after
    return first, second, before, after


def running(lab: Lab) -> tuple[str, list[str]]:
    """What the kernel has: the table, and who may dial."""
    relay = lab.net["relay"]
    table = relay.run("nft list table ip cgnat-relay")
    dump = [line.split("\t") for line in relay.run("wg show wg0 dump").splitlines()[1:]]
    return table, sorted(f"{peer[0]} {peer[1]} {peer[3]}" for peer in dump)


def test_the_next_run_finishes_what_a_killed_one_left(lab: Lab) -> None:
    relay = lab.net["relay"]
    first, second, before, after = both(lab, running)
    changed = 0

    def cut(step: int) -> bool:
        assert lab.call("udp", 91) == "203.0.113.9"
        return kill(lab, second, step)

    for step in killing.each(lab, cut, every=EVERY):
        changed += running(lab) != before
        apply(lab, second)
        assert running(lab) == after, f"killed at step {step}"
        flows = relay.run("conntrack -L -p udp --orig-port-dst 91")
        assert "dport=91 " not in flows, f"killed at step {step}"
        assert relay.run(f"find /etc/wireguard -name '*.new' -o -path '{STATE}/unfinished*'") == ""
        apply(lab, first)
        assert running(lab) == before
    assert changed > 5, "few kills came after a change"


def kill(lab: Lab, plan: HostPlan, step: int) -> bool:
    """Begin to bring a plan, and end all of it at a step; whether it got there."""
    lay(lab, plan)
    return killing.killed(lab, "/run/new/apply bring /run/new wg0", step)


def test_the_timer_takes_back_what_a_killed_run_left(lab: Lab) -> None:
    relay = lab.net["relay"]
    first, second = plans(lab)
    apply(lab, first)
    before, changed = running(lab), 0

    def cut(step: int) -> bool:
        relay.run(f"truncate -s 0 {BIN}/timers")
        return kill(lab, second, step)

    for step in killing.each(lab, cut, every=2 * EVERY):
        armed = bool(timers(lab))
        moved = running(lab) != before
        assert armed or not moved, f"changed before the timer was set, at step {step}"
        changed += moved
        time_is_up(lab)
        assert running(lab) == before, f"killed at step {step}"
    assert changed > 5, "few kills came after a change"
    apply(lab, first)


@pytest.mark.parametrize("after", ["nothing", "a minute", "a reboot"])
def test_of_a_confirmation_that_is_killed_the_truth_is_told(lab: Lab, after: str) -> None:
    """Its computer asks once more: what it is told then is what the relay runs, and keeps."""
    relay = lab.net["relay"]
    first, second, old, new = both(lab, files)
    token, told = "", []

    def cut(step: int) -> bool:
        nonlocal token
        relay.run(f"truncate -s 0 {BIN}/timers")
        token = bring(lab, second)
        return killing.killed(lab, CONFIRM, step, stdin=f"{token}\n")

    for step in killing.each(lab, cut, every=EVERY):
        if after == "a reboot":
            run(lab, RECOVER)
        elif after == "a minute":
            time_is_up(lab)
        try:
            confirm(lab, token)
        except AssertionError as error:
            assert "has gone back" in str(error)
            told.append(old)
        else:
            told.append(new)
        time_is_up(lab)
        assert files(lab) == told[-1], f"killed at step {step}"
        apply(lab, first)
    assert new in told
    assert after == "nothing" or old in told


def files(lab: Lab) -> str:
    return lab.net["relay"].run(["sh", "-c", "cat /etc/wireguard/wg0.*"])


def test_a_timer_that_cannot_be_set_leaves_the_one_before_in_force(lab: Lab) -> None:
    """As where the run is killed between the two: the deadline is still the first timer's."""
    first, second = plans(lab)
    apply(lab, first)
    before = running(lab)
    lay(lab, second)
    once = f"[ ! -e {BIN}/armed ] || exit 1; touch {BIN}/armed\n"
    lab.net["relay"].write(f"{BIN}/systemd-run", living.SYSTEMD_RUN.replace("\n", f"\n{once}", 1))
    with pytest.raises(AssertionError):
        run(lab, living.APPLY)
    assert running(lab) != before, "the off-case: the new plan ran by then"
    assert len(timers(lab)) == 1
    time_is_up(lab)
    assert running(lab) == before
    run(lab, f"rm {BIN}/armed")


def test_a_change_that_nobody_confirms_is_taken_back(lab: Lab) -> None:
    first, second = plans(lab)
    apply(lab, first)
    before = running(lab)
    token = bring(lab, second)
    assert token
    after = running(lab)
    assert after != before
    for _, timer in timers(lab):
        run(lab, timer)
    assert running(lab) == after, "a timer that fires too early does nothing"
    time_is_up(lab)
    assert running(lab) == before
    with pytest.raises(AssertionError, match="not confirmed in time"):
        confirm(lab, token)
    token = bring(lab, second)
    confirm(lab, token)
    time_is_up(lab)
    assert running(lab) == after, "what is confirmed stays"
    confirm(lab, token)  # whose connection was cut before it heard of it
    token = bring(lab, first)
    assert bring(lab, first)
    with pytest.raises(AssertionError, match="another change came before"):
        confirm(lab, token)
    time_is_up(lab)
    assert running(lab) == after


def test_what_was_taken_back_is_no_drift(lab: Lab) -> None:
    """A file that came and went with it is nobody's hand; one that comes again is."""
    relay, path = lab.net["relay"], "/etc/wireguard/wg0.more"
    first, second = plans(lab)
    apply(lab, first)
    parts = tuple(replace(p, files=(*p.files, File(path, "more"))) for p in second.parts[:1])
    assert bring(lab, replace(second, parts=(*parts, *second.parts[1:])))
    assert relay.run(["cat", path]) == "more"
    time_is_up(lab)
    assert living.settled(lab) == []
    relay.write(path, "by hand")
    assert path in " ".join(living.settled(lab))
    relay.run(["rm", path])
    for named in (second, first):
        apply(lab, named)


def test_another_runs_token_confirms_nothing(lab: Lab) -> None:
    first, second = plans(lab)
    apply(lab, first)
    early = bring(lab, second)
    late = bring(lab, second)
    assert early != late
    with pytest.raises(AssertionError, match="not confirmed in time"):
        confirm(lab, early)
    confirm(lab, late)


def test_a_reboot_in_the_middle_brings_the_files_before(lab: Lab) -> None:
    """What is loaded is gone with the power; units load the files that recover puts back."""
    relay = lab.net["relay"]
    first, second, before, after = both(lab, files)
    for systemd in ("answers", "answers nobody"):
        bring(lab, second)
        assert files(lab) == after
        relay.write("/run/asked", "")
        if systemd == "answers":
            run(lab, RECOVER)
        else:
            relay.run(f"mount --bind /bin/false {BIN}/systemctl")
            run(lab, f"{{ {RECOVER}; }} || :")
            relay.run(f"umount {BIN}/systemctl")
        assert files(lab) == before, systemd
        assert relay.run(f"find {STATE} -path '*unfinished*'") == ""
        assert "tls" not in relay.run("cat /run/asked"), "of a unit that no plan has"
    apply(lab, second)
    apply(lab, first)


@pytest.mark.parametrize("how", ["by the timer", "at boot"])
def test_what_is_back_is_on_the_disk_before_the_change_is_over(lab: Lab, how: str) -> None:
    """A power cut takes what was written last: the old files, and not that all was done."""
    relay = lab.net["relay"]
    _, second, before, after = both(lab, files)
    bring(lab, second)
    assert files(lab) == after
    relay.write(f"{BIN}/sync", SYNC)
    relay.run(f"chmod 755 {BIN}/sync")
    if how == "by the timer":
        time_is_up(lab)
    else:
        run(lab, RECOVER)
    relay.run(f"rm {BIN}/sync")
    assert files(lab) == before
    assert relay.run("cat /run/synced") == before, "before the change was over"


def test_a_machine_that_goes_down_is_not_confirmed(lab: Lab) -> None:
    """Its tunnel may have stopped, which would be what the change has left."""
    relay = lab.net["relay"]
    first, second, before, after = both(lab, files)
    token = bring(lab, second)
    assert files(lab) == after
    relay.write(f"{BIN}/running", "stopping\n")
    with pytest.raises(AssertionError, match="the machine is going down"):
        confirm(lab, token)
    relay.write(f"{BIN}/running", "starting\n")
    run(lab, RECOVER)
    assert files(lab) == before
    apply(lab, second)
    apply(lab, first)


def test_a_boot_that_does_not_wait_for_the_files_before_has_them_later(lab: Lab) -> None:
    """systemd ends what takes too long there; what that has left is taken back once all is up."""
    relay = lab.net["relay"]
    first, second, before, after = both(lab, files)
    late = 0

    def cut(step: int) -> bool:
        bring(lab, second)
        assert files(lab) == after
        relay.run(f"truncate -s 0 {BIN}/timers")  # they go with the power
        return killing.killed(lab, f"{STATE}/unfinished/tools/apply recover wg0", step)

    for step in killing.each(lab, cut, every=EVERY):
        late += files(lab) != before
        if not timers(lab):
            assert step < 2 * EVERY, "it is armed first"
            run(lab, RECOVER)  # of the next boot
        time_is_up(lab)
        assert files(lab) == before, f"killed at step {step}"
        assert relay.run(f"find {STATE} -name unfinished") == ""
    assert late > 1, "few kills came before all files were back"
    apply(lab, second)
    apply(lab, first)


def test_what_was_changed_by_hand_is_mended(lab: Lab) -> None:
    """The files are as they were: what is loaded is not."""
    relay = lab.net["relay"]
    first, _ = plans(lab)
    apply(lab, first)
    before = running(lab)
    home = lab.keys.peers["home"].public
    for by_hand in (
        "nft flush map ip cgnat-relay ports",
        "nft flush chain ip cgnat-relay prerouting",
        "iptables -F WG0-FORWARD",
        "iptables -D FORWARD -i wg0 -j WG0-FORWARD",
        f"wg set wg0 peer {home} remove",
        "chmod 644 /etc/wireguard/wg0.peers",
        "sed -i s/91/94/ /etc/wireguard/wg0.ip.nft",
    ):
        relay.run(by_hand)
        assert bring_and_confirm(lab, first), f"not noticed: {by_hand}"
        assert running(lab) == before, by_hand
        assert relay.run("iptables -S WG0-FORWARD").count("\n") > 3
        assert "-i wg0 -j WG0-FORWARD" in relay.run("iptables -S FORWARD")
        assert relay.run("stat -c %a /etc/wireguard/wg0.peers") == "600\n"
        assert not bring_and_confirm(lab, first), "nothing is left to mend"


def bring_and_confirm(lab: Lab, plan: HostPlan) -> bool:
    """Whether there was anything to do."""
    token = bring(lab, plan)
    if token:
        confirm(lab, token)
    return bool(token)


def test_a_full_disk_changes_nothing(lab: Lab) -> None:
    relay = lab.net["relay"]
    first, _ = plans(lab)
    apply(lab, first)
    before, files = running(lab), relay.run("ls -R /etc/wireguard")
    wide = [f"{port}:{port + 1}" for port in range(10_000, 12_000)]
    second = living.plan(lab, [{"name": "home", "forwards": wide}, {"name": "two"}])
    with living.room(lab, 8):
        with pytest.raises(AssertionError, match="nothing of it runs"):
            apply(lab, second)
        assert running(lab) == before
        assert relay.run("ls -R /etc/wireguard") == files
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
    broken = living.edited(second, path, lambda text: text.replace(good, "nonsense"))
    with pytest.raises(AssertionError, match="the relay runs the one before"):
        apply(lab, broken)
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
    carried = ["sh", "-c", f"PATH={BIN}:$PATH; " + remote.bring("wg0")]
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
    found = ["sh", "-c", "find /run/cgnat-relay* -type f ! -name '*.lock'"]
    eventually(lambda: relay.run(found, check=False) == "", "no file but locks")
