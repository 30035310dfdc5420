"""What a user is told where no connection is made, by the real ssh against real sockets.

And, with a stand-in for ssh, of what a machine says.
"""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from operate import ssh, verbs
from operate.errors import OperateError
from operate.request import Host, Request

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
    for said in (
        "Host key verification failed.",
        "op@h: Permission denied (publickey).",
        "Unable to negotiate with h port 22: no matching key exchange method found. Their offer: x",
        "command-line line 0: keyword identityfile extra arguments at end of line",
        "ssh: Could not resolve hostname h: Name or service not known",
    ):
        lost = ssh._lost(Host("h", "op", KEY), said)
        assert not isinstance(lost, ssh.AwayError)
        assert "; " in str(lost)


def test_a_computer_without_a_network_is_away() -> None:
    said = "ssh: Could not resolve hostname h: Temporary failure in name resolution"
    lost = ssh._lost(Host("h", "op", KEY), said)
    assert isinstance(lost, ssh.AwayError)
    assert "just now" in str(lost)


@pytest.mark.parametrize(
    "said",
    [
        "Read from remote host h: Connection timed out",
        "client_loop: send disconnect: No route to host",
    ],
)
def test_who_was_there_is_not_told_to_be_at_another_port(said: str) -> None:
    """Whichever of its two ways ssh says it."""
    for lost in (ssh._lost(Host("h", "op", KEY), said), ssh._lost(Host("h", "op", KEY), "", said)):
        assert isinstance(lost, ssh.AwayError)
        assert str(lost) == f"the connection to op@h port 22 was lost: {said}; {ssh.AGAIN}"


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Has a machine say these bytes, whatever it is asked."""
    stand_in = tmp_path / "ssh"
    stand_in.write_text(f"#!/bin/sh\ncat >/dev/null\ncat {tmp_path}/said\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def say(said: bytes) -> None:
        (tmp_path / "said").write_bytes(said)

    return say


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        # The kernel cuts a process's name at 15 bytes.
        ("Überwachungsdämon".encode()[:15], "Überwachungsd\ufffd"),
        ("a\u2028b\x85c".encode(), "a\u2028b\x85c"),
    ],
)
def test_a_name_may_be_of_any_bytes(says: Callable[[bytes], None], name: bytes, shown: str) -> None:
    says(
        b"\ncgnat-relay\nis\there\nfault\t"
        + name
        + b" listens on 80/tcp\tmove it\nsummary\thome home\n"
    )
    found = verbs.look(Request(Host("h", "root", KEY), "wg0"), lambda _: None)
    assert found["faults"] == [[f"{shown} listens on 80/tcp", "move it"]]
    assert (found["is"], found["summary"]) == ("here", ["home home"])


# sudo's own: nothing of the environment gets through.
SUDO = """#!/bin/sh
IFS= read -r password
[ "$1" = -k ] && exit
shift 3
exec env -i PATH="$PATH" "$@"
"""


@pytest.mark.parametrize("user", ["root", "op"])
def test_a_script_knows_from_where_it_was_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    entered = "203.0.113.9 50000 198.51.100.7 22"
    stand_ins(tmp_path, monkeypatch, f'export SSH_CONNECTION="{entered}"')
    script = 'cat; echo "$SSH_CONNECTION"'
    assert ssh.run(Host("h", user, KEY), script, "given\n") == f"given\n{entered}\n"


@pytest.mark.parametrize("user", ["root", "op"])
def test_what_a_login_says_before_is_not_the_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    stand_ins(tmp_path, monkeypatch, "echo hello; printf you; printf there >&2")
    host = Host("h", user, KEY)
    assert ssh.run(host, "echo by-tunnel", "") == "by-tunnel\n"
    with pytest.raises(OperateError, match=r"^no$"):
        ssh.run(host, "echo no >&2; exit 3", "")


@pytest.mark.parametrize("code", [0, 142])
def test_a_login_that_does_not_run_it_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    stand_ins(tmp_path, monkeypatch, f'echo "Please login as the user debian"; exit {code}')
    with pytest.raises(OperateError, match=r"says: Please login as the user debian; check vps"):
        ssh.run(Host("h", "root", KEY), "true", "")


def test_what_was_sent_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a menu that says what it was told, and of one that hangs up then."""
    host = Host("h", "op", KEY, password="hunter2 x")  # noqa: S106 - of a stand-in
    for code in (0, 255):
        menu = f'read -r choice; echo "no such choice: $choice" | tee /dev/stderr; exit {code}'
        stand_ins(tmp_path, monkeypatch, menu)
        with pytest.raises(OperateError) as found:
            ssh.run(host, "true", "the plan")
        assert "hunter2" not in str(found.value)
        assert ("says: no such choice:" in str(found.value)) == (code == 0)


def test_a_key_that_is_not_on_this_computer_is_told(tmp_path: Path) -> None:
    """ssh says nothing of it, and then that the machine refuses the key."""
    host = Host("127.0.0.1", "root", KEY, key_file=str(tmp_path / "gone"))
    with pytest.raises(OperateError, match=r"there is no file \S+gone on this computer; put the"):
        ssh.run(host, "true", "")


def test_an_agent_is_asked_for_the_named_key_alone(tmp_path: Path) -> None:
    """It may hold the one of a file under a passphrase; of a text it is not asked."""
    (tmp_path / "id").write_text("")
    file, text, none = (
        ssh._command(Host("h", "op", KEY, **given), key, "known", "log", "true")
        for given, key in (
            ({"key_file": str(tmp_path / "id")}, str(tmp_path / "id")),
            ({"key": "text"}, "/proc/1/fd/3"),
            ({}, None),
        )
    )
    assert "IdentitiesOnly=yes" in file
    assert "IdentityAgent=none" not in file
    assert {"IdentitiesOnly=yes", "IdentityAgent=none"} <= {*text}
    assert not {"IdentitiesOnly=yes", "IdentityAgent=none"} & {*none}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("op@h: Permission denied (publickey).", "that its sshd lets that user in"),
        ("op@h: Permission denied (publickey,password).", "that its sshd lets that user in"),
        ("op@h: Permission denied (password).", "takes no key, or asks for more"),
        ('Load key "/k": Permission denied\nop@h: Permission denied (publickey).', "may not read"),
    ],
)
def test_why_a_key_is_refused_is_told(tmp_path: Path, said: str, told: str) -> None:
    (tmp_path / "id").write_text("")
    assert told in str(ssh._lost(Host("h", "op", KEY, key_file=str(tmp_path / "id")), said))


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("Sorry, try again.\nsudo: no password was provided", "does not take the password of op"),
        ("", "does not take the password of op"),
        (
            "sudo: sorry, you must have a tty to run sudo",
            "in: sudo: sorry, you must have a tty to run",
        ),
        (
            "sudo: account validation failure, is your account locked?",
            "is your account locked[?]; see",
        ),
    ],
)
def test_why_sudo_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, told: str
) -> None:
    stand_ins(tmp_path, monkeypatch, "echo a greeting >&2")
    (tmp_path / "sudo").write_text(f"#!/bin/sh\nprintf %s {shlex.quote(says)} >&2\nexit 1\n")
    with pytest.raises(OperateError, match=told):
        ssh.run(Host("h", "op", KEY), "true", "")


def stand_ins(folder: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """An ssh that runs its command here after ``first``, and a sudo."""
    there = f'#!/bin/sh\n{first}\nfor last; do :; done\nsh -c "$last"\n'
    for name, text in {"ssh": there, "sudo": SUDO}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
