"""A home whose tunnel systemd-networkd makes, from the files of its form alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..relay_stack import Stack
from .callers import answers, datagram, silent
from .test_packets import CALLER

# Where each file says that it belongs, and with which mode.
PLACES = {
    "wg0.netdev": ("/etc/systemd/network", "0640"),
    "wg0.network": ("/etc/systemd/network", "0644"),
    "wg0-tunnel": ("/etc/wireguard", "0755"),
    "wg0-tunnel.service": ("/etc/systemd/system", "0644"),
}
UP = """
set -e
chgrp systemd-network /etc/systemd/network/wg0.netdev
systemctl daemon-reload
systemctl enable -q wg0-tunnel
systemctl start systemd-networkd
"""
DOWN = """
systemctl disable -q --now wg0-tunnel
networkctl delete wg0
systemctl stop systemd-networkd.socket systemd-networkd
rm -f /etc/systemd/network/wg0.* /etc/wireguard/wg0-tunnel /etc/systemd/system/wg0-tunnel.service
systemctl daemon-reload
systemctl start wg-quick@wg0
"""
LISTING = "iptables-save | grep -v '^[:#*C]'; nft list tables | grep cgnat; ip rule; ip -br link"
GREETING = f"hello from home, you are {CALLER}"


@pytest.fixture
def networkd(home: Stack) -> Iterator[Stack]:
    files = home.outputs()["homeFormats"]["home"]["systemd-networkd"]
    assert set(files) == set(PLACES)
    home.inside("test-home", "systemctl stop wg-quick@wg0")
    try:
        for name, (folder, mode) in PLACES.items():
            assert f"{folder}/{name}, mode {mode}" in files[name]
            install = f"install -m {mode} /dev/stdin {folder}/{name}"
            home.inside("test-home", install, stdin=files[name])
        home.inside("test-home", UP)
        yield home
    finally:
        home.inside("test-home", DOWN, check=False)
    answers(home)


def test_networkd_makes_a_tunnel_that_shows_the_caller(networkd: Stack) -> None:
    assert answers(networkd) == GREETING
    assert datagram(networkd, 5353) == GREETING
    # What networkd does with what it does not know: neither of these asks for our unit.
    networkd.inside("test-home", "systemctl restart systemd-networkd && networkctl reconfigure wg0")
    assert answers(networkd) == GREETING
    networkd.inside("test-home", "systemctl stop wg0-tunnel")
    assert silent(networkd)
    left = networkd.inside("test-home", LISTING)
    assert "cgnat" not in left
    assert "fwmark" not in left
    assert "wg0-home" not in left
    networkd.inside("test-home", "systemctl start wg0-tunnel")
    assert answers(networkd) == GREETING
