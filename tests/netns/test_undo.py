"""What others have come to need stays when the relay leaves, and it says so.

systemd, apt and dpkg are stand-ins (``untouched``): which package needs which is a list of names.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator

import pytest

from components.plan import STATIC

from ..unpacked import unpacked
from . import untouched
from .conftest import Lab
from .living import BIN, STATE, run
from .test_firewalld import PACKAGES as FIREWALLD
from .test_firewalld import Firewalld
from .untouched import PACKAGES, brought, gone, holds, left

FORWARD = "/proc/sys/net/ipv4/ip_forward"


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with untouched.machine(wg_env) as made:
        yield made


def test_who_takes_no_advertisements_takes_none(lab: Lab) -> None:
    """Who took them goes on to; a boot is ``setup`` after what the owner wrote down."""
    relay = lab.net["relay"]
    values = {"none": "0", "some": "1", "all-the-same": "2"}
    for name, value in values.items():
        relay.run(f"ip link add {name} type bridge")
        accepts(lab, name, value)
    before = holds(lab)
    brought(lab)
    assert [accepts(lab, name) for name in values] == ["0", "2", "2"]
    relay.run("ip link add new type bridge")
    assert accepts(lab, "new") == accepts(lab, "default") == "2"
    accepts(lab, "default", "0")
    accepts(lab, "some", "1")
    relay.run("/usr/local/lib/cgnat-relay/setup advertisements")
    assert [accepts(lab, name) for name in ("default", *values)] == ["0", "0", "2", "2"]
    relay.run("ip link del new")
    gone(lab)
    assert [accepts(lab, name) for name in values] == [*values.values()]
    assert left(lab, before) == []


def test_who_still_forwards_goes_on_to_take_advertisements(lab: Lab) -> None:
    """With 1 the kernel would take none, and the machine lose its address and its way out."""
    relay = lab.net["relay"]
    relay.run("ip link add some type bridge")
    accepts(lab, "some", "1")
    brought(lab)
    relay.run(["sh", "-c", f"echo docker.service >{BIN}/active"])
    gone(lab)
    assert relay.run("cat /proc/sys/net/ipv6/conf/some/forwarding") == "1\n"
    assert accepts(lab, "some") == "2"


def accepts(lab: Lab, name: str, value: str = "") -> str:
    """An interface's ``accept_ra``, once it is set."""
    file = f"/proc/sys/net/ipv6/conf/{name}/accept_ra"
    if value:
        lab.net["relay"].run(["sh", "-c", f"echo {value} >{file}"])
    return lab.net["relay"].run(f"cat {file}").strip()


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


def test_what_somebody_else_installs_meanwhile_is_theirs(lab: Lab) -> None:
    """While we wait for apt's lock, and after a run that was cut short in its middle."""
    relay = lab.net["relay"]
    relay.write(f"{BIN}/meanwhile", "their-server\n")
    brought(lab)
    relay.run(f"rm {BIN}/meanwhile")
    relay.run("nft flush map ip cgnat-relay ports")
    relay.run(f"touch {STATE}/coming")
    relay.run(["sh", "-c", f"echo their-tool >>{PACKAGES}"])
    brought(lab)
    assert "nftables" in installed(lab), "the off-case"
    assert gone(lab) == ""
    assert installed(lab) == ["base-files", "their-server", "their-tool"]


def test_a_package_that_is_there_is_not_asked_for(lab: Lab) -> None:
    """It would be upgraded, and restart what it has; or it is held, and nothing is installed."""
    relay = lab.net["relay"]
    relay.run(["sh", "-c", f"echo iptables >>{PACKAGES}"])
    brought(lab)
    (asked,) = relay.run(f"cat {BIN}/asked").splitlines()
    assert "nftables" in asked.split(), "the off-case"
    assert "iptables" not in asked.split()
    gone(lab)
    assert installed(lab) == ["base-files", "iptables"]
    asked = relay.run(f"cat {BIN}/asked").splitlines()
    assert [x.startswith("needrestart 1 ") for x in asked] == [True, True], "others' units restart"


