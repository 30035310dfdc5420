"""From the raw config, as YAML or a Python caller gives it, to ``Settings``.

Every fault is noted with its key path and a fix, and reading goes on, so that a user meets all of
them at once and before anything is created.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from .claims import Claims
from .faults import Collector, shown
from .model import Forward, NextWay, PortRange, Protocol, Settings, Site, Tunnel
from .peers import generation, read_peers
from .reading import flag, integer, items, known, section

KEYS = ("vps", "homes", "devices", "tunnel", "ssh", "drift", "probe")
TUNNEL_KEYS = (
    "network",
    "port",
    "otherPorts",
    "tls",
    "host",
    "mtu",
    "keepalive",
    "ipv6",
    "interface",
    "key",
    "next",
)
NEXT_KEYS = ("key", "port")
TLS_KEYS = ("port",)
TLS_PORT = 443
SSH_KEYS = ("port", "tunnelOnly")
SSH_PORT = 22
# RFC 1918. Carriers use 100.64.0.0/10 (RFC 6598) themselves, so it is not offered.
PRIVATE = tuple(IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
DEFAULT_NETWORK = IPv4Network("172.16.0.0/24")
MTU = (1280, 8920)  # IPv6's minimum (RFC 8200) to a 9,000-byte path less WireGuard's 80
_HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+"
)
# Its capitals, with a suffix, name a chain; the kernel takes 15 bytes.
_INTERFACE = re.compile(r"[a-z][a-z0-9]{0,11}")
OWNERS = 3  # named for one forward: a range may overlap thousands


@dataclass(frozen=True)
class _Owner:
    """Who has some ports already, and what to do about it."""

    ports: PortRange
    what: str
    fix: str


def read(raw: Mapping[str, object], faults: Collector, site: Site | None = None) -> Settings | None:
    """``Settings`` from ``raw`` (all of ``KEYS`` but ``vps``), or None."""
    site = site or Site()
    before = len(faults)
    known(raw, KEYS, "", faults)
    tunnel = _tunnel(raw.get("tunnel"), site.networks, faults)
    ssh = section(raw.get("ssh"), "ssh", SSH_KEYS, faults)
    ssh_port = _ssh_port(ssh, site, faults)
    drift = flag(raw.get("drift", True), "drift", faults)
    probe = flag(raw.get("probe", False), "probe", faults)
    declared: list[tuple[str, Forward]] = []
    homes, devices = read_peers(
        raw.get("homes"), raw.get("devices"), tunnel.network, declared, faults
    )
    ssh_by_tunnel = _ssh_by_tunnel(ssh, site, bool(devices), faults)
    _one_at_a_time(raw, tunnel, faults)
    _overlaps(declared, tunnel, ssh_port, site, faults)
    if len(faults) > before:
        return None
    return Settings(tunnel, homes, devices, ssh_port, drift, probe, site, ssh_by_tunnel)


def _ssh_port(ssh: Mapping[str, object], site: Site, faults: Collector) -> int:
    """The port. The default that Pulumi.yaml gives says nothing of an adopted machine."""
    port = integer(ssh.get("port", SSH_PORT), "ssh.port", 1, 65535, faults)
    if site.ssh_port is None:
        return port
    if port not in (0, SSH_PORT, site.ssh_port):
        reason = "an adopted machine's SSH stays where it is"
        faults.add("ssh.port", reason, "take it out; vps.port says where that is")
    return site.ssh_port


def _ssh_by_tunnel(ssh: Mapping[str, object], site: Site, devices: bool, faults: Collector) -> bool:
    """Whether SSH is to close to the public."""
    path = "ssh.tunnelOnly"
    only = flag(ssh.get("tunnelOnly", False), path, faults)
    if only and not devices:
        fix = "add the computer that you administer the relay from to devices"
        faults.add(path, "no device could log in by the tunnel", fix)
    if only and not site.guarded:
        reason = "the machine's own firewall stays in charge, and lets SSH in or not"
        faults.add(path, reason, "take it out, or set vps.firewall to managed")
    return only


def _tunnel(value: object, networks: tuple[IPv4Network, ...], faults: Collector) -> Tunnel:
    """The tunnel; where a value is at fault its default stands in, so that checks go on."""
    raw = section(value, "tunnel", TUNNEL_KEYS, faults)
    default = Tunnel(DEFAULT_NETWORK)
    tunnel = Tunnel(
        network=_network(raw.get("network", str(DEFAULT_NETWORK)), networks, faults),
        port=integer(raw.get("port", default.port), "tunnel.port", 1, 65535, faults),
        mtu=integer(raw.get("mtu", default.mtu), "tunnel.mtu", *MTU, faults),
        keepalive=integer(
            raw.get("keepalive", default.keepalive), "tunnel.keepalive", 1, 120, faults
        ),
        host=_host(raw.get("host"), faults),
        tls=_tls(raw.get("tls", False), faults),
        ipv6=flag(raw.get("ipv6", default.ipv6), "tunnel.ipv6", faults),
        interface=_interface(raw.get("interface", default.interface), faults),
    )
    other_ports = _other_ports(raw.get("otherPorts"), tunnel.port, faults)
    key = generation(raw.get("key"), "tunnel.key", faults)
    next_way = _next_way(raw.get("next"), key, faults)
    return replace(tunnel, other_ports=other_ports, key=key, next_way=next_way)


def _next_way(value: object, key: int, faults: Collector) -> NextWay | None:
    """The relay's next key, and the port where it is answered; None for none."""
    if value is None:
        return None
    raw = section(value, "tunnel.next", NEXT_KEYS, faults)
    following = generation(raw.get("key"), "tunnel.next.key", faults, after=key)
    if raw.get("port") is None:
        reason = "missing; one port answers with one key"
        faults.add("tunnel.next.port", reason, "write a free UDP port, which stays afterwards")
        return None
    port = integer(raw["port"], "tunnel.next.port", 1, 65535, faults)
    return NextWay(following, port) if port else None


