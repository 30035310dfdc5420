"""Asking probes of a world, all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .rows import Probe
from .world import World

WAIT = 1.0  # seconds until silence is silence; an answer is here within a few milliseconds


def ask(world: World, probes: Iterable[Probe], wait: float = WAIT) -> dict[str, str]:
    """What each probe saw, by name."""
    asked = []
    for probe in probes:
        if probe.ear:  # whoever forged the address does not get the answer
            ear = {"to": probe.source, "source": probe.source, "from_port": probe.from_port}
            asked.append(
                (probe, world.agents[probe.ear].ask(call={"kind": "hear", "wait": wait, **ear}))
            )
    for probe in probes:
        call: dict[str, Any] = {k: v for k, v in vars(probe).items() if v and k not in _OURS}
        future = world.agents[probe.host].ask(call={"port": 0, "wait": wait, **call})
        if not probe.ear:
            asked.append((probe, future))
    return {probe.name: future.result(timeout=60) for probe, future in asked}


_OURS = ("name", "host", "want", "ear")


def wrong(world: World, probes: Iterable[Probe]) -> dict[str, str]:
    """Probes that did not see what they must, twice: what they saw, by name.

    The second time waits longer, so that a busy machine is not taken for a missing rule.
    """
    left = tuple(probes)
    seen: dict[str, str] = {}
    for wait in (WAIT, 1.5 * WAIT):
        seen = ask(world, left, wait)
        left = tuple(probe for probe in left if seen[probe.name] != probe.want)
    return {probe.name: seen[probe.name] for probe in left}
