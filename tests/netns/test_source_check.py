"""Checks of a packet's source over IPv6 at home: the kernel has none, firewalld brings its own.

Each check is loaded alone here, as firewalld renders it; test_firewalld runs the real one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from components.model import Mode

from .conftest import RELAY6, Lab, make
from .test_ipv6 import CLIENT6, HOME6, with_container, with_own_ipv6
from .topology import internet

KINDS = ("tcp", "udp")


def table(chain: str, hook: str, priority: str, missing: str) -> str:
    """firewalld's table with the check alone."""
    neighbours = "icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept"
    return f"""
table inet firewalld {{
  chain {chain} {{
    type filter hook {hook} priority {priority}; policy accept;
    {neighbours if hook == "prerouting" else ""}
    meta nfproto ipv6 {missing} drop
  }}
}}
"""


STRICT = "fib saddr . mark . iif oif missing"
PREROUTING = ("filter_PREROUTING", "prerouting", "filter + 10")
NFT = {
    # What yes means before 1.0, from 1.0 to 2.1 (read in 1.3.3), and strict from 2.2 on.
    "before 1.0": table("raw_PREROUTING", "prerouting", "raw + 10", "fib saddr . iif oif missing"),
    "strict": table(*PREROUTING, STRICT),
    "loose": table(*PREROUTING, "fib saddr . mark oif missing"),
    "strict-forward": table("filter_FORWARD", "forward", "filter + 10", STRICT),
}
# With FirewallBackend=iptables.
IPTABLES = (
    "PREROUTING -m rpfilter --invert --validmark -j DROP",
    "PREROUTING -p ipv6-icmp --icmpv6-type neighbour-solicitation -j ACCEPT",
    "PREROUTING -p ipv6-icmp --icmpv6-type router-advertisement -j ACCEPT",
)
CHECKS = [*NFT, "iptables"]


@contextlib.contextmanager
def checked(lab: Lab, check: str) -> Iterator[None]:
    """The check is loaded, after the tunnel: where priorities are equal it is asked first."""
    home = lab.net["home"]
    if check in NFT:
        home.run("nft -f -", stdin=NFT[check])
    else:
        for rule in IPTABLES:
            home.run(f"ip6tables -t mangle -I {rule}")
    try:
        yield
    finally:
        if check in NFT:
            home.run("nft delete table inet firewalld")
        else:
            home.run("ip6tables -t mangle -F PREROUTING")


@dataclass(frozen=True)
class Case:
    """A home by its keys, with IPv6 of its own or not."""

    own_line: bool
    keys: dict[str, Any] = field(default_factory=dict)


CASES = {
    "IPv4-only": Case(own_line=False),
    "IPv4-only, egress of all": Case(own_line=False, keys={"egress": "all"}),
    "dual-stack, egress of all": Case(own_line=True, keys={"egress": "all"}),
    "dual-stack, egress of a port": Case(own_line=True, keys={"egress": ["25/both"]}),
    "masquerade": Case(own_line=False, keys={"mode": "masquerade", "ipv6": True}),
}


@dataclass(frozen=True)
class World:
    """A lab, and what is asked of it: name, kind, port, host and address; what must be seen."""

    lab: Lab
    asked: dict[tuple[str, str, int, str, str], str]

    def lost(self) -> list[tuple[str, str]]:
        """Name and kind of what does not see what it must."""

        def good(ask: tuple[str, str, int, str, str]) -> bool:
            _, kind, port, host, to = ask
            return self.lab.call(kind, port, host=host, to=to) == self.asked[ask]

        with ThreadPoolExecutor(len(self.asked)) as pool:
            seen = [*pool.map(good, self.asked)]
        return [ask[:2] for ask, fine in zip(self.asked, seen, strict=True) if not fine]


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def world(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[World]:
    case: Case = request.param
    with internet(wg_env) as net:
        home = {"name": "home", "forwards": ["80:8080/both", "81:8081/both"], **case.keys}
        lab = make(net, {"homes": [home], "devices": [{"name": "phone", "reach": ["homes"]}]})
        with_container(net)
        if case.own_line:
            with_own_ipv6(net)
        yield opened(lab, case.own_line)


def opened(lab: Lab, own_line: bool) -> World:
    """All up, with a service wherever one is asked."""
    lab.relay_up()
    lab.home_up()
    lab.device_up("phone")
    for host, port in {"home": 8080, "container": 8081, "client": 25}.items():
        lab.serve(host, port, at="::")
    return World(lab, asked(lab, own_line))


def asked(lab: Lab, own_line: bool) -> dict[tuple[str, str, int, str, str], str]:
    tunnel, home = lab.settings.tunnel, lab.home()
    seen = CLIENT6 if home.mode is Mode.TRANSPARENT else str(tunnel.inner6(tunnel.relay))
    found = {}
    for kind in KINDS:
        found["to the host", kind, 80, "client", RELAY6] = seen
        found["to the container", kind, 81, "client", RELAY6] = seen
        found["a device", kind, 8080, "phone", lab.inner("home")[1]] = lab.inner("phone")[1]
        if home.egress:
            found["out of the host", kind, 25, "home", CLIENT6] = RELAY6
            found["out of the container", kind, 25, "container", CLIENT6] = RELAY6
    if own_line:
        found["own line to the host", "tcp", 8080, "client", HOME6] = CLIENT6
        found["own line to the container", "tcp", 8081, "client", HOME6] = CLIENT6
    return found


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_lost(world: World, check: str) -> None:
    """But for callers by the own line of a home that sends all: the old check asks for no mark."""
    home = world.lab.home()
    lost: list[tuple[str, str]] = []
    if check == "before 1.0" and home.egress.everything:
        lost = [ask[:2] for ask in world.asked if ask[0].startswith("own line")]
    with checked(world.lab, check):
        assert world.lost() == lost
    assert world.lost() == []  # as with IPv6_rpfilter=no


# Marks at the wrong time: a container's packets before a check, none from the tunnel at a check.
EARLY = """
table ip6 wrong {{
  chain pre {{
    type filter hook prerouting priority -170;
    iifname "docker0" ct mark and 0xff000000 == {mark} meta mark set {mark}
  }}
}}
"""
CLEARED = """
table ip6 wrong {{
  chain through {{ type filter hook forward priority 5; iifname "wg0" meta mark set 0; }}
}}
"""


@pytest.mark.parametrize("world", [CASES["IPv4-only"]], ids=["IPv4-only"], indirect=True)
@pytest.mark.parametrize(
    ("check", "wrong"),
    [("strict", EARLY), ("iptables", EARLY), ("strict-forward", CLEARED)],
    ids=["strict", "iptables", "strict-forward"],
)
def test_the_check_is_at_work(world: World, check: str, wrong: str) -> None:
    """Marked otherwise a container's flow is lost, and to the check alone."""
    home = world.lab.net["home"]
    home.run("nft -f -", stdin=wrong.format(mark=world.lab.way.mark))
    try:
        assert world.lost() == []
        with checked(world.lab, check):
            assert ("to the container", "tcp") in world.lost()
    finally:
        home.run("nft delete table ip6 wrong")
