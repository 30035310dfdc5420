"""A machine has one stack's relay: another's change and undo are refused there, by real SSH.

systemd, apt and dpkg are stand-ins (``untouched``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.carrier import bundle
from components.keys import RelayKeys, wireguard_key
from components.model import Site
from components.plan import relay_plan
from operate import verbs

from ..unit import samples
from . import living, untouched
from .conftest import RELAY, Lab, make
from .door import PORT, Door, opened
from .living import FINE, STATE, UNPACK
from .topology import internet

ANOTHERS = "the relay on this machine is another stack's, and nothing was "
CLIENT = "203.0.113.9"


@pytest.fixture
def door(wg_env: dict[str, str], tmp_path: Path) -> Iterator[Door]:
    """A machine without a relay, which a home waits for."""
    with internet(wg_env) as net:
        lab = make(net)
        untouched.somebodys(lab)
        lab.serve("home", 8080)
        made = opened(lab, tmp_path)
        untouched.stand_in(lab)
        yield made


def another(lab: Lab) -> RelayKeys:
    """The same config's, of a stack that has made keys of its own."""
    return samples.keys(lab.settings)


def carried(lab: Lab, keys: RelayKeys, owner: bool = True) -> str:
    """A stack's bundle; without ``owner`` as versions before this had it."""
    site = Site(adopted=True, guarded=False, ssh_port=PORT)
    plan = relay_plan(replace(lab.settings, site=site), keys)
    known_by = keys.identity if owner else ""
    return bundle(plan, ["home home"], owner=known_by, replaced={"check": FINE})


def brought(door: Door, keys: RelayKeys, owner: bool = True) -> str:
    """What is said of an update that must work."""
    done = door.operate("bring", carried(door.lab, keys, owner))
    assert done.returncode == 0, done.stderr
    return done.stderr


def refused(door: Door, keys: RelayKeys, *verbs: str) -> bool:
    """In one sentence that names the way out, and with nothing changed."""
    before = held(door.lab)
    for verb in verbs or ("bring", "undo"):
        done = door.operate(verb, carried(door.lab, keys))
        if done.returncode == 0:
            return False
        assert done.stderr.startswith(ANOTHERS), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert {"bring": "TAKE_OVER", "undo": "FORGET"}[verb] in done.stderr
        assert held(door.lab) == before
    return True


def held(lab: Lab) -> list[str]:
    """All that the machine has, less the lock, and a digest of what is ours."""
    digests = f"sha256sum /etc/wireguard/wg0.* {STATE}/* 2>/dev/null"
    found = untouched.holds(lab) + living.run(lab, digests, check=False).splitlines()
    return [line for line in found if "/run/cgnat-relay" not in line]


def unconfirmed(lab: Lab, keys: RelayKeys, word: str = "") -> str:
    """A change that is still to be confirmed; its token."""
    lab.net["relay"].run(["sh", "-c", UNPACK], stdin=carried(lab, keys))
    said = living.run(lab, f"{living.APPLY} {word}").splitlines()
    lab.net["relay"].run("rm -rf /run/new")
    return said[-1].removeprefix("unconfirmed ")


def test_a_second_stack_changes_nothing_and_undoes_nothing(door: Door) -> None:
    lab, mine, other = door.lab, door.lab.keys, another(door.lab)
    before = untouched.holds(lab)
    brought(door, mine)
    lab.home_up()
    assert door.look()["owner"] == mine.identity
    assert refused(door, other)
    assert lab.call("tcp", 80) == CLIENT
    assert door.look()["changed"] == []
    assert "nothing was changed" in brought(door, mine)
    assert door.operate("undo", carried(lab, mine)).returncode == 0
    assert [x for x in untouched.left(lab, before) if "/run/cgnat-relay" not in x] == []


