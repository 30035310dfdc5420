"""How ports, networks and forwards are written.

A forward is Docker's short form, a bare port, or a mapping: ``"80:8080"``, ``"5353:5353/udp"``,
``"53:53/both"``, ``"27015-27020:27015/udp"`` (the target range begins there), ``443``, or
``{port: 443, to: 8081, protocol: tcp, from: [203.0.113.0/24], host: 192.168.1.50}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import cast

from .faults import Collector, nearest, shown
from .model import Forward, Mode, Network, Opening, PortRange, Protocol
from .reading import items, known, word

KEYS = ("port", "to", "protocol", "from", "mode", "host", "via")
BOTH = "both"
PROTOCOLS = {
    "tcp": (Protocol.TCP,),
    "udp": (Protocol.UDP,),
    BOTH: (Protocol.TCP, Protocol.UDP),
}
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
EXAMPLES = 'write "80:8080", "5353:5353/udp" or "27015-27020:27015/udp"'


@dataclass(frozen=True)
class _Ports:
    """What both notations say of a forward, with the path that each value's faults name."""

    port: tuple[object, str]
    to: tuple[object, str] | None
    protocol: tuple[object, str]


def read_forward(value: object, path: str, faults: Collector) -> tuple[Forward, ...]:
    """One forward for each protocol from its notation at ``path``; none where it is at fault."""
    if isinstance(value, Mapping):
        return _long(cast(Mapping[str, object], value), path, faults)
    if isinstance(value, int) and not isinstance(value, bool):
        return _forward(_Ports((value, path), None, ("tcp", path)), faults)
    if not isinstance(value, str):
        faults.add(path, f"a forward is text or a mapping, not {_kind(value)}", EXAMPLES)
        return ()
    body, slash, protocol = value.partition("/")
    ports, colon, to = body.partition(":")
    read = _Ports(
        (ports, path), (to, path) if colon else None, (protocol if slash else "tcp", path)
    )
    return _forward(read, faults)


def _long(fields: Mapping[str, object], path: str, faults: Collector) -> tuple[Forward, ...]:
    before = len(faults)
    known(fields, KEYS, f"{path}.", faults)
    if "port" not in fields:
        faults.add(f"{path}.port", "missing", "say which port of the relay is forwarded")
        return ()
    ports = fields["port"]
    read = _Ports(
        (ports, f"{path}.port"),
        (fields["to"], f"{path}.to") if "to" in fields else None,
        (fields.get("protocol", "tcp"), f"{path}.protocol"),
    )
    mode = None
    if "mode" in fields:
        modes = [m.value for m in Mode]
        mode = Mode(word(fields["mode"], f"{path}.mode", modes, "mode", faults))
    sources = read_networks(fields["from"], f"{path}.from", faults) if "from" in fields else ()
    host = _host(fields["host"], f"{path}.host", faults) if "host" in fields else None
    found = _forward(read, faults)
    via = None
    if "via" in fields and host is None:
        reason = "is the way to a host on home's LAN, and none is named"
        faults.add(f"{path}.via", reason, "name it with host, or leave via out")
    elif host is not None and found:
        via = found[0].ports
        if "via" in fields:
            via = _target(fields["via"], f"{path}.via", found[0].ports, faults)
    if len(faults) > before:
        return ()
    return tuple(
        Forward(f.ports, f.to, f.protocol, sources=sources, mode=mode, host=host, via=via)
        for f in found
    )


def _forward(read: _Ports, faults: Collector) -> tuple[Forward, ...]:
    ports = read_ports(*read.port, faults)
    to = _target(*read.to, ports, faults) if read.to else ports
    protocols = _protocols(*read.protocol, faults)
    if ports is None or to is None:
        return ()
    return tuple(Forward(ports, to, protocol) for protocol in protocols)


