"""The home VM, booted once."""

from __future__ import annotations

import pytest

from ..relay_stack import Stack
from ..waiting import eventually
from .callers import BOOT, page


@pytest.fixture(scope="session")
def home(relay: Stack) -> Stack:
    """The stack with a home VM that was given ``homeConfig`` and nothing else."""
    relay.lab("home", "test-home", stdin=relay.outputs()["homeConfig"])
    eventually(lambda: page(relay, 80), "the home's page through the relay", within=BOOT)
    return relay