def test_a_first_boot_is_waited_for_only_while_there_is_one(lab: Lab) -> None:
    """Where cloud-init is switched off its folder is there all the same, and it never ends."""
    relay = lab.net["relay"]
    relay.run("mkdir -p /run/cloud-init")
    start = time.monotonic()
    run(lab, f"sh {STATIC}/setup booted")
    assert time.monotonic() - start < 1
    relay.write("/run/cloud-init/status.json", "{}")
    ends = f"sleep 3; touch {BIN}/ended; echo {{}} >/run/cloud-init/result.json"
    relay.start(["sh", "-c", ends])
    run(lab, f"sh {STATIC}/setup booted; [ -e {BIN}/ended ]")
    # Nor for one that has failed.
    relay.run("rm /run/cloud-init/result.json")
    relay.run(f"touch {BIN}/failed")
    run(lab, f"sh {STATIC}/setup booted")


@pytest.mark.parametrize("booting", [True, False])
def test_only_a_first_boot_writes_unsafely(lab: Lab, booting: bool) -> None:
    """One that is cut short is begun anew."""
    relay = lab.net["relay"]
    relay.run("mkdir -p /run/cloud-init")
    for name in ("status", *(["result"] if not booting else [])):
        relay.write(f"/run/cloud-init/{name}.json", "{}")
    run(lab, f"sh {STATIC}/setup packages iptables")
    assert ("force-unsafe-io" in relay.run(f"cat {BIN}/asked")) == booting


def test_an_owners_nftables_conf_outlives_our_package(lab: Lab) -> None:
    """Written by hand, or left by a package that was removed: to dpkg it is the package's."""
    relay = lab.net["relay"]
    relay.write("/etc/nftables.conf", "# mine\n")
    relay.run("chmod 640 /etc/nftables.conf")
    before = holds(lab)
    brought(lab)
    assert gone(lab) == ""
    assert relay.run("cat /etc/nftables.conf") == "# mine\n"
    assert left(lab, before) == []
    # As it is by then.
    brought(lab)
    relay.write("/etc/nftables.conf", "# mine, and newer\n")
    gone(lab)
    assert relay.run("cat /etc/nftables.conf") == "# mine, and newer\n"


def test_packages_of_ours_do_not_keep_each_other(lab: Lab) -> None:
    """They came without what they recommend, and it is there for nobody else."""
    relay = lab.net["relay"]
    brought(lab)
    relay.run(f"sed -i 's/^wireguard-tools$/wireguard-tools nftables~/' {PACKAGES}")
    relay.run("touch /etc/wireguard/wg1.conf")
    assert "package wireguard-tools stays" in gone(lab)
    assert "nftables" not in installed(lab)


def test_rules_of_ours_that_somebody_saved_are_told(lab: Lab) -> None:
    relay = lab.net["relay"]
    brought(lab)
    relay.run("mkdir -p /etc/iptables")
    relay.run(["sh", "-c", "iptables-save >/etc/iptables/rules.v4"])
    assert gone(lab).startswith("/etc/iptables/rules.v4 holds rules of the relay")


def test_a_folder_that_was_empty_before_stays(lab: Lab) -> None:
    relay = lab.net["relay"]
    relay.run(["sh", "-c", "rm -rf /usr/local/lib; mkdir /usr/local/lib"])
    before = holds(lab)
    brought(lab)
    gone(lab)
    assert left(lab, before) == []


def test_another_interface_that_is_named_as_ours_might_be_stays(lab: Lab) -> None:
    """``wg0-2`` is there while the relay's own key changes, and at no other time ours."""
    relay = lab.net["relay"]
    brought(lab)
    relay.run("ip link add wg0-2 type veth peer name their-end")
    gone(lab)
    assert "wg0-2@" in relay.run("ip -o link show")
    assert "wg0:" not in relay.run("ip -o link show"), "the off-case"


def test_firewalld_is_untold_while_it_does_not_run(lab: Lab) -> None:
    """Its own program writes its files."""
    packages = unpacked("firewalld", *FIREWALLD.split())
    relay = lab.net["relay"]
    relay.run(f"cp -r {packages}/etc/firewalld /etc/")
    words = shlex.join(Firewalld(relay, packages).words("firewall-offline-cmd"))
    folders = f"--system-config=/etc/firewalld --default-config={packages}/usr/lib/firewalld"
    brought(lab)
    relay.write(f"{BIN}/firewall-offline-cmd", f'#!/bin/sh\nexec {words} {folders} "$@"\n')
    relay.write(f"{BIN}/firewall-cmd", "#!/bin/sh\nexit 252\n")
    relay.run(f"chmod 755 {BIN}/firewall-offline-cmd {BIN}/firewall-cmd")

    def told() -> set[str]:
        return set(relay.run(f"{BIN}/firewall-offline-cmd --list-ports").split())

    relay.write(f"{STATE}/firewalld", "51820/udp\n")
    relay.run(f"{BIN}/firewall-offline-cmd --add-port=51820/udp --add-port=80/tcp")
    assert told() == {"51820/udp", "80/tcp"}
    assert gone(lab) == ""
    assert told() == {"80/tcp"}


