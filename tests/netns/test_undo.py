"""What others have come to need stays when the relay leaves, and it says so.

systemd, apt and dpkg are stand-ins (``untouched``): which package needs which is a list of names.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import untouched
from .conftest import Lab
from .living import BIN
from .untouched import PACKAGES, brought, gone, holds, left

FORWARD = "/proc/sys/net/ipv4/ip_forward"


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with untouched.machine(wg_env) as made:
        yield made


def installed(lab: Lab) -> list[str]:
    return [line.split()[0] for line in lab.net["relay"].run(f"cat {PACKAGES}").splitlines()]


def test_what_nobody_needs_goes_without_a_word(lab: Lab) -> None:
    before = holds(lab)
    brought(lab)
    assert "nftables" in installed(lab), "the off-case"
    assert gone(lab) == ""
    assert left(lab, before) == []


def test_a_package_that_another_has_come_to_need_stays(lab: Lab) -> None:
    """With what it needs itself."""
    brought(lab)
    relay = lab.net["relay"]
    relay.run(["sh", "-c", f"echo their-tool nftables >>{PACKAGES}"])
    relay.run(f"sed -i 's/^nftables$/nftables conntrack/' {PACKAGES}")
    said = [line.rstrip() for line in gone(lab).splitlines()]
    assert said == [
        "package nftables stays, for their-tool",
        "package conntrack stays, for nftables",
    ]
    assert installed(lab) == ["base-files", "conntrack", "nftables", "their-tool"]


NEEDS = {
    "wireguard-tools": (
        "touch /etc/wireguard/wg1.conf",
        "package wireguard-tools stays, for /etc/wireguard/wg1.conf",
    ),
    "nftables": ("nft add table inet mine", "package nftables stays, for table inet mine"),
    "iptables": (
        "iptables -A FORWARD -d 192.0.2.77 -j DROP",
        "package iptables stays, for -A FORWARD -d 192.0.2.77/32 -j DROP",
    ),
}


@pytest.mark.parametrize("package", NEEDS)
def test_a_package_whose_work_somebody_uses_stays(lab: Lab, package: str) -> None:
    brought(lab)
    command, told = NEEDS[package]
    lab.net["relay"].run(command)
    assert told in gone(lab).splitlines()
    # iptables' own tables are no work of nft's.
    assert [name for name in NEEDS if name in installed(lab)] == [package]
    assert "conntrack" not in installed(lab)


@pytest.mark.parametrize(
    ("needs", "who"),
    [
        (f"echo docker.service >{BIN}/active", "docker.service"),
        ("echo net.ipv4.ip_forward=1 >/etc/sysctl.d/98-vpn.conf", "/etc/sysctl.d/98-vpn.conf"),
        ("echo '# net.ipv4.ip_forward=1' >/etc/sysctl.d/98-vpn.conf", ""),
    ],
)
def test_forwarding_that_another_has_come_to_need_stays_on(lab: Lab, needs: str, who: str) -> None:
    """Each file that sets it, and each program that needs it, is named."""
    relay = lab.net["relay"]
    brought(lab)
    relay.run(["sh", "-c", needs])
    said = gone(lab)
    assert ("forwarding stays on, for " in said) == bool(who)
    if who:
        (line,) = [line for line in said.splitlines() if line.startswith("forwarding")]
        assert who in line.split()
    assert relay.run(f"cat {FORWARD}") == ("1\n" if who else "0\n")
