"""By which addresses a relay is entered, in what order, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operate import ssh
from operate.request import Host

GIVEN, INSIDE = "203.0.113.7", "172.16.0.1"


def host(inside: str | None = INSIDE, first: bool = False) -> Host:
    return Host(GIVEN, "root", "ssh-ed25519 AAAA", inside=inside, inside_first=first)


class Clock:
    """The only time that passes is what is slept, and what a test says."""

    now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ssh, "time", made)
    return made


@pytest.mark.parametrize(
    ("of", "rounds", "tried", "said"),
    [
        (host(None), 3, [GIVEN] * 3, GIVEN),
        # A machine that boots is waited for; only once it is asked whether it is closed still.
        (host(), 3, [GIVEN, INSIDE, GIVEN, GIVEN], GIVEN),
        (host(first=True), 2, [INSIDE, GIVEN] * 2, f"{INSIDE}; {GIVEN}"),
    ],
    ids=["no device", "open", "closed"],
)
def test_each_way_in_its_turn(
    monkeypatch: pytest.MonkeyPatch, of: Host, rounds: int, tried: list[str], said: str
) -> None:
    seen: list[str] = []

    def run(way: Host, script: str, stdin: str) -> str:
        seen.append(way.address)
        raise ssh.LostError(way.address)

    def pause(seconds: float) -> None:
        nonlocal rounds
        rounds -= 1

    monkeypatch.setattr(ssh, "run", run)
    monkeypatch.setattr(ssh.time, "sleep", pause)
    monkeypatch.setattr(ssh.time, "monotonic", lambda: 0 if rounds > 1 else 5)
    with pytest.raises(ssh.LostError) as lost:
        ssh.patiently(of, "", "", patience=1)
    assert str(lost.value) == said
    assert seen == tried


@pytest.mark.parametrize(
    ("made", "lasts", "twice", "tries"),
    [
        (False, 21, False, 2),  # as of a name with two addresses that are silent, 10 s each
        (True, 1, False, 2),  # as of a machine that boots
        (True, 21, False, 1),
        (True, 21, True, 2),  # as of a confirmation whose connection fell silent
    ],
)
def test_what_lasted_is_not_done_twice(
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    made: bool,
    lasts: float,
    twice: bool,
    tries: int,
) -> None:
    seen = 0

    def run(*_: object) -> str:
        nonlocal seen
        seen += 1
        clock.sleep(lasts)
        lost = ssh.LostError("lost")
        lost.made = made
        raise lost

    monkeypatch.setattr(ssh, "run", run)
    long = lasts * 1.5
    with pytest.raises(ssh.LostError) as lost:
        ssh.patiently(replace(host(None), patience=long), "", "", long if twice else None)
    assert seen == tries
    assert lost.value.made == made


def test_a_confirmation_is_tried_until_its_last_second(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    at: list[float] = []

    def run(*_: object) -> str:
        at.append(clock.now)
        raise ssh.LostError("refused")

    monkeypatch.setattr(ssh, "run", run)
    with pytest.raises(ssh.LostError):
        ssh.patiently(host(None), "", "", patience=45)
    assert at == [0, 1, 3, 7, 15, 31, 45]


def test_a_machine_that_counts_tries_is_given_time(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """``ufw limit`` refuses the sixth within 30 s, and counts what it refuses; one that boots is
    asked each second.
    """
    at: list[float] = []

    def run(*_: object) -> str:
        at.append(clock.now)
        if sum(clock.now - 30 < one for one in at) >= 6:
            raise ssh.LostError("refused")
        return "in"

    monkeypatch.setattr(ssh, "run", run)
    at += [0.0] * 5  # a preview's and an update's
    assert ssh.patiently(host(None), "", "", patience=45) == "in"
    at[:] = [clock.now] * 5
    with pytest.raises(ssh.LostError):  # the off-case
        ssh.patiently(Host(GIVEN, "root", "ssh-ed25519 AAAA", patience=45), "", "")
    assert len(at) > 40
