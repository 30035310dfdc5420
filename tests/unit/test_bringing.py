"""What an update says whose confirmation has no answer."""

from __future__ import annotations

import pytest

from operate import ssh, verbs
from operate.errors import OperateError
from operate.request import Host, Request

HOST = Host("203.0.113.7", "root", "ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (False, "no new connection could be made within 45 s, so the machine takes it back"),
        (
            True,
            "so that it stays, or is taken back within a minute; pulumi up tells which",
        ),
    ],
)
def test_it_claims_no_more_than_it_knows(
    monkeypatch: pytest.MonkeyPatch, made: bool, says: str
) -> None:
    lost = ssh.LostError("the connection to 203.0.113.7 was lost")
    lost.made = made
    answers: list[str | ssh.LostError] = ["touched rules\nssh \nunconfirmed 7\n", lost]

    def entered(*_: object) -> str:
        answer = answers.pop(0)
        if isinstance(answer, ssh.LostError):
            raise answer
        return answer

    monkeypatch.setattr(verbs.ssh, "patiently", entered)
    with pytest.raises(OperateError) as raised:
        verbs.bring(Request(HOST, "wg0"), lambda line: None)
    assert says in str(raised.value)
    assert str(raised.value).endswith(str(lost))
