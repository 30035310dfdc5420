"""Tables that tests write into the docs, each between two comments with its name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def between(page: str, name: str) -> tuple[str, str, str]:
    """What stands before the table, the table, and what stands after it."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = page.partition(begin)
    table, also, tail = rest.partition(end)
    if not (found and also):
        raise ValueError(f"no table {name} in the page")
    return head + begin, table, end + tail


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table's lines."""
    heads = list(heads)
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def put(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with these lines between the table's comments."""
    head, _, tail = between(page, name)
    return head + "".join(f"{line}\n" for line in lines) + tail


def cells(table: str) -> dict[str, list[str]]:
    """The cells of each row by its first, without the heads."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in lines[2:]}


def update(
    page: str,
    name: str,
    columns: Sequence[str],
    order: Sequence[str],
    seen: Mapping[str, Sequence[str]],
) -> str:
    """The page with the rows that were seen today; the first of ``columns`` heads their names.

    Each row has the day when it was seen whole, so that a part of them can be seen anew.
    """
    _, table, _ = between(page, name)
    today = time.strftime("%Y-%m-%d")
    found = cells(table) | {row: [*rest, today] for row, rest in seen.items()}
    rows = [[row, *found[row]] for row in order if row in found]
    lines = markdown([*columns, "seen"], rows) if rows else []
    return put(page, name, lines)


def write(
    file: str,
    name: str,
    columns: Sequence[str],
    order: Sequence[str],
    seen: Mapping[str, Sequence[str]],
) -> None:
    """Put them into a page of the docs, which ``make test`` with its part of them leaves alone."""
    if "MATRIX" not in os.environ:
        return
    path = DOCS / file
    path.write_text(update(path.read_text(), name, columns, order, seen))
