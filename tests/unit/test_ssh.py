"""What a user is told where no connection is made, by the real ssh against real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from operate import ssh
from operate.request import Host

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICDYPeUrQ2sn4yzMxlY7fcAmCdXIdeG7RTXMNHrzHOvX"


@contextmanager
def listening(hangs_up: bool) -> Iterator[int]:
    """The port of somebody who says nothing, or hangs up at once."""

    def serve() -> None:
        while hangs_up:
            try:
                server.accept()[0].close()
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def told(port: int) -> str:
    with pytest.raises(ssh.AwayError) as lost:
        ssh.run(Host("127.0.0.1", "root", KEY, port=port, connect=1), "true", "", timeout=30)
    return str(lost.value)


def test_nobody_listens() -> None:
    with listening(hangs_up=False) as port:
        pass
    assert "refuses the connection: no SSH server listens there; check the port" in told(port)


def test_nobody_answers() -> None:
    with listening(hangs_up=False) as port:
        assert "cannot be reached; check the address, the port" in told(port)


def test_a_connection_that_ends_says_what_to_do() -> None:
    with listening(hangs_up=True) as port:
        said = told(port)
    assert "was lost: " in said
    assert said.endswith(ssh.AGAIN)


def test_who_lets_nobody_in_is_not_away() -> None:
    for said in ("Host key verification failed.", "op@h: Permission denied (publickey)."):
        lost = ssh._lost(Host("h", "op", KEY), said)
        assert not isinstance(lost, ssh.AwayError)
        assert "; " in str(lost)
