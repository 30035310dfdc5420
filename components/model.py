"""The values a relay is made of. Frozen, validated by ``config.read``, free of Pulumi."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network


class Protocol(Enum):
    """A transport that can be forwarded."""

    TCP = "tcp"
    UDP = "udp"


class Mode(Enum):
    """How a home sees its callers.

    ``TRANSPARENT``: by their own address; the home routes its answers back by the tunnel.
    ``MASQUERADE``: as the relay; works with any WireGuard client, the caller's address is lost.
    """

    TRANSPARENT = "transparent"
    MASQUERADE = "masquerade"


@dataclass(frozen=True, order=True)
class PortRange:
    """Ports ``first`` to ``last``, both included, 1 to 65535."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def overlaps(self, other: PortRange) -> bool:
        """Whether any port is in both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Forward:
    """Ports of the relay's public address, and the ports at home that answer for them.

    ``ports`` and ``to`` are of equal length; the n-th port goes to the n-th.
    """

    ports: PortRange
    to: PortRange
    protocol: Protocol

    @property
    def opening(self) -> Opening:
        """What must be open outside the machine for it."""
        return Opening(self.protocol, self.ports)

    def __str__(self) -> str:
        return f"{self.ports}:{self.to}/{self.protocol.value}"


@dataclass(frozen=True)
class Opening:
    """Ports that must reach the machine from outside; written ``tcp/80`` or ``udp/1-9``."""

    protocol: Protocol
    ports: PortRange

    def __str__(self) -> str:
        return f"{self.protocol.value}/{self.ports}"


@dataclass(frozen=True)
class Home:
    """A home server: a peer of the relay, with the forwards that end at it.

    ``public_key`` is None where the program makes the home's key; else the home keeps its
    private key to itself and this is the public one (base64, 32 bytes).
    """

    name: str
    address: IPv4Address
    mode: Mode
    forwards: tuple[Forward, ...]
    public_key: str | None = None


@dataclass(frozen=True)
class Tunnel:
    """The network inside WireGuard. The relay has its first address.

    ``port`` is UDP; ``mtu`` in bytes; ``keepalive`` in seconds: a carrier may forget an idle UDP
    mapping after 30 s, so 25 keeps it open.
    """

    network: IPv4Network
    port: int = 51820
    mtu: int = 1420
    keepalive: int = 25
    interface: str = "wg0"

    @property
    def relay(self) -> IPv4Address:
        """The relay's own address in the tunnel."""
        return self.network.network_address + 1


@dataclass(frozen=True)
class Settings:
    """A whole relay: what the config says, after every check."""

    tunnel: Tunnel
    homes: tuple[Home, ...]
    ssh_port: int = 22

    @property
    def openings(self) -> tuple[Opening, ...]:
        """Every forwarded port, sorted, for whoever opens ports outside the machine."""
        found = (forward.opening for home in self.homes for forward in home.forwards)
        return tuple(sorted(found, key=lambda o: (o.protocol.value, o.ports)))
