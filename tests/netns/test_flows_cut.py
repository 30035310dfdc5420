"""Which flows a change of rules ends: entries made by hand, in both address families."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from components import rules
from components.family import Family
from components.plan import STATIC

from ..unit import samples
from .topology import Host, hosts

PREFIX = IPv6Network("fd12:3456:789a:1::/64")
# Callers on the lists below (``near``) and not (``far``); servers, one of them in a network that is
# no longer the internet (``barred``); an address that the relay had (``former``); a container.
NAMES = {
    Family.V4: {
        "relay": "198.51.100.7",
        "former": "198.51.100.8",
        "near": "203.0.113.9",
        "far": "192.0.2.130",
        "box": "10.1.0.2",
        "server": "8.8.8.8",
        "barred": "9.9.9.9",
    },
    Family.V6: {
        "relay": "2001:db8:7::7",
        "former": "2001:db8:7::8",
        "near": "2001:db8::9:ff00:0:1",
        "far": "2001:db8:0:9::1",
        "box": "fd17::2",
        "server": "2606:4700::1111",
        "barred": "2620:fe::fe",
    },
}
PINGS = {
    Family.V4: "-p icmp --icmp-type 8 --icmp-code 0 --icmp-id 1",
    Family.V6: "-p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 1",
}
FOUND = [path for awk in ("awk", "mawk", "gawk") if (path := shutil.which(awk))]
AWKS = {Path(path).resolve().name: path for path in FOUND}


def peer(name: str, **terms: Any) -> dict[str, Any]:
    order = ("home", "nas", "swap", "phone", "tab", "gone").index(name)
    return {"name": name, "address": f"172.16.0.{10 + order}", **terms}


def only(port: int, *callers: str) -> dict[str, Any]:
    return {"port": port, "to": port, "from": [*callers]}


BEFORE = {
    "homes": [
        peer(
            "home",
            egress=["25/both", 587, "2000-2010/udp"],
            forwards=[
                *("80", "81", "82:8082", "83", "9000-9010:9000-9010/udp", "9100-9101", "95-96"),
                *("87", "90", "92-93", only(91, "203.0.112.0/22", "2001:db8::/63")),
                {"port": 84, "mode": "masquerade"},
                {"port": 85},
                {"port": 86, "mode": "masquerade"},
            ],
        ),
        peer("nas", egress="all"),
        peer("swap", egress="all"),
    ],
    "devices": [
        peer("phone", reach=["homes", "devices"], traffic="all"),
        peer("tab"),
        peer("gone"),
    ],
}
NEAR = ("203.0.113.8/31", "2001:db8:0:0:9:8000::/81")
AFTER = {
    "homes": [
        peer(
            "home",
            egress=["25/both", "2000-2005/udp"],
            forwards=[
                *("80", "82:8083", "9000-9005:9000-9005/udp", "9100", "95-97", "88/udp"),
                *(only(90, *NEAR), only(91, *NEAR)),
                {"port": "92-93", "to": "92-93", "from": ["0.0.0.0/0", "2000::/3"]},
                {"port": 84},
                {"port": 85, "mode": "masquerade"},
                {"port": 86, "mode": "masquerade"},
            ],
        ),
        peer("nas", forwards=["83"], egress="all"),
    ],
    "devices": [peer("phone", traffic="all"), peer("tab", reach=[]), peer("swap")],
}


@dataclass(frozen=True)
class Flow:
    """KIND FROM TO PORT; the relay led it to ``by`` and its port ``entry``, if anywhere."""

    kind: str
    source: str
    to: str
    port: int = 0
    by: str = ""
    entry: int = 0
    crosses: bool = False
    hidden: bool = False

    def words(self, names: dict[str, str], source_port: int) -> list[str]:
        """The arguments that make conntrack's entry of it."""
        mark = rules.CROSSES * self.crosses | rules.HIDDEN * self.hidden
        back = names["inside" if self.hidden else self.source]
        ends = ["-s", names[self.source], "-d", names[self.to]]
        ends += ["-r", names[self.by or self.to], "-q", back]
        ports = ["--sport", str(source_port), "--dport", str(self.port)]
        ports += ["--reply-port-src", str(self.entry or self.port)]
        ports += ["--reply-port-dst", str(source_port)]
        if self.kind == "tcp":
            ports += ["--state", "ESTABLISHED"]
        return ["-p", self.kind, *ends, *ports, "-t", "600", "-m", f"{mark:#x}"]


def led(port: int, source: str = "far", kind: str = "tcp", entry: int = 0, **more: Any) -> Flow:
    return Flow(kind, source, "relay", port, more.pop("by", "home"), entry or port, **more)


