"""What an update says whose confirmation has no answer."""

from __future__ import annotations

import pytest

from operate import remote, ssh, verbs
from operate.request import Host

from .entered import Answers, told

HOST = Host("203.0.113.7", "root", "ssh-ed25519 AAAA")
STAYS = "so that it stays, or is taken back within a minute; pulumi up tells which"
BACK = "no new connection could be made within 45 s, so the machine takes it back by itself"


@pytest.mark.parametrize(("made", "says"), [(False, BACK), (True, STAYS)])
def test_it_claims_no_more_than_it_knows(
    monkeypatch: pytest.MonkeyPatch, made: bool, says: str
) -> None:
    lost = ssh.LostError("the connection to 203.0.113.7 was lost")
    lost.made = made
    brought = "touched rules\nssh \nunconfirmed 7\n"
    answers: Answers = [(remote.bring("wg0", False), brought), (remote.confirm("wg0"), lost)]
    said = told(monkeypatch, verbs.bring, answers, HOST)
    assert says in said
    assert said.endswith(str(lost))
