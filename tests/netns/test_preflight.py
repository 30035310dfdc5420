"""What is found on a machine before it is adopted: each finding, and the same without its cause."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..waiting import eventually
from .adopted import ADDRESS, NOBODY, ROOT, TERMS, Machine
from .conftest import TALK
from .topology import Host, hosts

# A package whose installation fails: NAME.
HALF = """set -eu
mkdir -p /tmp/half/DEBIAN
cd /tmp
cat >half/DEBIAN/control <<END
Package: NAME
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: fails
END
printf '#!/bin/sh\\nexit 1\\n' >half/DEBIAN/postinst
chmod 755 half/DEBIAN/postinst
dpkg-deb --build half >/dev/null
! dpkg --force-depends --install half.deb >/dev/null 2>&1
dpkg-query -W -f '${db:Status-Status}' NAME
"""
# As apt does it: a POSIX lock on the whole file.
LOCK = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, 2); time.sleep(60)"


@pytest.fixture
def machine(wg_env: dict[str, str]) -> Iterator[Machine]:
    with hosts("adopted", wg_env) as net:
        yield Machine(net["adopted"])


def listen(
    machine: Machine, at: str, port: int, verb: str = "serve"
) -> tuple[str, subprocess.Popen[str]]:
    """A server of TCP and UDP, and what it is called."""
    server = machine.host.start([*TALK, verb, at, str(port)])
    kind = "u" if verb == "serve" else "t"  # it comes last
    eventually(lambda: f":{port} " in machine.host.run(f"ss -Hln{kind}"), f"a server of {port}")
    return f"{Path(f'/proc/{server.pid}/comm').read_text().strip()} (pid {server.pid})", server


def test_a_sound_machine_has_no_findings(machine: Machine) -> None:
    assert machine.look() == []


def test_only_terms_that_cannot_be_read_are_a_failure(machine: Machine) -> None:
    command = ["sh", "/run/look/preflight", "/run/look"]
    done = subprocess.run(machine.host.argv(command), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "FOLDER/terms" in done.stderr


def test_not_root(machine: Machine) -> None:
    (finding,) = machine.look(user=NOBODY)
    assert finding[:2] == ("fault", "user nobody is not root")
    assert "sudo" in finding[2]


RELEASES = {
    "ID=debian\nVERSION_ID='11'": True,
    "ID=debian\nVERSION_ID=13": True,
    'ID=ubuntu\nVERSION_ID="22.04"': True,
    "ID=debian\nVERSION_ID=10": False,
    "ID=debian": False,
    'ID=ubuntu\nVERSION_ID="20.04"': False,
    'ID=ubuntu\nVERSION_ID="9.10"': False,
    'ID="rocky"\nID_LIKE="rhel debian"\nVERSION_ID="22.04"': False,
}


def test_distribution(machine: Machine) -> None:
    found = {}
    for release in RELEASES:
        machine.write("/etc/os-release", f'PRETTY_NAME="This One"\n{release}\n')
        found[release] = machine.causes()
    no = "This One is not supported"
    assert found == {release: [] if fine else [no] for release, fine in RELEASES.items()}
    machine.write("/etc/os-release", "")
    assert machine.causes() == ["an unknown distribution is not supported"]


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("debian\nVERSION_ID=13", True),
        ("debian\nVERSION_ID=14", False),
        ("ubuntu\nVERSION_ID=24.04", True),
        ("ubuntu\nVERSION_ID=24.10", False),
    ],
)
def test_a_newer_distribution_is_a_note(machine: Machine, release: str, known: bool) -> None:
    machine.write("/etc/os-release", f'PRETTY_NAME="This One"\nID={release}\n')
    found = machine.look()
    assert [kind for kind, _, _ in found] == ([] if known else ["note"])
    assert known or "This One is newer than what was tried" in found[0][1]
    assert machine.look("ours") == []


def test_no_systemd(machine: Machine) -> None:
    machine.run("rmdir /run/systemd/system")
    assert machine.causes() == ["the machine was not started by systemd"]


def test_apt_is_locked(machine: Machine) -> None:
    for lock in ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"):
        argv = ["chroot", ROOT, "/usr/bin/python3", "-c", LOCK, lock]
        holder = machine.host.start(argv)
        cause = f"apt is locked by python3 (pid {holder.pid})"
        eventually(lambda cause=cause: machine.causes() == [cause], cause)
        holder.terminate()
        holder.wait(timeout=10)
        # The file stays, and does not count.
        assert machine.look() == []


def test_dpkg_is_broken(machine: Machine) -> None:
    assert machine.run(HALF.replace("NAME", "half")) == "half-configured"
    ((kind, cause, fix),) = machine.look()
    assert (kind, cause) == ("fault", "dpkg has packages that are half installed: half")
    assert "dpkg --configure -a" in fix
    # A run of ours that was cut short is finished by the next.
    assert machine.look("ours") == []
    machine.run("dpkg --purge half")
    assert machine.look() == []
    # What the relay brings itself, its next run configures.
    assert machine.run(HALF.replace("NAME", "conntrack")) == "half-configured"
    assert machine.look() == []


def test_disk_is_full(machine: Machine) -> None:
    machine.host.run(f"mount -t tmpfs -o size=1m none {ROOT}/var")
    assert machine.causes() == ["/var: 1 MiB free, 250 are needed"]
    machine.host.run(f"mount -o remount,size=260m {ROOT}/var")
    assert machine.look() == []
    machine.host.run(f"mount -o remount,nr_inodes=100 {ROOT}/var")
    (cause,) = machine.causes()
    assert cause.endswith("inodes free, 1000 are needed")
    machine.host.run(f"umount {ROOT}/var")
    # Enough for each, not for all.
    machine.host.run("mount -o remount,size=300m /mnt")
    (cause,) = machine.causes()
    assert cause.startswith("/var, /usr, /etc: ")
    assert cause.endswith(" MiB free, 360 are needed")


def test_no_wireguard_in_the_kernel(machine: Machine) -> None:
    machine.modules("wireguard")
    ((kind, cause, fix),) = machine.look()
    assert (kind, cause) == ("fault", "the kernel has no WireGuard")
    assert "linux-image-amd64" in fix
    machine.run("mv /lib/modules/* /lib/modules/newer")
    assert [fix for _, _, fix in machine.look()] == ["sudo reboot"] * 2
    machine.run("rmdir /sys/module/wireguard || mkdir /sys/module/wireguard")
    (cause,) = machine.causes()
    assert cause.startswith("the kernel has no nftables")


def test_a_module_that_can_be_loaded_counts(machine: Machine) -> None:
    machine.modules(listed="modules.dep")
    assert machine.look() == []


def test_a_container_cannot_load_a_module(machine: Machine) -> None:
    machine.modules(listed="modules.dep")
    machine.write("/run/systemd/container", "lxc")  # as systemd notes it at boot
    findings = machine.look()
    assert [cause for _, cause, _ in findings] == [
        "the kernel has no WireGuard, and a container (lxc) cannot load it",
        "the kernel has no nftables (missing: nf_tables nft_chain_nat nft_compat),"
        " and a container (lxc) cannot load it",
    ]
    assert all("KVM" in fix for _, _, fix in findings)
    # What the host has loaded, or built in, the container has too.
    machine.run("cd /sys/module && mkdir wireguard nf_tables nft_chain_nat nft_compat")
    assert machine.look() == []


def test_no_nftables_in_the_kernel(machine: Machine) -> None:
    machine.modules("nft_chain_nat", "nft_compat")
    cause = "the kernel has no nftables (missing: nft_chain_nat nft_compat)"
    assert machine.causes() == [cause]
    machine.modules("nf_tables")
    assert machine.causes() == ["the kernel has no nftables (missing: nf_tables)"]


def test_a_kernel_without_a_list_of_modules_is_asked_for_its_symbols(machine: Machine) -> None:
    machine.modules("wireguard", listed="none")
    assert len(machine.look()) == 2
    machine.host.run(f"umount {ROOT}/proc/kallsyms")
    # The kernel that runs this has nftables.
    assert [c for c in machine.causes() if "nftables" in c] == []


def test_where_iptables_is_legacy_rules_of_nfts_kind_are_the_owners(machine: Machine) -> None:
    """Ours stand in the older tables then, and undo no drop there."""
    machine.host.run("iptables -P FORWARD DROP")
    assert machine.look() == []
    machine.run("mkdir -p /usr/local/sbin")
    machine.write("/usr/local/sbin/iptables", "#!/bin/sh\necho 'iptables v1.8.9 (legacy)'\n")
    machine.run("chmod 755 /usr/local/sbin/iptables")
    ((kind, cause, fix),) = machine.look()
    assert kind == "fault"
    assert cause == "chain FORWARD of table ip filter in nft drops all that the tunnel carries"
    assert "insert rule ip filter FORWARD" in fix


def test_forwarding_joins_all_interfaces(machine: Machine) -> None:
    host = machine.host
    host.run("ip link add lan type bridge")
    host.run("sysctl -qw net.ipv4.ip_forward=0")
    assert machine.look() == [], "one that has no address"
    host.run("ip addr add 192.168.77.1/24 dev lan")
    ((kind, cause, fix),) = machine.look()
    assert kind == "note"
    assert cause.startswith("the machine will forward between its own interfaces too, ")
    assert "lan" in cause
    assert "iptables -P FORWARD DROP" in fix
    host.run("iptables -P FORWARD DROP")
    assert machine.look() == [], "it is dropped"
    host.run("iptables -P FORWARD ACCEPT")
    host.run("sysctl -qw net.ipv4.ip_forward=1")
    assert machine.look() == [], "it does already"


def test_rules_of_legacy_iptables(machine: Machine) -> None:
    made = machine.host.run(["sh", "-c", "iptables-legacy -A INPUT -j ACCEPT 2>&1 || :"])
    if made:
        pytest.skip(f"this kernel has no legacy iptables: {made.strip()}")
    assert machine.look() == []
    machine.host.run("iptables-legacy -P FORWARD DROP")
    ((kind, cause, fix),) = machine.look()
    assert kind == "fault"
    assert cause == "rules of iptables-legacy are in force beside those of nftables"
    assert "update-alternatives --set iptables " in fix
    machine.host.run("iptables-legacy -P FORWARD ACCEPT")
    machine.host.run("iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT")
    assert machine.causes() == [cause]
    # Where the machine's own iptables is the older one, ours goes there too.
    machine.run("ln -sf /usr/sbin/iptables-legacy /usr/local/sbin/iptables")
    assert machine.look() == []


def test_interface_is_there(machine: Machine) -> None:
    machine.host.run("ip link add wg0 type bridge")
    ((kind, cause, fix),) = machine.look()
    assert (kind, cause) == ("fault", "there is an interface wg0 already")
    assert "systemctl disable --now wg-quick@wg0" in fix
    machine.host.run("ip link set wg0 name wg1")
    assert machine.look() == []
    machine.write("/etc/wireguard/wg0.conf", "[Interface]\n")
    ((kind, cause, fix),) = machine.look()
    assert (kind, cause) == ("fault", "there is a /etc/wireguard/wg0.conf already")
    assert "sudo mv /etc/wireguard/wg0.conf" in fix
    machine.run("mv /etc/wireguard/wg0.conf /etc/wireguard/wg0-2.conf")
    assert machine.look() == []
    # While the relay has a next key.
    cause = "there is a /etc/wireguard/wg0-2.conf already"
    assert [found for _, found, _ in machine.look("interface wg0-2")] == [cause]


def test_udp_port_is_taken_by_a_process(machine: Machine) -> None:
    """On any address."""
    for at in ("0.0.0.0", "127.0.0.1", "::"):  # noqa: S104
        who, server = listen(machine, at, 51820)
        ((kind, cause, fix),) = machine.look()
        assert (kind, cause) == ("fault", f"UDP port 51820 is taken by {who}")
        assert "tunnel.port" in fix
        server.terminate()
        server.wait(timeout=10)
    listen(machine, "0.0.0.0", 51821)  # noqa: S104
    listen(machine, "0.0.0.0", 51820, "segments")  # noqa: S104 - TCP alone
    assert machine.look() == []


def test_udp_port_is_taken_by_the_kernel(machine: Machine) -> None:
    """By a VXLAN device, whose socket has no process either."""
    add = "ip link add vx0 type vxlan id 1 local 203.0.113.7 dev eth0 dstport"
    machine.host.run(f"{add} 51820")
    machine.host.run("ip link set vx0 up")
    assert machine.causes() == ["UDP port 51820 is taken by the kernel"]
    # A stand-in: so the kernel's WireGuard marks its interfaces.
    machine.write("/run/uevent", "DEVTYPE=wireguard\nINTERFACE=vx0\n")
    machine.host.run(f"mount --bind /run/uevent {ROOT}/sys/class/net/vx0/uevent")
    cause = "UDP port 51820 is taken by the kernel, perhaps by WireGuard on vx0"
    assert machine.causes() == [cause]
    machine.host.run(f"umount {ROOT}/sys/class/net/vx0/uevent")
    machine.host.run("ip link del vx0")
    machine.host.run(f"{add} 51821")
    machine.host.run("ip link set vx0 up")
    assert machine.look() == []


@pytest.mark.parametrize("address", ["172.16.0.200/32", "172.16.0.130/25", "172.31.0.1/12"])
def test_network_is_in_use_by_an_address(machine: Machine, address: str) -> None:
    machine.host.run(f"ip addr add {address} dev eth0")
    ((kind, cause, fix),) = machine.look()
    assert kind == "fault"
    assert cause == f"the tunnel's network 172.16.0.0/24 is in use on eth0: {address}"
    assert "tunnel.network" in fix


@pytest.mark.parametrize(
    ("route", "found"),
    [
        ("172.16.0.64/26 via 203.0.113.1 table 7", "eth0: 172.16.0.64/26"),
        ("172.16.0.9 dev eth0", "eth0: 172.16.0.9"),
        ("172.16.0.0/12 nexthop via 203.0.113.1 nexthop via 203.0.113.2", "eth0: 172.16.0.0/12"),
        ("local 172.16.0.0/24 dev lo", "lo: 172.16.0.0/24"),
    ],
)
def test_network_is_in_use_by_a_route(machine: Machine, route: str, found: str) -> None:
    machine.host.run(f"ip route add {route}")
    assert machine.causes() == [f"the tunnel's network 172.16.0.0/24 is in use on {found}"]


def test_networks_beside_the_tunnels_are_no_trouble(machine: Machine) -> None:
    for address in ("172.16.1.1/24", "172.15.255.255/32", "172.17.0.1/16", "172.16.1.0/32"):
        machine.host.run(f"ip addr add {address} dev eth0")
    for route in ("default", "0.0.0.0/1", "128.0.0.0/1"):
        machine.host.run(f"ip route add {route} via 203.0.113.1")
    machine.host.run("ip route add blackhole 172.16.0.0/12")
    assert machine.look() == []


def test_networks_of_a_device_come_together(machine: Machine) -> None:
    """Also those that differ in their last bits alone."""
    for address in ("172.16.0.5/32", "172.16.0.6/32"):
        machine.host.run(f"ip addr add {address} dev eth0")
    assert machine.causes() == [
        "the tunnel's network 172.16.0.0/24 is in use on eth0: 172.16.0.5/32, 172.16.0.6/32"
    ]


def test_network_is_in_use_by_another_wireguard(machine: Machine) -> None:
    wireguard(machine.host, "wg1")
    machine.host.run("wg set wg1 peer " + "A" * 42 + "E= allowed-ips 10.9.0.0/24,0.0.0.0/0")
    assert machine.look() == []
    machine.host.run("wg set wg1 peer " + "A" * 42 + "E= allowed-ips 10.9.0.0/24,172.16.0.8/29")
    assert machine.causes() == [
        "the tunnel's network 172.16.0.0/24 is in use on wg1: 172.16.0.8/29"
    ]


def wireguard(host: Host, name: str) -> None:
    """An interface without addresses and routes, of the kernel's or of a daemon."""
    userspace = host.env.get("WG_QUICK_USERSPACE_IMPLEMENTATION")
    host.run([userspace, name] if userspace else f"ip link add {name} type wireguard")


