"""What homes reach of an adopted machine itself, whose own firewall lets all in.

It stands in for one whose rules are bound to its NIC, or that has none but its provider's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from components.model import Site

from .conftest import RELAY, RELAY6, TALK, Lab, make
from .topology import internet

PROHIBITED, SILENCE = "prohibited", "timed out"
WHOLE = {
    "homes": [
        {"name": "plain", "forwards": ["80:8080/both"]},
        {"name": "all", "egress": "all"},
        {"name": "some", "egress": [22]},
    ],
    "devices": ["phone"],
    "tunnel": {"tls": True, "next": {"key": 2, "port": 51822}},
}
WHERE = {"plain": "home", "all": "laptop", "some": "client", "phone": "phone"}
# Each rule that lets something on, and what is refused without it: who, protocol, port, public.
RETURNS = {
    "udp dport 51820": ("plain", "udp", 51820, False),
    "udp dport 51822": ("plain", "udp", 51822, False),
    "tcp dport 443": ("plain", "tcp", 443, False),
    "saddr @outbound tcp dport 22": ("all", "tcp", 22, True),
    "@outbound_ports tcp dport 22": ("some", "tcp", 22, True),
}


@dataclass(frozen=True)
class World:
    """``six``: by IPv6."""

    lab: Lab
    six: bool

    @property
    def inside(self) -> str:
        tunnel = self.lab.settings.tunnel
        return str(tunnel.inner6(tunnel.relay) if self.six else tunnel.relay)

    def asks(self, who: str, kind: str, port: int, public: bool = False) -> str:
        """What the machine's service saw of a peer, or why none answered."""
        to = (RELAY6 if self.six else RELAY) if public else self.inside
        command = " ".join([*TALK, kind, to, str(port)])
        said = self.lab.net[WHERE[who]].run(["sh", "-c", f"{command} 2>&1 || :"]).strip()
        if re.search("Errno 113|Errno 13]", said):
            return PROHIBITED
        return said.removeprefix("no answer: ")

    def address(self, who: str) -> str:
        return self.lab.inner(who)[self.six]

    def load(self, without: str = "") -> None:
        """The relay's table, less the rule that has these words in it."""
        relay, family = self.lab.net["relay"], "ip6" if self.six else "ip"
        text = relay.run(f"cat /etc/wireguard/wg0.{family}.nft")
        lines = [line for line in text.splitlines() if not without or without not in line]
        assert len(text.splitlines()) - len(lines) == bool(without)
        relay.run("nft -f -", stdin="\n".join([*lines, ""]))
        relay.run("conntrack -F", check=False)


@pytest.fixture(scope="module")
def newer(wg_env: dict[str, str]) -> Iterator[Lab]:
    """Whose homes dial the relay's next key."""
    with internet(wg_env) as net:
        made = make(net, WHOLE)
        own = Site(adopted=True, guarded=False, ssh_port=22)
        made.settings = replace(made.settings, site=own)
        made.relay_up()
        for port in (5432, 53, 22, 443):
            made.serve_both("relay", port)
        yield made


@pytest.fixture(scope="module")
def lab(newer: Lab) -> Lab:
    """The same, and they dial the first."""
    tunnel = replace(newer.settings.tunnel, next_way=None)
    keys, settings = replace(newer.keys, following=None), replace(newer.settings, tunnel=tunnel)
    made = replace(newer, keys=keys, settings=settings)
    for name in ("plain", "all", "some"):
        made.home_up(name=name, host=WHERE[name])
    made.device_up("phone")
    made.serve_both("home", 8080)
    return made


@pytest.fixture(params=[False, True], ids=["IPv4", "IPv6"])
def world(request: pytest.FixtureRequest, lab: Lab) -> Iterator[World]:
    made = World(lab, request.param)
    yield made
    made.load()


def test_a_home_reaches_no_service_of_the_machine(world: World) -> None:
    for who in ("plain", "all", "some"):
        for kind in ("tcp", "udp"):
            assert world.asks(who, kind, 5432) == PROHIBITED
    assert world.asks("all", "tcp", 5432, public=True) == PROHIBITED
    assert world.asks("plain", "tcp", 22) == PROHIBITED
    assert world.asks("plain", "udp", 443) == PROHIBITED
    # A device is its owner's.
    for port in (5432, 22):
        assert world.asks("phone", "tcp", port) == world.address("phone")
    # The off-cases: each of the two rules that refuse.
    for rule in ("jump itself", "reject with"):
        world.load(without=rule)
        assert world.asks("plain", "tcp", 5432) == world.address("plain")
        assert world.asks("plain", "udp", 5432) == world.address("plain")


def test_what_is_not_tracked_is_refused_too(world: World) -> None:
    """As busy servers of names have it."""
    relay = world.lab.net["relay"]
    hook = "type filter hook prerouting priority raw;"
    own = f"table inet busy {{ chain pre {{ {hook} udp dport 53 notrack; }}\n}}\n"
    relay.run("nft -f -", stdin=own)
    try:
        assert world.asks("plain", "udp", 53) == PROHIBITED
    finally:
        relay.run("nft delete table inet busy")


def test_the_rest_goes_on(world: World) -> None:
    lab, home = world.lab, world.lab.net["home"]
    assert world.asks("plain", "tcp", 80) == world.inside  # its own forward, by the tunnel
    assert world.asks("phone", "tcp", 80) == world.address("phone")
    assert "1 received" in home.run(f"ping -c 1 -W 2 {world.inside}", check=False)
    # What the machine dials is answered.
    assert lab.call("tcp", 8080, host="relay", to=world.address("plain")) == world.inside
    assert lab.call("udp", 8080, host="relay", to=world.address("plain")) == world.inside
    world.load(without="icmp return")
    assert "1 received" not in home.run(f"ping -c 1 -W 2 {world.inside}", check=False)
    world.load(without="ct state !=")
    assert "1 received" in home.run(f"ping -c 1 -W 2 {world.inside}", check=False)


@pytest.mark.parametrize("rule", RETURNS)
def test_the_ways_in_stay(world: World, rule: str) -> None:
    """The tunnel's ports, and SSH for those whose way to it is the tunnel."""
    who, kind, port, public = RETURNS[rule]
    answer = SILENCE if kind == "udp" else world.address(who)  # no handshake: it says nothing
    if port == 51822:
        answer = "[Errno 111] Connection refused"  # not up here
    assert world.asks(who, kind, port, public) == answer
    world.load(without=f"{rule} return")
    assert world.asks(who, kind, port, public) == PROHIBITED


def test_so_it_is_by_the_interface_of_the_next_key(lab: Lab, newer: Lab) -> None:
    """A home is moved there by hand, as the relay's own process would."""
    relay, home = lab.net["relay"], lab.net["home"]
    relay.run("wg-quick up wg0-2")
    home.run("wg-quick down wg0")
    newer.home_up(name="plain")
    for world in (World(lab, False), World(lab, True)):
        relay.run(f"ip route replace {world.address('plain')} dev wg0-2")
        assert world.asks("plain", "udp", 5432) == PROHIBITED
        world.load(without="jump itself")
        assert world.asks("plain", "udp", 5432) == world.address("plain")
