"""The values a relay is made of. Frozen, validated by ``config.read``, free of Pulumi."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from .family import Family

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


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

    ``ports`` and ``to`` are of equal length; the n-th port goes to the n-th. ``sources`` are the
    networks that may use it, empty for everyone. ``mode`` is None where it is the home's.
    ``host`` is an address on home's LAN that answers instead (another machine's, or home's own
    where a service is bound to that alone); the relay then hands the flow to ``via``, as many
    ports of home's tunnel address, and home hands it on.
    """

    ports: PortRange
    to: PortRange
    protocol: Protocol
    sources: tuple[Network, ...] = ()
    mode: Mode | None = None
    host: IPv4Address | None = None
    via: PortRange | None = None

    @property
    def entry(self) -> PortRange:
        """The ports of home's tunnel address that the relay hands it to."""
        return self.via or self.to

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


def merged(openings: Iterable[Opening]) -> tuple[Opening, ...]:
    """As few as cover all, in order; nft refuses intervals that overlap."""
    found: list[Opening] = []
    for o in sorted(openings, key=lambda o: (o.protocol.value, o.ports)):
        last = found[-1] if found else None
        if last and last.protocol is o.protocol and o.ports.first <= last.ports.last + 1:
            end = max(last.ports.last, o.ports.last)
            found[-1] = Opening(o.protocol, PortRange(last.ports.first, end))
        else:
            found.append(o)
    return tuple(found)


@dataclass(frozen=True)
class NextKey:
    """The generation of a peer's key that is accepted beside its present one.

    ``public_key`` is None where the program makes the key.
    """

    key: int
    public_key: str | None = None


def _in_order(openings: Iterable[Opening]) -> tuple[Opening, ...]:
    return tuple(sorted(openings, key=lambda o: (o.protocol.value, o.ports)))


@dataclass(frozen=True)
class Egress:
    """What a home sends out by the relay's address: everything, or what goes to some ports."""

    everything: bool = False
    ports: tuple[Opening, ...] = ()

    def __bool__(self) -> bool:
        return self.everything or bool(self.ports)


@dataclass(frozen=True)
class Home:
    """A home server: a peer of the relay, with the forwards that end at it.

    ``public_key`` is None where the program makes the home's key; else the home keeps its
    private key to itself and this is the public one (base64, 32 bytes). ``ipv6``: whether the
    tunnel carries IPv6 to it. ``protected``: it takes from the tunnel what is forwarded to it, and
    ``accept``, and nothing else. ``egress``: what it sends out by the relay's address. ``key`` is
    the generation of what the program makes for it, ``next_key`` another that is accepted as well.
    """

    name: str
    address: IPv4Address
    mode: Mode
    forwards: tuple[Forward, ...]
    public_key: str | None = None
    ipv6: bool = True
    protected: bool = False
    accept: tuple[Opening, ...] = ()
    egress: Egress = Egress()
    key: int = 1
    next_key: NextKey | None = None


class Reach(Enum):
    """Whom a device may dial in the tunnel."""

    HOMES = "homes"
    DEVICES = "devices"


class Traffic(Enum):
    """What a device sends by the relay: the tunnel's network only, or all."""

    VPN = "vpn"
    ALL = "all"


@dataclass(frozen=True)
class Device:
    """A road warrior: a peer that dials and answers for no port."""

    name: str
    address: IPv4Address
    reach: frozenset[Reach] = frozenset({Reach.HOMES})
    traffic: Traffic = Traffic.VPN
    dns: tuple[Address, ...] = ()
    public_key: str | None = None
    ipv6: bool = True
    key: int = 1
    next_key: NextKey | None = None


Peer = Home | Device


@dataclass(frozen=True)
class NextWay:
    """The generation of the relay's own key that is answered beside its present one, at a port."""

    key: int
    port: int


