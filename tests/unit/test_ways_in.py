"""By which addresses a relay is entered, in what order, and how often."""

from __future__ import annotations

import pytest

from operate import ssh
from operate.request import Host

GIVEN, INSIDE = "203.0.113.7", "172.16.0.1"


def host(inside: str | None = INSIDE, first: bool = False) -> Host:
    return Host(GIVEN, "root", "ssh-ed25519 AAAA", inside=inside, inside_first=first)


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
