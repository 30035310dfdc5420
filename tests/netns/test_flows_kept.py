"""Rules change: a flow that they still make goes on, and one that they no longer make ends."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from . import living
from .conftest import RELAY, TALK, Lab, make
from .exchange import HOLD, exchange
from .living import apply, ended
from .topology import Host, internet

CLIENT, PHONE = "203.0.113.9", "192.0.2.130"
KINDS = ("tcp", "udp")


@pytest.fixture
def net(wg_env: dict[str, str]) -> Iterator[dict[str, Host]]:
    with internet(wg_env) as made:
        yield made


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Exchanges that go on until the test ends."""
    with ExitStack() as stack:
        yield stack


def hold(lab: Lab, host: str, *ports: int) -> None:
    for port in ports:
        lab.net[host].start([*HOLD, "serve", "0.0.0.0", str(port)])  # noqa: S104
        lab.listens(host, "0.0.0.0", port)  # noqa: S104


class Flows:
    """One of TCP and one of UDP, by the relay; the far side sees the address ``seen``.

    A flow whose entry is gone may get another by its next packet, so nothing is sent before the
    entries are looked at.
    """

    def __init__(self, held: ExitStack, relay: Host, host: Host, to: str, port: int, seen: str):
        self.relay, self.seen = relay, seen
        self.exchanges = [held.enter_context(exchange(host, kind, to, port)) for kind in KINDS]
        self.answered()
        name = host.run("ip -4 -o addr show scope global").split()
        own = "|".join(word.split("/")[0] for word in name if "/" in word)
        self.line = re.compile(rf" src=({own}) dst={to} sport=\d+ dport={port} .* id=(\d+)")
        self.began = self.entries()
        assert len(self.began) == len(KINDS)

    def entries(self) -> set[str]:
        found = self.relay.run("conntrack -L -o id")
        return {match.group(2) for match in self.line.finditer(found)}

    def answered(self) -> None:
        assert [one.ask() for one in self.exchanges] == [self.seen] * len(KINDS)

    def go_on(self) -> None:
        assert self.entries() == self.began
        self.answered()

    def end(self) -> None:
        assert not self.entries()
        assert self.seen not in [one.ask() for one in self.exchanges]


def test_a_home_that_sends_less_keeps_what_it_still_sends(
    net: dict[str, Host], held: ExitStack
) -> None:
    lab = make(net, egress=["25/both", "587/both", "2000-2010/both"])
    lab.relay_up()
    lab.home_up()
    ports = (25, 587, 2003, 2009)
    hold(lab, "client", *ports)
    of = {port: Flows(held, net["relay"], net["home"], CLIENT, port, RELAY) for port in ports}

    def sends(*egress: str) -> None:
        apply(lab, living.plan(lab, [{"name": "home", "egress": [*egress]}]))

    sends("25/both", "2000-2005/both")
    of[25].go_on()
    of[2003].go_on()
    of[587].end()
    of[2009].end()
    sends()
    of[25].end()


def test_mail_on_its_way_out_is_not_held_up(net: dict[str, Host]) -> None:
    """It is the far side that speaks: to an entry that is gone it would speak in vain."""
    lab = make(net, egress=[25, 587])
    lab.relay_up()
    lab.home_up()
    calls = {}
    for port in (25, 587):
        lab.serve("client", port, verb="count")
        command = net["home"].argv([*TALK, "download", CLIENT, str(port), "60"])
        pipe = subprocess.PIPE
        calls[port] = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    for egress in ([25], [25, 465], [25]):
        apply(lab, living.plan(lab, [{"name": "home", "egress": egress}]))
    assert "Error" in calls[587].communicate(timeout=60)[1]
    assert int(ended(calls[25])) > 100_000


def test_a_device_that_reaches_less_keeps_what_it_still_reaches(
    net: dict[str, Host], held: ExitStack
) -> None:
    phone: dict[str, Any] = {"name": "phone", "traffic": "all", "reach": ["homes", "devices"]}
    home = {"name": "home", "forwards": ["80:8080/both"]}
    lab = make(net, {"homes": [home], "devices": [phone, "laptop"]})
    lab.relay_up()
    lab.home_up()
    lab.device_up("laptop", host="laptop")
    lab.device_up("phone")
    for host in ("home", "laptop", "client"):
        hold(lab, host, 8080)
    own = lab.inner("phone")[0]

    def flows(to: str, port: int, seen: str) -> Flows:
        return Flows(held, net["relay"], net["phone"], to, port, seen)

    to_home = flows(lab.inner("home")[0], 8080, own)
    to_device = flows(lab.inner("laptop")[0], 8080, own)
    out = flows(CLIENT, 8080, RELAY)
    forward = flows(RELAY, 80, own)

    def may(**terms: Any) -> None:
        apply(lab, living.plan(lab, [home], devices=[{**phone, **terms}, "laptop"]))
        forward.go_on()

    may(reach=["homes"])
    to_home.go_on()
    out.go_on()
    to_device.end()
    may(reach=["homes"], traffic="vpn")
    to_home.go_on()
    out.end()
    may(reach=[], traffic="vpn")
    to_home.end()


def test_callers_on_a_list_that_comes_keep_their_flows(
    net: dict[str, Host], held: ExitStack
) -> None:
    lab = make(net)
    lab.relay_up()
    lab.home_up()
    hold(lab, "home", 8080)

    def allow(*networks: str) -> None:
        forward = {"port": 90, "to": 8080, "protocol": "both", "from": [*networks]}
        wanted = forward if networks else "90:8080/both"
        apply(lab, living.plan(lab, [{"name": "home", "forwards": [wanted]}]))

    allow()
    client = Flows(held, net["relay"], net["client"], RELAY, 90, CLIENT)
    phone = Flows(held, net["relay"], net["phone"], RELAY, 90, PHONE)
    for networks in (["203.0.112.0/22", f"{PHONE}/32"], ["203.0.113.8/31", "192.0.2.0/24"]):
        allow(*networks)
        client.go_on()
        phone.go_on()
    allow("203.0.113.0/24")
    client.go_on()
    phone.end()
    allow("203.0.113.10/31")
    client.end()
