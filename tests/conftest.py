"""Shared by every layer: the stack with its VMs, booted once, and the count of what ran."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The program and its library are run from the checkout, not installed.
sys.path.insert(0, str(ROOT))

from .relay_stack import ProcessWatch, Stack, open_files_below  # noqa: E402

HOMES = [
    {"name": "home", "forwards": ["80:8080", "443:8081", "5353:5353/udp"]},
    # The same VM joins as this one too, to show the other mode.
    {"name": "plain", "mode": "masquerade", "forwards": ["8082:8080", "5354:5353/udp"]},
]


@pytest.fixture(scope="session")
def first_update(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, ProcessWatch]]:
    """A relay from nothing under the real engine, and destroyed at the end: nothing is left."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.configure(vps={"kind": "lab"}, homes=HOMES)
    stack.init()
    try:
        stack.pulumi("preview", "--diff")
        with ProcessWatch() as watch:
            stack.up()
        yield stack, watch
        stack.lab("stop", "test-home")
        stack.destroy()
        assert stack.lab("status").strip() == "[]"
        assert open_files_below(stack.folder) == []
    finally:
        stack.lab("down")


@pytest.fixture(scope="session")
def relay(first_update: tuple[Stack, ProcessWatch]) -> Stack:
    """The stack whose relay is ready."""
    return first_update[0]
