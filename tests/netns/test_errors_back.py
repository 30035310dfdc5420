"""What the network says of a flow comes back to whom it concerns; callers with one source port."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..waiting import eventually
from .conftest import RELAY, Lab, make
from .exchange import HOLD, exchange
from .test_return_path import DOCKER
from .topology import Host, internet

CLIENT, PHONE = "203.0.113.9", "192.0.2.130"
SIZES = [sys.executable, str(Path(__file__).resolve().parent / "sizes.py")]
FORWARDS = [
    "80:8080/both",
    "81:8081/both",  # the container's
    "82:8082/both",  # nobody's
    "85:8085/both",
    {"port": 86, "to": 8085, "protocol": "both", "mode": "masquerade"},
    {"port": 87, "to": 8099, "protocol": "both", "host": "192.168.1.50"},  # nobody's
]
BIG = 200_000  # bytes, more than a window's first flight


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, forwards=FORWARDS)
        net["home"].run("nft -f -", stdin=DOCKER)
        made.relay_up()
        made.home_up()
        for host, port, script in (
            ("home", 8080, SIZES),
            ("container", 8081, SIZES),
            ("home", 8085, HOLD),
        ):
            net[host].start([*script, "serve", "0.0.0.0", str(port)])  # noqa: S104
            listens(net[host], port)
        yield made


def listens(host: Host, port: int) -> None:
    eventually(lambda: f":{port} " in host.run("ss -Hlnt"), f"{host.name} listens on {port}")


def sized(lab: Lab, verb: str, port: int, size: int) -> str:
    return lab.net["client"].run([*SIZES, verb, RELAY, str(port), str(size)]).strip()


def drop_errors(host: Host) -> None:
    """As many networks do."""
    host.run(
        "nft -f -",
        stdin="table ip mute { chain out { type filter hook output priority 0;"
        " icmp type destination-unreachable drop; }; chain over { type filter hook forward"
        " priority 0; icmp type destination-unreachable drop; }; }",
    )


def forget(lab: Lab) -> None:
    """What hosts learned of the path's MTU."""
    for name in ("client", "relay", "home", "container"):
        lab.net[name].run("ip route flush cache")


@pytest.mark.parametrize("port", [82, 87], ids=["home", "LAN host"])
def test_a_port_that_nobody_listens_on_refuses(lab: Lab, port: int) -> None:
    """The relay's address outside, and inside what the client's own socket sent."""
    with exchange(lab.net["client"], "udp", RELAY, port) as udp:
        assert udp.ask() == "ConnectionRefusedError"
    assert sized(lab, "push", port, 1) == f"3 3 0 {RELAY}"
    with (
        pytest.raises(AssertionError, match="ConnectionRefusedError"),
        exchange(lab.net["client"], "tcp", RELAY, port),
    ):
        pass
    drop_errors(lab.net["relay"])
    try:
        with exchange(lab.net["client"], "udp", RELAY, port) as udp:
            assert udp.ask() == "TimeoutError"
    finally:
        lab.net["relay"].run("nft delete table ip mute")


def test_the_client_learns_the_tunnels_mtu(lab: Lab) -> None:
    """From the relay, of a datagram that fits its own line only."""
    try:
        assert sized(lab, "push", 80, 1472) == f"3 4 1420 {RELAY}"
        forget(lab)
        drop_errors(lab.net["relay"])
        assert sized(lab, "push", 80, 1472) == ""
    finally:
        lab.net["relay"].run("nft delete table ip mute")
        forget(lab)


def test_the_client_learns_what_is_narrow_behind_home(lab: Lab) -> None:
    """From home, by the tunnel, under the relay's address."""
    home = lab.net["home"]
    home.run("ip link set docker0 mtu 1300")
    try:
        assert sized(lab, "push", 81, 1372) == f"3 4 1300 {RELAY}"
        forget(lab)
        home.run(f"nft flush chain ip {lab.way.table} return_path")
        assert sized(lab, "push", 81, 1372) == ""
    finally:
        home.run("ip link set docker0 mtu 1500")
        home.run("wg-quick down wg0")
        lab.home_up()
        forget(lab)


@pytest.mark.parametrize("port", [80, 81], ids=["home", "container"])
def test_home_learns_what_is_narrow_before_the_client(lab: Lab, port: int) -> None:
    """A large download passes a line that is narrower than either end knows."""
    outside = lab.net["internet"]
    outside.run("ip link set client mtu 1200")
    try:
        assert sized(lab, "tcp", port, BIG) == str(BIG)
        forget(lab)
        assert sized(lab, "udp", port, 1350) == "0"
        assert sized(lab, "udp", port, 1350) == "EMSGSIZE"
        assert sized(lab, "udp", port, 1172) == "1172"
        forget(lab)
        drop_errors(outside)
        assert int(sized(lab, "tcp", port, BIG)) < BIG
        assert sized(lab, "udp", port, 1350) == "0"
        assert sized(lab, "udp", port, 1350) == "0"
    finally:
        outside.run("ip link set client mtu 1500")
        outside.run("nft delete table ip mute", check=False)
        forget(lab)
    assert sized(lab, "udp", port, 1350) == "1350"


def test_a_container_learns_the_tunnels_mtu(lab: Lab) -> None:
    """Home's own error about an answer goes to the container, not into the tunnel."""
    home = lab.net["home"]
    assert sized(lab, "udp", 81, 1450) == "0"
    assert sized(lab, "udp", 81, 1450) == "EMSGSIZE"
    forget(lab)
    # The off-case: restored for both directions, the error goes astray.
    table = f"ip {lab.way.table}"
    restore = home.run(f"nft list chain {table} return_path").split("direction reply ")[1]
    home.run(f"nft flush chain {table} return_path")
    home.run(f"nft add rule {table} return_path {restore.splitlines()[0]}")
    try:
        assert sized(lab, "udp", 81, 1450) == "0"
        assert sized(lab, "udp", 81, 1450) == "0"
    finally:
        home.run("wg-quick down wg0")
        lab.home_up()
        forget(lab)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("port", "seen"), [(85, (CLIENT, PHONE)), (86, ("172.16.0.1",) * 2)], ids=["seen", "hidden"]
)
def test_two_callers_with_one_source_port(
    lab: Lab, kind: str, port: int, seen: tuple[str, str]
) -> None:
    """Each goes on by itself; hidden, they differ by the port that the relay gives them."""
    client, phone = lab.net["client"], lab.net["phone"]
    with (
        exchange(client, kind, RELAY, port, 40001) as one,
        exchange(phone, kind, RELAY, port, 40001) as other,
    ):
        for _ in range(2):
            assert (one.ask(), other.ask()) == seen
    relay = lab.net["relay"]
    relay.run("nft flush map ip cgnat-relay ports")
    try:
        with pytest.raises(AssertionError), exchange(client, kind, RELAY, port) as alone:
            assert alone.ask() == seen[0]
    finally:
        relay.run("nft -f /etc/wireguard/wg0.ip.nft")
