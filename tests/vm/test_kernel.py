"""Layer netns again, where the kernel has WireGuard: in a VM, booted once for all of this."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .adopted import MATRIX
from .inside import Inside, booted

RETURN_PATH = "tests/netns/test_return_path.py"


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with booted(tmp_path_factory.mktemp("kernel")) as made:
        yield made


def test_narrow_paths(vm: Inside) -> None:
    """The kernel's WireGuard lets its datagrams be fragmented, and the fragments are lost."""
    assert vm.pytest("tests/netns/test_mtu.py") == 18


def test_the_return_path(vm: Inside) -> None:
    """Strict rp_filter, a container, both protocols, and the other mode."""
    chosen = [f"{RETURN_PATH}::test_masquerade_shows_the_relay"]
    for case in ("host-tcp", "host-udp", "container-tcp", "container-udp"):
        chosen.append(f"{RETURN_PATH}::test_home_sees_the_caller[rp_filter=1-{case}]")
    assert vm.pytest(*chosen) == len(chosen)


@MATRIX
def test_a_hundred_changes(vm: Inside) -> None:
    """Under a download and a UDP stream; and what a change cuts, and what it leaves alone."""
    assert vm.pytest("tests/netns/test_change.py", timeout=7200) == 10


@MATRIX
def test_keys_change(vm: Inside) -> None:
    """Of homes, devices and the relay, under flows that go on."""
    assert vm.pytest("tests/netns/test_rotate.py", timeout=3600) == 10
    assert vm.pytest("tests/netns/test_rotate_relay.py", timeout=3600) == 11
