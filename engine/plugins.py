"""Give a Pulumi home the resource plugins that the program's virtual environment asks for."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .obtain import cache, get, locked
from .report import EngineError, say

PACKAGES = ("command", "random")
MARK = "STAND-IN"
STANDINS = Path(__file__).resolve().parent / "standins"
INSTALL_TIMEOUT = 300  # seconds for one official plugin, some 30 MB
MARK_TEXT = """\
{binary} in this folder is a stand-in, not the official plugin.
It was placed because the official one could not be downloaded: {reason}
To replace it where downloads work: python3 -m engine plugins --official
"""


@dataclass(frozen=True)
class Need:
    """One plugin at the exact version that the SDK package in the environment names."""

    name: str
    version: str

    @property
    def folder(self) -> str:
        """What the engine calls the plugin's folder."""
        return f"resource-{self.name}-v{self.version}"

    @property
    def binary(self) -> str:
        """What the engine starts in it."""
        return f"pulumi-resource-{self.name}"


def needs(python: Path) -> list[Need]:
    """The plugins of the packages installed for ``python``; raises ``EngineError``."""
    distributions = [f"pulumi-{name}" for name in PACKAGES]
    code = (
        "import importlib.metadata as m, json;"
        f"print(json.dumps([m.version(d) for d in {distributions!r}]))"
    )
    try:
        said = subprocess.run([python, "-c", code], capture_output=True, text=True)
    except OSError as error:
        raise EngineError(f"{python} does not run: {error.strerror}") from None
    if said.returncode:
        words = said.stderr.strip().splitlines()
        raise EngineError(
            f"{python} has not all of {', '.join(distributions)}: {words[-1] if words else ''}\n"
            f"Fix: {python} -m pip install -e ."
        )
    return [
        Need(name, version) for name, version in zip(PACKAGES, json.loads(said.stdout), strict=True)
    ]


def is_standin(home: Path, need: Need) -> bool:
    """Whether that plugin in this home is one of ours."""
    return (home / "plugins" / need.folder / MARK).exists()


def present(home: Path, need: Need) -> bool:
    """Whether the engine would find the plugin; a ``.partial`` beside it means it would not."""
    folder = home / "plugins" / need.folder
    unfinished = folder.with_name(f"{folder.name}.partial").exists()
    return os.access(folder / need.binary, os.X_OK) and not unfinished


def ensure(home: Path, python: Path, *, official: bool = False) -> list[Need]:
    """Make every plugin present in ``home``; the answer lists those that are stand-ins.

    With ``official`` stand-ins are replaced, or ``EngineError`` says why they cannot be.
    """
    python = python.absolute()
    with locked(home / ".plugins.lock"):
        refused: dict[str, str] = {}
        for need in needs(python):
            if present(home, need) and not is_standin(home, need):
                continue
            if is_standin(home, need) and not official:
                place(home, need, python, reason=_first_reason(home, need))
                continue
            try:
                if refused:  # whatever refused the first will take as long to refuse the next
                    raise EngineError(next(iter(refused.values())))
                install(home, need)
            except EngineError as error:
                refused[need.name] = str(error)
                if not official:
                    place(home, need, python, reason=str(error))
        if refused:
            reason = next(iter(refused.values()))
            if official:
                raise EngineError(
                    f"the official plugins for {', '.join(refused)} cannot be had: {reason}\n"
                    "Fix: try again where get.pulumi.com and github.com can be reached"
                )
            say(
                f"plugins: stand-ins for {', '.join(refused)} "
                f"(official ones cannot be downloaded here: {reason})"
            )
        return [need for need in needs(python) if is_standin(home, need)]


def _first_reason(home: Path, need: Need) -> str:
    text = (home / "plugins" / need.folder / MARK).read_text()
    return text.splitlines()[1].partition(": ")[2] if len(text.splitlines()) > 1 else "unknown"


def install(home: Path, need: Need) -> None:
    """Link the official plugin from the cache, downloading it first where needed.

    Raises ``EngineError`` where it cannot be downloaded; ``home`` is then unchanged.
    """
    store = cache() / "plugins"
    with locked(store / "lock"):
        if not present(store, need):
            _download(store, need)
    target = home / "plugins" / need.folder
    _clear(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(store / "plugins" / need.folder, target_is_directory=True)
    say(f"plugins: {need.name} {need.version}, official")


def _download(store: Path, need: Need) -> None:
    folder = get()
    environment = {
        **os.environ,
        "PULUMI_HOME": str(store),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    environment.pop("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", None)
    pulumi = str(folder / "pulumi")
    command = [pulumi, "plugin", "install", "resource", need.name, f"v{need.version}"]
    say(f"plugins: downloading {need.name} {need.version} ...")
    try:
        done = subprocess.run(
            [*command, "--non-interactive", "--color=never"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"no end after {INSTALL_TIMEOUT} s") from None
    if done.returncode or not present(store, need):
        raise EngineError(_cause(done.stderr))


def _cause(said: str) -> str:
    """What went wrong in one line: the first attempt's error tells more than the last one's."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith("warning: Error")), "")
    return ": ".join((first or (lines[-1] if lines else "no reason given")).split(": ")[-2:])


def place(home: Path, need: Need, python: Path, *, reason: str) -> None:
    """Put a stand-in where the engine looks for the plugin.

    The wrapper names interpreter and checkout by absolute path, so it is written anew at each
    run: a moved checkout mends itself.
    """
    target = home / "plugins" / need.folder
    if target.is_symlink():
        _clear(target)
    target.mkdir(parents=True, exist_ok=True)
    words = [str(python), "-I", str(STANDINS), need.name, need.version]
    _write(target / need.binary, f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', 0o755)
    _write(target / MARK, MARK_TEXT.format(binary=need.binary, reason=reason), 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    """Replace a file at once: the engine may be starting it just now."""
    if path.exists() and path.read_text() == text:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


def _clear(target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