def test_port_is_listened_on(machine: Machine) -> None:
    """Each server is one of TCP and UDP; the terms forward one of the two."""
    found = {
        ("0.0.0.0", 80): "80/tcp",  # noqa: S104
        ("::", 443): "443/tcp",
        (ADDRESS, 27015): "27015/udp",
        ("0.0.0.0", 27020): "27020/udp",  # noqa: S104
        ("0.0.0.0", 27014): "",  # noqa: S104
        ("0.0.0.0", 27021): "",  # noqa: S104
        ("0.0.0.0", 8080): "",  # noqa: S104
        ("127.0.0.53", 27016): "",
        ("::1", 27017): "",
        # One port, two servers.
        ("127.0.0.53", 27018): "",
        (ADDRESS, 27018): "27018/udp",
        (ADDRESS, 27019): "27019/udp",
        ("127.0.0.53", 27019): "",
    }
    expected = set()
    for at, port in found.items():
        who, _ = listen(machine, *at)
        if port:
            expected.add(f"{who} listens on {port}, and callers would no longer reach it")
    findings = machine.look()
    assert {cause for _, cause, _ in findings} == expected
    assert all(kind == "fault" and "homes[].forwards" in fix for kind, _, fix in findings)


def test_a_name_cannot_pass_for_a_finding(machine: Machine) -> None:
    name = 'a\tb"),\nnote\t'
    code = (
        "import socket, time; s = socket.create_server(('', 80));"
        f"open('/proc/self/comm', 'w').write({name!r}); time.sleep(60)"
    )
    machine.host.start([sys.executable, "-c", code])
    eventually(lambda: machine.look(), "a finding")
    kinds = [kind for kind, _, _ in machine.look()]
    assert "note" not in kinds


