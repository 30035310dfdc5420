"""The machines of this layer, each booted once: a home, and one to adopt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..relay_stack import Stack
from ..waiting import BOOT, eventually
from .adopted import NAME, Adopted, fresh
from .callers import page


@pytest.fixture(scope="session")
def home(relay: Stack) -> Stack:
    """The stack with a home VM that was given ``homeConfig`` and nothing else."""
    relay.lab("home", "test-home", stdin=relay.outputs()["homeConfig"])
    eventually(lambda: page(relay, 80), "the home's page through the relay", within=BOOT)
    return relay


@pytest.fixture(scope="session")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    """A machine with nothing of ours, and its snapshot."""
    with fresh(tmp_path_factory.mktemp("machine")) as machine:
        machine.stack.lab("snapshot", NAME)
        yield machine
