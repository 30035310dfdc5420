"""Signs of life while something is measured, beside the results on standard output."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """A line on standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
