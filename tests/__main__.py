"""Every test: ``python3 -m tests [FOLDER]``, in several processes: one works while another waits.

What shares a machine stays in one process (``tests/side_by_side.py`` tells which). A few that
failed are run once more, alone: on a busy machine a deadline may pass that was not the code's. What
passes only then is named, and is no failure. FOLDER gets a report of each run, in JUnit's form.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
MACHINES = ("engine", "vm")
GROUPS = ["-p", "tests.side_by_side", "--dist", "loadscope", "--no-loadscope-reorder"]
# Two for machines and one for all else; with more, two cores do not keep the tests' deadlines.
SIDE_BY_SIDE = [*GROUPS, "-n", "3"]
FEW = 3


def main(words: list[str]) -> int:
    """Run all; 0 where every test passed, be it the second time."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(words[0] if words else scratch)
        code = run(folder / "all.xml", [*SIDE_BY_SIDE, *(f"tests/{name}" for name in order())])
        if code != 1:  # all passed, or pytest itself did not
            return code
        failed = failures(folder / "all.xml")
        if len(failed) > FEW:
            return 1
        print(f"tests: {len(failed)} failed, and run once more, alone", flush=True)
        if run(folder / "again.xml", failed):
            return 1
        print("tests: passed only the second time, alone:", *failed, sep="\n  ", flush=True)
        return 0


def order() -> list[str]:
    """The layers, those first whose tests take longest."""
    layers = sorted(p.name for p in HERE.iterdir() if (p / "__init__.py").exists())
    first = (*MACHINES, "netns")
    return [*first, *(name for name in layers if name not in first)]


def run(report: Path, what: list[str]) -> int:
    """pytest's exit code."""
    return subprocess.run(pytest(report, what), cwd=HERE.parent).returncode


def pytest(report: Path, what: list[str]) -> list[str]:
    """One run as a command."""
    return [sys.executable, "-m", "pytest", "--durations=15", f"--junit-xml={report}", *what]


def failures(report: Path) -> list[str]:
    """What failed or met an error, as pytest takes it: of the machines' tests, which go on where
    the one before ended, the whole file.
    """
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314  # pytest wrote it just now
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    return sorted({where(c.get("classname", ""), c.get("name", "")) for c in failed})


def where(module: str, name: str) -> str:
    """One test, or its file."""
    path = module.replace(".", "/") + ".py"
    return path if module.split(".")[1] in MACHINES else f"{path}::{name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
