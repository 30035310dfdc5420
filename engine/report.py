"""How this package talks: results on stdout, progress on stderr, one message per failure."""

from __future__ import annotations

import sys


class EngineError(Exception):
    """A failure with its cause and fix in the text, for users."""


def say(line: str) -> None:
    """One line of progress."""
    print(f"engine: {line}", file=sys.stderr, flush=True)
