"""The relay's public address, dialled from where the services themselves are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import RELAY, RELAY6, Lab, make
from .topology import internet

PHONE, CARRIER = "192.0.2.130", "192.0.2.2"
NOBODY = ["", ""]
WHOLE: dict[str, Any] = {
    "devices": [
        {"name": "all", "traffic": "all", "reach": []},
        {"name": "vpn", "reach": []},
    ]
}
FORWARDS = [
    "80:8080/both",
    {"port": 81, "to": 8080, "protocol": "both", "from": ["172.16.0.0/24"]},
    {"port": 82, "to": 8080, "protocol": "both", "from": ["203.0.113.0/24", "2001:db8::/32"]},
]


@pytest.fixture(scope="module", params=[[], "all"], ids=["own line", "egress all"])
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        homes = [
            {"name": "home", "forwards": FORWARDS, "egress": request.param},
            {"name": "other", "forwards": ["90:8080/both"]},
        ]
        made = make(net, {**WHOLE, "homes": homes})
        made.relay_up()
        made.home_up()
        made.home_up(name="other", host="laptop")
        for host in ("home", "laptop"):
            made.serve_both(host, 8080)
        yield made


def flushed(lab: Lab, host: str, to: str) -> list[str]:
    """What answers on port 80 while the map of ports is empty; then it is put back."""
    family = "ip6" if ":" in to else "ip"
    relay = lab.net["relay"]
    relay.run(f"nft flush map {family} cgnat-relay ports")
    try:
        return lab.both(80, host=host, to=to)
    finally:
        relay.run(f"sh -c 'cat /etc/wireguard/wg0.{family}.nft | nft -f -'")


def test_a_device_with_all_its_traffic(lab: Lab) -> None:
    """It comes from inside, whatever it may dial there; and `from` takes it at its address."""
    mine, mine6 = lab.inner("all")
    lab.device_up("all")
    try:
        # wg-quick leaves what goes to the endpoint itself on the tunnel: it is marked, not routed.
        assert lab.both(80, host="phone") == [mine, mine]
        assert lab.both(80, host="phone", to=RELAY6) == [mine6, mine6]
        assert lab.both(81, host="phone") == [mine, mine]
        assert lab.both(82, host="phone") == NOBODY
        assert lab.both(82, host="phone", to=RELAY6) == NOBODY
        for to in (RELAY, RELAY6):
            assert flushed(lab, "phone", to) == NOBODY
    finally:
        lab.net["phone"].run("wg-quick down wg0")


def test_a_device_with_its_own_line(lab: Lab) -> None:
    mine, _ = lab.inner("vpn")
    lab.device_up("vpn")
    try:
        assert lab.both(80, host="phone") == [PHONE, PHONE]
        assert lab.both(81, host="phone") == NOBODY
        inside = str(lab.settings.tunnel.relay)
        assert lab.both(80, host="phone", to=inside) == [mine, mine]
        assert flushed(lab, "phone", RELAY) == NOBODY
    finally:
        lab.net["phone"].run("wg-quick down wg0")


def test_a_host_on_homes_lan(lab: Lab) -> None:
    assert lab.both(80, host="lan") == [CARRIER, CARRIER]
    assert lab.both(82, host="lan") == NOBODY
    assert flushed(lab, "lan", RELAY) == NOBODY


def test_home_itself(lab: Lab) -> None:
    """By its own line as its carrier's address; with all by the relay, as the relay."""
    everything = lab.home().egress.everything
    seen = "172.16.0.1" if everything else CARRIER
    assert lab.both(80, host="home") == [seen, seen]
    assert flushed(lab, "home", RELAY) == NOBODY
    # Another home is told who calls, and not that it was the relay.
    assert lab.both(90, host="home") == [lab.inner("home")[0] if everything else CARRIER] * 2
    if everything:
        relay6 = str(lab.settings.tunnel.inner6(lab.settings.tunnel.relay))
        assert lab.both(80, host="home", to=RELAY6) == [relay6, relay6]
        assert flushed(lab, "home", RELAY6) == NOBODY
        lab.net["relay"].run("nft flush set ip cgnat-relay selves")
        lab.net["relay"].run("conntrack -D --proto udp", check=False)
        try:
            assert lab.both(80, host="home") == NOBODY  # it would answer itself, and not the relay
        finally:
            lab.net["relay"].run("sh -c 'cat /etc/wireguard/wg0.ip.nft | nft -f -'")
