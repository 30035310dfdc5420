"""A plan in words: a line for each thing that its owner named, and what a change of them means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .model import Device, Forward, Home, Reach, Settings, Traffic, Tunnel


def summary(settings: Settings) -> tuple[str, ...]:
    """A line for the tunnel and for each home, forward and device; public."""
    lines = [_tunnel(settings.tunnel)]
    if settings.ssh_by_tunnel:
        lines.append("ssh by the tunnel alone")
    for home in settings.homes:
        lines.append(_home(home))
        lines += [_forward(home, forward) for forward in home.forwards]
    lines += [_device(device) for device in settings.devices]
    return tuple(lines)


def destination(home: Home, forward: Forward) -> str:
    """``address:ports`` where a forward ends: in the tunnel, or on home's LAN."""
    return f"{forward.host or home.address}:{forward.to}"


def changes(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """From one summary to another: what comes, goes or changes, and what that cuts."""
    old, new = ({_key(line): line for line in lines} for lines in (before, after))
    for key, line in old.items():
        if key not in new:
            yield f"removes {line}{_cost(key)}"
        elif new[key] != line:
            yield f"changes {line}, now {new[key].removeprefix(key).strip()}{_cost(key)}"
    for key, line in new.items():
        if key not in old:
            yield f"adds {line}"


def _key(line: str) -> str:
    first, _, rest = line.partition(" ")
    return first if "/" in first or first == "tunnel" else f"{first} {rest.partition(' ')[0]}"


def _cost(key: str) -> str:
    if key.startswith("ssh "):
        return ""
    if key == "tunnel":
        return " (the tunnel restarts: homes dial anew, which takes them up to two minutes)"
    return " (what is connected through it ends)"


def _tunnel(tunnel: Tunnel) -> str:
    words = [f"tunnel {tunnel.network} udp/{tunnel.port} mtu {tunnel.mtu}"]
    words += [f"udp/{port}" for port in tunnel.other_ports]
    if tunnel.tls is not None:
        words.append(f"tls tcp/{tunnel.tls}")
    if not tunnel.ipv6:
        words.append("without IPv6")
    return " ".join(words)


def _home(home: Home) -> str:
    words = [f"home {home.name} {home.address} {home.mode.value}"]
    if home.protected:
        words.append("protected")
    if home.egress.everything:
        words.append("sends all by the relay")
    elif home.egress:
        words.append(f"sends {', '.join(map(str, home.egress.ports))} by the relay")
    if not home.ipv6:
        words.append("without IPv6")
    return " ".join(words)


def _forward(home: Home, forward: Forward) -> str:
    words = [f"{forward.opening} to {home.name} {destination(home, forward)}"]
    if forward.mode:
        words.append(forward.mode.value)
    if forward.sources:
        words.append(f"from {', '.join(map(str, forward.sources))}")
    return " ".join(words)


def _device(device: Device) -> str:
    words = [f"device {device.name} {device.address}"]
    others = [reach.value for reach in Reach if reach in device.reach]
    if others != [Reach.HOMES.value]:
        words.append(f"reaches {' and '.join(others) or 'nobody'}")
    if device.traffic is Traffic.ALL:
        words.append("sends all by the relay")
    if not device.ipv6:
        words.append("without IPv6")
    return " ".join(words)
