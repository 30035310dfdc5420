"""The stack's config as the args of a ``Relay``."""

from __future__ import annotations

from typing import cast

import pulumi
from pulumi.runtime import config as engine

from . import config, kinds
from .args import RelayArgs
from .faults import Collector
from .relay import finish

PROJECT = "cgnat-relay"
DEFAULT_VPS = {"kind": "lab"}


def relay_args() -> RelayArgs:
    """What ``Pulumi.STACK.yaml`` says. Raises ``ConfigError`` with all faults at once."""
    faults = Collector()
    raw = _raw(faults)
    machine = kinds.read(raw.pop("vps", DEFAULT_VPS), faults)
    config.read(raw, faults, machine.site if machine else None)
    finish(faults)
    return cast(RelayArgs, {**raw, "machine": machine})


def _raw(faults: Collector) -> dict[str, object]:
    """Every key of the project's namespace, as YAML had it."""
    bag = pulumi.Config(PROJECT)
    names = [*engine.get_config_env(), *engine.CONFIG.get()]
    raw: dict[str, object] = {}
    for name in dict.fromkeys(names):
        namespace, _, key = name.partition(":")
        if namespace == PROJECT:
            try:
                raw[key] = bag.get_object(key)
            except pulumi.ConfigTypeError:
                raw[key] = bag.get(key)  # plain text: whoever reads the key says what is wrong
    return raw
