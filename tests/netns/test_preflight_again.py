"""A relay that runs is looked at too: what it can do without, and what a reboot would take."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from ..waiting import eventually
from .adopted import ROOT, TERMS, Machine
from .conftest import Lab, make
from .test_preflight import HALF, LOCK, listen
from .topology import hosts

# Files, and the line that turns forwarding off at boot: of IPv4, of IPv6.
BOOTS: dict[str, tuple[dict[str, str], str, str]] = {
    "nothing": ({}, "", ""),
    "dots": ({"/etc/sysctl.d/99-x.conf": "# mine\n\nnet.ipv4.ip_forward=0\n"}, "3 99-x", ""),
    "slashes": ({"/etc/sysctl.d/99-x.conf": " net/ipv4/ip_forward = 0 "}, "1 99-x", ""),
    "all": ({"/run/sysctl.d/99-x.conf": "-net.ipv4.conf.all.forwarding = 0\n"}, "1 99-x", ""),
    "default": ({"/etc/sysctl.d/61.conf": "net.ipv4.conf.default.forwarding = 0\n"}, "1 61", ""),
    "ipv6": ({"/etc/sysctl.d/z.conf": "net.ipv6.conf.all.forwarding = 0\n"}, "", "1 z"),
    "both": (
        {"/etc/sysctl.d/z.conf": "net.ipv6.conf.all.forwarding=0\nnet.ipv4.ip_forward=0\n"},
        "2 z",
        "1 z",
    ),
    "a pattern": ({"/etc/sysctl.d/z.conf": "net.ipv4.conf.*.forwarding = 0\n"}, "1 z", ""),
    "no pattern of what is said": (
        {"/etc/sysctl.d/z.conf": "net.ipv?.*_forward = 0\nnet.ipv6.conf.*.forwarding = 0\n"},
        "",
        "",
    ),
    "before ours": ({"/etc/sysctl.d/5.conf": "net.ipv4.ip_forward=0\n"}, "", ""),
    "comments": (
        {"/etc/sysctl.d/z.conf": "#net.ipv4.ip_forward=0\n; net.ipv4.ip_forward=0\n"},
        "",
        "",
    ),
    "no .conf": ({"/etc/sysctl.d/z": "net.ipv4.ip_forward=0\n"}, "", ""),
    "on": ({"/etc/sysctl.d/z.conf": "net.ipv4.ip_forward=1\n"}, "", ""),
    "on again": (
        {
            "/etc/sysctl.d/y.conf": "net.ipv4.ip_forward=0\n",
            "/etc/sysctl.d/z.conf": "net.ipv4.ip_forward=1\n",
        },
        "",
        "",
    ),
    "debian's link": ({"/etc/sysctl.conf": "net.ipv4.ip_forward=0\n"}, "1 sysctl", ""),
    "one of the same name in /etc": (
        {"/usr/lib/sysctl.d/z.conf": "net.ipv4.ip_forward=0\n", "/etc/sysctl.d/z.conf": ""},
        "",
        "",
    ),
    "of a vendor": ({"/usr/lib/sysctl.d/z.conf": "net.ipv4.ip_forward=0\n"}, "1 z", ""),
    "before ours, by another name, and ours said before it": (
        {
            "/etc/sysctl.d/1.conf": "net.ipv4.ip_forward=1\n",
            "/etc/sysctl.d/2.conf": "net.ipv4.conf.all.forwarding=0\n",
        },
        "1 2",
        "",
    ),
}
# A package that is whole, and one that needs what is nowhere: NAME.
WHOLE = HALF.replace("exit 1", "exit 0").replace("! dpkg", "dpkg")
LACKS = WHOLE.replace("Architecture", "Depends: not-in-this-world\nArchitecture")
# One that is there and held, and a source with a newer one, which ours needs.
HELD = (
    WHOLE.replace("NAME", "owned")
    + """
apt-mark hold owned >/dev/null
mkdir -p /run/source
cat >/run/source/Packages <<END
Package: owned
Version: 2
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: newer
Filename: ./owned.deb
Size: 1

