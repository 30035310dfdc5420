"""firewalld itself at a home that sends all by the relay, and the commands of docs/home.md.

A daemon and a bus of its own, in the namespaces of that home; Debian's packages are unpacked, not
installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..unpacked import unpacked
from ..waiting import eventually
from .conftest import RELAY6, make
from .test_ipv6 import with_container, with_own_ipv6
from .test_networkmanager import BUS
from .test_source_check import PREROUTING, STRICT, World, opened
from .topology import Host, internet

PACKAGES = (
    "dbus-daemon firewalld gir1.2-glib-2.0 libapparmor1 libcap-ng0 libdbus-1-3"
    " libgirepository-1.0-1 python3-dbus python3-firewall python3-gi python3-nftables"
)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "home.md"
SHOWN = re.findall(r"^\$ sudo (firewall-cmd .*)$", PAGE.read_text(), re.MULTILINE)
# Where the daemon keeps what it is told; it starts with the package's own files.
ETC = "/run/etc-firewalld"
# Stands in for Docker, which puts its bridges into a zone of target ACCEPT.
AS_DOCKER = "firewall-cmd --permanent --zone=trusted --add-interface=docker0"
# Home's own line has these open, and nothing else has.
OPENED = (
    "firewall-cmd --permanent --zone=internal --add-interface=eth0",
    "firewall-cmd --permanent --zone=internal --add-port=8080/tcp --add-port=8081/tcp",
)


@dataclass(frozen=True)
class Firewalld:
    """The daemon of a host, and its command."""

    host: Host
    packages: Path

    def words(self, command: str) -> list[str]:
        usr = self.packages / "usr"
        libraries = usr / "lib" / "x86_64-linux-gnu"
        environment = {
            "PATH": f"{usr}/sbin:{usr}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": usr / "lib" / "python3" / "dist-packages",
            "LD_LIBRARY_PATH": f"{libraries}:{self.packages}/lib/x86_64-linux-gnu",
            "GI_TYPELIB_PATH": libraries / "girepository-1.0",
        }
        return ["env", *(f"{k}={v}" for k, v in environment.items()), *command.split()]

    def run(self, command: str, check: bool = True) -> str:
        return self.host.run(self.words(command), check=check)

    def start(self) -> None:
        """With a bus of its own; the namespaces' end is theirs."""
        host, own = self.host, self.packages / "etc" / "firewalld"
        host.run(["sh", "-ec", f"mkdir -p /run/dbus; cp -r {own} {ETC}"])
        host.write("/run/bus.conf", BUS)
        host.start(self.words("dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile"))
        eventually(lambda: host.run("ls /run/dbus/system_bus_socket", check=False) != "", "a bus")
        host.start(
            self.words(
                "firewalld --nofork --nopid --log-target=file --log-file=/run/firewalld.log"
                f" --system-config={ETC} --default-config={self.packages}/usr/lib/firewalld"
            )
        )
        eventually(lambda: "running" in self.run("firewall-cmd --state", False), "firewalld", 30)


@pytest.fixture(scope="module")
def home(wg_env: dict[str, str]) -> Iterator[tuple[World, Firewalld]]:
    packages = unpacked("firewalld", *PACKAGES.split())
    with internet(wg_env) as net:
        home = {"name": "home", "forwards": ["80:8080/both", "81:8081/both"], "egress": "all"}
        lab = make(net, {"homes": [home], "devices": [{"name": "phone", "reach": ["homes"]}]})
        with_container(net)
        with_own_ipv6(net)
        daemon = Firewalld(net["home"], packages)
        daemon.start()
        for command in (AS_DOCKER, *OPENED, "firewall-cmd --reload"):
            daemon.run(command)
        yield opened(lab, own_line=True), daemon


def test_its_own_check_loses_nothing(home: tuple[World, Firewalld]) -> None:
    """With the tunnel in the zone that docs/home.md names, and not before."""
    world, daemon = home
    assert world.lab.call("tcp", 80, to=RELAY6) == ""
    for command in SHOWN:
        daemon.run(command)
    assert world.lost() == []
    daemon.run("firewall-cmd --reload")
    assert world.lost() == []
    # The off-case, and that its check is the one of test_source_check: with our mark before it.
    loaded = daemon.host.run("nft list chain inet firewalld filter_PREROUTING")
    chain, hook, priority = PREROUTING
    assert f"chain {chain} {{" in loaded
    assert f"hook {hook} priority {priority};" in loaded
    assert f"meta nfproto ipv6 {STRICT} drop" in loaded
    way = world.lab.way
    daemon.host.run(f"nft add rule ip6 {way.table} enter ct mark {way.mark} meta mark set ct mark")
    assert ("to the container", "tcp") in world.lost()
    world.lab.net["home"].run("wg-quick down wg0")
    world.lab.home_up()
    assert world.lost() == []
