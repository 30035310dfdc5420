"""What the README shows, run: its Python under mocks, its commands against what exists."""

from __future__ import annotations

import re
import shlex
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import adopt
from components.clouds import cloud
from components.faults import Collector
from components.kinds import CLOUDS
from components.overview import table

from ..unit.samples import PRIVATE
from .conftest import LOOK, ROOT, Program
from .test_adopt import HOST_KEY

README = (ROOT / "README.md").read_text()


def test_the_library_example_makes_two_relays(program: Program) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    recorder = program(body=lambda: exec(source, {})).recorder  # noqa: S102 - our own README
    assert recorder.of_type("cgnat-relay:index:Relay") == ["berlin", "paris"]


def test_the_commands_for_a_server_of_yours_make_a_relay(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``pulumi config set --path`` writes them, and once the host key is pinned."""
    section = README.split("## Use it:")[1].split("### At home")[0]
    lines = [line for line in section.splitlines() if line.startswith("$ pulumi config set --path")]
    settings = [shlex.split(line, comments=True)[-2:] for line in lines]
    assert len(settings) > 5
    config: dict[str, Any] = {}
    for path, value in settings:
        put(config, re.findall(r"[a-z]\w*|\d+", path.removeprefix("cgnat-relay:"), re.I), value)
    monkeypatch.setenv("HOME", str(tmp_path))
    key = Path(config["vps"]["key"]).expanduser()
    key.parent.mkdir(parents=True)
    key.write_text(PRIVATE)
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK)
    config["vps"]["hostKey"] = HOST_KEY
    forwards = program(config).outputs["forwards"]
    assert [row["listen"] for row in forwards] == [
        "203.0.113.7:80/tcp",
        "203.0.113.7:25565/tcp",
        "203.0.113.7:34197/udp",
    ]


def put(config: Any, path: list[str], value: str) -> None:
    """A value at its place; a number is a place in a list, which grows by one."""
    for name, following in zip(path, [*path[1:], ""], strict=True):
        inner: Any = value if not following else [] if following.isdigit() else {}
        if name.isdigit() and int(name) == len(config):
            config.append(inner)
        elif not name.isdigit():
            config.setdefault(name, inner)
        config = config[int(name) if name.isdigit() else name]


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


def test_every_cloud_has_its_section_and_names_its_credentials() -> None:
    page = (ROOT / "docs" / "clouds.md").read_text()
    for kind in CLOUDS:
        section = page.split(f"### {kind.provider.kind}\n")[1].partition("\n##")[0]
        assert any(name in section for way in kind.provider.credentials for name in way)
        assert kind.provider.plan in section


def test_the_worked_example_of_a_kind_is_one() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "clouds.md").read_text(), re.S)
    scope: dict[str, Any] = {**vars(cloud), "IPv4Network": IPv4Network}
    exec(source, scope)  # noqa: S102 - our own page
    faults = Collector()
    machine = scope["Example"].read({"kind": "example"}, "vps", faults)
    assert [fault.reason for fault in faults.faults] == ["example needs the package pulumi-example"]
    assert (machine.region, machine.plan, machine.user_data_limit) == ("berlin", "small", 16384)


def test_the_table_of_kinds_is_the_codes() -> None:
    assert table() in README
