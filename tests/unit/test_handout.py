"""The handout command, on outputs that a stand-in for the ``pulumi`` command prints."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.device import device_config
from components.formats import home_formats
from components.home import home_config
from components.home_rules import home_rules
from components.wireguard import PLACEHOLDER, Uplink
from handout import __main__ as handout

from . import samples

ROOT = Path(__file__).resolve().parents[2]
HOMES = [
    {"name": "home", "forwards": ["80:8080"], "protected": True},
    {"name": "nas", "mode": "masquerade", "forwards": ["2049:2049"]},
]
DEVICES = [
    {"name": "phone", "traffic": "all", "dns": ["9.9.9.9"]},
    {"name": "own", "publicKey": "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="},
]
STANDIN = """#!/bin/sh
# Prints what the engine would; the words it was called with are kept beside it.
echo "$@" >> "$0.calls"
exec cat "$0.json"
"""


def made() -> dict[str, Any]:
    """A stack's outputs, as ``__main__.py`` makes them."""
    settings = samples.settings(homes=HOMES, devices=DEVICES)
    keys = samples.keys(settings)
    settings = settings.drawn(keys.prefix)
    uplink = Uplink(keys.wireguard.public, "relay.example:51820")
    configs, rules, formats, devices = {}, {}, {}, {}
    for home in settings.homes:
        given = (home, settings.tunnel, keys.peers[home.name], uplink)
        configs[home.name] = home_config(*given)
        formats[home.name] = home_formats(*given)
        text = home_rules(home, uplink)
        if text is not None:
            rules[home.name] = text
    for device in settings.devices:
        text = device_config(device, settings.tunnel, keys.peers[device.name], uplink)
        if device.public_key:
            text = text.replace(str(keys.peers[device.name].private), PLACEHOLDER)
        devices[device.name] = text
    return {
        "forwards": [],
        "homeConfigs": configs,
        "homeRules": rules,
        "homeFormats": formats,
        "deviceConfigs": devices,
    }


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The outputs that ``pulumi`` on PATH prints; what is changed here is not printed."""
    found = made()
    standin(tmp_path / "bin", found, monkeypatch)
    return found


def standin(folder: Path, found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "pulumi").write_text(STANDIN)
    (folder / "pulumi").chmod(0o755)
    (folder / "pulumi.json").write_text(json.dumps(found))
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def secrets(found: dict[str, Any]) -> set[str]:
    texts = [*found["homeConfigs"].values(), *found["deviceConfigs"].values()]
    lines = "\n".join(texts).splitlines()
    return {x.partition(" = ")[2] for x in lines if x.startswith(("PrivateKey", "PresharedKey"))}


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What it says on standard error as it ends with 1: one sentence."""
    assert handout.main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_list_tells_everyone_and_no_secret(
    outputs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert handout.main(["list"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "home    home   config rules; or format: docker-compose, systemd-networkd",
        "home    nas    config or qr; "
        "or format: docker-compose, networkmanager, plain, systemd-networkd",
        "device  phone  config or qr; or format: networkmanager, plain",
        "device  own    config; or format: networkmanager, plain;"
        " its own private key is put in there",
    ]
    assert not any(key in out for key in secrets(outputs))


def test_texts_are_the_outputs(
    outputs: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words, text in (
        (["config", "home"], outputs["homeConfigs"]["home"]),
        (["config", "phone"], outputs["deviceConfigs"]["phone"]),
        (["rules", "home"], outputs["homeRules"]["home"]),
        (["format", "nas", "plain"], outputs["homeConfigs"]["nas"]),
        (["format", "phone", "networkmanager"], outputs["deviceConfigs"]["phone"]),
    ):
        assert handout.main(words) == 0
        assert capsys.readouterr().out == text
    calls = (tmp_path / "bin" / "pulumi.calls").read_text().splitlines()
    assert set(calls) == {"stack output --json --show-secrets"}


def test_another_stack_is_asked_for(
    outputs: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert handout.main(["--stack", "prod", "list"]) == 0
    assert "--stack prod" in (tmp_path / "bin" / "pulumi.calls").read_text()


def test_a_form_of_several_files_is_a_folder(outputs: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "home"
    assert handout.main(["format", "home", "systemd-networkd", "--into", str(folder)]) == 0
    wanted = outputs["homeFormats"]["home"]["systemd-networkd"]
    assert {file.name: file.read_text() for file in folder.iterdir()} == wanted
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_homes_file_is_not_overwritten(
    outputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wg0.conf"
    assert handout.main(["config", "home", "--file", str(file)]) == 0
    assert handout.main(["config", "home", "--file", str(file)]) == 0, "the same again"
    assert "perhaps another home's" in said(["config", "nas", "--file", str(file)], capsys)
    into = ["format", "nas", "docker-compose", "--into", str(tmp_path)]
    assert "perhaps another home's" in said(into, capsys)
    assert not (tmp_path / "compose.yaml").exists(), "all files or none"
    assert file.read_text() == outputs["homeConfigs"]["home"]
    assert handout.main(["config", "nas", "--file", str(file), "--force"]) == 0
    assert file.read_text() == outputs["homeConfigs"]["nas"]


def test_a_file_is_private_whatever_was_there(outputs: dict[str, Any], tmp_path: Path) -> None:
    """Neither the mode of an old file nor a link to elsewhere stays."""
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "wg0.conf"
    elsewhere.write_text("")
    elsewhere.chmod(0o644)
    file.symlink_to(elsewhere)
    assert handout.main(["config", "home", "--file", str(file), "--force"]) == 0
    assert elsewhere.read_text() == ""
    assert stat.S_IMODE(file.lstat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["config", "hme"], "no home or device is named hme; did you mean home?"),
        (["config", "x"], "no home or device is named x; known here: home, nas, own, phone"),
        (["rules", "nas"], "nas needs no rules beside its config"),
        (["format", "home", "networkmanager"], "use systemd-networkd or wg-quick"),
        (["format", "home", "plain"], "or give the home mode: masquerade"),
        (["format", "home", "plian"], "plian is no form of a config; did you mean plain?"),
        (["format", "phone", "docker-compose"], "its forms are: networkmanager, plain"),
        (["qr", "home"], "apps drop the commands of its config; use: config home"),
        (["qr", "own"], "own keeps its own private key"),
        (["installer", "home"], "this stack has no installer for home; use: config home"),
        (["installer", "phone"], "installers are for homes"),
        (["config", "home", "--file", "/"], "/ is a folder; name a file"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    outputs: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    assert sentence in said(words, capsys)


def test_the_installer_is_an_output(
    outputs: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standin(tmp_path / "bin", outputs | {"homeInstallers": {"home": "#!/bin/sh\n"}}, monkeypatch)
    assert handout.main(["installer", "home"]) == 0
    assert capsys.readouterr().out == "#!/bin/sh\n"


def test_without_a_stack_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text("#!/bin/sh\necho {}\n")
    pulumi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="the selected stack has no relay yet; run: pulumi up"):
        handout.main(["list"])
    pulumi.write_text("#!/bin/sh\necho 'error: passphrase must be set' >&2\nexit 255\n")
    with pytest.raises(SystemExit, match="stack cannot be read: error: passphrase must be set"):
        handout.main(["list"])
    (tmp_path / "pulumi").unlink()
    with pytest.raises(SystemExit, match="there is no pulumi on PATH"):
        handout.main(["list"])


def decoded(image: bytes) -> str:
    """What a decoder of its own, ZBar, reads in an image."""
    done = subprocess.run(
        ["zbarimg", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", "-"],
        input=image,
        capture_output=True,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_an_image_decodes_to_the_config(outputs: dict[str, Any], tmp_path: Path) -> None:
    for name in ("phone", "nas"):
        file = tmp_path / f"{name}.png"
        assert handout.main(["qr", name, "--png", str(file)]) == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        config = {**outputs["homeConfigs"], **outputs["deviceConfigs"]}[name]
        assert decoded(file.read_bytes()).rstrip("\n") == config.rstrip("\n")


def test_a_terminal_shows_the_config(
    outputs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Half blocks, light on dark, made pixels again."""
    assert handout.main(["qr", "phone"]) == 0
    light = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    rows: list[list[int]] = []
    for line in capsys.readouterr().out.splitlines():
        halves = [light[letter] for letter in line]
        rows += [[half[i] for half in halves] for i in (0, 1)]
    scale = 4
    pixels = bytes(
        255 * value for row in rows for _ in range(scale) for value in row for _ in range(scale)
    )
    head = f"P5 {len(rows[0]) * scale} {len(rows) * scale} 255\n"
    text = decoded(head.encode() + pixels)
    assert text.rstrip("\n") == outputs["deviceConfigs"]["phone"].rstrip("\n")


def test_another_python_is_told_which_to_use(tmp_path: Path) -> None:
    """As from the system's own, which has no segno."""
    (tmp_path / "segno.py").write_text("raise ModuleNotFoundError(name='segno')\n")
    done = subprocess.run(
        [sys.executable, "-m", "handout", "list"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    wanted = "handout: segno is not installed here; run: .venv/bin/python -m handout\n"
    assert done.stderr == wanted