def test_a_refused_undo_leaves_ssh_shut(door: Door) -> None:
    """What closes SSH goes first where the relay is ours, and not where it is another's."""
    lab, mine, other = door.lab, door.lab.keys, another(door.lab)
    brought(door, mine)
    closed = "/etc/cgnat-relay/ssh-closed"
    lab.net["relay"].run(f"touch {closed}")
    assert refused(door, other, "undo")
    assert living.run(lab, f"ls {closed}").split() == [closed]
    assert door.operate("undo", carried(lab, mine)).returncode == 0
    assert not living.run(lab, f"ls {closed} 2>/dev/null", check=False)


def test_a_stack_is_known_whatever_key_its_relay_has_now(door: Door) -> None:
    lab, mine = door.lab, door.lab.keys
    brought(door, mine)
    rotated = replace(mine, wireguard=wireguard_key(samples.seed()))
    assert "brought tunnel" in brought(door, rotated)
    assert door.look()["owner"] == mine.identity
    assert refused(door, another(lab), "bring")


def test_one_that_is_named_is_taken_over(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, mine, other = door.lab, door.lab.keys, another(door.lab)
    brought(door, mine)
    monkeypatch.setenv(verbs.TAKE_OVER, "203.0.113.250")
    assert refused(door, other)
    monkeypatch.setenv(verbs.TAKE_OVER, RELAY)
    assert f"{RELAY}: the relay of another stack is taken over: its homes" in brought(door, other)
    assert door.look()["owner"] == other.identity
    assert "taken over" not in brought(door, other), "it is its own now"
    assert refused(door, mine, "undo")
    monkeypatch.delenv(verbs.TAKE_OVER)
    assert refused(door, mine)
    lab.keys = other
    lab.home_up()
    assert lab.call("tcp", 80) == CLIENT
    assert door.operate("undo", carried(lab, other)).returncode == 0


@pytest.mark.parametrize("end", ["timer", "boot"])
def test_who_took_over_and_was_not_confirmed_leaves_the_owner_before(door: Door, end: str) -> None:
    """Where it had come to its last steps as well."""
    lab, mine, other = door.lab, door.lab.keys, another(door.lab)
    brought(door, mine)
    for half_settled in (False, True):
        token = unconfirmed(lab, other, "take-over")
        assert lab.net["relay"].run("wg show wg0 public-key").strip() == other.wireguard.public
        assert door.look()["owner"] == mine.identity
        if half_settled:
            living.run(lab, f"cp {STATE}/unfinished/next/owner {STATE}/owner")
            assert door.look()["owner"] == other.identity, "the off-case"
        if end == "boot":
            living.run(lab, living.RECOVER)
        living.time_is_up(lab)
        with pytest.raises(AssertionError, match="not confirmed in time"):
            living.confirm(lab, token)
        assert door.look()["owner"] == mine.identity
        assert door.look()["is"] == "here"
        assert refused(door, other)
        # A boot would load what was put back.
        lab.net["relay"].run("wg-quick down wg0")
        lab.net["relay"].run("wg-quick up wg0")
        assert lab.net["relay"].run("wg show wg0 public-key").strip() == mine.wireguard.public


def test_what_a_version_before_brought_goes_to_who_comes_first(door: Door) -> None:
    lab, mine, other = door.lab, door.lab.keys, another(door.lab)
    brought(door, mine, owner=False)
    assert door.look()["owner"] == ""
    assert "nothing was changed" in brought(door, mine)
    assert door.look()["owner"] == mine.identity
    assert refused(door, other)
    # Of that version's own request to undo nothing tells whose it is.
    assert door.operate("undo", carried(lab, mine, owner=False)).returncode == 0
    assert door.look()["is"] == "new"


def test_a_first_change_is_its_stacks_before_it_is_confirmed(door: Door) -> None:
    lab, mine, other = door.lab, door.lab.keys, another(door.lab)
    before = untouched.holds(lab)
    token = unconfirmed(lab, mine)
    assert door.look()["owner"] == mine.identity
    assert refused(door, other)
    living.time_is_up(lab)
    assert [x for x in untouched.left(lab, before) if "/run/cgnat-relay" not in x] == []
    with pytest.raises(AssertionError, match="not confirmed in time"):
        living.confirm(lab, token)
    brought(door, other)
    assert door.look()["owner"] == other.identity