VPN = "/etc/sysctl.d/98-vpn.conf"
UFW = "/etc/ufw/sysctl.conf"
FORWARDS = (
    "net.ipv4.ip_forward=1",
    "-net/ipv4/ip_forward = 1",
    "net.ipv4.conf.all.forwarding = 1",
    "net/ipv4/conf/default/forwarding=1",
    "net.ipv6.conf.all.forwarding = 1",
)
FORWARDS_NOT = (
    "# net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.forwarding = 0",
    "net.ipv4.conf.all.mc_forwarding = 1",
)
OWN = """cat >/etc/nftables.conf <<END
table ip filter {
	chain input { type filter hook input priority 0; policy drop; iif lo accept; }
}
END"""
NEEDS = [
    ("wireguard-tools", "touch /etc/wireguard/wg1.conf", "/etc/wireguard/wg1.conf"),
    ("nftables", "nft add table inet mine", "table inet mine"),
    # As iptables names its tables, but not its chains.
    ("nftables", f"{OWN}\nnft -f /etc/nftables.conf; rm /etc/nftables.conf", "table ip filter"),
    ("nftables", OWN, "/etc/nftables.conf"),
    ("nftables", f"echo 'their-bans nftables~ other~' >>{PACKAGES}", "their-bans"),
    ("iptables", f"echo 'their-bans iptables~' >>{PACKAGES}", "their-bans"),
    (
        "iptables",
        "iptables -A FORWARD -d 192.0.2.77 -j DROP",
        "-A FORWARD -d 192.0.2.77/32 -j DROP",
    ),
]


@pytest.mark.parametrize(("package", "command", "why"), NEEDS)
def test_a_package_whose_work_somebody_uses_stays(
    lab: Lab, package: str, command: str, why: str
) -> None:
    relay = lab.net["relay"]
    relay.run(["sh", "-c", f"echo 'there-before iptables~ conntrack~' >>{PACKAGES}"])
    relay.run("rm -f /etc/nftables.conf")
    brought(lab)
    relay.run(["sh", "-c", command])
    assert f"package {package} stays, for {why}" in gone(lab).splitlines()
    # iptables' own tables are no work of nft's.
    ours = {name for name, _, _ in NEEDS} | {"conntrack"}
    assert ours & set(installed(lab)) == {package}


HIDES = "iptables -t nat -A POSTROUTING -s 10.99.0.0/24 -j MASQUERADE"


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_hides_a_network_behind_the_machine_needs_forwarding(lab: Lab, when: str) -> None:
    """Podman, Kubernetes, networkd, another VPN; one that had it without forwarding has that."""
    relay = lab.net["relay"]
    if when == "before":
        relay.run(HIDES)
    brought(lab)
    if when == "after":
        relay.run(HIDES)
    said = gone(lab)
    stays = [line for line in said.splitlines() if line.startswith("forwarding stays on, for rule")]
    assert ["10.99.0.0/24" in line for line in stays] == [True] * (when == "after")
    assert relay.run(f"cat {FORWARD}") == ("1\n" if stays else "0\n")


@pytest.mark.parametrize(
    ("needs", "who"),
    [
        (f"echo docker.service >{BIN}/active", "docker.service"),
        (f"echo snap.lxd.daemon.service >{BIN}/active", "snap.lxd.daemon.service"),
        (f"echo incus.service >{BIN}/active", "incus.service"),
        (f"echo cron.service >{BIN}/active", ""),
        *((f"echo '{line}' >{VPN}", VPN) for line in FORWARDS),
        (f"mkdir -p /etc/ufw; echo net/ipv4/ip_forward=1 >{UFW}", UFW),
        *((f"echo '{line}' >{VPN}", "") for line in FORWARDS_NOT),
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
