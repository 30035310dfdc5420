"""Callers on this machine, and what they hear from a home behind the relay."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

from ..relay_stack import Stack
from ..waiting import eventually


def reach(stack: Stack, port: int, protocol: str = "tcp") -> tuple[str, int]:
    for row in stack.outputs()["forwards"]:
        if row["listen"].endswith(f":{port}/{protocol}"):
            host, _, number = row["reach"].rpartition(":")
            return host, int(number)
    raise AssertionError(f"{port}/{protocol} is not forwarded")


def page(stack: Stack, port: int, patience: float = 10) -> str:
    """The page behind a forwarded TCP port; OSError where nothing answers."""
    host, number = reach(stack, port)
    try:
        with urllib.request.urlopen(f"http://{host}:{number}/", timeout=patience) as answer:
            return str(answer.read().decode().strip())
    except HTTPException as error:  # half an answer, of a machine that goes down
        raise OSError(repr(error)) from None


def datagram(stack: Stack, port: int) -> str:
    """The answer behind a forwarded UDP port; OSError where nothing answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(10)
        caller.connect(reach(stack, port, "udp"))
        caller.send(b"who am I?")
        return caller.recv(2048).decode().strip()


def silent(stack: Stack, port: int = 80, tries: int = 2) -> bool:
    """Whether nothing answers on a forwarded port."""
    for _ in range(tries):
        try:
            page(stack, port, patience=4)
        except OSError:
            continue
        return False
    return True


def speaks(host: str, port: int) -> bool:
    """Whether HTTP is spoken there, by whomever."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def let_in(stack: Stack, *extra: str) -> Iterator[str]:
    """Open more ports outside the machine than the config declares; the host that leads there."""
    rows = stack.outputs()["forwards"]
    declared = ["/".join(row["listen"].rpartition(":")[2].split("/")[::-1]) for row in rows]
    stack.lab("open", "test-relay", *declared, *extra)
    try:
        yield rows[0]["reach"].rpartition(":")[0]
    finally:
        stack.lab("open", "test-relay", *declared)


def restart_relays_tunnel(stack: Stack, commands: str) -> None:
    """Commands that make the relay forget its sessions, and a home that dials anew at once.

    By itself it would do so after 120 s, when its session is old (WireGuard's Rekey-After-Time),
    unless the relay calls it back.
    """
    stack.inside("test-relay", commands)
    stack.inside("test-home", "systemctl restart wg-quick@wg0")


def answers(stack: Stack, port: int = 80, within: float = 60) -> str:
    return str(eventually(lambda: page(stack, port), f"an answer on port {port}", within))
