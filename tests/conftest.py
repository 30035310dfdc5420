"""Shared by every layer: the stack with its VMs, booted once, and the count of what ran."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The program and its library are run from the checkout, not installed.
sys.path.insert(0, str(ROOT))

from xdist.scheduler import LoadScopeScheduling  # noqa: E402

from .relay_stack import ProcessWatch, Stack, open_files_below  # noqa: E402

HOMES = [
    {"name": "home", "forwards": ["80:8080", "443:8081", "5353:5353/udp"]},
    # The same VM joins as this one too, to show the other mode.
    {"name": "plain", "mode": "masquerade", "forwards": ["8082:8080", "5354:5353/udp"]},
]


# The files of the layer vm that boot machines of their own; the others share the stack below.
OWN_MACHINES = ("adopt", "distributions", "faults", "kernel", "neighbours", "rotate", "snapshot")


class Groups(LoadScopeScheduling):
    """What one process runs one after the other: a file, or all that shares a machine."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        _, layer, name = file.split("/")[-3:]
        if layer == "vm":
            return "machines" if name[len("test_") : -len(".py")] in OWN_MACHINES else "relay"
        return "relay" if file == "tests/engine/test_stack.py" else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Used where there is more than one process."""
    return Groups(config, log)


@pytest.fixture(scope="session")
def first_update(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, ProcessWatch]]:
    """A relay from nothing under the real engine, and destroyed at the end: nothing is left."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.configure(vps={"kind": "lab"}, homes=HOMES)
    stack.init()
    try:
        stack.pulumi("preview", "--diff")
        with ProcessWatch() as watch:
            stack.pulumi("up", "--yes", "--skip-preview")
        yield stack, watch
        stack.lab("stop", "test-home")
        stack.pulumi("destroy", "--yes", "--skip-preview")
        assert stack.lab("status").strip() == "[]"
        assert open_files_below(stack.folder) == []
    finally:
        stack.lab("down")


@pytest.fixture(scope="session")
def relay(first_update: tuple[Stack, ProcessWatch]) -> Stack:
    """The stack whose relay is ready."""
    return first_update[0]
