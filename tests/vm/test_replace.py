"""A changed forward under the real engine: the machine is replaced, the home is not asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..conftest import HOMES
from ..relay_stack import Stack
from .callers import BOOT, answers, let_in, page, speaks

CHANGED = [{**HOMES[0], "forwards": ["80:8080", "8443:8081"]}, HOMES[1]]


@pytest.fixture(scope="module")
def changed(home: Stack) -> Iterator[tuple[Stack, dict[str, str], str]]:
    """The stack after port 443 became 8443, with the home configs of before and what was said.

    SSH and the tunnel move to other ports in the same update: in the lab homes dial the same.
    """
    before = home.outputs()["homeConfigs"]
    home.configure(vps={"kind": "lab"}, homes=CHANGED, ssh={"port": 2222}, tunnel={"port": 4500})
    said = home.pulumi("up", "--yes", "--skip-preview")
    yield home, before, said


def test_the_machine_is_another_one(changed: tuple[Stack, dict[str, str], str]) -> None:
    said = changed[2]
    assert "relay-server" in said
    assert "replaced" in said
    assert "relay-wireguard-key" not in said


def test_no_home_needs_a_new_config(changed: tuple[Stack, dict[str, str], str]) -> None:
    stack, before, _ = changed
    assert stack.outputs()["homeConfigs"] == before


def test_ssh_and_the_tunnel_are_where_the_config_says(
    changed: tuple[Stack, dict[str, str], str],
) -> None:
    stack = changed[0]
    assert stack.inside("test-relay", "wg show wg0 listen-port").strip() == "4500"
    assert ":2222" in stack.inside("test-relay", "ss -Hlnt")
    assert ":22 " not in stack.inside("test-relay", "ss -Hlnt")


def test_home_comes_back_by_itself_to_the_new_port(
    changed: tuple[Stack, dict[str, str], str],
) -> None:
    stack = changed[0]
    assert answers(stack, 8443, within=BOOT).startswith("hello from home")
    assert page(stack, 80).startswith("hello from home")


def test_the_old_port_is_closed(changed: tuple[Stack, dict[str, str], str]) -> None:
    stack = changed[0]
    with let_in(stack, "tcp/443") as host:
        assert not speaks(host, 443)
        assert speaks(host, 80)
