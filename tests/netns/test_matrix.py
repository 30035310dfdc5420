"""Every kind of traffic by every mode, on one relay with every feature; see docs/traffic.md.

The off-case of each is in ``test_mutants``: without some rule it does not see what it must.
"""

from __future__ import annotations

import pytest

from .conftest import wireguard_env
from .matrix.ask import wrong
from .matrix.config import generate
from .matrix.probes import PROBES
from .matrix.rows import Probe
from .matrix.world import world


@pytest.fixture(scope="module")
def seen() -> dict[str, str]:
    """Asked once, all at the same time: what those saw that did not see what they must."""
    with world(wireguard_env(), generate()) as made:
        return wrong(made, PROBES)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_traffic(seen: dict[str, str], probe: Probe) -> None:
    assert seen.get(probe.name, probe.want) == probe.want