Package: wanted
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: owned (>= 2)
Description: ours
Filename: ./wanted.deb
Size: 1
END
"""
)
# What a boot makes of them, beside the relay's own; a new interface is what a tunnel gets.
BOOT = """echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
/lib/systemd/systemd-sysctl >&2
cd /proc/sys/net
cat ipv4/conf/all/forwarding ipv4/conf/default/forwarding ipv6/conf/all/forwarding
"""
OURS = "net.ipv4.ip_forward = 1\n-net.ipv6.conf.all.forwarding = 1\n"


@pytest.fixture
def machine(wg_env: dict[str, str]) -> Iterator[Machine]:
    with hosts("adopted", wg_env) as net:
        yield Machine(net["adopted"])


def test_what_is_ours_is_no_finding(machine: Machine, wg_env: dict[str, str]) -> None:
    """A relay that runs; and one whose files are another's."""
    lab: Lab = make({"relay": machine.host}, {"tunnel": {"tls": True}})
    lab.relay_up()
    listen(machine, "0.0.0.0", 443)  # noqa: S104 - a stand-in for the tunnel inside TLS
    known = [
        "tunnel /etc/wireguard/wg0.conf",
        "tls /etc/cgnat-relay/tls.env",
    ]
    machine.write("/etc/cgnat-relay/tls.env", "PORT=443\nTUNNEL=51820\n")
    machine.write("/etc/wireguard/cgnat-relay/known", "".join(f"{line}\n" for line in known))
    assert machine.look("ours") == []
    causes = machine.causes()
    assert [cause for cause in causes if "wg0" in cause] == [
        "there is an interface wg0 already",
        "there is a /etc/wireguard/wg0.conf already",
        "the tunnel's network 172.16.0.0/24 is in use on wg0: 172.16.0.1/24, 172.16.0.19/32",
    ]
    assert [cause for cause in causes if cause.startswith("UDP port 51820 is taken by ")]
    assert [cause for cause in causes if " listens on 443/tcp, " in cause]
    assert len(causes) == 5
    machine.write("/etc/wireguard/cgnat-relay/known", "base /etc/wireguard/wg0.peers\n")
    assert machine.causes("ours") == causes


def test_with_all_packages_there_nothing_is_asked_of_apt(machine: Machine) -> None:
    """Or a relay that runs could not be changed while its machine updates itself."""
    there = [term for term in TERMS if not term.startswith("package ")]
    there += ["package coreutils", "package dpkg"]
    assert machine.run(HALF.replace("NAME", "half")) == "half-configured"
    argv = ["chroot", ROOT, "/usr/bin/python3", "-c", LOCK, "/var/lib/dpkg/lock-frontend"]
    holder = machine.host.start(argv)
    locked = f"apt is locked by python3 (pid {holder.pid})"
    eventually(lambda: machine.causes() == [locked], "the lock, where one is missing")
    assert machine.look("ours", terms=there) == machine.look(terms=there) == []
    assert machine.causes("ours", terms=[*there, "package another"]) == [locked]
    # A run that was cut short in the middle of it has apt finish.
    machine.write("/etc/wireguard/cgnat-relay/coming", "")
    assert machine.causes("ours", terms=there) == [locked]
    machine.run("rm /etc/wireguard/cgnat-relay/coming")
    used = int(machine.host.run("df --output=used -k /mnt").split()[-1])
    machine.host.run(f"mount -o remount,size={used + 7 * 1024}k /mnt")
    assert machine.look("ours", terms=there) == []
    machine.host.run(f"mount -o remount,size={used + 5 * 1024}k /mnt")
    (cause,) = machine.causes("ours", terms=there)
    assert re.fullmatch("/var, /usr, /etc: [45] MiB free, 6 are needed", cause)


def test_a_package_lacks_what_it_needs(machine: Machine) -> None:
    """Then apt installs nothing; dpkg itself calls it whole."""
    assert machine.run(LACKS.replace("NAME", "lacks")) == "installed"
    asked = "apt-get -s install coreutils lacks 2>&1"
    assert "Unmet dependencies" in machine.run(f"{asked}; :")
    ((kind, cause, fix),) = machine.look()
    assert kind == "fault"
    assert cause == "apt installs nothing, for what these packages need is missing: lacks"
    assert fix == "sudo apt-get --fix-broken install"
    # Nothing is asked where nothing is to be installed, nor of what a run of ours left.
    there = [term for term in TERMS if not term.startswith("package ")]
    assert machine.look(terms=[*there, "package coreutils"]) == machine.look("ours") == []
    # What waits for others' locks and networks does not wait for that.
    machine.run("rm -r /etc/apt/sources.list*")
    start = time.monotonic()
    command = "sh /run/look/setup packages not-there-yet 2>&1; echo $?"
    said = machine.run(command).splitlines()
    assert said[-2:] == [
        "setup: apt installs nothing until this is mended: sudo apt-get --fix-broken install",
        "1",
    ]
    assert time.monotonic() - start < 30
    machine.run("dpkg --purge lacks")
    assert machine.look() == []
    # The relay's own, which its next run brings in order.
    machine.run(LACKS.replace("NAME", "conntrack"))
    assert machine.look() == []


def test_a_package_that_is_held_stands_against_ours(machine: Machine) -> None:
    """Nor does it wait for what never comes, once it has asked the sources."""
    machine.run(HELD)
    machine.run("rm -r /etc/apt/sources.list*; mkdir /etc/apt/sources.list.d")
    machine.write("/etc/apt/sources.list", "deb [trusted=yes] file:/run/source ./\n")
    command = "timeout 60 sh /run/look/setup packages coreutils wanted 2>&1; echo $?"
    said = machine.run(command).splitlines()
    assert said[-2:] == [
        "setup: could not install wanted: wanted : Depends: owned (>= 2) but 1 is to be installed"
        " (held: sudo apt-mark unhold owned)",
        "1",
    ]
    # Not held, it goes on: for the archive itself, which is nowhere.
    machine.run("apt-mark unhold owned; apt-mark hold dpkg")
    said = machine.run(command.replace("60", "6")).splitlines()
    assert "setup: " not in said[-2]
    assert said[-1] == "124"


