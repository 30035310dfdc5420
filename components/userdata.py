"""The first carrier: a ``HostPlan`` as cloud-init's user-data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .keys import RelayKeys
from .plan import LIB, HostPlan

BASE = Path(__file__).resolve().parent.parent / "cloud-init" / "base.yaml"
HEADER = "#cloud-config\n"  # cloud-init wants exactly this as the first line


def cloud_config(plan: HostPlan, keys: RelayKeys) -> str:
    """A cloud-config document (YAML text) that makes a new host hold ``plan``.

    It holds private keys: the relay's WireGuard key and the SSH host key. Packages are installed
    by ``setup`` and not by cloud-init, which would bring all that they recommend. Raises ValueError
    where there is no host key: an adopted machine has booted long ago.
    """
    if keys.host is None or keys.management is None:
        raise ValueError("no SSH keys for a first boot")
    document: dict[str, Any] = yaml.safe_load(BASE.read_text())
    document |= {
        "ssh_keys": {"ed25519_private": keys.host.private, "ed25519_public": keys.host.public},
        "ssh_authorized_keys": [keys.management.public],
        "write_files": [
            {"path": f.path, "permissions": f.mode, "owner": "root:root", "content": f.content}
            for f in plan.files
        ],
        "runcmd": [
            [f"{LIB}/setup", "packages", *plan.packages],
            [f"{LIB}/setup", "units", *plan.units],
        ],
    }
    return HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a person can read the file."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
