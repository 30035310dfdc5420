"""What is asked of the relay: one row for each kind of traffic, one cell for each mode.

A cell holds probes with the answer that each must get, or says why there is none to ask for. The
table in docs/traffic.md is made of this, and each generated rule must be missed by one of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .config import PLAIN, RELAY, RELAY6, SHOWN, inner, inner6

TRANSPARENT, MASQUERADE, FORWARD = "transparent", "masquerade", "forward"
MODES = {
    TRANSPARENT: "transparent home",
    MASQUERADE: "masquerading home",
    FORWARD: "masqueraded forward",
}
CLIENT, CLIENT6 = "203.0.113.9", "2001:db8:9::9"
CARRIER = "192.0.2.2"
GATE, GATE6 = "172.16.0.1", "fd00:c9a7::1"  # the relay's own addresses in the tunnel
METADATA = "169.254.169.254"


@dataclass(frozen=True)
class Probe:
    """A call from a host, and what must be seen: an address at the far side, or a refusal.

    ``source`` is the address that it binds; ``device`` the interface, whatever the routes
    say. With ``ear`` the answer is waited for by that host, whose address was forged.
    """

    name: str
    host: str
    kind: str
    to: str
    port: int
    want: str
    source: str = ""
    device: str = ""
    from_port: int = 0
    ear: str = ""


@dataclass(frozen=True)
class Row:
    """A kind of traffic. ``cells`` is by mode: probes, or why there are none."""

    slug: str
    traffic: str
    cells: dict[str, tuple[Probe, ...] | str]
    tests: tuple[str, ...] = field(default=())


# What each answer means to a reader.
SEEN = {
    **dict.fromkeys((CLIENT, CLIENT6, "192.168.1.77", "fd00:17::77"), "the caller's address"),
    **dict.fromkeys((GATE, GATE6), "the relay's tunnel address"),
    **dict.fromkeys((RELAY, RELAY6), "the relay's public address"),
    CARRIER: "the carrier's address",
    **{inner(d): f"the {d}'s tunnel address" for d in ("phone", "laptop", "tablet")},
    **{inner6(d): f"the {d}'s tunnel address" for d in ("phone", "laptop", "tablet")},
}


def forwarded(
    slug: str,
    traffic: str,
    port: int,
    want: dict[str, str] | None = None,
    kinds: tuple[str, ...] = ("tcp", "udp"),
    families: tuple[str, ...] = ("4",),
    answers: str = "",
    source: dict[str, str] | None = None,
    without: dict[str, str] | None = None,
    tests: tuple[str, ...] = (),
) -> Row:
    """The same call by all three modes; ``want`` by family, where it is not an address."""
    cells: dict[str, tuple[Probe, ...] | str] = {}
    for mode, base in ((TRANSPARENT, 0), (MASQUERADE, PLAIN), (FORWARD, SHOWN)):
        if without and mode in without:
            cells[mode] = without[mode]
            continue
        probes = []
        for family in families:
            caller = (source or {}).get(family, "") or {"4": CLIENT, "6": CLIENT6}[family]
            seen = caller if mode == TRANSPARENT else {"4": GATE, "6": GATE6}[family]
            for kind in kinds:
                probes.append(
                    Probe(
                        f"{slug}-{kind}{family}[{mode}]",
                        "client",
                        kind,
                        {"4": RELAY, "6": RELAY6}[family],
                        port + base,
                        answers or (want or {}).get(family) or seen,
                        source=(source or {}).get(family, ""),
                    )
                )
        cells[mode] = tuple(probes)
    return Row(slug, traffic, cells, tests)


BOTH = ("4", "6")
AT_HOME = "refused by the config: it needs rules at home"
NO_FORWARD = "not applicable: no forward takes part"


def plain(slug: str, traffic: str, *calls: Probe, tests: tuple[str, ...] = ()) -> Row:
    """Traffic in which no home's mode takes part."""
    return Row(slug, traffic, {"": calls}, tests)


def calls(
    slug: str,
    host: str,
    to: tuple[str, ...],
    port: int,
    want: tuple[str, ...] | str,
    **more: str | int,
) -> tuple[Probe, ...]:
    """TCP and UDP to each address; ``want`` for each, or one for all."""
    wants = (want,) * len(to) if isinstance(want, str) else want
    return tuple(
        Probe(f"{slug}-{kind}{6 if ':' in a else 4}", host, kind, a, port, w, **more)  # type: ignore[arg-type]
        for a, w in zip(to, wants, strict=True)
        for kind in ("tcp", "udp")
    )


def named(mode: str, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    return tuple(Probe(**{**vars(p), "name": f"{p.name}[{mode}]"}) for p in probes)