def test_what_may_pass_is_waited_for(machine: Machine) -> None:
    """Neither a lock nor an archive that is away ends it."""
    machine.run("rm -r /etc/apt/sources.list*")
    command = "timeout 4 sh /run/look/setup packages not-there-yet 2>&1; code=$?; echo; echo $code"
    said = machine.run(command)
    assert "Unable to locate package" in said
    assert said.splitlines()[-1] == "124"
    machine.run(LACKS.replace("NAME", "lacks"))
    argv = ["chroot", ROOT, "/usr/bin/python3", "-c", LOCK, "/var/lib/dpkg/lock-frontend"]
    holder = machine.host.start(argv)
    eventually(lambda: machine.causes()[0].startswith("apt is locked"), "the lock")
    said = machine.run(command)
    assert "lock-frontend" in said
    assert said.splitlines()[-1] == "124"
    holder.terminate()


@pytest.mark.parametrize("case", BOOTS)
def test_forwarding_is_off_at_the_next_boot(machine: Machine, case: str) -> None:
    """The judge is systemd's own program, where it is here."""
    files, *lines = BOOTS[case]
    machine.run("mkdir -p /etc/sysctl.d && ln -sf ../sysctl.conf /etc/sysctl.d/99-sysctl.conf")
    for path, text in files.items():
        machine.write(path, text)
    found = machine.look()
    for (kind, cause, fix), line in zip(found, filter(None, lines), strict=True):
        number, _, name = line.partition(" ")
        assert (kind, fix) == ("fault", "remove that line, or set it to 1")
        assert re.match(
            rf"line {number} of \S+/{name}\.conf turns forwarding off at each boot", cause
        )
    four = [finding for finding in found if "(net/ipv4/" in finding[1]]
    assert machine.look(terms=[term for term in TERMS if term != "ipv6"]) == four
    if machine.run("ls /lib/systemd/systemd-sysctl", check=False):
        machine.write("/etc/sysctl.d/60-cgnat-relay.conf", OURS)
        assert machine.look() == found
        on = [not line for line in lines]
        *forwards, forwards6 = machine.run(BOOT).split()
        assert [forwards == ["1", "1"], forwards6 == "1"] == on


@pytest.mark.parametrize("switched", ["yes", "no"])
def test_ufw_turns_forwarding_off_where_it_is_switched_on(machine: Machine, switched: str) -> None:
    """By a file of its own (ufw(8)), whenever it starts."""
    machine.run("mkdir -p /etc/ufw")
    machine.write("/etc/ufw/ufw.conf", f"LOGLEVEL=low\nENABLED={switched}\n")
    machine.write("/etc/ufw/sysctl.conf", "#net/ipv4/ip_forward=1\nnet/ipv4/ip_forward=0\n")
    told = "line 2 of /etc/ufw/sysctl.conf turns forwarding off"
    assert [told in cause for cause in machine.causes()] == [True] * (switched == "yes")
    machine.write("/etc/ufw/sysctl.conf", "net/ipv4/ip_forward=1\n")
    assert not machine.causes()


# A second uplink, whose address is answered by a table of its own, as a hoster's guide has it.
UPLINK = """ip link add eth1 type veth peer name other
ip link set other up
ip addr add 198.51.100.7/24 dev eth1
ip link set eth1 up
ip route add default via 203.0.113.1
ip rule add from 198.51.100.7 lookup 101
ip route add default via 198.51.100.1 dev eth1 table 101"""


def test_answers_that_leave_by_another_uplink_are_told(machine: Machine) -> None:
    """What home answers is routed by home's address, whatever was dialled."""
    for line in UPLINK.splitlines():
        machine.host.run(line)
    machine.host.run("sysctl -qw net.ipv4.ip_forward=1")  # else both are told to be joined
    assert machine.look() == [], "the off-case: the main table's own address"
    second = [*TERMS[:-1], "dialled 198.51.100.7"]
    ((kind, cause, fix),) = machine.look(terms=second)
    assert (kind, cause) == (
        "note",
        "198.51.100.7 answers via 198.51.100.1 dev eth1, but what it forwards would be answered"
        " via 203.0.113.1 dev eth0",
    )
    assert "vps.host" in fix
    assert machine.look(terms=TERMS[:-1]) == [], "a name was dialled"
    machine.host.run("ip route del default")
    ((_, cause, _),) = machine.look(terms=second)
    assert "would be answered nowhere" in cause
    # Both by one gateway, whichever table says so.
    machine.host.run("ip route add default via 198.51.100.1")
    assert machine.look(terms=second) == []
    machine.host.run("ip rule del from 198.51.100.7 lookup 101")
    assert machine.look(terms=second) == []
