"""From the raw config, as YAML or a Python caller gives it, to ``Settings``.

Every fault is noted with its key path and a fix, and reading goes on, so that a user meets all of
them at once and before anything is created.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import cast

from . import addresses
from .faults import Collector, nearest
from .forwards import read_forward
from .keys import is_wireguard_key
from .model import Forward, Home, Mode, PortRange, Protocol, Settings, Tunnel

KEYS = ("vps", "homes", "tunnel", "ssh")
HOME_KEYS = ("name", "forwards", "mode", "address", "publicKey")
TUNNEL_KEYS = ("network", "port", "mtu", "keepalive")
SSH_KEYS = ("port",)
# RFC 1918. Carriers use 100.64.0.0/10 (RFC 6598) themselves, so it is not offered.
PRIVATE = tuple(IPv4Network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
DEFAULT_NETWORK = IPv4Network("172.16.0.0/24")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MTU = (1280, 8920)  # IPv6's minimum (RFC 8200) to a 9,000-byte path less WireGuard's 80


def read(
    raw: Mapping[str, object], faults: Collector, networks: Iterable[IPv4Network] = ()
) -> Settings | None:
    """``Settings`` from ``raw`` (keys ``homes``, ``tunnel``, ``ssh``), or None after faults.

    ``networks`` are those that the machine itself is on; the tunnel must not overlap them.
    """
    before = len(faults.faults)
    known(raw, KEYS, "", faults)
    tunnel = _tunnel(raw.get("tunnel"), tuple(networks), faults)
    ssh = _section(raw.get("ssh"), "ssh", SSH_KEYS, faults)
    ssh_port = integer(ssh.get("port", 22), "ssh.port", 1, 65535, faults)
    declared: list[tuple[str, Forward]] = []
    homes = _homes(raw.get("homes"), tunnel.network, declared, faults)
    _overlaps(declared, tunnel, ssh_port, faults)
    if len(faults.faults) > before:
        return None
    return Settings(tunnel, homes, ssh_port)


def _tunnel(value: object, networks: tuple[IPv4Network, ...], faults: Collector) -> Tunnel:
    """The tunnel; where a value is at fault its default stands in, so that checks go on."""
    raw = _section(value, "tunnel", TUNNEL_KEYS, faults)
    default = Tunnel(DEFAULT_NETWORK)
    return Tunnel(
        network=_network(raw.get("network", str(DEFAULT_NETWORK)), networks, faults),
        port=integer(raw.get("port", default.port), "tunnel.port", 1, 65535, faults),
        mtu=integer(raw.get("mtu", default.mtu), "tunnel.mtu", *MTU, faults),
        keepalive=integer(
            raw.get("keepalive", default.keepalive), "tunnel.keepalive", 1, 120, faults
        ),
    )


def _network(value: object, networks: tuple[IPv4Network, ...], faults: Collector) -> IPv4Network:
    path = "tunnel.network"
    example = "choose one like 172.16.0.0/24"
    try:
        network = IPv4Network(value if isinstance(value, str) else "")
    except ValueError:
        try:
            loose = IPv4Network(value if isinstance(value, str) else "", strict=False)
        except ValueError:
            faults.add(path, f"{value!r} is not an IPv4 network", example)
        else:
            faults.add(path, f"{value} is an address inside a network", f"write {loose}")
        return DEFAULT_NETWORK
    before = len(faults.faults)
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
    return network if len(faults.faults) == before else DEFAULT_NETWORK


def _homes(
    value: object, network: IPv4Network, declared: list[tuple[str, Forward]], faults: Collector
) -> tuple[Home, ...]:
    """The homes in the config's order; ``declared`` gets each forward with its key path."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        faults.add(
            "homes",
            "missing" if value is None else "is a list of at least one home",
            'write - {name: home, forwards: ["80:8080"]}',
        )
        return ()
    homes: dict[int, Home] = {}
    names: dict[str, str] = {}
    taken: dict[IPv4Address, str] = {network.network_address + 1: "the relay"}
    public_keys: dict[str, str] = {}
    # Pinned addresses are given out first: a pin must not lose to a derived address above it.
    for index in sorted(range(len(value)), key=lambda i: not _pins(value[i])):
        path = f"homes[{index}]"
        if not isinstance(value[index], Mapping):
            faults.add(path, "a home is a mapping", f"known here: {', '.join(HOME_KEYS)}")
            continue
        raw = _section(value[index], path, HOME_KEYS, faults)
        name = _name(raw, path, names, faults)
        address = _address(raw, name, path, network, taken, faults)
        mode = _mode(raw.get("mode", Mode.TRANSPARENT.value), f"{path}.mode", faults)
        key = _public_key(raw, path, public_keys, faults)
        forwards = _forwards(raw.get("forwards", []), f"{path}.forwards", faults)
        declared += forwards
        homes[index] = Home(name or path, address, mode, tuple(f for _, f in forwards), key)
    declared.sort(key=lambda d: _position(d[0]))
    return tuple(homes[index] for index in sorted(homes))


