"""The relay on a machine that does other things: others' firewalls, containers and bans.

Each neighbour is Debian's own package. It is there before the relay, runs on all the while, and has
its own work to do: a caller is let in to one port of the machine's own, and refused at another,
whatever the relay forwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from .. import table
from ..hand_written import written
from ..waiting import BOOT, eventually
from .adopted import FORWARDS, HELLO, MATRIX, Adopted, as_at_first

pytestmark = MATRIX

# Its owner lets in what the page says, and a port of the machine's own.
OWN_NFT = written().replace("tcp dport 22", "tcp dport { 22, 8443 }")
ORACLE = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 8443 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
COMMIT
"""
# Two: of SSH, where the caller is not to be shut out, and of the port that it is refused.
JAILS = """\
[DEFAULT]
backend = systemd
bantime = 1d
[sshd]
[pages]
enabled = true
filter = sshd
port = 81
"""
# A root file system of one program: no image can be pulled where there is no registry. Its owner
# drops what is not for a container, in the chain that Docker keeps for that and puts first.
BOX = """\
set -e
mkdir -p /run/box/bin /run/box/www
cp /bin/busybox /run/box/bin/
echo hello from a container >/run/box/www/index.html
tar -C /run/box -c . | docker import - box >/dev/null
docker run -d --restart=always --name web -p 8443:80 box /bin/busybox httpd -f -h /www
iptables -I DOCKER-USER ! -i docker0 ! -o docker0 -j DROP
"""


@dataclass(frozen=True)
class Neighbour:
    """What comes, what asks whether it does its own work, and how it goes."""

    packages: str
    enter: str
    own: str
    leave: str
    events: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    shuts: tuple[str, ...] = ()  # what takes away that the tunnel's port is let in
    serves: bool = False  # what answers on 8443 is its own, and it refuses nothing on 81


def service(name: str) -> dict[str, str]:
    return {
        "restart": f"systemctl restart {name}",
        "stop, start": f"systemctl stop {name}; systemctl start {name}",
    }


NEIGHBOURS = {
    "nftables": Neighbour(
        "nftables",
        "cat >/etc/nftables.conf; systemctl -q enable --now nftables",
        "nft list chain inet filter forward | grep 'policy drop'",
        "systemctl -q disable --now nftables",
        {"reload": "systemctl reload nftables", **service("nftables")},
        stdin=OWN_NFT,
    ),
    "ufw": Neighbour(
        "ufw",
        "ufw allow 22/tcp; ufw allow 8443/tcp; ufw --force enable",
        "ufw status | grep '^22/tcp *ALLOW' && iptables -S INPUT | grep -e '-P INPUT DROP'",
        "ufw disable; apt-get -q -y purge ufw;"
        " for tool in iptables ip6tables; do $tool -F; $tool -X; done",
        {"reload": "ufw reload", **service("ufw")},
        shuts=("iptables -F RELAY-INPUT",),
    ),
    "firewalld": Neighbour(
        "firewalld",
        "systemctl -q enable --now firewalld;"
        " firewall-cmd --permanent --add-port=8443/tcp; firewall-cmd --reload",
        "firewall-cmd --state && nft list table inet firewalld",
        "systemctl -q disable --now firewalld",
        {"reload": "firewall-cmd --reload", **service("firewalld")},
        shuts=("firewall-cmd --remove-port=51820/udp",),
    ),
    "Docker": Neighbour(
        "docker.io apparmor busybox-static",
        BOX,
        "docker inspect -f '{{.State.Running}}' web | grep true"
        " && iptables -S FORWARD | grep -e '-P FORWARD DROP'",
        "iptables -F DOCKER-USER; docker rm -f web;"
        " systemctl -q disable --now docker.socket docker containerd",
        {"reload": "systemctl reload docker", **service("docker.socket docker")},
        serves=True,
    ),
    "fail2ban": Neighbour(
        "fail2ban python3-systemd iptables",
        "cat >/etc/fail2ban/jail.d/here.conf; systemctl restart fail2ban;"
        " timeout 60 sh -c 'until fail2ban-client set sshd banip 192.0.2.66; do sleep 1; done';"
        " fail2ban-client set pages banip $CALLER",
        "iptables -S f2b-sshd | grep 192.0.2.66 && iptables -S INPUT | grep f2b-sshd",
        "systemctl -q disable --now fail2ban",
        {"reload": "fail2ban-client reload", **service("fail2ban")},
        stdin=JAILS,
    ),
    "Oracle's image": Neighbour(
        "iptables-persistent",
        "cat >/etc/iptables/rules.v4; systemctl -q enable netfilter-persistent;"
        " systemctl restart netfilter-persistent",
        "iptables -S INPUT | grep REJECT && iptables -S FORWARD | grep REJECT",
        "rm /etc/iptables/rules.v4; systemctl -q disable --now netfilter-persistent;"
        " netfilter-persistent flush; apt-get -q -y purge iptables-persistent",
        {
            "reload": "systemctl reload-or-restart netfilter-persistent",
            **service("netfilter-persistent"),
        },
        stdin=ORACLE,
        shuts=("iptables -F RELAY-INPUT",),
    ),
}
COLUMNS = ("beside it", "a port added", "reload", "restart", "stop, start", "reboot", "left again")
WORKS = "works"


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, list[str]]]:
    """The rows of those that were seen whole; the page takes them."""
    found: dict[str, list[str]] = {}
    yield found
    table.write("adopt.md", "neighbours", ["neighbour", *COLUMNS], list(NEIGHBOURS), found)


