"""A stand-in for SSH: a machine that answers given scripts with given words, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operate import ssh, verbs
from operate.errors import OperateError
from operate.request import Host, Request

Answers = list[tuple[str, str | ssh.LostError]]
Verb = Callable[[Request, verbs.Say], object]


def told(monkeypatch: pytest.MonkeyPatch, verb: Verb, answers: Answers, host: Host) -> str:
    """The message of a verb that fails, which must run these scripts, each once."""

    def entered(host: Host, script: str, stdin: str, patience: float = 0) -> str:
        wanted, answer = answers.pop(0)
        assert script == wanted
        if isinstance(answer, ssh.LostError):
            raise answer
        return answer

    monkeypatch.setattr(verbs.ssh, "patiently", entered)
    with pytest.raises(OperateError) as raised:
        verb(Request(host, "wg0"), lambda line: None)
    assert not answers
    return str(raised.value)
