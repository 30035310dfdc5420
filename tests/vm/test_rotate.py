"""A home's keys change under the real engine, between machines with systemd and the kernel's own
WireGuard, while a connection through the relay stays open.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ..conftest import HOMES
from ..relay_stack import Stack
from ..waiting import BOOT, eventually
from .callers import answers, page, reach

NEXT = [{**HOMES[0], "next": {"key": 2}}, HOMES[1]]
SECOND = [{**HOMES[0], "key": 2}, HOMES[1]]
ACTIVE = "systemctl is-active cgnat-relay-rotate.service"
OWNER = "wg show wg0 allowed-ips | grep -F 172.16.0.19/32 | cut -f 1"


def update(stack: Stack, homes: list[dict[str, object]], check: bool = True) -> str:
    stack.configure(vps={"kind": "lab"}, homes=homes)
    return stack.up(check=check)


def take(stack: Stack) -> None:
    """As docs/keys.md says it, at home."""
    config = stack.outputs()["homeConfig"]
    stack.inside("test-home", "install -m 600 /dev/stdin /etc/wireguard/wg0.conf", stdin=config)
    stack.inside("test-home", "systemctl restart wg-quick@wg0")


@pytest.fixture(scope="module")
def stack(home: Stack) -> Iterator[Stack]:
    yield home
    update(home, HOMES)
    take(home)
    eventually(lambda: page(home, 80), "the home's page", within=BOOT)


def test_both_phases_under_one_connection(stack: Stack) -> None:
    booted = stack.inside("test-relay", "cat /proc/sys/kernel/random/boot_id")
    present = stack.inside("test-relay", OWNER)
    with socket.create_connection(reach(stack, 80), timeout=60) as connection:
        stack.configure(vps={"kind": "lab"}, homes=NEXT)
        assert "replace" not in stack.pulumi("preview", "--diff")
        assert "home: next key 2, accepted beside key 1" in stack.pulumi("preview")
        said = update(stack, NEXT)
        assert "with the present key: home; the next is accepted as well" in said
        assert "replaced" not in said
        assert stack.inside("test-relay", ACTIVE).strip() == "active"
        assert page(stack, 443).startswith("hello from home")
        assert stack.inside("test-relay", OWNER) == present

        stack.configure(vps={"kind": "lab"}, homes=SECOND)
        assert "home comes with its present key, which this leaves out" in stack.pulumi("preview")
        said = update(stack, SECOND, check=False)
        assert "exit status 0" not in said
        assert "home comes with its present key, which this plan leaves out" in said
        assert page(stack, 443).startswith("hello from home")

        update(stack, NEXT)
        take(stack)
        eventually(lambda: stack.inside("test-relay", OWNER) != present, "it comes", within=60)
        answers(stack, 443)
        stack.configure(vps={"kind": "lab"}, homes=NEXT)
        assert "home comes with its next key" in stack.pulumi("preview")
        shaken = stack.inside("test-relay", "wg show wg0 latest-handshakes | sort")

        stack.configure(vps={"kind": "lab"}, homes=SECOND)
        assert "home: key 2 alone, key 1 is refused" in stack.pulumi("preview")
        assert "replaced" not in update(stack, SECOND)
        after = stack.inside("test-relay", "wg show wg0 latest-handshakes | sort")
        assert set(after.splitlines()) < set(shaken.splitlines()), "nobody had to dial anew"
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"hello from home" in connection.makefile("rb").read()
    found = "ls /etc/wireguard /etc/systemd/system /usr/local/lib/cgnat-relay"
    assert "rotate" not in stack.inside("test-relay", found)
    assert "arrived" not in stack.inside("test-relay", found)
    assert stack.inside("test-relay", ACTIVE + " || :").strip() == "inactive"
    assert stack.inside("test-relay", "cat /proc/sys/kernel/random/boot_id") == booted
    keys = stack.keys()
    assert not any(key in said for key in keys for said in stack.said)