@dataclass(frozen=True)
class Tunnel:
    """The network inside WireGuard. The relay has its first address.

    ``port`` is UDP, and so are ``other_ports``, where the relay answers as well; ``mtu`` in
    bytes; ``keepalive`` in seconds: a carrier may forget an idle UDP mapping after 30 s, so 25
    keeps it open. ``host`` is a name that homes dial instead of the relay's address. ``tls`` is
    the TCP port where the relay takes the tunnel inside TLS, or None.

    ``prefix`` is the IPv6 network inside: a /64 of a ULA (RFC 4193), known once it is drawn, and
    None where ``ipv6`` is off. ``key`` is the generation of the relay's own key, ``next_way``
    another that is answered as well.
    """

    network: IPv4Network
    port: int = 51820
    mtu: int = 1420
    keepalive: int = 25
    interface: str = "wg0"
    other_ports: tuple[int, ...] = ()
    tls: int | None = None
    host: str | None = None
    ipv6: bool = True
    prefix: IPv6Network | None = None
    key: int = 1
    next_way: NextWay | None = None

    @property
    def next_interface(self) -> str:
        """Where the next key is answered: a name that no relay's own interface may have."""
        return f"{self.interface}-2"

    @property
    def interfaces(self) -> tuple[str, ...]:
        """All interfaces of the relay that lead into this tunnel."""
        return (self.interface, *([self.next_interface] if self.next_way else []))

    @property
    def ports(self) -> tuple[int, ...]:
        """The UDP ports where WireGuard itself listens."""
        return (self.port, *([self.next_way.port] if self.next_way else []))

    @property
    def newest_port(self) -> int:
        """The port that homes and devices are to dial."""
        return self.ports[-1]

    @property
    def relay(self) -> IPv4Address:
        """The relay's own address in the tunnel."""
        return self.network.network_address + 1

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks inside, IPv4 first."""
        return (self.network, self.prefix) if self.prefix else (self.network,)

    def inner6(self, address: IPv4Address) -> IPv6Address | None:
        """The IPv6 address of whoever has ``address``: the same host number, or None."""
        if self.prefix is None:
            return None
        return self.prefix.network_address + int(address) - int(self.network.network_address)

    def address(self, peer: Peer, family: Family) -> Address | None:
        """A peer's address inside, or None where it has none of that family."""
        if family is Family.V4:
            return peer.address
        return self.inner6(peer.address) if peer.ipv6 else None

    def addresses(self, peer: Peer) -> tuple[Address, ...]:
        """All of a peer's addresses inside, IPv4 first."""
        found = (self.address(peer, family) for family in Family)
        return tuple(address for address in found if address is not None)


@dataclass(frozen=True)
class Site:
    """What is known of the machine before anything exists.

    ``networks`` are those that it is on; the tunnel must not overlap them. ``adopted``: it is
    somebody's already and stays as it is, but for the relay. ``guarded``: the relay says what may
    reach the machine itself. ``ssh_port`` is where its SSH is, if that is not the relay's to say.
    """

    networks: tuple[IPv4Network, ...] = ()
    adopted: bool = False
    guarded: bool = True
    ssh_port: int | None = None


@dataclass(frozen=True)
class Settings:
    """A whole relay: what the config says, after every check.

    ``drift``: whether each preview asks the machine what has become of it. ``probe``: whether an
    update dials each forward in the end. ``ssh_by_tunnel``: whether SSH closes to the public once a
    device has come by the tunnel.
    """

    tunnel: Tunnel
    homes: tuple[Home, ...]
    devices: tuple[Device, ...] = ()
    ssh_port: int = 22
    drift: bool = True
    probe: bool = False
    site: Site = Site()
    ssh_by_tunnel: bool = False

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Everyone at the other end of the tunnel."""
        return (*self.homes, *self.devices)

    @property
    def openings(self) -> tuple[Opening, ...]:
        """Every port that must be open outside the machine, but SSH's and the tunnel's first."""
        more = [Opening(Protocol.UDP, PortRange(p, p)) for p in self.tunnel.ports[1:]]
        return _in_order([*self.taken, *more])

    @property
    def taken(self) -> tuple[Opening, ...]:
        """Every port of the machine that is led elsewhere, or to the tunnel inside TLS."""
        found = [forward.opening for home in self.homes for forward in home.forwards]
        found += [Opening(Protocol.UDP, PortRange(p, p)) for p in self.tunnel.other_ports]
        if self.tunnel.tls is not None:
            found.append(Opening(Protocol.TCP, PortRange(self.tunnel.tls, self.tunnel.tls)))
        return _in_order(found)

    @property
    def crosses(self) -> bool:
        """Whether a peer may send anything through the relay that no forward led there."""
        sent = (device.reach or device.traffic is Traffic.ALL for device in self.devices)
        return any(sent) or any(home.egress for home in self.homes)

    def drawn(self, prefix: IPv6Network) -> Settings:
        """The same with the tunnel's IPv6 network, unless IPv6 is off."""
        if not self.tunnel.ipv6:
            return self
        return replace(self, tunnel=replace(self.tunnel, prefix=prefix))
