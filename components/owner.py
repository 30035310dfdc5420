"""Whose relay a machine has: of one stack alone, told by the public part of its first key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pulumi

from .faults import Fault

TAKE_OVER = "CGNAT_RELAY_TAKE_OVER"


def another(look: Mapping[str, Any], mine: str | None) -> bool:
    """Whether it is another stack's. One whose keys are still to be made (None) has brought none.

    What a version before this brought is nobody's, and goes to who comes first.
    """
    owner = look.get("owner") or ""
    return bool(owner) and owner != mine


def obstacle(host: str, look: Mapping[str, Any], mine: str | None) -> str | None:
    """Why this stack may not change the machine, in words; a warning where it is told to."""
    if not another(look, mine):
        return None
    if os.environ.get(TAKE_OVER) == host:
        pulumi.log.warn(
            f"{host}: the relay of another stack is taken over: its homes and devices are cut off"
            " until each has its new config, and that stack can change it no more"
        )
        return None
    fault = Fault(
        "vps",
        f"the relay on {host} is another stack's",
        f"run pulumi from that one, or if its state is lost set {TAKE_OVER}={host} before the"
        " command, which takes the relay over and asks each home and device for a new config",
    )
    return f"1 fault, and nothing was changed on the machine:\n  {fault}"
