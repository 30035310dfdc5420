"""A virtual environment with every provider's SDK, in the cache, made once for its recipe.

The program's own must not have them: the engine asks for the plugin of each package that is there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from components.kinds import CLOUDS
from engine import obtain

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.txt"


def extras() -> dict[str, list[str]]:
    """The extras of ``pyproject.toml`` that bring a provider's SDK, by kind."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    kinds = [cloud.provider.kind for cloud in CLOUDS]
    return {k: v for k, v in project["optional-dependencies"].items() if k in kinds}


def environment() -> Path:
    """The folder of the environment; made where it is missing."""
    pinned = sorted(requirement for found in extras().values() for requirement in found)
    recipe = "\n".join([sys.version, LOCK.read_text(), *pinned])
    store = obtain.cache() / "clouds"
    folder = store / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    with obtain.locked(store / "lock"):
        if not (folder / "done").exists():
            for old in store.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            _make(folder, pinned)
    return folder


def _make(folder: Path, pinned: list[str]) -> None:
    start = time.monotonic()
    print(f"clouds: installing {', '.join(pinned)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # What is imported is compiled then; most of it never is.
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
    pip += ["--no-cache-dir", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(LOCK)], check=True)
    subprocess.run([*pip, *pinned], check=True)
    (folder / "done").touch()
    print(f"clouds: installed in {time.monotonic() - start:.0f} s", file=sys.stderr)


def python() -> Path:
    """The interpreter that has every SDK."""
    return environment() / "bin" / "python"
