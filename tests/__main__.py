"""Every test: ``python3 -m tests [FOLDER]``, in two runs side by side, for both mostly wait.

The machines (layers ``engine`` and ``vm``) boot one after the other in a run of their own; what is
said of them is printed in the end. FOLDER gets a report of each run, in JUnit's form.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MACHINES = ("engine", "vm")


def main(words: list[str]) -> int:
    """Run all; 0 where both runs passed."""
    layers = sorted(p.name for p in HERE.iterdir() if (p / "__init__.py").exists())
    others = [name for name in layers if name not in MACHINES]
    with tempfile.TemporaryFile("w+") as said:
        machines = subprocess.Popen(
            pytest("machines", MACHINES, words),
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            codes = [subprocess.run(pytest("others", others, words), cwd=HERE.parent).returncode]
            print(f"tests: {', '.join(others)} ended, {', '.join(MACHINES)} go on", flush=True)
        finally:
            machines.wait()  # an interrupt reaches it too, and it takes its machines down
        codes.append(machines.returncode)
        said.seek(0)
        print(said.read(), flush=True)
    return 1 if any(codes) else 0


def pytest(name: str, layers: list[str] | tuple[str, ...], words: list[str]) -> list[str]:
    """One run as a command."""
    command = [sys.executable, "-m", "pytest", "--durations=15"]
    if words:
        command.append(f"--junit-xml={Path(words[0]) / name}.xml")
    return [*command, *(f"tests/{layer}" for layer in layers)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