@pytest.fixture(scope="module")
def machine(booted: Adopted, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    """A machine that has what a relay needs, so that each adoption is a short one."""
    made = as_at_first(booted, tmp_path_factory.mktemp("neighbours"))
    made.run("apt-get -q update >/dev/null 2>&1")
    made.install("wireguard-tools nftables iptables conntrack curl")
    return made


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_both_do_their_work(machine: Adopted, seen: dict[str, list[str]], name: str) -> None:
    neighbour = NEIGHBOURS[name]
    cells: dict[str, str] = {}

    def works(column: str, forwarded: bool = True) -> None:
        eventually(lambda: machine.well(neighbour.own), f"{name}: {column}: its own", within=150)
        eventually(lambda: machine.answers(8443), f"{name}: {column}: its port", within=60)
        assert neighbour.serves or not machine.answers(81), f"{name}: {column}: what it refuses"
        if forwarded:
            ours = "iptables -C INPUT -j RELAY-INPUT && iptables -C FORWARD -o wg0 -j WG0-FORWARD"
            eventually(lambda: machine.well(ours), f"{name}: {column}: what refuses", within=60)
            machine.script("house.sh", "anew")  # a handshake on a flow that nobody knows yet
            eventually(lambda: machine.answers(80), f"{name}: {column}: the page", within=150)
            eventually(machine.hears, f"{name}: {column}: the datagram", within=60)
        cells[column] = WORKS

    machine.install(neighbour.packages)
    serve(machine, neighbour.serves)
    eventually(lambda: machine.answers(81), f"{name}: nobody refuses anything yet")
    caller = f"CALLER={machine.page(81).split()[-1]}"
    machine.run(f"{{ {caller}; {neighbour.enter}\n}} >/dev/null", stdin=neighbour.stdin)
    try:
        works("before", forwarded=False)
        machine.configure()
        machine.up()
        machine.house()
        works("beside it")
        machine.configure([*FORWARDS, "8444:8080"])
        machine.up()
        works("a port added")
        for column, command in neighbour.events.items():
            machine.run(f"{{ {command}\n}} >/dev/null")
            works(column)
        machine.run("nft delete table ip cgnat-relay")
        assert not machine.answers(80), "the off-case: it is our rules that forward"
        assert not machine.hears(), "the same"
        machine.run("/usr/local/lib/cgnat-relay/restore all")
        for command in neighbour.shuts:
            machine.run(command)
            machine.script("house.sh", "anew")
            assert not machine.answers(80), "the off-case: what lets the tunnel in is ours"
        machine.reboot()
        eventually(lambda: machine.well("wg show wg0"), "the tunnel after a reboot", within=BOOT)
        serve(machine, neighbour.serves)
        machine.house()
        works("reboot")
        machine.script("house.sh", "gone")
        machine.destroy()
        assert not machine.answers(80)
        works("left again", forwarded=False)
    finally:
        machine.run(f"{{ {neighbour.leave}\n}} >/dev/null 2>&1; kill $(cat /run/own.pid)")
    seen[name] = [cells[column] for column in COLUMNS]


def serve(machine: Adopted, serves: bool) -> None:
    """The machine's own pages, as home has them; 8443 is the neighbour's where that serves one."""
    own = HELLO.read_text().replace("(8080, 8081)", "(81,)" if serves else "(81, 8443)")
    machine.run("cat >/run/own.py", stdin=own.replace("5353", "5399"))
    machine.run("setsid python3 /run/own.py >/dev/null 2>&1 & echo $! >/run/own.pid")
    there = "curl -sf http://127.0.0.1:81/"
    eventually(lambda: machine.well(there), "the machine's own pages", within=60)
