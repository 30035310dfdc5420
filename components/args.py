"""What a ``Relay`` is made of, as a Python caller writes it; the same keys as in the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from .machine import MachineKind


class NextKeyArgs(TypedDict):
    """A key that is accepted beside the present one."""

    key: int
    """Its generation, after that of the present one."""
    publicKey: NotRequired[str]
    """Where the private key is its owner's: the public one."""


class HomeArgs(TypedDict):
    """A home server."""

    name: str
    """A DNS label; the home's address in the tunnel is derived from it."""
    forwards: NotRequired[Sequence[str | int | Mapping[str, Any]]]
    """Docker's short form, ``"80:8080"`` or ``"5353:5353/udp"``, or a mapping with ``port``,
    ``to``, ``protocol`` (tcp, udp, both), ``from`` (networks), ``mode``, ``host`` (on home's LAN)
    and ``via``."""
    mode: NotRequired[str]
    """``transparent`` (default): callers keep their address. ``masquerade``: they do not."""
    address: NotRequired[str]
    """A pinned address in the tunnel's network."""
    publicKey: NotRequired[str]
    """The home's own WireGuard public key; its private key is then never seen here."""
    ipv6: NotRequired[bool]
    """Whether callers over IPv6 reach it; by default where it is transparent."""
    protected: NotRequired[bool]
    """Take from the tunnel what is forwarded and ``accept``, and nothing else."""
    accept: NotRequired[Sequence[str | int]]
    """Ports of a protected home that devices may dial: ``22``, ``"5000-5010/udp"``."""
    egress: NotRequired[Literal["all"] | Sequence[str | int]]
    """What it sends out by the relay's address: ``all``, or ports such as ``[25]``."""

    key: NotRequired[int]
    """The generation of the keys that are made for it, 1 by default (docs/keys.md)."""
    next: NotRequired[NextKeyArgs]
    """A second key that is accepted as well, until ``key`` names it."""


class DeviceArgs(TypedDict):
    """A road warrior. Its name alone stands for one with the defaults."""

    name: str
    """A DNS label; the device's address in the tunnel is derived from it."""
    address: NotRequired[str]
    """A pinned address in the tunnel's network."""
    publicKey: NotRequired[str]
    """The device's own WireGuard public key; its private key is then never seen here."""
    reach: NotRequired[Sequence[str]]
    """Whom it may dial in the tunnel: ``homes`` (default), ``devices``."""
    traffic: NotRequired[str]
    """``vpn`` (default): the tunnel's network alone goes by the relay. ``all``: everything."""
    dns: NotRequired[Sequence[str]]
    """Resolvers that it uses while connected."""
    ipv6: NotRequired[bool]
    """Whether the tunnel carries IPv6 to it, true by default."""
    key: NotRequired[int]
    """The generation of the keys that are made for it, 1 by default (docs/keys.md)."""
    next: NotRequired[NextKeyArgs]
    """A second key that is accepted as well, until ``key`` names it."""


class TlsArgs(TypedDict):
    """The tunnel inside TLS."""

    port: NotRequired[int]
    """The TCP port where the relay takes it, 443 by default."""


class NextWayArgs(TypedDict):
    """The relay's key that is answered beside the present one."""

    key: int
    """Its generation, after that of the present one."""
    port: int
    """The UDP port where it is answered, and the tunnel's from then on."""


class TunnelArgs(TypedDict):
    """The network inside WireGuard."""

    network: NotRequired[str]
    """A private IPv4 network, 172.16.0.0/24 by default; the relay has its first address."""
    port: NotRequired[int]
    """The UDP port that homes dial, 51820 by default."""
    otherPorts: NotRequired[Sequence[int]]
    """More UDP ports where the relay answers, for providers that block the first."""
    tls: NotRequired[bool | TlsArgs]
    """Take the tunnel inside TLS as well, for networks that let no UDP through; off by default."""
    host: NotRequired[str]
    """A DNS name that homes dial instead of the relay's address."""
    ipv6: NotRequired[bool]
    """Whether callers over IPv6 are carried too, true by default."""
    mtu: NotRequired[int]
    """Bytes; 1420 by default, right for a path of 1500."""
    keepalive: NotRequired[int]
    """Seconds between a home's keepalives, 25 by default."""
    interface: NotRequired[str]
    """The tunnel's interface on the relay, wg0 by default."""
    key: NotRequired[int]
    """The generation of the relay's own key, 1 by default (docs/keys.md)."""
    next: NotRequired[NextWayArgs]
    """A second key that is answered as well, until ``key`` names it."""


class SshArgs(TypedDict):
    """SSH on the relay."""

    port: NotRequired[int]
    """22 by default."""


class RelayArgs(TypedDict):
    """What a ``Relay`` is made of."""

    machine: MachineKind
    """Where it runs, for example ``Lab()``."""
    homes: Sequence[HomeArgs]
    """At least one."""
    devices: NotRequired[Sequence[str | DeviceArgs]]
    """Road warriors."""
    tunnel: NotRequired[TunnelArgs]
    """Defaults fit most."""
    ssh: NotRequired[SshArgs]
    """Defaults fit most."""
    drift: NotRequired[bool]
    """Whether each preview asks the machine what was changed there by hand, true by default."""
    probe: NotRequired[bool]
    """Whether an update ends by dialling each forward from here, false by default."""
