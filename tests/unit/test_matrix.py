"""The table in docs/traffic.md is the matrix that is asked, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from ..netns.matrix import mutants, table
from ..netns.matrix.allowed import IDLE
from ..netns.matrix.config import generate
from ..netns.matrix.probes import FORWARDS, PROBES, REST, ROWS
from ..netns.matrix.rows import MODES

NETNS = Path(__file__).resolve().parents[1] / "netns"


def test_the_page_shows_the_matrix() -> None:
    """Written anew by: python -m tests.netns.matrix.table"""
    assert table.block(table.PAGE.read_text()) == table.render()


def test_no_cell_is_empty() -> None:
    assert all(set(row.cells) == set(MODES) for row in FORWARDS)
    assert all(set(row.cells) == {""} for row in REST)
    assert all(held for row in ROWS for held in row.cells.values())
    lines = [line for line in table.render().splitlines() if line]
    assert all(cell.strip() for line in lines for cell in line.split("|")[1:-1])


def test_a_name_is_one_probes() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)


def test_the_tests_that_go_deeper_exist() -> None:
    found = "\n".join(file.read_text() for file in NETNS.glob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", found, re.MULTILINE))
    assert {test for row in ROWS for test in row.tests} <= existing


def test_each_rule_is_taken_out_alone() -> None:
    generated = generate()
    for mutant in mutants.mutants(generated):
        whole = generated.files[mutant.host]
        assert set(mutant.files) == set(whole)
        assert [path for path in whole if whole[path] != mutant.files[path]] == [mutant.path]
        assert len(mutant.files[mutant.path]) < len(whole[mutant.path])


def test_a_line_that_nothing_explains_is_a_rule() -> None:
    """A new kind of line cannot pass unseen: it is taken out like any other."""
    assert [rule for rule, _ in mutants._without("table ip x {\n\tnew words\n}\n")] == ["new words"]


def test_what_is_allowed_to_be_idle_exists_and_says_why() -> None:
    kinds = {mutant.kind for mutant in mutants.mutants(generate())}
    assert set(IDLE) <= kinds
    assert all(len(reason) > 20 for reason in IDLE.values())


def test_statements_keep_their_braces() -> None:
    chain = "chain a { type x; one; update @two { b . c }; }"
    line = f"PostUp = nft 'table ip t {{ {chain}; }}'"
    assert [*mutants._statements(line)] == [
        ("ip a: one", line.replace("one;", "")),
        ("ip a: update @two { b . c }", line.replace(" update @two { b . c };", "")),
    ]
