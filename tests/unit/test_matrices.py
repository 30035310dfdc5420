"""The matrices in the docs: each row that `make matrix` has is there, and no cell is empty."""

from __future__ import annotations

import re

import pytest

from .. import table
from ..vm.test_distributions import DISTRIBUTIONS
from ..vm.test_faults import FAULTS
from ..vm.test_neighbours import NEIGHBOURS

MATRICES = {"faults": FAULTS, "neighbours": NEIGHBOURS, "distributions": DISTRIBUTIONS}


@pytest.mark.parametrize("name", MATRICES)
def test_no_cell_is_empty(name: str) -> None:
    _, found, _ = table.between((table.DOCS / "adopt.md").read_text(), name)
    rows = table.cells(found)
    assert list(rows) == list(MATRICES[name])
    for row, cells in rows.items():
        assert all(cells), row
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", cells[-1]), row
