"""The notation of a forward: Docker's short form, a bare port, or a mapping.

``"80:8080"``, ``"5353:5353/udp"``, ``"27015-27020:27015-27020/udp"``,
``"27015-27020:27015/udp"`` (the target range begins there), ``443``, or
``{port: 443, to: 8081, protocol: tcp}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from .faults import Collector, nearest
from .model import Forward, PortRange, Protocol

KEYS = ("port", "to", "protocol")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
EXAMPLES = 'write "80:8080", "5353:5353/udp" or "27015-27020:27015/udp"'


def read_forward(value: object, path: str, faults: Collector) -> Forward | None:
    """A forward from its notation at ``path``; None where faults were noted."""
    if isinstance(value, Mapping):
        fields = cast(Mapping[str, object], value)
        for key in fields:
            if key not in KEYS:
                faults.add(f"{path}.{key}", "unknown key", nearest(key, KEYS))
        if "port" not in fields:
            faults.add(f"{path}.port", "missing", "say which port of the relay is forwarded")
            return None
        ports = fields["port"]
        return _forward(
            (ports, fields.get("to", ports), fields.get("protocol", "tcp")),
            (f"{path}.port", f"{path}.to", f"{path}.protocol"),
            faults,
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return _forward((value, value, "tcp"), (path,) * 3, faults)
    if not isinstance(value, str):
        faults.add(path, f"a forward is text or a mapping, not {_kind(value)}", EXAMPLES)
        return None
    body, slash, protocol = value.partition("/")
    ports, colon, to = body.partition(":")
    return _forward(
        (ports, to if colon else ports, protocol if slash else "tcp"), (path,) * 3, faults
    )


def _forward(
    values: tuple[object, object, object], paths: tuple[str, str, str], faults: Collector
) -> Forward | None:
    """Check the three values, each with the path that its faults are to name."""
    ports = read_ports(values[0], paths[0], faults)
    to = read_ports(values[1], paths[1], faults) if values[1] != values[0] else ports
    protocol = _protocol(values[2], paths[2], faults)
    if ports is None or to is None or protocol is None:
        return None
    if len(to) == 1 and len(ports) > 1:
        to = PortRange(to.first, to.first + len(ports) - 1)
        if to.last > 65535:
            faults.add(
                paths[1],
                f"{len(ports)} ports from {to.first} on end at {to.last}, beyond 65535",
                f"start at {65536 - len(ports)} or lower",
            )
            return None
    if len(to) != len(ports):
        faults.add(
            paths[1],
            f"{ports} and {to} are not equally many ports ({len(ports)} and {len(to)})",
            "make both ranges equally long, or name only the first port of the target",
        )
        return None
    return Forward(ports, to, protocol)


def read_ports(value: object, path: str, faults: Collector) -> PortRange | None:
    """A port or a range of ports, 1 to 65535; None where faults were noted."""
    text = str(value).strip() if isinstance(value, str | int) else ""
    found = _RANGE.fullmatch(text)
    if isinstance(value, bool) or not found:
        shown = repr(value) if isinstance(value, str) else str(value)
        faults.add(path, f"{shown} is not a port or a range of ports", EXAMPLES)
        return None
    first = int(found[1])
    last = int(found[2] or found[1])
    for port in dict.fromkeys((first, last)):
        if not 1 <= port <= 65535:
            faults.add(path, f"port {port} does not exist", "choose one from 1 to 65535")
            return None
    if last < first:
        faults.add(path, f"the range {text} runs backwards", f"write {last}-{first}")
        return None
    return PortRange(first, last)


def _protocol(value: object, path: str, faults: Collector) -> Protocol | None:
    known = [protocol.value for protocol in Protocol]
    if isinstance(value, str) and value.lower() in known:
        return Protocol(value.lower())
    faults.add(path, f"unknown protocol {value!r}", nearest(str(value), known))
    return None


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
