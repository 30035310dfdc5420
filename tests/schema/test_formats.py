"""The other forms of a home's config, read by the programs that they are for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..unit.test_formats import Made
from ..unpacked import unpacked

COMPOSE = (
    "docker-compose python3-distro python3-docker python3-dockerpty python3-docopt python3-dotenv"
    " python3-jsonschema python3-pyrsistent python3-six python3-texttable python3-websocket"
)
CONFIG = "from compose.cli.main import main; main()"


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with docker-compose's Python packages."""
    return (
        unpacked("docker-compose", *COMPOSE.split()) / "usr" / "lib" / "python3" / "dist-packages"
    )


def read(compose: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """``docker-compose config`` in a folder; it asks no engine."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CONFIG, "-f", "compose.yaml", "config"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(compose)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("home", [{}, {"mode": "masquerade"}, {"protected": True}])
def test_docker_compose_reads_the_sidecar(
    home: dict[str, Any], compose: Path, tmp_path: Path
) -> None:
    files = Made(**home).formats["docker-compose"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    result = read(compose, tmp_path)
    assert result.returncode == 0, result.stderr
    services = yaml.safe_load(result.stdout)["services"]
    written = yaml.safe_load(files["compose.yaml"])["services"]
    assert services["tunnel"]["cap_add"] == written["tunnel"]["cap_add"]
    assert services["tunnel"]["sysctls"] == written["tunnel"]["sysctls"]
    assert services["tunnel"]["volumes"] == [f"{tmp_path}:/etc/wireguard:ro"]
    assert services["example"]["network_mode"] == "service:tunnel"


def test_docker_compose_can_refuse(compose: Path, tmp_path: Path) -> None:
    text = Made().formats["docker-compose"]["compose.yaml"]
    (tmp_path / "compose.yaml").write_text(text.replace("cap_add", "cap_ad"))
    result = read(compose, tmp_path)
    assert result.returncode != 0
    assert "cap_ad" in result.stderr


def test_the_images_commands_are_a_shells(tmp_path: Path) -> None:
    """Each RUN and CMD of the Dockerfile, through shellcheck."""
    text = Made().formats["docker-compose"]["Dockerfile"].replace("\\\n", "")
    steps = [line.split(maxsplit=1) for line in text.splitlines()]
    assert [step[0] for step in steps] == ["FROM", "RUN", "CMD"]
    shell, flag, command = json.loads(steps[2][1])
    assert (shell, flag) == ("bash", "-c")
    for language, script in (("sh", steps[1][1]), ("bash", command)):
        checked = shellcheck(script, language)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("home", [{}, {"protected": True, "egress": "all"}])
def test_the_units_script_is_sound(home: dict[str, Any]) -> None:
    """But for two habits of homeConfig's lines: ``cat FILE |``, and ``A && B || :``."""
    script = Made(**home).formats["systemd-networkd"]["wg0-tunnel"]
    checked = shellcheck(script, "bash", "--exclude=SC2002,SC2015")
    assert checked.returncode == 0, checked.stdout
    assert shellcheck("rm $1\n", "bash").returncode != 0


def shellcheck(script: str, language: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["shellcheck", "--shell", language, *options, "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True)


def verify(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """``systemd-analyze verify``; the script of the unit is not in place here."""
    unit = folder / "wg0-tunnel.service"
    unit.write_text(text)
    command = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(unit)]
    return subprocess.run(command, capture_output=True, text=True)


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    text = Made().formats["systemd-networkd"]["wg0-tunnel.service"]
    result = verify(tmp_path, text)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    wrong = verify(tmp_path, text.replace("RemainAfterExit", "RemainAfter"))
    assert "Unknown key 'RemainAfter'" in wrong.stderr
