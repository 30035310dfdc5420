"""The programs that the relay is compared with, built by their own package managers.

    python3 -m bench.peers     fetch and build all; prints where each is, or why it is missing

Each has a pinned version and is kept in the cache under a digest of its recipe. frp and chisel are
tools of a Go module each (``bench/frp``, ``bench/chisel``), built as the engine is; rathole comes
by cargo. sshd is Debian's. What cannot be had is ``missing``, with the reason.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine import build, obtain
from engine.report import EngineError

from .progress import say

HERE = Path(__file__).resolve().parent
LDFLAGS = "-s -w"
# Not --locked: its lock file of 2023 has `time` 0.3.29, which no Rust since 1.80 compiles.
CARGO = ("--no-default-features", "--features", "server,client,noise,hot-reload")
PROGRAMS = {"frp": ("frps", "frpc"), "rathole": ("rathole",), "chisel": ("chisel",)}
VERSIONS = {"frp": "0.65.0", "rathole": "0.5.0", "chisel": "1.11.3"}
PACKAGES = {  # of a Go module's programs
    "frps": "github.com/fatedier/frp/cmd/frps",
    "frpc": "github.com/fatedier/frp/cmd/frpc",
    "chisel": "github.com/jpillora/chisel",
}


@dataclass
class Peers:
    """Programs by name, and why a peer is missing, by the peer's name."""

    programs: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def recipe(peer: str) -> str:
    """What decides what a peer's build yields."""
    words = [VERSIONS[peer], *(CARGO if peer == "rathole" else (LDFLAGS,))]
    for name in ("go.mod", "go.sum") if peer != "rathole" else ():
        words.append((HERE / peer / name).read_text())
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def found(folder: Path) -> Peers:
    """The peers whose programs lie in a folder."""
    peers = Peers()
    for peer, names in PROGRAMS.items():
        if all((folder / name).exists() for name in names):
            peers.programs |= {name: folder / name for name in names}
        else:
            peers.missing[peer] = f"not in {folder}"
    return peers


def get() -> Peers:
    """All peers that can be had here, from the cache or built now."""
    peers, root = Peers(), obtain.cache() / "peers"
    with obtain.locked(root / "lock"):
        for peer, names in PROGRAMS.items():
            target = root / f"{peer}-{recipe(peer)}"
            try:
                if not target.exists():
                    make(peer, target)
                peers.programs |= {name: target / name for name in names}
            except EngineError as error:
                peers.missing[peer] = str(error).splitlines()[0]
                say(f"{peer} is missing: {peers.missing[peer]}")
    return peers


def make(peer: str, target: Path) -> None:
    """Build a peer into the folder ``target``, all or nothing; raises ``EngineError``."""
    staging = target.with_name(f"{target.name}.{os.getpid()}")
    (staging / "bin").mkdir(parents=True)
    start = time.monotonic()
    say(f"building {peer} {VERSIONS[peer]} ...")
    try:
        (by_cargo if peer == "rathole" else by_go)(peer, staging)
        (staging / "bin").rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    say(f"{peer}: {time.monotonic() - start:.0f} s")


def by_go(peer: str, staging: Path) -> None:
    """As the engine is built: Go's own folders go away with ``staging``."""
    go = build.find_go(obtain.cache() / "engine" / "go-toolchain")
    env = build.environment(staging / "go")
    for name in PROGRAMS[peer]:
        output = ["-o", str(staging / "bin" / name), PACKAGES[name]]
        words = [go, "build", "-trimpath", "-ldflags", LDFLAGS, *output]
        run(words, HERE / peer, env)


def by_cargo(peer: str, staging: Path) -> None:
    """By cargo, out of sight of the checkout, whose files it would look at."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise EngineError("no cargo on PATH")
    words = [cargo, "install", "--quiet", *CARGO, "--version", VERSIONS[peer]]
    env = {**os.environ, "CARGO_TARGET_DIR": str(staging / "target")}
    run([*words, "--root", str(staging), peer], staging, env)


def run(words: Sequence[str], folder: Path, env: dict[str, str]) -> None:
    """A build's command; raises ``EngineError`` with the first error that it told."""
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("error")] or said[-1:]
        raise EngineError(f"{Path(words[0]).name} failed: {errors[0] if errors else 'no reason'}")


def main() -> None:
    """Build, and print what there is."""
    peers = get()
    for peer, names in PROGRAMS.items():
        for name in names if peer not in peers.missing else ():
            print(f"{peer} {VERSIONS[peer]}: {peers.programs[name]}")
        if peer in peers.missing:
            print(f"{peer} {VERSIONS[peer]}: missing, {peers.missing[peer]}")
    sys.exit(bool(peers.missing))


if __name__ == "__main__":
    main()
