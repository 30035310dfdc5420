"""What each command here is made of: its words, its result in a file, its failure in a sentence."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Keep = Callable[[Mapping[str, Any]], None]  # of a result, whole or not yet


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Of ``python3 -m NAME``, which its module's text describes."""
    return argparse.ArgumentParser(
        prog=f"python3 -m {name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def write(path: Path | None, result: Mapping[str, Any], indent: int | None = 1) -> None:
    """As JSON, where a file is named. Without ``indent`` it is small."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        between = (",", ":") if indent is None else None
        path.write_text(json.dumps(result, indent=indent, separators=between) + "\n")


def run(main: Callable[[], None]) -> None:
    """A measure that cannot be taken ends with its reason, and 1."""
    try:
        main()
    except (AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
