"""Hosts in network namespaces, joined as a home behind carrier-grade NAT is.

    client 203.0.113.9 ─┐
      2001:db8:9::9     ├─ internet ─┬─ 198.51.100.7 relay (wg0 172.16.0.1)
    phone 192.0.2.130 ──┤            │  2001:db8:7::7
    laptop 192.0.2.66 ──┘            └─ 192.0.2.2 carrier 100.64.0.1   NAT
                                                   │
                                        100.64.0.2 router 192.168.1.1  NAT
                                                   │
                            192.168.1.50 lan ──────┼────── 192.168.1.2 home (wg0) 172.17.0.1
                                                                                   │
                                                                 172.17.0.2 container

Client, internet and relay have IPv6 as well; the carrier and all behind it have none, as most
homes behind carrier-grade NAT that need a relay. Phone and laptop are devices
that roam.
Each host has a network namespace and a mount namespace of its own: /run, so that two WireGuard
daemons with one interface name do not collide, and /etc/wireguard, where the generated files lie
at the paths that they name.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENDS = 60  # seconds for a process to end, on an emulated machine that takes many hosts down
HOLD = "mount -t tmpfs none /run && mount -t tmpfs none /etc/wireguard && echo ready && exec cat"


@dataclass
class Host:
    """A network namespace with processes in it; all end with ``stop``."""

    name: str
    env: dict[str, str]
    holder: subprocess.Popen[str] = field(init=False)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """``unshare`` needs root; /etc/wireguard must exist to be mounted over."""
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.holder.stdout
        first = self.holder.stdout.readline()
        if first != "ready\n":
            rest, _ = self.holder.communicate()
            raise AssertionError(f"no namespaces for {self.name}: {first}{rest}")
        self.run("ip link set lo up")
        self.run("sysctl -qw net.ipv4.ip_forward=0")  # else it is what this machine's is

    @property
    def pid(self) -> int:
        return self.holder.pid

    def argv(self, command: str | list[str]) -> list[str]:
        words = shlex.split(command) if isinstance(command, str) else command
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--root", *words]

    def run(
        self, command: str | list[str], check: bool = True, stdin: str = "", timeout: float = 120
    ) -> str:
        """Standard output; where the command fails, its standard error is in the exception."""
        done = subprocess.run(
            self.argv(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.env,
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {command}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.env,
        )
        self.started.append(process)
        return process

    def write(self, path: str, text: str) -> None:
        """A file, 0600, in this host's own view of the file system."""
        self.run(["sh", "-c", f"umask 077; cat > {shlex.quote(path)}"], stdin=text)

    def stop(self) -> None:
        """End what was started here, by pid, and with the holder the namespaces."""
        for process in self.started:
            process.terminate()
        for pid in self.inside():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for process in [*self.started, self.holder]:
            if process is self.holder:
                process.terminate()
            process.wait(timeout=ENDS)
        for pipe in (self.holder.stdin, self.holder.stdout):
            if pipe:
                pipe.close()

    def inside(self) -> list[int]:
        """The pids of everything in our network namespace but the holder."""
        mine = Path(f"/proc/{self.pid}/ns/net").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.pid:
                with contextlib.suppress(OSError):
                    if (entry / "ns" / "net").readlink() == mine:
                        found.append(int(entry.name))
        return found


def link(one: Host, dev_one: str, other: Host, dev_other: str) -> None:
    """A cable between two hosts."""
    one.run(f"ip link add {dev_one} type veth peer name {dev_other} netns {other.pid}")
    for host, dev in ((one, dev_one), (other, dev_other)):
        host.run(f"ip link set dev {dev} up")


@contextlib.contextmanager
def hosts(names: str, env: dict[str, str]) -> Iterator[dict[str, Host]]:
    """Hosts by name, ended on exit whatever happens."""
    made: dict[str, Host] = {}
    try:
        for name in names.split():
            made[name] = Host(name, env)
        yield made
    finally:
        for host in made.values():
            host.stop()


NAT = """
table ip nat {{
  chain post {{
    type nat hook postrouting priority srcnat;
    oifname "{dev}" masquerade
  }}
}}
"""


def cable(net: dict[str, Host], *cables: tuple[str, str, str, str]) -> None:
    """Cables, each from a host's device to another's."""
    for one, dev_one, other, dev_other in cables:
        link(net[one], dev_one, net[other], dev_other)


