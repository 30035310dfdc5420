"""Reservations: the addresses of a VM, which outlive the VM itself.

A cloud gives a machine one public address. Here the same machine has three faces: the address on
its own NIC, a loopback address by which this machine reaches it, and the gateway by which a home
VM reaches it. All are derived from the lab's folder and the VM's name, so that two labs on one
machine do not meet.
"""

import hashlib
import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lab import folders
from lab.errors import LabError
from lab.ports import Ports, bindable, place

FILE = "address.json"
NETWORK = "198.51.100.0/24"  # for documentation; no mirror or user's network lies in it
HOME_NETWORK = "192.168.1.0/24"
LOCALHOST = "127.0.0.1"  # what a VM reaches as its gateway
GATEWAY, GUEST = 2, 15  # numbers of QEMU's gateway and its first DHCP lease in a network
SMALLEST_PREFIX = 27  # the last network size that has a number 15
ENDPOINT_PORTS = range(20_000, 32_000)  # below Linux's own range for outgoing connections
UDP, SSH = 51820, 22


@dataclass(frozen=True)
class Forward:
    """One port of this machine that leads to one port of the VM."""

    protocol: str
    address: str
    port: int
    guest_port: int


@dataclass(frozen=True)
class Reservation:
    """What is kept in ``address.json``."""

    reach: str  # loopback address by which this machine reaches the VM
    endpoint_port: int  # UDP on 127.0.0.1, leads to `udp` in the VM
    ssh_port: int  # TCP on `reach`, leads to `ssh` in the VM
    udp: int = UDP
    ssh: int = SSH
    network: str = NETWORK
    home_network: str = HOME_NETWORK
    opened: dict[str, int] = field(default_factory=dict)  # ports in the VM: how far moved up here

    def public(self) -> dict[str, Any]:
        """Give what ``lab reserve`` prints."""
        return {
            "publicIp": guest(self.network),
            "reach": self.reach,
            "endpointHost": gateway(self.home_network),
            "endpointPort": self.endpoint_port,
            "sshHost": self.reach,
            "sshPort": self.ssh_port,
        }

    def mapping(self) -> dict[str, str]:
        """Give what ``lab open`` prints: ports of the VM and where they are reached."""
        return {
            text: f"{self.reach}:{Ports.parse(text).numbers(offset)}"
            for text, offset in sorted(self.opened.items())
        }

    def forwards(self) -> set[Forward]:
        """Give every single forward that QEMU has to hold for this VM."""
        found = {
            Forward("tcp", self.reach, self.ssh_port, self.ssh),
            Forward("udp", LOCALHOST, self.endpoint_port, self.udp),
        }
        for text, offset in self.opened.items():
            ports = Ports.parse(text)
            for port in ports.each():
                found.add(Forward(ports.protocol, self.reach, port + offset, port))
        return found

    def save(self, name: str) -> None:
        """Keep this as the VM's reservation."""
        folders.write_json(folders.vm(name) / FILE, asdict(self))


def load(name: str) -> Reservation | None:
    """Give a VM's reservation, or None."""
    value = folders.read_json(folders.vm(name) / FILE)
    return None if value is None else Reservation(**value)


def require(name: str) -> Reservation:
    """Give a VM's reservation, or say how to make one."""
    found = load(name)
    if found is None:
        raise LabError(
            f"{name} has no addresses in this lab: run `python3 -m lab reserve {name}` first"
        )
    return found


def reserve(
    name: str,
    udp: int = UDP,
    ssh: int = SSH,
    network: str = NETWORK,
    home_network: str = HOME_NETWORK,
) -> Reservation:
    """Reserve addresses; asked again, the same ones, with the guest's ports brought up to date."""
    for protocol, port in (("udp", udp), ("tcp", ssh)):
        Ports.parse(f"{protocol}/{port}")
    gateway(network), gateway(home_network)  # refuse what is no network
    folder = folders.vm(name)
    with folders.locked(folder.parent / ".addresses.lock"):
        kept = load(name) or _new(name, ssh)
        kept = replace(kept, udp=udp, ssh=ssh, network=network, home_network=home_network)
        kept.save(name)
    return kept


def derive(lab: Path, name: str, taken: Collection[str] = ()) -> tuple[str, int]:
    """Derive a loopback address and a first choice of UDP port from a lab's folder and a name.

    The addresses are 127.64.0.1 to 127.126.255.254; ``taken`` ones are passed over.
    """
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{lab}\0{name}\0{attempt}".encode()).digest()
        address = f"127.{64 + digest[0] % 63}.{digest[1]}.{1 + digest[2] % 254}"
        if address not in taken:
            number = int.from_bytes(digest[4:8], "big") % len(ENDPOINT_PORTS)
            return address, ENDPOINT_PORTS[number]
        attempt += 1


def gateway(network: str) -> str:
    """Give the gateway's address in one of QEMU's networks: this machine, as its VM sees it."""
    return str(_network(network)[GATEWAY])


def guest(network: str) -> str:
    """Give the VM's address in one of QEMU's networks."""
    return str(_network(network)[GUEST])


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise LabError(f"{text!r} is no network: {error}; write it like {NETWORK}") from error
    if network.prefixlen > SMALLEST_PREFIX:
        raise LabError(f"the network {text} is too small for a VM; take a /{SMALLEST_PREFIX}")
    return network


def _new(name: str, ssh: int) -> Reservation:
    others = [found for other in folders.names() if other != name and (found := load(other))]
    reach, first = derive(folders.lab(), name, {other.reach for other in others})
    taken = {other.endpoint_port for other in others}
    endpoint = next(
        (port for port in _from(first) if port not in taken and bindable(LOCALHOST, "udp", port)),
        None,
    )
    if endpoint is None:
        raise LabError(f"no UDP port from {ENDPOINT_PORTS[0]} on is free on {LOCALHOST}")
    offset = place(Ports("tcp", ssh, ssh), lambda kind, port: bindable(reach, kind, port))
    return Reservation(reach=reach, endpoint_port=endpoint, ssh_port=ssh + offset)


def _from(first: int) -> Iterable[int]:
    """Give all endpoint ports, beginning at one of them."""
    start = first - ENDPOINT_PORTS[0]
    return [*ENDPOINT_PORTS[start:], *ENDPOINT_PORTS[:start]]
