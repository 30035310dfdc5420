"""Which Debian mirrors this machine uses, so that the VMs use the same.

A machine in a closed network often reaches one mirror only; what works for the host's own apt
works for the image's too.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from lab.errors import LabError
from lab.programs import find

DEBIAN_RELEASES = frozenset(
    ("bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable")
)


@dataclass(frozen=True)
class Mirrors:
    """Where Debian's packages come from, and through which proxy, if any.

    ``security`` is empty where the host's apt knows no such archive.
    """

    archive: str
    security: str = ""
    proxy: str = ""

    def sources(self, suite: str) -> list[str]:
        """Give the lines of a sources.list: the suite, its updates, its security fixes."""
        lines = [f"deb {self.archive} {suite} main", f"deb {self.archive} {suite}-updates main"]
        if self.security:
            lines.append(f"deb {self.security} {suite}-security main")
        return lines


def choose(targets: Iterable[str], proxy: str = "") -> Mirrors:
    """Pick the mirrors out of lines of ``<repository> <release>``, in the order of the host's.

    Other vendors' repositories and other distributions' releases are passed over. Raises a
    LabError where no Debian archive is left.
    """
    found: dict[str, str] = {}
    for line in targets:
        repository, _, release = line.strip().partition(" ")
        base, _, suffix = release.partition("-")
        if base in DEBIAN_RELEASES and suffix in ("", "security"):
            found.setdefault(suffix, repository.rstrip("/"))
    if "" not in found:
        raise LabError(
            "apt on this machine knows no Debian archive to build an image from: "
            "add one to /etc/apt/sources.list, run apt update, and try again"
        )
    return Mirrors(found[""], found.get("security", ""), proxy)


def of_this_machine() -> Mirrors:
    """Ask the host's apt; raises a LabError where that knows no Debian archive."""
    targets = _ask(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages"
    )
    proxy = _ask("apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy").strip()
    return choose(targets.splitlines(), proxy)


def _ask(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [find(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""
