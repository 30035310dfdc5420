"""The benchmark's caller: bytes at their own pace, and datagrams none of which comes through."""

from __future__ import annotations

import io
import socket
import threading
import time
from itertools import pairwise

import pytest

from bench import caller


def test_a_byte_that_is_late_does_not_hold_up_the_next() -> None:
    ours, theirs = socket.socketpair()

    def answer() -> None:  # at once, when all are there
        theirs.sendall(theirs.recv(20, socket.MSG_WAITALL))

    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    began = time.perf_counter()
    with ours, theirs:
        found = caller.at_their_pace(ours, [began + 0.005 * turn for turn in range(20)])
        answering.join()
    waited = [first - second for first, second in pairwise(found)]
    assert waited == pytest.approx([5000] * 19)


def test_a_byte_that_never_comes_back_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "ANSWER", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        caller.at_their_pace(ours, [time.perf_counter()])


def test_where_each_window_loses_some_the_last_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        found = caller.datagrams("127.0.0.1", deaf.getsockname()[1], 200, 0.35)
    assert (found["rate"], found["window"]) == (0, 1)
    assert found["lost"] == 1


def test_of_connections_that_are_all_silent_few_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be waited for."""
    asked = 0

    class Silent:
        def __init__(self, *_: object) -> None:
            self.open = False

        def sendall(self, _: bytes) -> None:
            pass

        def recv(self, _: int) -> bytes:
            nonlocal asked
            if not self.open:
                self.open = True
                return b"?"
            asked += 1
            raise TimeoutError

    monkeypatch.setattr(caller, "dial", Silent)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert caller.hold("h", 1, 100, 0)["answered"] == 0
    assert asked == caller.GIVEN_UP
