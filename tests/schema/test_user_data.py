"""Every rendered user-data, and every example in the docs, is valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import config, kinds
from components.faults import Collector
from components.plan import relay_plan
from components.userdata import cloud_config

from ..unit import samples
from .conftest import Validate

ROOT = Path(__file__).resolve().parents[2]
SETUPS: dict[str, dict[str, Any]] = {
    "the article's": {"homes": [{"name": "home", "forwards": ["80:8080", "443:8081"]}]},
    "three homes": {"homes": samples.HOMES},
    "no forwards": {"homes": [{"name": "home"}]},
    "other ports": {
        "homes": samples.HOMES,
        "ssh": {"port": 2222},
        "tunnel": {"network": "10.9.0.0/16", "port": 443, "mtu": 1380},
    },
    "a hundred forwards": {"homes": [{"name": "home", "forwards": list(range(8000, 8100))}]},
}


@pytest.mark.parametrize("raw", SETUPS.values(), ids=SETUPS.keys())
def test_user_data_is_valid(raw: dict[str, Any], tmp_path: Path, validate: Validate) -> None:
    settings = samples.settings(**raw)
    keys = samples.keys(settings)
    file = tmp_path / "user-data"
    file.write_text(cloud_config(relay_plan(settings, keys), keys))
    result = validate(file)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "deprecat" not in result.stdout + result.stderr


def test_base_is_valid_as_it_lies(validate: Validate) -> None:
    result = validate(ROOT / "cloud-init" / "base.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_validator_can_fail(tmp_path: Path, validate: Validate) -> None:
    file = tmp_path / "user-data"
    file.write_text("#cloud-config\nwrite_files: 7\n")
    assert validate(file).returncode != 0


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Each YAML block of the docs that configures a stack."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
            document = yaml.safe_load(block)
            if isinstance(document, dict) and "config" in document:
                found.append((f"{page.name}:{len(found)}", document["config"]))
    return found


EXAMPLES = examples()


def test_the_readme_has_examples() -> None:
    assert len([name for name, _ in EXAMPLES if name.startswith("README")]) >= 2


@pytest.mark.parametrize("example", [e for _, e in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_every_example_is_a_valid_config(
    example: dict[str, Any], tmp_path: Path, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(samples.PRIVATE)
    monkeypatch.setenv("HOME", str(tmp_path))
    faults = Collector()
    raw = {key.removeprefix("cgnat-relay:"): value for key, value in example.items()}
    machine = kinds.read(raw.pop("vps", {"kind": "lab"}), faults)
    settings = config.read(raw, faults, machine.site if machine else None)
    assert settings
    assert not faults.faults
    keys = samples.keys(settings)
    file = tmp_path / "user-data"
    file.write_text(cloud_config(relay_plan(settings, keys), keys))
    assert validate(file).returncode == 0
