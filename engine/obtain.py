"""Get a usable ``pulumi`` command: found, cached, installed officially, or built from modules."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import build
from .report import EngineError, say

OLDEST = (3, 150)
OFFICIAL_VERSION = build.CLI_VERSION
INSTALLER = "https://get.pulumi.com"
# Seconds. A machine without a way out should learn it soon; a slow line may take its time.
CONNECT_TIMEOUT, INSTALL_TIMEOUT = 10, 600
LANGUAGE_HOST = "pulumi-language-python"
WAYS = ("found", "official", "build")


def cache() -> Path:
    """Where this project keeps what is expensive to get; shared by all its checkouts."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "cgnat-relay"


def unusable(folder: Path) -> str:
    """Why ``folder`` holds no usable engine; empty where it does."""
    command = folder / "pulumi"
    if not os.access(command, os.X_OK):
        return f"no pulumi in {folder}"
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        with tempfile.TemporaryDirectory() as home:  # it logs that it was asked
            said = subprocess.run(
                [command, "version"],
                capture_output=True,
                text=True,
                timeout=60,
                env=environment | {"PULUMI_HOME": home},
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command} does not run ({type(error).__name__})"
    version = re.match(r"v?(\d+)\.(\d+)\.", said.stdout.strip())
    if said.returncode or version is None:
        return f"{command} does not tell its version"
    if not OLDEST <= (int(version[1]), int(version[2])) < (OLDEST[0] + 1, 0):
        oldest = ".".join(map(str, OLDEST))
        return f"{command} is {version[0]}x, and versions from {oldest} below 4 are usable"
    if not (folder / LANGUAGE_HOST).exists() and shutil.which(LANGUAGE_HOST) is None:
        return f"{LANGUAGE_HOST} is neither beside {command} nor on PATH"
    return ""


def find_on_path() -> Path:
    """The folder of a usable ``pulumi`` on PATH; raises ``EngineError``."""
    found = shutil.which("pulumi")
    if found is None:
        raise EngineError("no pulumi on PATH")
    # Not resolved: a link's folder is what belongs on PATH, its target's has the language host.
    for folder in (Path(found).parent, Path(found).resolve().parent):
        reason = unusable(folder)
        if not reason:
            return folder
    raise EngineError(reason)


def official(root: Path) -> Path:
    """Run the official installer into the cache; raises ``EngineError``."""
    target = root / f"official-{OFFICIAL_VERSION}"
    try:
        with urllib.request.urlopen(INSTALLER, timeout=CONNECT_TIMEOUT) as answer:
            script = answer.read()
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise EngineError(f"{INSTALLER} cannot be reached ({reason})") from None
    arguments = ["--version", OFFICIAL_VERSION, "--install-root", str(target), "--no-edit-path"]
    try:
        done = subprocess.run(
            ["sh", "-s", "--", *arguments],
            input=script,
            capture_output=True,
            timeout=INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"the official installer took over {INSTALL_TIMEOUT} s") from None
    reason = unusable(target / "bin")
    if reason:
        words = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        raise EngineError(f"the official installer failed: {words[-1] if words else reason}")
    return target / "bin"


def built(root: Path) -> Path:
    """Build the engine from Go modules into the cache; raises ``EngineError``."""
    target = root / f"go-{build.recipe_digest()}"
    for leftover in (target, *root.glob(f"{target.name}.*")):
        shutil.rmtree(leftover, ignore_errors=True)
    build.build(target, root / "go-toolchain")
    reason = unusable(target / "bin")
    if reason:
        raise EngineError(f"the engine was built, but {reason}")
    return target / "bin"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``path`` against other processes; waits, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run of this command ({path})")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def get(only: str = "") -> Path:
    """The folder of a usable ``pulumi``, by the first of the ways that works.

    ``only`` names one of ``WAYS`` and skips the others and the cache. Raises ``EngineError``.
    """
    root = cache() / "engine"
    steps: dict[str, tuple[str, Callable[[], Path]]] = {
        "found": ("looking for pulumi on PATH", find_on_path),
        "official": (f"installing pulumi {OFFICIAL_VERSION} officially", lambda: official(root)),
        "build": ("building the engine from Go modules, about 5 minutes", lambda: built(root)),
    }
    if only:
        with locked(root / "lock"):
            return _step(*steps[only])
    try:
        return find_on_path()
    except EngineError as error:
        reason = str(error)
    with locked(root / "lock"):
        for name in (f"official-{OFFICIAL_VERSION}", f"go-{build.recipe_digest()}"):
            if not unusable(root / name / "bin"):
                return root / name / "bin"
        reasons = [reason]
        for way in ("official", "build"):
            say(reasons[-1])
            try:
                return _step(*steps[way])
            except EngineError as error:
                reasons.append(str(error))
    raise EngineError(
        "no Pulumi engine can be had here:\n  - " + "\n  - ".join(reasons) + "\n"
        "Fix: install Pulumi (https://www.pulumi.com/docs/iac/download-install/) so that `pulumi` "
        "is on PATH, or give this machine access to a Go module proxy"
    )


def _step(title: str, run: Callable[[], Path]) -> Path:
    say(f"{title} ...")
    started = time.monotonic()
    folder = run()
    say(f"{folder} ({time.monotonic() - started:.0f} s)")
    return folder