def _target(
    value: object, path: str, ports: PortRange | None, faults: Collector
) -> PortRange | None:
    """As many ports as ``ports``, where ``value`` names them all or the first."""
    to = read_ports(value, path, faults)
    if to is None or ports is None:
        return None
    if len(to) == 1 and len(ports) > 1:
        to = PortRange(to.first, to.first + len(ports) - 1)
        if to.last > 65535:
            faults.add(
                path,
                f"{len(ports)} ports from {to.first} on end at {to.last}, beyond 65535",
                f"start at {65536 - len(ports)} or lower",
            )
            return None
    if len(to) != len(ports):
        faults.add(
            path,
            f"{ports} and {to} are not equally many ports ({len(ports)} and {len(to)})",
            "make both ranges equally long, or name only the first port of the target",
        )
        return None
    return to


def read_opening(value: object, path: str, faults: Collector) -> tuple[Opening, ...]:
    """Ports of one side: ``25``, ``"5000-5010/udp"``, ``"53/both"``; TCP where none is named."""
    text, slash, protocol = (value if isinstance(value, str) else "").partition("/")
    ports = read_ports(text if slash else value, path, faults, 'write 22, "5000-5010" or "53/udp"')
    protocols = _protocols(protocol, path, faults) if slash else (Protocol.TCP,)
    return tuple(Opening(p, ports) for p in protocols) if ports else ()


def read_ports(
    value: object, path: str, faults: Collector, examples: str = EXAMPLES
) -> PortRange | None:
    """A port or a range of ports, 1 to 65535; None where faults were noted."""
    text = value.strip() if isinstance(value, str) else shown(value)
    found = _RANGE.fullmatch(text) if isinstance(value, str | int) else None
    if not found:
        faults.add(path, f"{shown(value)} is not a port or a range of ports", examples)
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    for port in dict.fromkeys((first, last)):
        if not 1 <= port <= 65535:
            faults.add(path, f"port {port} does not exist", "choose one from 1 to 65535")
            return None
    if last < first:
        faults.add(path, f"the range {text} runs backwards", f"write {last}-{first}")
        return None
    return PortRange(first, last)


def read_networks(value: object, path: str, faults: Collector) -> tuple[Network, ...]:
    """Networks or single addresses, IPv4 or IPv6; at least one."""
    found: list[Network] = []
    listed = items(value, path, "[203.0.113.0/24]", faults)
    if value is None or (isinstance(value, Sequence) and len(value) == 0):
        faults.add(path, "is empty, so nobody could come", "name networks, or leave it out")
    for here, item in listed:
        # An interface after a percent sign is one of this machine's, not of the relay's.
        text = item if isinstance(item, str) and "%" not in item else ""
        try:
            network = ip_network(text)
        except ValueError:
            try:
                loose = ip_network(text, strict=False)
            except ValueError:
                reason = f"{shown(item)} is neither a network nor an address"
                faults.add(here, reason, "write one like 203.0.113.0/24 or 2001:db8::/32")
            else:
                faults.add(here, f"{item} is an address inside a network", f"write {loose}")
        else:
            mapped = _mapped(network)
            if mapped:
                faults.add(here, f"{item} is IPv4 in IPv6's spelling", f"write {mapped}")
            found.append(network)
    return tuple(found)


def _mapped(network: Network) -> IPv4Network | None:
    """The IPv4 network that callers are in whom a socket would show as ``::ffff:192.0.2.1``."""
    address = network.network_address
    if isinstance(address, IPv4Address) or not address.ipv4_mapped or network.prefixlen < 96:
        return None
    return IPv4Network((address.ipv4_mapped, network.prefixlen - 96))


def _host(value: object, path: str, faults: Collector) -> IPv4Address | None:
    fix = "write the LAN host's address, like 192.168.1.50"
    try:
        address = ip_address(value if isinstance(value, str) else "")
    except ValueError:
        faults.add(path, f"{shown(value)} is not an address", fix)
        return None
    unusable = (
        address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.is_reserved  # the broadcast address too
    )
    if not isinstance(address, IPv4Address) or unusable:
        faults.add(path, f"{address} is no IPv4 address of a host on a LAN", fix)
        return None
    return address


def _protocols(value: object, path: str, faults: Collector) -> tuple[Protocol, ...]:
    if isinstance(value, str) and value.lower() in PROTOCOLS:
        return PROTOCOLS[value.lower()]
    faults.add(path, f"unknown protocol {shown(value)}", nearest(value, PROTOCOLS))
    return ()


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {shown(value)}"