def _one_at_a_time(raw: Mapping[str, object], tunnel: Tunnel, faults: Collector) -> None:
    """What moves who comes with another key looks at one of the two ends."""
    if tunnel.next_way is None:
        return
    for kind in ("homes", "devices"):
        for path, item in items(raw.get(kind), kind, "", Collector()):
            if isinstance(item, Mapping) and item.get("next") is not None:
                reason = "tunnel.next changes the relay's own key at the same time"
                faults.add(f"{path}.next", reason, "finish one change, then begin the other")


def _other_ports(value: object, port: int, faults: Collector) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for path, item in items(value, "tunnel.otherPorts", "[443, 53, 123, 4500]", faults):
        other = integer(item, path, 1, 65535, faults)
        if other == 0:
            continue
        if other == port:
            faults.add(path, f"{other} is tunnel.port already", "take it out")
        elif other in found:
            faults.add(path, f"{other} is listed twice", "take it out")
        found[other] = None
    return tuple(found)


def _tls(value: object, faults: Collector) -> int | None:
    """The port, from ``true`` or ``{port: 443}``; None for off."""
    if isinstance(value, bool):
        return TLS_PORT if value else None
    if not isinstance(value, Mapping):
        reason = f"{shown(value)} is no way to have TLS"
        faults.add("tunnel.tls", reason, "write true or {port: 443}")
        return None
    raw = section(value, "tunnel.tls", TLS_KEYS, faults)
    return integer(raw.get("port", TLS_PORT), "tunnel.tls.port", 1, 65535, faults)


def _host(value: object, faults: Collector) -> str | None:
    if value is None or (isinstance(value, str) and _HOST.fullmatch(value)):
        return value
    reason = f"{shown(value)} is not a DNS name"
    faults.add("tunnel.host", reason, "write the relay's name, like relay.example.org")
    return None


def _interface(value: object, faults: Collector) -> str:
    if isinstance(value, str) and _INTERFACE.fullmatch(value):
        return value
    reason = f"{shown(value)} is no name for an interface"
    faults.add("tunnel.interface", reason, "write one like wg0: up to 12 letters and digits")
    return "wg0"


def _network(value: object, networks: tuple[IPv4Network, ...], faults: Collector) -> IPv4Network:
    path = "tunnel.network"
    example = "choose one like 172.16.0.0/24"
    try:
        network = IPv4Network(value if isinstance(value, str) else "")
    except ValueError:
        try:
            loose = IPv4Network(value if isinstance(value, str) else "", strict=False)
        except ValueError:
            faults.add(path, f"{shown(value)} is not an IPv4 network", example)
        else:
            faults.add(path, f"{value} is an address inside a network", f"write {loose}")
        return DEFAULT_NETWORK
    before = len(faults)
    if network.prefixlen > 30:
        faults.add(path, f"{network} is too small for a relay and a home", "choose /30 or larger")
    elif not any(network.subnet_of(private) for private in PRIVATE):
        faults.add(
            path,
            f"{network} is not private",
            "choose one in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
        )
    for other in networks:
        if network.overlaps(other):
            faults.add(path, f"{network} overlaps {other}, which the machine is on", example)
    return network if len(faults) == before else DEFAULT_NETWORK


def _overlaps(
    declared: Iterable[tuple[str, Forward]],
    tunnel: Tunnel,
    ssh_port: int,
    site: Site,
    faults: Collector,
) -> None:
    """No port may have two owners: SSH, the tunnel, and every forward of every home."""
    claims: Claims[_Owner] = Claims()
    move = "or move SSH with ssh.port"
    if site.ssh_port is not None:
        move = "or move sshd on the machine, and set vps.port"
    ours = [
        (Protocol.TCP, ssh_port, "the relay's SSH port", move),
        (
            Protocol.UDP,
            tunnel.port,
            "the tunnel's own port",
            "or move the tunnel with tunnel.port",
        ),
        *(
            (
                Protocol.UDP,
                port,
                "one of the tunnel's other ports",
                "or take it out of tunnel.otherPorts",
            )
            for port in tunnel.other_ports
        ),
    ]
    if tunnel.next_way is not None:
        port = tunnel.next_way.port
        taken = {tunnel.port: "tunnel.port", **dict.fromkeys(tunnel.other_ports, "an other port")}
        if port in taken:
            reason = f"{port} is {taken[port]}, which the present key answers"
            faults.add("tunnel.next.port", reason, "choose another")
        else:
            what = "where the tunnel's next key is answered"
            ours.append((Protocol.UDP, port, what, "or move that with tunnel.next.port"))
    if tunnel.tls is not None:
        if tunnel.tls == ssh_port:
            reason = f"{ssh_port} is the relay's SSH port"
            faults.add("tunnel.tls.port", reason, f"choose another {move}")
        else:
            what = "where the tunnel is offered inside TLS"
            ours.append((Protocol.TCP, tunnel.tls, what, "or move that with tunnel.tls.port"))
    for protocol, port, what, fix in ours:
        ports = PortRange(port, port)
        claims.take(protocol, ports, _Owner(ports, what, f"choose another {fix}"))
    for path, forward in declared:
        me = _Owner(forward.ports, f"forwarded by {path}", "give a port to one home")
        for owner in claims.take(forward.protocol, forward.ports, me)[:OWNERS]:
            same = "is" if forward.ports == owner.ports else f"overlaps {owner.ports},"
            faults.add(f"{path}.port", f"{forward.ports} {same} {owner.what}", owner.fix)
