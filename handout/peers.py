"""Who is handed something, and what: the outputs of a stack, by the name of a home or a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.faults import nearest
from components.formats import FORMATS, PLAIN_ONLY
from components.wireguard import PLACEHOLDER


class HandoutError(Exception):
    """What was asked for cannot be handed out; the message says why, in a sentence."""


@dataclass(frozen=True)
class Peer:
    """A home or a device. ``formats`` are the other forms of its config: form, file, text."""

    name: str
    is_home: bool
    config: str = field(repr=False)
    rules: str | None = None
    formats: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    @property
    def keeps_its_key(self) -> bool:
        """Whether its owner must put the private key in."""
        return PLACEHOLDER in self.config

    @property
    def has_commands(self) -> bool:
        """Whether its config has commands, which only wg-quick runs."""
        return "PostUp = " in self.config

    def format(self, name: str) -> Mapping[str, str]:
        """The files of one form. HandoutError where there is no such form, or not for this one."""
        if name in self.formats:
            return self.formats[name]
        if name not in FORMATS:
            raise HandoutError(f"{name} is no form of a config; {nearest(name, FORMATS)}")
        if self.is_home and name in PLAIN_ONLY:
            raise HandoutError(f"{self.name} cannot be had as {name}: {PLAIN_ONLY[name]}")
        known = ", ".join(sorted(self.formats))
        raise HandoutError(f"{self.name} cannot be had as {name}; its forms are: {known}")


def peers(outputs: Mapping[str, Any]) -> dict[str, Peer]:
    """Everyone by name, homes first, in the config's order."""
    found = {
        name: Peer(
            name,
            True,
            config,
            outputs.get("homeRules", {}).get(name),
            outputs.get("homeFormats", {}).get(name, {}),
        )
        for name, config in outputs.get("homeConfigs", {}).items()
    }
    for name, config in outputs.get("deviceConfigs", {}).items():
        # It has no commands: any program that knows WireGuard takes the file as it is.
        forms = {form: {"wg0.conf": config} for form in PLAIN_ONLY}
        found[name] = Peer(name, False, config, None, forms)
    return found


def find(outputs: Mapping[str, Any], name: str) -> Peer:
    """The one of that name. HandoutError names the nearest where there is none."""
    everyone = peers(outputs)
    if name not in everyone:
        raise HandoutError(f"no home or device is named {name}; {nearest(name, everyone)}")
    return everyone[name]


def installer(outputs: Mapping[str, Any], name: str) -> str:
    """The script that sets a home up by itself. HandoutError where there is none."""
    peer = find(outputs, name)
    scripts = outputs.get("homeInstallers", {})
    if name in scripts:
        return str(scripts[name])
    if not peer.is_home:
        raise HandoutError(f"{name} is a device, and installers are for homes; use: qr or config")
    raise HandoutError(f"this stack has no installer for {name}; use: config {name}")
