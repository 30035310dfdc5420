"""One folder that holds all an engine needs here, and the variables that lead to it."""

from __future__ import annotations

import os
import secrets
import shlex
from pathlib import Path

from . import obtain, plugins
from .report import say

PROJECT = Path(__file__).resolve().parents[1]


def variables(home: Path, backend: Path, passphrase: Path) -> dict[str, str]:
    """What the engine reads, for a state in the folder ``backend``. Paths become absolute."""
    return {
        "PULUMI_HOME": str(home.absolute()),
        "PULUMI_BACKEND_URL": f"file://{backend.absolute()}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase.absolute()),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The stack's file is tracked and holds no salt: the state's is used.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    }


def prepare(folder: Path, python: Path) -> dict[str, str]:
    """Make engine, plugins, state folder and passphrase; the variables, with PATH first.

    An existing passphrase is never touched: without it the state cannot be read.
    Raises ``EngineError``.
    """
    binaries = obtain.get()
    folder.mkdir(parents=True, exist_ok=True)
    home, backend, passphrase = folder / "home", folder / "state", folder / "passphrase"
    backend.mkdir(exist_ok=True)
    if not passphrase.exists():
        descriptor = os.open(passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        say(f"{passphrase} is new: back it up together with {backend}")
    standins = plugins.ensure(home, python)
    found = {"PATH": str(binaries), **variables(home, backend, passphrase)}
    if standins:
        found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return found


def write(folder: Path, python: Path) -> Path:
    """Write ``folder/env`` for ``. folder/env``; raises ``EngineError``."""
    lines = []
    for name, value in prepare(folder, python).items():
        quoted = shlex.quote(value)
        lines.append(
            f'export PATH={quoted}:"$PATH"' if name == "PATH" else f"export {name}={quoted}"
        )
    path = folder / "env"
    path.write_text("\n".join(lines) + "\n")
    return path


def init(folder: Path, python: Path, stack: str) -> None:
    """Make the stack, or select it where it exists; its tracked file stays as it is."""
    write(folder, python)
    found = prepare(folder, python)
