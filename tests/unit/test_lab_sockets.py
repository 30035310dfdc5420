"""QEMU's monitor and guest agent, against servers that say what QEMU says."""

import base64
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import agent, qmp
from lab.errors import LabError

Answer = Callable[[dict[str, Any]], list[dict[str, Any]] | None]


class Server:
    """Serves a Unix socket in a folder too deep for its address, one client after the other."""

    def __init__(self, folder: Path, answer: Answer, greeting: dict[str, Any] | None) -> None:
        for _ in range(8):
            folder = folder / ("deep" * 5)
        folder.mkdir(parents=True)
        self.path = folder / "socket"
        self.received: list[dict[str, Any]] = []
        self._answer, self._greeting = answer, greeting
        near = folder.parents[7].parent / "s"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(near))
        near.rename(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as stream:
                if self._greeting:
                    stream.write(json.dumps(self._greeting).encode() + b"\n")
                    stream.flush()
                for line in stream:
                    request = json.loads(line.lstrip(b"\xff"))
                    self.received.append(request)
                    answers = self._answer(request)
                    if answers is None:
                        break
                    for answer in answers:
                        mark = b"\xff" if request["execute"].startswith("guest-sync") else b""
                        stream.write(mark + json.dumps(answer).encode() + b"\n")
                    stream.flush()


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(answer: Answer, greeting: dict[str, Any] | None = None) -> Server:
        servers.append(Server(tmp_path, answer, greeting))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


GREETING = {"QMP": {"version": {}}}


def test_the_monitor_passes_over_events(serve):
    def answer(request):
        if request["execute"] == "human-monitor-command":
            return [{"event": "RESET"}, {"return": "told\r\n"}]
        return [{"return": {}}]

    server = serve(answer, GREETING)
    with qmp.session(server.path) as monitor:
        assert monitor.human("info usernet") == "told"
    assert [request["execute"] for request in server.received] == [
        "qmp_capabilities",
        "human-monitor-command",
    ]
    assert server.received[1]["arguments"] == {"command-line": "info usernet"}


def test_what_the_monitor_refuses_is_told(serve):
    def answer(request):
        if request["execute"] == "quit":
            return [{"error": {"class": "GenericError", "desc": "not now"}}]
        return [{"return": {}}]

    with (
        pytest.raises(LabError, match="refused quit: not now"),
        qmp.session(serve(answer, GREETING).path) as monitor,
    ):
        monitor.execute("quit")


def test_a_monitor_that_hangs_up_or_says_nothing_is_told(serve, tmp_path):
    def hang_up(request):
        return [{"return": {}}] if request["execute"] == "qmp_capabilities" else None

    with (
        pytest.raises(LabError, match="does not answer on its monitor"),
        qmp.session(serve(hang_up, GREETING).path) as monitor,
    ):
        monitor.execute("quit")
    with (
        pytest.raises(LabError, match="does not answer on its monitor"),
        qmp.session(tmp_path / "no-such-socket"),
    ):
        pass


def test_a_silent_monitor_does_not_hang_its_caller(serve):
    with (
        pytest.raises(LabError, match="timed out"),
        qmp.session(serve(lambda _: [], {"event": "?"} | GREETING).path, timeout=0.1),
    ):
        pass


def guest(status: list[dict[str, Any]]) -> Answer:
    """Answer as the agent does; an answer to somebody else's sync comes first."""
    left = list(status)

    def answer(request):
        if request["execute"] == "guest-sync-delimited":
            return [{"return": -1}, {"return": request["arguments"]["id"]}]
        if request["execute"] == "guest-exec":
            return [{"return": {"pid": 7}}]
        return [{"return": left.pop(0)}]

    return answer


def test_a_command_in_the_vm_gives_its_output_and_its_code(serve):
    ended = {
        "exited": True,
        "exitcode": 3,
        "out-data": base64.b64encode(b"out").decode(),
        "err-data": base64.b64encode(b"err").decode(),
    }
    server = serve(guest([{"exited": False}, ended]))
    assert agent.execute(server.path, ["wg", "show"], b"in") == agent.Done(3, b"out", b"err")
    asked = [one for one in server.received if one["execute"] == "guest-exec"]
    assert [one["arguments"] for one in asked] == [
        {
            "path": "wg",
            "arg": ["show"],
            "capture-output": True,
            "input-data": base64.b64encode(b"in").decode(),
        }
    ]


def test_a_signal_is_told_as_a_shell_does(serve):
    server = serve(guest([{"exited": True, "signal": 9}]))
    assert agent.execute(server.path, ["sleep"]).code == 137


def test_a_command_that_does_not_end_is_killed(serve):
    server = serve(guest([{"exited": False}] * 99))
    with pytest.raises(LabError, match="sleep did not end within 0 s and was killed"):
        agent.execute(server.path, ["sleep", "99"], timeout=0.0)
    assert server.received[-1]["arguments"] == {"path": "kill", "arg": ["-KILL", "7"]}


def test_a_vm_that_is_switched_off_ends_the_command(tmp_path):
    with pytest.raises(LabError, match="was switched off meanwhile"):
        agent.execute(tmp_path / "agent.sock", ["poweroff"], alive=lambda: False)


def test_an_agent_that_never_comes_is_told(tmp_path):
    with pytest.raises(LabError, match="does not answer: the VM boots still"):
        agent.execute(tmp_path / "agent.sock", ["true"], timeout=0.0)


def test_a_busy_agent_is_waited_for(serve):
    """Each question is put once, so its answer is waited for longer than the agent itself."""
    free = threading.Event()

    def answer(request):
        if request["execute"] == "guest-exec":
            assert free.wait(10)
        return guest([])(request)

    late = threading.Timer(0.4, free.set)
    late.start()
    assert agent.ask(serve(answer).path, "guest-exec", timeout=0.1) == {"pid": 7}
    late.join()


def test_a_silent_agent_is_told(serve, monkeypatch):
    def answer(request):
        return [] if request["execute"] == "guest-exec" else guest([])(request)

    monkeypatch.setattr(agent, "ANSWER", 0.1)
    with pytest.raises(LabError, match="fell silent at guest-exec"):
        agent.ask(serve(answer).path, "guest-exec", timeout=0.1)
