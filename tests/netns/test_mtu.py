"""Paths narrower than 1,500 bytes, whose routers neither pass fragments nor say so.

Userspace WireGuard sets DF and the kernel's does not, so that the one loses its datagram at the
narrow link and the other a fragment behind it; the layer vm runs this file with the kernel's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import FORWARDS, RELAY, RELAY6, Lab, make
from .topology import internet

BULK = [sys.executable, str(Path(__file__).with_name("bulk.py"))]
OVERHEAD = 60  # bytes around a packet inside: 20 of IPv4, 8 of UDP, 32 of WireGuard
CLIENT_HELLO = (1900, 100)  # with a post-quantum key share it no longer fits one segment
UPLOAD = (300_000, 100)
DOWNLOAD = (100, 300_000)
# Before conntrack puts fragments together (-400); and no word of it to either side.
BLACK_HOLE = """
table inet black_hole {
  chain fragments {
    type filter hook prerouting priority -450;
    ip frag-off & 0x3fff != 0 drop
    exthdr frag exists drop
  }
  chain passing { type filter hook forward priority 0; jump too_big; }
  chain made_here { type filter hook output priority 0; jump too_big; }
  chain too_big {
    icmp type destination-unreachable icmp code frag-needed drop
    icmpv6 type packet-too-big drop
  }
}
"""


@pytest.fixture(scope="module", params=[1420, 1280], ids=lambda mtu: f"mtu={mtu}")
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[Lab]:
    """A home and a container behind a carrier whose line to the internet is a black hole."""
    with internet(wg_env) as net:
        tunnel = {} if request.param == 1420 else {"mtu": request.param}
        made = make(net, {"tunnel": tunnel}, forwards=[*FORWARDS, "82:8082"])
        assert made.settings.tunnel.mtu == request.param
        for host in ("internet", "carrier"):
            net[host].run("nft -f -", stdin=BLACK_HOLE)
        made.relay_up()
        made.home_up()
        serve(made, "home", "0.0.0.0", 8082)  # noqa: S104
        serve(made, "home", "::", 8080)
        yield made


def serve(lab: Lab, host: str, at: str, port: int) -> None:
    lab.net[host].start([*BULK, "serve", at, str(port)])
    lab.listens(host, at, port)


def narrow(lab: Lab, size: int) -> None:
    """The line between carrier and internet carries packets of at most ``size`` bytes."""
    lab.net["internet"].run(f"ip link set dev carrier mtu {size}")
    lab.net["carrier"].run(f"ip link set dev wan mtu {size}")


def passes(lab: Lab, sizes: tuple[int, int], to: str = RELAY) -> bool:
    """Whether all that was asked for came back."""
    port = 80 if ":" in to else 82
    words = [*BULK, "call", to, str(port), *map(str, sizes)]
    return lab.net["client"].run(words, check=False).strip() == str(sizes[1])


@pytest.mark.parametrize(
    ("to", "sizes"),
    [(RELAY, CLIENT_HELLO), (RELAY, UPLOAD), (RELAY, DOWNLOAD), (RELAY6, CLIENT_HELLO)],
    ids=["ClientHello", "upload", "download", "ClientHello-ipv6"],
)
def test_the_path_holds_the_mtu_and_60_bytes(lab: Lab, to: str, sizes: tuple[int, int]) -> None:
    """At that size all passes; with one byte less it hangs."""
    narrow(lab, lab.settings.tunnel.mtu + OVERHEAD)
    assert passes(lab, sizes, to)
    narrow(lab, lab.settings.tunnel.mtu + OVERHEAD - 1)
    assert not passes(lab, sizes, to)


@pytest.mark.parametrize(
    "sizes", [CLIENT_HELLO, UPLOAD, DOWNLOAD], ids=["ClientHello", "upload", "download"]
)
def test_a_mobile_path_wants_a_smaller_mtu(lab: Lab, sizes: tuple[int, int]) -> None:
    """The default hangs on a path of 1,400 bytes; what the docs say for it passes."""
    narrow(lab, 1400)
    assert passes(lab, sizes) == (lab.settings.tunnel.mtu == 1280)


def test_small_answers_pass_whatever_the_path(lab: Lab) -> None:
    """Why it looks like a fault of the service: connecting works, and so do short pages."""
    narrow(lab, 1400)
    assert passes(lab, (100, 100))


def test_without_the_clamp_a_fitting_mtu_hangs_too(lab: Lab) -> None:
    """A caller's own segments are too large for the tunnel, and nobody can tell it so.

    Over IPv6 a home whose only route is the tunnel announces what fits by itself.
    """
    narrow(lab, lab.settings.tunnel.mtu + OVERHEAD)
    relay = lab.net["relay"]
    assert passes(lab, CLIENT_HELLO)
    relay.run("nft flush chain ip cgnat-relay forward")
    try:
        assert not passes(lab, CLIENT_HELLO)
    finally:
        relay.run(["sh", "-c", "cat /etc/wireguard/wg0.ip.nft | nft -f -"])
    assert passes(lab, CLIENT_HELLO)
