"""A changed config under the real engine: forwards change in place, the home is never asked."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from ..conftest import HOMES
from ..relay_stack import BOOT_ID, Stack
from ..waiting import BOOT
from .callers import answers, let_in, page, reach, speaks

CHANGED = [{**HOMES[0], "forwards": ["80:8080", "8443:8081"]}, HOMES[1]]


@pytest.fixture(scope="module")
def before(home: Stack) -> dict[str, str]:
    """The homes' configs, and the relay's boot, before anything is changed."""
    return {**home.outputs()["homeConfigs"], "boot": home.inside("test-relay", BOOT_ID)}


@pytest.fixture(scope="module")
def changed(home: Stack, before: dict[str, str]) -> Iterator[tuple[Stack, str, str]]:
    """The stack after port 443 became 8443, what the preview and what the update said.

    A connection through port 80 is open all the while.
    """
    home.configure(vps={"kind": "lab"}, homes=CHANGED, devices=["laptop"])
    with socket.create_connection(reach(home, 80), timeout=30) as connection:
        preview = home.pulumi("preview", "--diff")
        said = home.up()
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"hello from home" in connection.makefile("rb").read()
    yield home, preview, said


def test_the_preview_names_the_change_and_replaces_nothing(
    changed: tuple[Stack, str, str],
) -> None:
    preview = changed[1]
    for line in (
        "removes tcp/443 to home 172.16.0.19:8081 (what is connected through it ends)",
        "adds tcp/8443 to home 172.16.0.19:8081",
        "adds device laptop 172.16.0.",
    ):
        assert f"relay: {line}" in preview
    assert "replace" not in preview
    assert "relay-server" not in preview


def test_the_machine_goes_on(changed: tuple[Stack, str, str], before: dict[str, str]) -> None:
    stack, _, said = changed
    assert "relay-plan updated" in said
    assert "removes tcp/443 to home" in said, "what it cuts, it tells too"
    assert "adds tcp/8443" not in said
    assert "replaced" not in said
    assert stack.inside("test-relay", BOOT_ID) == before["boot"]


def test_the_new_port_answers_and_the_old_one_is_closed(changed: tuple[Stack, str, str]) -> None:
    stack = changed[0]
    assert answers(stack, 8443).startswith("hello from home")
    with let_in(stack, "tcp/443") as host:
        assert not speaks(host, 443)
        assert speaks(host, 80)


def test_a_rebuild_on_purpose_is_one_command(changed: tuple[Stack, str, str]) -> None:
    """As ``docs/clouds.md`` has it."""
    stack = changed[0]
    assert "relay-server" not in stack.pulumi("preview"), "the off-case"
    said = stack.pulumi("preview", "--replace", "**relay-server")
    assert re.search(r"relay-server +replace", said)
    assert "relay-wireguard-key" not in said


@pytest.fixture(scope="module")
def moved(changed: tuple[Stack, str, str]) -> tuple[Stack, str, dict[str, str]]:
    """SSH and the tunnel at other ports, which is another machine; homes dial the same.

    A relay that has called home first did so from another port of the lab's NAT, which no longer is
    there afterwards; so home dials once more before.
    """
    stack = changed[0]
    stack.inside("test-home", "systemctl restart wg-quick@wg0")
    answers(stack, 80)
    devices = stack.outputs()["deviceConfigs"]
    terms = {"ssh": {"port": 2222}, "tunnel": {"port": 4500}}
    stack.configure(vps={"kind": "lab"}, homes=CHANGED, devices=["laptop"], **terms)
    return stack, stack.up(), devices


def test_the_machine_is_another_one(
    moved: tuple[Stack, str, dict[str, str]], before: dict[str, str]
) -> None:
    stack, said, _ = moved
    assert "relay-server replaced" in said
    assert "relay-wireguard-key" not in said
    assert stack.inside("test-relay", BOOT_ID) != before["boot"]


def test_no_home_and_no_device_needs_a_new_config(
    moved: tuple[Stack, str, dict[str, str]], before: dict[str, str]
) -> None:
    outputs = moved[0].outputs()
    assert outputs["homeConfigs"].items() <= before.items()
    assert [*moved[2]] == ["laptop"]
    assert outputs["deviceConfigs"] == moved[2]


def test_ssh_and_the_tunnel_are_where_the_config_says(
    moved: tuple[Stack, str, dict[str, str]],
) -> None:
    stack = moved[0]
    assert stack.inside("test-relay", "wg show wg0 listen-port").strip() == "4500"
    assert ":2222" in stack.inside("test-relay", "ss -Hlnt")
    assert ":22 " not in stack.inside("test-relay", "ss -Hlnt")


def test_home_comes_back_by_itself(moved: tuple[Stack, str, dict[str, str]]) -> None:
    stack = moved[0]
    assert answers(stack, 8443, within=BOOT).startswith("hello from home")
    assert page(stack, 80).startswith("hello from home")
