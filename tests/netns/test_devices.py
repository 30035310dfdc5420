"""Devices: whom each may dial, and where it gets out.

A provider stands behind the relay: its metadata service and a host of its inner network, which
are nobody's business in the tunnel.

    phone, laptop ── internet ── relay ── 10.9.0.1  provider 10.9.0.2, fd00:ec2::254
                                             169.254.169.254
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import RELAY, RELAY6, Lab, make
from .topology import Host, hosts, internet, link

CLIENT, CLIENT6 = "203.0.113.9", "2001:db8:9::9"
PHONE = "192.0.2.130"
NOBODY = ["", ""]
REACHES = {
    "homes": ["homes"],
    "devices": ["devices"],
    "both": ["homes", "devices"],
    "none": [],
}
DEVICES = [
    *({"name": f"phone-{name}", "reach": reach} for name, reach in REACHES.items()),
    {"name": "phone-all", "traffic": "all"},
    {"name": "phone-four", "traffic": "all", "ipv6": False},
    "laptop",
]
HOMES = [
    {"name": "home", "forwards": ["80:8080/both"]},
    {"name": "nas", "mode": "masquerade", "ipv6": True, "forwards": ["81:8080/both"]},
]
INNER = ("169.254.169.254", "10.9.0.2", "fd00:ec2::254")


def with_provider(net: dict[str, Host]) -> None:
    """The relay's second NIC, and what answers there."""
    relay, provider = net["relay"], net["provider"]
    link(relay, "eth1", provider, "eth0")
    for address in ("10.9.0.2/24", "169.254.169.254/32", "fd00:ec2::254/64"):
        provider.run(f"ip addr add {address} dev eth0 {'nodad' if ':' in address else ''}")
    for address in ("10.9.0.1/24", "fd00:ec2::1/64"):
        relay.run(f"ip addr add {address} dev eth1 {'nodad' if ':' in address else ''}")
    relay.run("ip route add 169.254.169.254 dev eth1")


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net, hosts("provider", wg_env) as more:
        net = {**net, **more}
        with_provider(net)
        made = make(net, {"homes": HOMES, "devices": DEVICES})
        made.relay_up()
        made.home_up()
        made.home_up(name="nas", host="lan")
        made.device_up("laptop", host="laptop")
        for host in ("home", "lan", "laptop", "client", "provider"):
            made.serve_both(host, 8080)
        yield made


@pytest.fixture
def phone(lab: Lab) -> Iterator[Host]:
    """The phone, without whatever tunnel the test gave it."""
    yield lab.net["phone"]
    lab.net["phone"].run("wg-quick down wg0")


@pytest.mark.parametrize("reach", REACHES)
def test_it_reaches_whom_its_config_names(lab: Lab, phone: Host, reach: str) -> None:
    lab.device_up(f"phone-{reach}")
    own = lab.inner(f"phone-{reach}")
    for name, kind in (("home", "homes"), ("nas", "homes"), ("laptop", "devices")):
        for mine, theirs in zip(own, lab.inner(name), strict=True):
            expected = [mine, mine] if kind in REACHES[reach] else NOBODY
            assert lab.both(8080, host="phone", to=theirs) == expected, (name, theirs)
    # Nobody who is not asked: homes dial no device.
    assert lab.both(8080, host="home", to=lab.inner("laptop")[0]) == NOBODY


@pytest.mark.parametrize(("kind", "name"), [("homes", "home"), ("devices", "laptop")])
def test_that_is_decided_by_its_set(lab: Lab, phone: Host, kind: str, name: str) -> None:
    """With its address taken from the set the device reaches nobody, and put back it does."""
    relay = lab.net["relay"]
    lab.device_up("phone-both")
    for mine, theirs, family in zip(
        lab.inner("phone-both"), lab.inner(name), ("ip", "ip6"), strict=True
    ):
        assert lab.both(8080, host="phone", to=theirs) == [mine, mine]
        relay.run(f"nft delete element {family} cgnat-relay to_{kind} {{ {mine} }}")
        assert lab.both(8080, host="phone", to=theirs) == NOBODY
        relay.run(f"nft add element {family} cgnat-relay to_{kind} {{ {mine} }}")
        assert lab.both(8080, host="phone", to=theirs) == [mine, mine]


def test_the_internet_is_for_all_traffic_alone(lab: Lab, phone: Host) -> None:
    """A device of the tunnel's network alone is refused though it routes all that by hand."""
    lab.device_up("phone-both")
    peer = lab.keys.wireguard.public
    assert lab.both(8080, host="phone", to=CLIENT) == [PHONE, PHONE]  # by its own line
    phone.run(f"wg set wg0 peer {peer} allowed-ips 0.0.0.0/0,::/0")
    for address in (CLIENT, CLIENT6):
        phone.run(f"ip route add {address} dev wg0")
        assert lab.both(8080, host="phone", to=address) == NOBODY
    lab.net["relay"].run(
        f"nft add element ip cgnat-relay outbound {{ {lab.inner('phone-both')[0]} }}"
    )
    try:
        assert lab.both(8080, host="phone", to=CLIENT) == [RELAY, RELAY]
    finally:
        lab.net["relay"].run(
            f"nft delete element ip cgnat-relay outbound {{ {lab.inner('phone-both')[0]} }}"
        )


def test_all_traffic_leaves_by_the_relay(lab: Lab, phone: Host) -> None:
    lab.device_up("phone-all")
    assert lab.both(8080, host="phone", to=CLIENT) == [RELAY, RELAY]
    assert lab.both(8080, host="phone", to=CLIENT6) == [RELAY6, RELAY6]
    for mine, theirs in zip(lab.inner("phone-all"), lab.inner("home"), strict=True):
        assert lab.both(8080, host="phone", to=theirs) == [mine, mine]


@pytest.mark.parametrize("address", INNER)
def test_a_providers_inner_networks_are_out_of_reach(lab: Lab, phone: Host, address: str) -> None:
    lab.device_up("phone-all")
    relay, family = lab.net["relay"], "ip6" if ":" in address else "ip"
    assert lab.both(8080, host="relay", to=address) != NOBODY  # it is there
    assert lab.both(8080, host="phone", to=address) == NOBODY
    relay.run(f"nft flush set {family} cgnat-relay not_internet")
    try:
        assert lab.both(8080, host="phone", to=address) != NOBODY
    finally:
        relay.run(f"sh -c 'cat /etc/wireguard/wg0.{family}.nft | nft -f -'")
    relay.run("conntrack -D --proto udp", check=False)
    assert lab.both(8080, host="phone", to=address) == NOBODY


def test_a_device_without_ipv6(lab: Lab, phone: Host) -> None:
    lab.device_up("phone-four")
    mine, mine6 = lab.inner("phone-four")
    home, home6 = lab.inner("home")
    assert mine6 == ""
    assert lab.both(8080, host="phone", to=home) == [mine, mine]
    assert lab.both(8080, host="phone", to=CLIENT) == [RELAY, RELAY]
    assert lab.both(8080, host="phone", to=home6) == NOBODY
    assert "inet6 fd" not in phone.run("ip addr show wg0")
