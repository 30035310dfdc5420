"""What a user is told who leaves a machine by its tunnel, where something comes in between.

Stand-ins for the connections; ``tests/netns/test_leaving_by_tunnel.py`` has real ones.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from operate import remote, ssh, verbs
from operate.request import Host

from .entered import Answers, told

HOST = Host("203.0.113.7", "root", "ssh-ed25519 AAAA", inside="172.16.0.1", inside_first=True)
UNDO, CLOSE = remote.undo("wg0"), remote.close()
# Below what a shell of its owner's says at each start.
BY_TUNNEL = f"Welcome\n\n{remote.BY_TUNNEL}\n"


@pytest.mark.parametrize("only", [True, False])
def test_who_is_not_let_in_may_be_no_device(monkeypatch: pytest.MonkeyPatch, only: bool) -> None:
    """Which is to be looked at before a machine is forgotten."""
    answers: Answers = [(UNDO, ssh.AwayError("it is away"))]
    said = told(monkeypatch, verbs.undo, answers, replace(HOST, inside_first=only))
    assert said.startswith("it is away; ")
    assert (verbs.INSIDE in said) == only
    assert said.endswith("CGNAT_RELAY_FORGET=203.0.113.7 before the command forgets it")


def test_one_that_cannot_be_closed_again_closes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = ssh.AwayError("203.0.113.7 cannot be reached; check it")
    said = told(monkeypatch, verbs.undo, [(UNDO, BY_TUNNEL), (":", lost), (CLOSE, lost)], HOST)
    assert said.startswith("nothing was changed: SSH is as it was within 120 s; ")
    assert said.endswith(str(lost))


def test_one_that_is_lost_while_it_is_left_is_not_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not to be forgotten: it has begun."""
    lost = ssh.AwayError(f"the connection was lost; {ssh.AGAIN}")
    said = told(monkeypatch, verbs.undo, [(UNDO, BY_TUNNEL), (":", ""), (UNDO, lost)], HOST)
    assert said == str(lost)
