"""Who is let in by a relay's real SSH, and what whoever is not is told, in one sentence."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..waiting import eventually
from .conftest import make
from .door import Door, carried, opened, plan
from .topology import internet


@pytest.fixture(scope="module")
def door(wg_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with internet(wg_env) as net:
        lab = make(net)
        lab.relay_up()
        yield opened(lab, tmp_path_factory.mktemp("door"))


def brought(door: Door, **other: Any) -> subprocess.CompletedProcess[str]:
    return door.operate("bring", carried(plan(door.lab, "99:8081/tcp")), **other)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"hostKey": "other.pub"}, "answers with another host key than the pinned one"),
        ({"key": "other"}, "refuses the key"),
        ({"key": "no key at all\n"}, "the private key cannot be used"),
        ({"port": 2223}, "refuses the connection"),
        ({"address": "no.such.invalid"}, "is a name that cannot be resolved just now"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_who_is_not_let_in_is_told_why(door: Door, other: dict[str, Any], said: str) -> None:
    given = {k: door.keys.get(str(v), v) for k, v in other.items()}
    before = door.connections()
    done = brought(door, **given)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert door.connections() == before
    assert not door.look(**given)["reached"]


def test_who_is_not_root_needs_sudo(door: Door) -> None:
    """Of this machine's users, with its sudo out of sight where it has one."""
    relay = door.lab.net["relay"]
    relay.run(["sh", "-c", "echo op:x:65532:65534::/:/bin/sh >>/etc/passwd"])
    relay.write("/run/user.pub", door.keys["user.pub"])
    relay.run("chmod 644 /run/user.pub")
    relay.run(["sh", "-c", "! [ -e /usr/bin/sudo ] || mount --bind /dev/null /usr/bin/sudo"])
    done = brought(door, user="op")
    assert done.stderr == (
        "op@198.51.100.7 port 2222 has no sudo; install it there, or enter as root\n"
    )
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["key", "John Doe's 100%h \\ key"])
def test_keys_of_a_file_are_as_good(door: Door, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.touch(mode=0o600)
    file.write_text(door.keys["user"])
    assert door.look(key=None, keyFile=str(file))["reached"]
    file.write_text(door.keys["other"])
    assert not door.look(key=None, keyFile=str(file))["reached"]
    file.write_text(door.keys["user"])
    file.chmod(0o644)
    assert "chmod 600 that file" in door.look(key=None, keyFile=str(file))["why"]


@pytest.mark.parametrize("form", [[], ["-m", "PEM"]], ids=["OpenSSH", "PEM"])
def test_a_key_under_a_passphrase_is_told_for_one(
    door: Door, tmp_path: Path, form: list[str]
) -> None:
    """Its public half is let in, and ssh passes the key over without a word."""
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(door.keys["user"])
    words = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "a phrase", *form, "-f", str(file)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for given in ({"key": None, "keyFile": str(file)}, {"key": file.read_text()}):
        assert "the private key has a passphrase" in door.look(**given)["why"]


def test_an_agent_is_as_good(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own, asked where the config names no key."""
    socket = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: Path(socket).exists(), "the agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        assert "or it holds none" in door.look(key=None)["why"], "the off-case: it holds no key"
        subprocess.run(["ssh-add", "-q", "-"], input=door.keys["user"], text=True, check=True)
        assert door.look(key=None)["reached"]
        subprocess.run(["ssh-add", "-q", "-D"], check=True, stderr=subprocess.DEVNULL)
        for other in range(7):  # more than MaxAuthTries of sshd_config(5)
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/{other}"]
            subprocess.run(words, check=True)
            subprocess.run(["ssh-add", "-q", f"{tmp_path}/{other}"], check=True)
        found = door.look(key=None)
        assert "name that in vps.key" in found["why"]
        assert not found["away"]
    finally:
        agent.terminate()
        agent.wait()
