"""What a result was made with: this checkout, the compilers of the programs, the host of a VM."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What a compiler leaves in a program: Go's version and main module, or Rust's version.
GO = re.compile(rb"\xff Go buildinf:.{18}.(go[\w.]+)", re.DOTALL)
MODULE = re.compile(rb"\nmod\t([\w./-]+)\tv([\w.+-]+)")
RUST = re.compile(rb"rustc version ([\w.]+)")
FLAGS = ("aes", "avx2")  # what makes ciphers fast
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
ROOT = Path(__file__).resolve().parents[1]


def commit() -> str | None:
    """Of this checkout, and whether it was changed since; nothing where there is no git.

    Not by what is written into docs/, as results are.
    """
    changed = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs")
    try:
        found, dirty = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), changed)
        )
    except OSError:
        return None
    return f"{found}{'-dirty' if dirty else ''}" if found else None


def built(program: Path) -> str:
    """The compiler of a program, and its module, as they stand in it; empty where they do not."""
    inside = program.read_bytes()
    found = [match[1].decode() for match in [GO.search(inside)] if match]
    found += [f"{m[1].decode()} {m[2].decode()}" for m in [MODULE.search(inside)] if m]
    found += [f"rustc {match[1].decode()}" for match in [RUST.search(inside)] if match]
    return ", ".join(found)


def version(program: Path) -> str:
    """What a program says its version is: by its module, or when it is asked."""
    module = MODULE.search(program.read_bytes())
    if module:
        return module[2].decode()
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    said = re.search(r"\d+(\.\d+)+$", done.stdout, re.MULTILINE)
    return said[0] if said else ""


def compilers(programs: Mapping[str, Path]) -> dict[str, str]:
    """Who built these programs, where they say."""
    return {name: said for name, path in programs.items() if (said := built(path))}


def processor() -> dict[str, Any]:
    """The CPU and the kernel here."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    told = dict(line.partition(": ")[::2] for line in reversed(lines))
    told = {key.strip(): value for key, value in told.items()}
    flags = set(told.get("flags", "").split())
    return {
        "cpu": told.get("model name", platform.machine()),
        "cpus": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "kernel": platform.release(),
    }


TOOLS = {
    "nft": "nft",
    "iptables": "iptables",
    "wireguard-tools": "wg",
    "QEMU": "qemu-system-x86_64",
}
VERSION = re.compile(r"v?(\d+\.[\d.]+\d)")


def tools(*names: str) -> dict[str, str]:
    """Of each of ``TOOLS``, what it says its version is; empty where it is not here."""
    found = {}
    for name in names:
        try:
            done = subprocess.run([TOOLS[name], "--version"], capture_output=True, text=True)
            said = VERSION.search(done.stdout)
        except OSError:
            said = None
        found[name] = said[1] if said else ""
    return found


def load() -> float:
    """How many are at work here, over a minute."""
    return os.getloadavg()[0]


def begun() -> dict[str, Any]:
    """Of a result: the day, this checkout, and how many were at work here before."""
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit(), "load": {"before": load()}}


def ended(begun: dict[str, Any]) -> dict[str, Any]:
    """The same, and how many are at work now."""
    return begun | {"load": loads(begun["load"]["before"])}


def loads(before: float) -> dict[str, float]:
    """What it was before, and is now."""
    return {"before": before, "after": load()}


def host(before: float) -> dict[str, Any]:
    """Of a VM's result: what the VM ran on, and what else ran there."""
    return {**processor(), "tools": tools("QEMU"), "load": loads(before)}
