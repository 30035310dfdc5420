"""``homeRules``: what a home must know of its forwards, where it must know anything."""

from __future__ import annotations

from collections.abc import Iterator

from .home import DECLARED, Way
from .model import Home, Opening, Protocol, merged
from .wireguard import Uplink


def home_rules(home: Home, uplink: Uplink) -> str | None:
    """``wg0.rules`` for nft: what this home must know of its forwards, or None for nothing.

    Data for the maps of ``home_config``, so it can be loaded at any time without touching the
    tunnel: hosts on home's LAN, and what a protected home takes.
    """
    way = Way(uplink.slot)
    lan = [f for f in home.forwards if f.host is not None]
    if not lan and not home.protected:
        return None
    here = f"ip {way.table}"
    entries = [Opening(f.protocol, f.entry) for f in lan]
    steps = {
        f"{f.protocol.value} . {f.entry.first + i} : {f.host} . {f.to.first + i}"
        for f in lan
        for i in range(len(f.entry))
    }
    lines = [
        *_fill("map", f"{here} lan", sorted(steps)),
        *_fill("set", f"{here} handed_on", _ports(entries, Protocol.UDP)),
        *_fill("set", f"{here} lan_hosts", sorted({str(f.host) for f in lan})),
    ]
    if home.protected:
        taken = [Opening(f.protocol, f.entry) for f in home.forwards] + [*home.accept]
        for protocol, name in DECLARED.items():
            lines += _fill("set", f"inet {way.table} {name}", _ports(taken, protocol))
    return "\n".join(
        [f"# What home {home.name} answers for. Load it: nft -f THIS-FILE", *lines, ""]
    )


def _ports(openings: list[Opening], protocol: Protocol) -> list[str]:
    return [str(o.ports) for o in merged(openings) if o.protocol is protocol]


def _fill(kind: str, name: str, elements: list[str]) -> Iterator[str]:
    yield f"flush {kind} {name}"
    if elements:
        yield f"add element {name} {{ {', '.join(elements)} }}"
