"""The kinds of machine that the config can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from . import adopt, lab
from .clouds.cloud import Cloud
from .clouds.digitalocean import DigitalOcean
from .clouds.hetzner import Hetzner
from .clouds.ionos import Ionos
from .clouds.lightsail import Lightsail
from .clouds.linode import Linode
from .clouds.oracle import Oracle
from .clouds.vultr import Vultr
from .faults import Collector, nearest, shown
from .machine import Facts, MachineKind

CLOUDS: tuple[type[Cloud], ...] = (
    Hetzner,
    DigitalOcean,
    Linode,
    Vultr,
    Lightsail,
    Oracle,
    Ionos,
)
KINDS: dict[str, Callable[[Mapping[str, object], str, Collector], MachineKind]] = {
    "adopt": adopt.read,
    "lab": lab.read,
    **{cloud.provider.kind: cloud.read for cloud in CLOUDS},
}
OPTIONS: dict[str, tuple[str, ...]] = {
    "adopt": adopt.KEYS,
    "lab": lab.KEYS,
    **{cloud.provider.kind: cloud.options() for cloud in CLOUDS},
}
# For the README: what a user compares kinds by, and the largest user-data.
ROWS: dict[str, tuple[Facts, str]] = {
    "lab": (lab.FACTS, "no limit"),
    "adopt": (adopt.FACTS, "none"),
    **{
        cloud.provider.kind: (cloud.provider.facts, f"{cloud.provider.user_data_limit:,} bytes")
        for cloud in CLOUDS
    },
}


def read(value: object, faults: Collector, path: str = "vps") -> MachineKind | None:
    """The machine that ``vps`` names; None where faults were noted."""
    if not isinstance(value, Mapping):
        faults.add(path, "is a mapping with a kind", "write {kind: lab}")
        return None
    options = dict(cast(Mapping[str, object], value))
    kind = options.get("kind")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        reason = f"{shown(kind)} are several, and a relay is one machine"
        faults.add(f"{path}.kind", reason, "name one; another relay is another stack")
        return None
    if not isinstance(kind, str) or kind not in KINDS:
        reason = "missing" if kind is None else f"unknown kind {kind!r}"
        faults.add(f"{path}.kind", reason, nearest(str(kind), KINDS))
        return None
    for key in [*options]:
        others = [other for other, keys in OPTIONS.items() if key in keys]
        if key not in OPTIONS[kind] and (others or key in KINDS):
            reason = (
                f"is an option of {', '.join(others)}, and this is {kind}"
                if others
                else f"is another kind, and a relay is one machine of kind {kind}"
            )
            faults.add(f"{path}.{key}", reason, "take it out")
            del options[key]
    return KINDS[kind](options, path, faults)