def crossing(source: str, to: str, port: int, kind: str = "tcp") -> Flow:
    return Flow(kind, source, to, port, crosses=True)


KEPT = [
    led(80),
    led(9005, kind="udp"),
    led(9100),
    led(96),
    led(90, "near"),
    led(91, "near"),
    led(92),
    # Of the new rules already, beside those of the old:
    led(82, entry=8083),
    led(83, by="nas"),
    led(84),
    led(85, hidden=True),
    led(81, by="box"),  # a container's, by another tool's rules
    led(80, "phone", crosses=True),
    led(80, "tab", crosses=True),
    led(80, "gone", crosses=True),
    led(86),  # another tool took its mark
    Flow("udp", "relay", "relay", 88),  # the relay's own programs ask no NAT of ours
    Flow("udp", "far", "relay", 89),
    crossing("home", "server", 25),
    crossing("home", "server", 25, "udp"),
    crossing("home", "server", 2005, "udp"),
    crossing("nas", "server", 443),
    crossing("phone", "server", 443),
    crossing("phone", "home", 22),
    crossing("swap", "home", 22),
    Flow("tcp", "phone", "tab", 23),  # no mark of ours
    crossing("far", "server", 443),  # a mark like ours, on what was never a peer's
]
ENDED = [
    led(81),
    Flow("tcp", "far", "former", 87, "home", 87),
    led(82, entry=8082),
    led(83),
    led(84, hidden=True),
    led(85),
    led(9006, kind="udp"),
    led(9101),
    led(90),
    led(91),
    led(91, "phone"),
    Flow("udp", "far", "relay", 88),
    crossing("home", "server", 587),
    crossing("home", "server", 2006, "udp"),
    crossing("phone", "tab", 22),
    crossing("tab", "home", 22),
    crossing("gone", "home", 22),
    crossing("swap", "server", 443),
    crossing("nas", "barred", 443),
    crossing("phone", "barred", 443),
]


@pytest.fixture(scope="module")
def relay(wg_env: dict[str, str]) -> Iterator[Host]:
    with hosts("relay", wg_env) as made:
        relay = made["relay"]
        for names in NAMES.values():
            relay.run(f"ip addr add {names['relay']} dev lo")
        relay.write("/run/flows", (STATIC / "flows").read_text())
        yield relay


def listed(relay: Host, config: dict[str, Any], family: Family, barred: str = "") -> str:
    """What the relay's own script makes of the rules for a config, once nft has them."""
    text = rules.nat(samples.settings(**config).drawn(PREFIX), family)
    relay.run("nft -f -", stdin=text)
    if barred:
        relay.run(f"nft add element {family.nft} cgnat-relay not_internet {{ {barred} }}")
    return relay.run(["sh", "/run/flows", "list", family.nft])


@pytest.mark.parametrize("awk", AWKS.values(), ids=AWKS)
@pytest.mark.parametrize("family", Family)
def test_what_the_new_rules_would_not_make_and_nothing_else(
    relay: Host, family: Family, awk: str
) -> None:
    settings = samples.settings(**BEFORE).drawn(PREFIX)
    tunnel = settings.tunnel
    inner = {p.name: str(tunnel.address(p, family)) for p in settings.peers}
    inside = tunnel.relay if family is Family.V4 else tunnel.inner6(tunnel.relay)
    names = {**NAMES[family], **inner, "inside": str(inside)}
    relay.run("conntrack -F")
    relay.run(f"ln -sf {awk} /run/awk")
    made = {str(20000 + i): flow for i, flow in enumerate([*KEPT, *ENDED])}
    for source_port, flow in made.items():
        relay.run(["conntrack", "-I", *flow.words(names, int(source_port))])
    for who in ("home", "tab"):
        ends = f"-s {names['phone']} -d {names[who]}"
        relay.run(f"conntrack -I {ends} {PINGS[family]} -t 600 -m {rules.CROSSES}")
    relay.write("/run/before", listed(relay, BEFORE, family))
    relay.write("/run/after", listed(relay, AFTER, family, names["barred"]))
    cut = f"PATH=/run:$PATH; sh /run/flows cut {family.nft} /run/before /run/after"
    relay.run(["sh", "-c", cut])
    left = relay.run(f"conntrack -L -f ipv{family.value}")
    remain = [flow for port, flow in made.items() if f" sport={port} " in left]
    assert remain == KEPT
    pinged = [line for line in left.splitlines() if line.startswith("icmp")]
    assert [f" dst={names['home']} " in line for line in pinged] == [True]
