"""What the README shows, run: its Python under mocks, its commands against what exists."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from .conftest import ROOT, Program

README = (ROOT / "README.md").read_text()


def test_the_library_example_makes_two_relays(program: Program) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    recorder = program(body=lambda: exec(source, {})).recorder  # noqa: S102 - our own README
    assert recorder.of_type("cgnat-relay:index:Relay") == ["berlin", "paris"]


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [README, *(p.read_text() for p in (ROOT / "docs").glob("*.md"))]
    named = set(re.findall(r"`make\s+([a-z]+)`|^\$ make ([a-z]+)", "\n".join(pages), re.MULTILINE))
    assert {a or b for a, b in named} <= targets


def test_every_output_is_in_the_table(program: Program) -> None:
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    outputs = program({key.split(":")[1]: value for key, value in config.items()}).outputs
    table = README.split("### Outputs")[1].split("##")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(outputs)


def test_every_folder_is_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = [p for p in Path(ROOT).iterdir() if p.is_dir() and p.name[0] != "."]
    for folder in folders:
        if folder.name not in ("docs", "__pycache__"):
            assert f"`{folder.name}/`" in page, folder.name
