"""What ``docs/home.md`` shows can be typed: verbs, targets, files and their places exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from components.formats import FORMATS
from handout import __main__ as handout

from .test_formats import Made

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "home.md").read_text()
SHOWN = [line.split("#")[0].strip() for line in re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)]
OURS = ".venv/bin/python -m handout "
TYPED = [line.removeprefix(OURS) for line in SHOWN if line.startswith(OURS)]


@pytest.mark.parametrize("typed", TYPED)
def test_the_command_takes_it(typed: str) -> None:
    given = handout.parser().parse_args(shlex.split(typed))
    assert getattr(given, "format", FORMATS[0]) in FORMATS


def test_every_verb_and_every_form_is_shown() -> None:
    with pytest.raises(SystemExit):
        handout.parser().parse_args(["no-such-verb"])
    words = {typed.split()[0] for typed in TYPED}
    assert words == {"list", "config", "rules", "qr", "installer", "format"}
    assert {typed.split()[2] for typed in TYPED if typed.startswith("format")} == set(FORMATS)
    for form in FORMATS:
        assert f"`{form}`" in PAGE.split("## What there is")[0]


def test_every_file_goes_where_its_first_line_says() -> None:
    """As networkd's files tell their own place and mode."""
    files = Made().formats["systemd-networkd"]
    for name, text in files.items():
        place, mode = re.findall(r"^# (\S+), mode (\d+)", text, re.MULTILINE)[0]
        owner = r"(?:-o root -g systemd-network )?"
        line = rf"sudo install -m {mode} {owner}{re.escape(name)} {re.escape(place)}"
        assert any(re.fullmatch(line, shown) for shown in SHOWN), name
    shown = re.findall(r"install -m \d+ (?:-\S+ \S+ )*(\S+)", "\n".join(SHOWN))
    assert set(shown) == {*files, "wg0.conf", "wg0.rules"}
    assert "sudo systemctl enable wg0-tunnel" in SHOWN


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in SHOWN:
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE), line
