"""Waiting for a condition, with a deadline and what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# Seconds for what an emulated VM does on a machine that runs three of them: a boot, mostly.
BOOT = 900


def eventually(what: Callable[[], object], why: str, within: float = 15) -> Any:
    """What ``what`` gives once it is true; at the deadline a failure that tells what was seen."""
    deadline = time.monotonic() + within
    seen: object = None
    while time.monotonic() < deadline:
        try:
            seen = what()
        except (AssertionError, OSError) as error:
            seen = error
        else:
            if seen:
                return seen
        time.sleep(0.1)
    raise AssertionError(f"{why}: not within {within:g} s, last seen: {seen!r}")
