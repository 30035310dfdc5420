"""The tunnel inside TLS, with the real programs, where the carrier lets no UDP through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from components.keys import tls_key

from ..unit import samples
from ..waiting import eventually
from .conftest import RELAY, Lab, make
from .topology import Host, internet
from .watching import Watched, home_speaks_tls, local, relay_serves_tls

CLIENT = "203.0.113.9"
# One who connects as often as the relay takes it, and says nothing.
SILENT = """import socket, sys, time
held = [socket.create_connection((sys.argv[1], 443)) for _ in range(64)]
time.sleep(600)
"""
# A relay that takes connections and says nothing.
MUTE = """import socket
relay, held = socket.create_server(("", 443)), []
while True:
    held.append(relay.accept())
"""
NO_UDP = """
table ip block {
  chain forward {
    type filter hook forward priority 0;
    meta l4proto udp drop
  }
}
"""


def blocked(wg_env: dict[str, str], **raw: Any) -> Iterator[tuple[Lab, Watched]]:
    """A relay that offers TLS, behind its firewall, and a home whose carrier drops all UDP."""
    with internet(wg_env) as net:
        lab = make(net, {"tunnel": {"tls": True}}, **raw)
        lab.relay_up()
        lab.firewall_up()
        relay_serves_tls(lab)
        net["carrier"].run("nft -f -", stdin=NO_UDP)
        yield lab, Watched(lab, wait=False)


@pytest.fixture
def tls(wg_env: dict[str, str]) -> Iterator[tuple[Lab, Watched]]:
    yield from blocked(wg_env)


def test_a_home_without_udp_answers_through_tls(tls: tuple[Lab, Watched]) -> None:
    lab, home = tls
    # The off-case: no client at home.
    assert home.watch().startswith("wg0: no answer from the relay")
    assert home.answers() == ""
    client = home_speaks_tls(home)
    assert home.watch() == "wg0: no UDP port answers, the relay answers through TLS"
    assert home.answers() == CLIENT
    assert home.answers("udp") == CLIENT
    assert home.watch() == "", "all is well"
    # The connection breaks; the next datagram makes another.
    lab.net["carrier"].run("conntrack -F")
    lab.net["relay"].run("ss -K sport = :443")
    eventually(lambda: home.answers() == CLIENT, "an answer through a new connection", within=60)
    # UDP is let through again, and tried every half hour.
    lab.net["carrier"].run("nft delete table ip block")
    assert home.watch() == ""
    assert home.endpoint() == local(home)
    home.host.run(["touch", "-d", "31 minutes ago", "/run/cgnat-relay-wg0.udp"])
    assert "UDP reaches the relay again" in home.watch()
    client.terminate()
    assert home.answers() == CLIENT


def test_udp_is_tried_again_and_left_again_while_it_is_blocked(tls: tuple[Lab, Watched]) -> None:
    _, home = tls
    home_speaks_tls(home)
    home.watch()
    home.host.run(["touch", "-d", "31 minutes ago", "/run/cgnat-relay-wg0.udp"])
    assert home.watch() == ""
    assert home.endpoint() == local(home)
    assert home.answers() == CLIENT


def test_another_certificate_is_refused(tls: tuple[Lab, Watched]) -> None:
    """Somebody's in between, with the same name in it."""
    _, home = tls
    client = home_speaks_tls(home, tls_key(samples.seed()).certificate)
    assert home.watch().startswith("wg0: no answer from the relay")
    assert home.answers() == ""
    client.terminate()
    client.wait()
    home_speaks_tls(home)
    assert "through TLS" in home.watch()
    assert home.answers() == CLIENT


def test_a_home_that_sends_all_by_the_relay_reaches_it_by_tls(wg_env: dict[str, str]) -> None:
    """The connection itself must not go into the tunnel."""
    for _, home in blocked(wg_env, egress="all"):
        home_speaks_tls(home)
        assert "through TLS" in home.watch()
        assert home.answers() == CLIENT
        assert home.watch() == ""


def test_the_firewall_lets_tls_in_and_nothing_beside_it(tls: tuple[Lab, Watched]) -> None:
    lab, _ = tls
    relay: Host = lab.net["relay"]
    lab.serve("relay", 8443)
    assert lab.call("tcp", 8443) == ""
    assert taken(lab.net["client"])
    relay.run("iptables -D RELAY-INPUT -p tcp --dport 443 -j ACCEPT")
    assert not taken(lab.net["client"])


def taken(host: Host) -> bool:
    """Whether the relay shakes hands with a host by TLS."""
    knock = ["timeout", "5", "openssl", "s_client", "-connect", f"{RELAY}:443"]
    return "CN = cgnat-relay" in host.run(knock, check=False)


def test_a_home_tries_again_where_a_handshake_is_not_answered(wg_env: dict[str, str]) -> None:
    """As where the relay loses its power in the middle of one."""
    with internet(wg_env) as net:
        lab = make(net, {"tunnel": {"tls": True}})
        lab.relay_up()
        net["carrier"].run("nft -f -", stdin=NO_UDP)
        net["relay"].start([sys.executable, "-c", MUTE])
        lab.listens("relay", "0.0.0.0", 443)  # noqa: S104
        home = Watched(lab, wait=False)
        home_speaks_tls(home)
        key = lab.keys.wireguard.public
        home.host.run(f"wg set wg0 peer {key} endpoint {local(home)} persistent-keepalive 1")
        made = "ss -Hnt state established dport = :443"
        first = eventually(lambda: home.host.run(made).split()[2:3], "a connection")
        eventually(lambda: home.host.run(made).split()[2:3] not in ([], first), "another", 40)


def test_who_connects_and_says_nothing_keeps_nobody_out_for_long(
    tls: tuple[Lab, Watched],
) -> None:
    lab, _ = tls
    relay, phone = lab.net["relay"], lab.net["phone"]
    assert taken(phone)
    lab.net["client"].start([sys.executable, "-c", SILENT, RELAY])
    silent = "ss -Hnt state established sport = :443 dst 203.0.113.9"
    eventually(lambda: relay.run(silent).count("\n") == 64, "all places are taken")
    assert not taken(phone), "the off-case"
    eventually(lambda: taken(phone), "a place", within=30)
