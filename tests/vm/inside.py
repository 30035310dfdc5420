"""This checkout inside a lab VM, for what this machine's own kernel cannot do.

The VM has Debian's Python, pytest and cryptography, which are older than the locked ones: what is
shipped runs with both.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
THERE = "/srv/checkout"
SHIPPED = (
    "pyproject.toml",
    "bench/*.py",
    "cloud-init/**/*",
    "components/*.py",
    "engine/*.py",
    "operate/*.py",
    "tests/*.py",
    "tests/netns/**/*",
    "tests/unit/__init__.py",
    "tests/unit/samples.py",
    "tests/vm/__init__.py",
    "tests/vm/inside.py",
)
USER_DATA = b"#cloud-config\n{}\n"


@dataclass(frozen=True)
class Inside:
    """A VM that holds the checkout; ``lab`` is the folder of its lab."""

    lab: Path
    name: str = "net"

    def call(self, *words: str, stdin: bytes = b"", timeout: float = 600) -> str:
        """A call of the lab program; its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", *words],
            cwd=ROOT,
            env={**os.environ, "CGNAT_RELAY_LAB": str(self.lab)},
            input=stdin,
            capture_output=True,
            timeout=timeout,
        )
        said = done.stdout.decode(errors="replace")
        if done.returncode:
            told = done.stderr.decode(errors="replace")
            raise AssertionError(f"lab {' '.join(words)} ended {done.returncode}:\n{said}{told}")
        return said

    def run(self, command: str, timeout: int = 300) -> str:
        """A shell command in the checkout there, ended after ``timeout`` seconds."""
        shell = f"cd {THERE} && exec timeout {timeout} {command}"
        words = ("exec", "--timeout", str(timeout + 60), self.name, "--", "sh", "-c", shell)
        return self.call(*words, timeout=timeout + 120)

    def json(self, command: str, timeout: int = 300) -> dict[str, Any]:
        """What a command there says as JSON, whatever it says before and after."""
        said = self.run(command, timeout)
        return dict(json.loads(said[said.index("{") : said.rindex("}") + 1]))

    def pytest(self, *what: str, timeout: int = 900) -> int:
        """Run tests there; how many passed. What failed is in the exception."""
        words = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
        said = self.run(" ".join([*words, *(f"'{w}'" for w in what)]), timeout)
        found = re.search(r"^(\d+) passed in", said, re.MULTILINE)
        assert found, f"not all ran:\n{said}"
        return int(found[1])


@contextmanager
def booted(folder: Path, *words: str) -> Iterator[Inside]:
    """A VM with this checkout in it and WireGuard in its kernel; it is gone afterwards.

    ``words`` go to ``lab start``.
    """
    vm = Inside(folder / "lab")
    vm.call("reserve", vm.name)
    try:
        vm.call("start", vm.name, "--variant", "net", *words, stdin=USER_DATA)
        unpack = f"mkdir -p {THERE} && tar -xzf - -C {THERE}"
        vm.call("exec", "--stdin", vm.name, "--", "sh", "-c", unpack, stdin=packed())
        vm.run("modprobe wireguard")  # absent, the tests would take the userspace one
        yield vm
    finally:
        vm.call("down")


def packed() -> bytes:
    """What is shipped, as a compressed tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for pattern in SHIPPED:
            for path in sorted(ROOT.glob(pattern)):
                if path.is_file() and "__pycache__" not in path.parts:
                    tar.add(path, path.relative_to(ROOT))
    return buffer.getvalue()