def test_clock(machine: Machine) -> None:
    assert machine.look(ahead=80) == machine.look(ahead=-80) == []
    for ahead, side in ((200, "ahead of"), (-200, "behind")):
        ((kind, cause, fix),) = machine.look(ahead=ahead)
        assert kind == "fault"
        assert re.fullmatch(rf"the machine's clock is \d+ s {side} your computer's", cause)
        assert "timedatectl" in fix


@pytest.mark.parametrize("address", ["198.51.100.9", "2001:db8::7"])
def test_a_providers_nat_is_a_note(machine: Machine, address: str) -> None:
    terms = [*TERMS[:-1], f"dialled {address}"]
    ((kind, cause, fix),) = machine.look(terms=terms)
    assert (kind, fix.startswith("nothing to do")) == ("note", True)
    assert cause.startswith(f"{address} is on no interface")
    machine.host.run(f"ip addr add {address} dev eth0")
    assert machine.look(terms=terms) == []
    assert machine.look(terms=[*TERMS[:-1], "dialled relay.example.org"]) == []


def test_all_findings_come_at_once(machine: Machine) -> None:
    machine.write("/etc/os-release", "ID=alpine\nVERSION_ID=3\n")
    machine.run("rmdir /run/systemd/system")
    machine.modules("wireguard", "nf_tables")
    machine.host.run("ip link add wg0 type bridge")
    machine.host.run("ip addr add 172.16.0.5/16 dev wg0")
    machine.host.run(f"mount -t tmpfs -o size=1m none {ROOT}/var")
    listen(machine, "0.0.0.0", 80)  # noqa: S104
    found = machine.look(ahead=999, terms=[*TERMS[:-1], "dialled 198.51.100.9"])
    assert [kind for kind, _, _ in found] == ["fault"] * 9 + ["note"]
