"""Tables of what was seen in machines: a row that is seen anew takes its own place."""

from __future__ import annotations

import time

import pytest

from .. import table

PAGE = "before\n<!-- it: begin -->\n<!-- it: end -->\nafter\n"


def test_rows_are_kept_until_they_are_seen_anew() -> None:
    today = time.strftime("%Y-%m-%d")
    page = table.update(PAGE, "it", ["who", "did"], ["a", "b"], {"b": ["fell"]})
    page = page.replace(today, "2026-01-01")
    page = table.update(page, "it", ["who", "did"], ["a", "b"], {"a": ["rose"]})
    assert page == (
        "before\n<!-- it: begin -->\n| who | did | seen |\n| --- | --- | --- |\n"
        f"| a | rose | {today} |\n| b | fell | 2026-01-01 |\n<!-- it: end -->\nafter\n"
    )


def test_a_page_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no table that"):
        table.update(PAGE, "that", [], [], {})