def _position(path: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\[(\d+)\]", path))


def _pins(value: object) -> bool:
    return isinstance(value, Mapping) and "address" in value


def _name(
    raw: Mapping[str, object], path: str, names: dict[str, str], faults: Collector
) -> str | None:
    value = raw.get("name")
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        reason = "missing" if value is None else f"{value!r} is not a DNS label"
        faults.add(f"{path}.name", reason, "use a-z, 0-9 and inner hyphens, up to 63 letters")
        return None
    if value in names:
        faults.add(f"{path}.name", f"{value} is taken by {names[value]}", "choose another name")
        return None
    names[value] = path
    return value


def _address(
    raw: Mapping[str, object],
    name: str | None,
    path: str,
    network: IPv4Network,
    taken: dict[IPv4Address, str],
    faults: Collector,
) -> IPv4Address:
    """The pinned address or the derived one. A clash is a fault that names a free one."""
    pinned = raw.get("address")
    relay = network.network_address + 1
    if pinned is None:
        if name is None:
            return relay
        address = addresses.derived(name, network)
        if address in taken:
            spare = addresses.free(network, taken)
            fix = f"pin a free one with address: {spare}" if spare else "choose a larger network"
            reason = f"{name} would get {address}, which {taken[address]} has"
            faults.add(f"{path}.address", reason, fix)
        taken.setdefault(address, path)
        return address
    spare = addresses.free(network, taken)
    fix = f"{spare} is free" if spare else "choose a larger tunnel.network"
    try:
        address = IPv4Address(pinned if isinstance(pinned, str) else "")
    except ValueError:
        faults.add(f"{path}.address", f"{pinned!r} is not an IPv4 address", fix)
        return relay
    if address in taken:
        faults.add(f"{path}.address", f"{address} is taken by {taken[address]}", fix)
    elif not addresses.usable(address, network):
        faults.add(f"{path}.address", f"{address} is no host address in {network}", fix)
    else:
        taken[address] = path
    return address


def _mode(value: object, path: str, faults: Collector) -> Mode:
    known = [mode.value for mode in Mode]
    if isinstance(value, str) and value in known:
        return Mode(value)
    faults.add(path, f"unknown mode {value!r}", nearest(str(value), known))
    return Mode.TRANSPARENT


def _public_key(
    raw: Mapping[str, object], path: str, seen: dict[str, str], faults: Collector
) -> str | None:
    value = raw.get("publicKey")
    if value is None:
        return None
    path = f"{path}.publicKey"
    if not isinstance(value, str) or not is_wireguard_key(value):
        # The value is not shown: it may be a private key, pasted by mistake.
        faults.add(path, "is not a WireGuard public key", "paste what `wg pubkey` prints")
        return None
    if value in seen:
        faults.add(path, f"is the key of {seen[value]} too", "make a key pair for each home")
    seen.setdefault(value, path)
    return value


def _forwards(value: object, path: str, faults: Collector) -> list[tuple[str, Forward]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        faults.add(path, "is a list", 'write ["80:8080", "443:8081"]')
        return []
    paths = [f"{path}[{index}]" for index in range(len(value))]
    found = [(here, read_forward(value[i], here, faults)) for i, here in enumerate(paths)]
    return [(here, forward) for here, forward in found if forward is not None]


def _overlaps(
    declared: Iterable[tuple[str, Forward]], tunnel: Tunnel, ssh_port: int, faults: Collector
) -> None:
    """No port may have two owners: SSH, the tunnel, and every forward of every home."""
    ssh = PortRange(ssh_port, ssh_port)
    dial = PortRange(tunnel.port, tunnel.port)
    owned = [
        (Protocol.TCP, ssh, "the relay's SSH port", "choose another or move SSH with ssh.port"),
        (
            Protocol.UDP,
            dial,
            "the tunnel's own port",
            "choose another or move the tunnel with tunnel.port",
        ),
    ]
    for path, forward in declared:
        for protocol, ports, owner, fix in owned:
            if forward.protocol is protocol and forward.ports.overlaps(ports):
                same = "is" if forward.ports == ports else f"overlaps {ports},"
                faults.add(f"{path}.port", f"{forward.ports} {same} {owner}", fix)
        owned.append(
            (forward.protocol, forward.ports, f"forwarded by {path}", "give a port to one home")
        )


def _section(
    value: object, path: str, keys: Sequence[str], faults: Collector
) -> Mapping[str, object]:
    """A mapping with known keys only; an absent one is empty."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        faults.add(path, "is a mapping", f"known here: {', '.join(keys)}")
        return {}
    section = cast(Mapping[str, object], value)
    known(section, keys, f"{path}.", faults)
    return section


def known(
    section: Mapping[str, object], keys: Sequence[str], prefix: str, faults: Collector
) -> None:
    """Note each key of ``section`` that is not in ``keys``, with the nearest that is."""
    for key in section:
        if key not in keys:
            faults.add(f"{prefix}{key}", "unknown key", nearest(str(key), keys))


def integer(value: object, path: str, low: int, high: int, faults: Collector) -> int:
    """A whole number, ``low`` to ``high``; ``low`` stands in where it is not."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    faults.add(path, f"{value!r} is not a whole number from {low} to {high}", "correct it")
    return low
