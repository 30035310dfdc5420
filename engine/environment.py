"""One folder that holds all an engine needs here, and the variables that lead to it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import obtain, plugins
from .report import EngineError, say

PROJECT = Path(__file__).resolve().parents[1]
SALT = re.compile(rb"^encryptionsalt:.*\n?", re.MULTILINE)
FILTER = "pulumi-salt"


def variables(home: Path, backend: Path, passphrase: Path) -> dict[str, str]:
    """What the engine reads, for a state in the folder ``backend``. Paths become absolute."""
    return {
        "PULUMI_HOME": str(home.absolute()),
        "PULUMI_BACKEND_URL": backend.absolute().as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase.absolute()),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # A stack's tracked file holds no salt; without this a second checkout of it would get a
        # new one instead of the state's.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    }


def new_passphrase(path: Path) -> None:
    """Write a random passphrase, mode 0600; raises ``FileExistsError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))


def prepare(folder: Path, python: Path) -> dict[str, str]:
    """Make engine, plugins, state folder and passphrase; PATH's addition and ``variables``.

    An existing passphrase is never touched: without it the state cannot be read.
    Raises ``EngineError``.
    """
    binaries = obtain.get()
    folder.mkdir(parents=True, exist_ok=True)
    home, backend, passphrase = folder / "home", folder / "state", folder / "passphrase"
    backend.mkdir(exist_ok=True)
    if not passphrase.exists():
        new_passphrase(passphrase)
        say(f"{passphrase} is new: back it up together with {backend}")
    found = {"PATH": str(binaries), **variables(home, backend, passphrase)}
    if plugins.ensure(home, python):
        found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return found


def for_process(found: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with what ``prepare`` found."""
    path = f"{found['PATH']}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    merged = {**os.environ, **found, "PATH": path}
    merged.pop("PULUMI_CONFIG_PASSPHRASE", None)  # would win over the file
    return merged


def for_shell(found: Mapping[str, str]) -> str:
    """The same as lines for a shell to read."""
    lines = ["unset PULUMI_CONFIG_PASSPHRASE"]
    for name, value in found.items():
        rest = ':"$PATH"' if name == "PATH" else ""
        lines.append(f"export {name}={shlex.quote(value)}{rest}")
    return "\n".join(lines) + "\n"


def write(folder: Path, python: Path) -> dict[str, str]:
    """``prepare``, and leave ``folder/env`` for ``. folder/env``; raises ``EngineError``."""
    found = prepare(folder, python)
    (folder / "env").write_text(for_shell(found))
    return found


def init(folder: Path, python: Path, stack: str, project: Path = PROJECT) -> None:
    """``write``, then make or select the stack; git sees no change in its file in ``project``.

    Raises ``EngineError``.
    """
    found = write(folder, python)
    settings = project / f"Pulumi.{stack}.yaml"
    text = settings.read_bytes() if settings.exists() else b""
    if b"secure:" not in text:  # a salt of an earlier state would ask for its passphrase
        text = SALT.sub(b"", text)
        if text:
            settings.write_bytes(text)
    try:
        _pulumi(found, project, "stack", "select", "--create", stack)
    finally:
        if text:
            settings.write_bytes(text)  # as Pulumi lays the whole file out anew
    if text and not SALT.search(text):
        state = json.loads(_pulumi(found, project, "stack", "export", "--stack", stack))
        salt = state["deployment"]["secrets_providers"]["state"]["salt"]
        settings.write_bytes(text.rstrip(b"\n") + f"\nencryptionsalt: {salt}\n".encode())
    hide_salt_from_git(settings)
    say(f"stack {stack} is selected; now: . {folder / 'env'} && pulumi preview")


def _pulumi(found: Mapping[str, str], project: Path, *words: str) -> str:
    done = subprocess.run(
        ["pulumi", *words, "--non-interactive", "--color=never"],
        cwd=project,
        env=for_process(found),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise EngineError(f"pulumi {' '.join(words)} failed: {done.stderr.strip()}")
    return done.stdout


def hide_salt_from_git(settings: Path) -> None:
    """Have git overlook the salt that Pulumi keeps in a stack's file, in this clone alone.

    The salt goes with one passphrase and is of no use to other clones. Pulumi wants it in the
    file, so a filter of this clone takes it out of what git compares and commits.
    """
    project = settings.parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=project, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    if shutil.which("git") is None or not git("ls-files", settings.name):
        return
    if b"secure:" in settings.read_bytes():
        return  # other clones need the salt to read what is encrypted there
    git("config", f"filter.{FILTER}.clean", "sed /^encryptionsalt:/d")
    attributes = project / git("rev-parse", "--git-path", "info/attributes")
    text, line = "", f"{settings.name} filter={FILTER}"
    if attributes.exists():
        text = attributes.read_text()
    if line not in text.splitlines():
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(f"{text.rstrip()}\n{line}\n".lstrip())
    if not git("diff", "--", settings.name):
        # The same to git but for its size, which git looks at first.
        git("update-index", "--", settings.name)
