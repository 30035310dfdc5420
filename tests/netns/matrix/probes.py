"""All rows, and all probes in them."""

from __future__ import annotations

from .forwards import forward_rows, mode_rows
from .others import rest

FORWARDS = (*forward_rows(), *mode_rows())
REST = (*rest(),)
ROWS = FORWARDS + REST
PROBES = tuple(
    probe
    for row in ROWS
    for cell in row.cells.values()
    if not isinstance(cell, str)
    for probe in cell
)
