"""The relay's leaving, cut short anywhere: the next run leaves the machine as it was found.

systemd, apt and dpkg are stand-ins (``untouched``); files, rules and kernel settings are real.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import killing, untouched
from .conftest import Lab
from .untouched import brings, brought, gone, holds, lay, left

EVERY = 53


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with untouched.machine(wg_env) as made:
        # A folder in a folder, both of which come with the relay.
        made.net["relay"].run("rm -rf /usr/local/lib")
        yield made


@pytest.fixture(scope="module")
def before(lab: Lab) -> list[str]:
    return holds(lab)


def cut_short(lab: Lab, before: list[str], turn: int) -> Iterator[int]:
    """Half of the steps, or all (``each``)."""

    def cut(step: int) -> bool:
        assert left(lab, before) == []
        brought(lab)
        assert "table ip6 filter {" in lab.net["relay"].run("nft list ruleset")
        lay(lab)
        return killing.killed(lab, "/run/new/undo all wg0", step)

    something = 0
    for step in killing.each(lab, cut, EVERY, turn, turns=2):
        something += left(lab, before) != []
        yield step
        assert left(lab, before) == [], f"killed at step {step}"
    assert something > 5, "few kills came before the end"


def test_run_again_it_finishes(lab: Lab, before: list[str]) -> None:
    for _ in cut_short(lab, before, 0):
        gone(lab)


def test_a_relay_that_comes_meanwhile_leaves_as_much(lab: Lab, before: list[str]) -> None:
    begun = False
    for step in cut_short(lab, before, 1):
        something = brings(lab)
        assert something or not begun, f"nothing to do again, after step {step}"
        # The whole run comes first: it is no step.
        begun |= something and step > 0
        gone(lab)
    assert begun
