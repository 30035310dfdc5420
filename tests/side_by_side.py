"""A plugin for pytest-xdist, which tests inside a VM have not: what one process runs."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# The files of the layer vm that boot machines of their own; the others share conftest's stack.
OWN_MACHINES = (
    *("adopt", "distributions", "faults", "kernel", "neighbours", "snapshot", "tunnel_only"),
)


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