def bridge(router: Host) -> None:
    """The LAN of a house: a router's two ports as one network."""
    router.run("ip link add lan type bridge")
    for port in ("port1", "port2"):
        router.run(f"ip link set {port} master lan")
    router.run("ip link set lan up")


def number(net: dict[str, Host], *addresses: tuple[str, str, str]) -> None:
    """Addresses, each of a host's device."""
    for host, dev, address in addresses:
        dad = " nodad" if ":" in address else ""  # a new address is not looked for first
        net[host].run(f"ip addr add {address} dev {dev}{dad}")


def route(net: dict[str, Host], *gateways: tuple[str, str]) -> None:
    """Default routes, each of a host."""
    for host, gateway in gateways:
        net[host].run(f"ip route add default via {gateway}")


# Between a caller and a home, whatever else the internet and the house have; PUBLIC is the half
# without the house.
PUBLIC_CABLES = (
    ("client", "eth0", "internet", "client"),
    ("relay", "eth0", "internet", "relay"),
)
CABLES = (
    *PUBLIC_CABLES,
    ("carrier", "wan", "internet", "carrier"),
    ("router", "wan", "carrier", "lan"),
)
PUBLIC_ADDRESSES = (
    ("client", "eth0", "203.0.113.9/24"),
    ("internet", "client", "203.0.113.1/24"),
    ("internet", "relay", "198.51.100.1/24"),
    ("relay", "eth0", "198.51.100.7/24"),
)
ADDRESSES = (
    *PUBLIC_ADDRESSES,
    ("internet", "carrier", "192.0.2.1/26"),
    ("carrier", "wan", "192.0.2.2/26"),
    ("carrier", "lan", "100.64.0.1/24"),
    ("router", "wan", "100.64.0.2/24"),
    ("router", "lan", "192.168.1.1/24"),
    ("home", "eth0", "192.168.1.2/24"),
)
PUBLIC_GATEWAYS = (
    ("client", "203.0.113.1"),
    ("relay", "198.51.100.1"),
)
GATEWAYS = (
    *PUBLIC_GATEWAYS,
    ("carrier", "192.0.2.1"),
    ("router", "100.64.0.1"),
    ("home", "192.168.1.1"),
)


def forward(net: dict[str, Host], *names: str) -> None:
    """Let hosts route."""
    for host in names:
        net[host].run("sysctl -qw net.ipv4.ip_forward=1")


def hand_on(net: dict[str, Host]) -> None:
    """Let the hosts of the way route, and NAT where a house or a carrier does."""
    forward(net, "internet", "relay", "carrier", "router", "home")
    for host in ("carrier", "router"):
        net[host].run("nft -f -", stdin=NAT.format(dev="wan"))


@contextlib.contextmanager
def internet(env: dict[str, str]) -> Iterator[dict[str, Host]]:
    """The picture above, routed and NATed, without any WireGuard."""
    with hosts("client phone laptop internet relay carrier router home lan container", env) as net:
        cable(
            net,
            *CABLES,
            ("phone", "eth0", "internet", "phone"),
            ("laptop", "eth0", "internet", "laptop"),
            ("home", "eth0", "router", "port1"),
            ("lan", "eth0", "router", "port2"),
            ("container", "eth0", "home", "docker0"),
        )
        bridge(net["router"])
        number(
            net,
            *ADDRESSES,
            ("phone", "eth0", "192.0.2.130/25"),
            ("internet", "phone", "192.0.2.129/25"),
            ("laptop", "eth0", "192.0.2.66/26"),
            ("internet", "laptop", "192.0.2.65/26"),
            ("client", "eth0", "2001:db8:9::9/64"),
            ("internet", "client", "2001:db8:9::1/64"),
            ("relay", "eth0", "2001:db8:7::7/64"),
            ("internet", "relay", "2001:db8:7::1/64"),
            ("lan", "eth0", "192.168.1.50/24"),
            ("home", "docker0", "172.17.0.1/16"),
            ("container", "eth0", "172.17.0.2/16"),
        )
        route(
            net,
            *GATEWAYS,
            ("client", "2001:db8:9::1"),
            ("phone", "192.0.2.129"),
            ("laptop", "192.0.2.65"),
            ("relay", "2001:db8:7::1"),
            ("lan", "192.168.1.1"),
            ("container", "172.17.0.1"),
        )
        hand_on(net)
        for host in ("internet", "relay"):
            net[host].run("sysctl -qw net.ipv6.conf.all.forwarding=1")
        yield net
