"""A plan in words: a line for each thing that its owner named, and what a change of them means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .model import Device, Forward, Home, Peer, Reach, Settings, Traffic, Tunnel

KEY = "key "

OWN = "relay key"
RELAY = "the relay"
# What comes, and shuts somebody out.
CLOSES = {
    "firewall managed:": " (who calls another service of the machine is let in no more)",
    "ssh by": " (once a device has come, SSH takes nobody else)",
}


def summary(settings: Settings) -> tuple[str, ...]:
    """A line for the tunnel and for each home, forward and device; public."""
    lines = [_tunnel(settings.tunnel), *_own_keys(settings.tunnel)]
    if settings.ssh_by_tunnel:
        lines.append("ssh by the tunnel alone")
    if settings.site.adopted and settings.site.guarded:
        lines.append("firewall managed: what is not declared is dropped")
    for home in settings.homes:
        lines.append(_home(home))
        lines += [_forward(home, forward) for forward in home.forwards]
    lines += [_device(device) for device in settings.devices]
    lines += [line for peer in settings.peers if (line := _keys(peer))]
    return tuple(lines)


def destination(home: Home, forward: Forward) -> str:
    """``address:ports`` where a forward ends: in the tunnel, or on home's LAN."""
    return f"{forward.host or home.address}:{forward.to}"


def changes(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """From one summary to another: what comes, goes or changes, and what that cuts."""
    old, new = ({_key(line): line for line in lines} for lines in (before, after))
    own = [_accepted(lines, OWN) for lines in (before, after)]
    yield from _key_changes(RELAY, *own)
    for key in {**old, **new}:
        if key.startswith(KEY):
            name = key.removeprefix(KEY)
            if _peers(old, name) and _peers(new, name):
                yield from _key_changes(name, accepted(before, name), accepted(after, name))
    for key, line in old.items():
        if key.startswith((KEY, OWN)):
            continue
        if key not in new:
            yield f"removes {line}{_cost(key)}"
        elif new[key] != line:
            cost = _cost(key)
            if key == "tunnel" and _apart_from_port(line) == _apart_from_port(new[key]):
                cost = _cost_of_port(*own)
            yield f"changes {line}, now {new[key].removeprefix(key).strip()}{cost}"
    for key, line in new.items():
        if key not in old and not key.startswith((KEY, OWN)):
            yield f"adds {line}{CLOSES.get(key, '')}"


def closes(plan: Sequence[str]) -> Iterator[str]:
    """What a plan shuts where none has been before."""
    yield from (f"adds {line}{CLOSES[_key(line)]}" for line in plan if _key(line) in CLOSES)


def cuts(change: str) -> bool:
    """Whether one of ``changes`` ends what is under way."""
    return change.endswith(")")


def accepted(lines: Sequence[str], name: str) -> tuple[str, ...]:
    """The keys of a peer that a summary speaks of: the present one, and the next if there is one.

    A peer that has no line for it has its first.
    """
    return _accepted(lines, f"{KEY}{name}")


def _accepted(lines: Sequence[str], head: str) -> tuple[str, ...]:
    head = f"{head} "
    found = next((line for line in lines if line.startswith(head)), f"{head}1")
    return tuple(found.removeprefix(head).split(", next "))


def cut_off(
    pairs: Mapping[str, str], before: Sequence[str], after: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Who of ``pairs`` (by name: ``present`` or ``next``) comes with a key that is left out."""
    for name, which in pairs.items():
        was, now = accepted(before, name), accepted(after, name)
        used = was[0] if which == "present" else was[-1]
        if used not in now and set(was) & set(now) and _peers({_key(x): x for x in after}, name):
            yield name, which


def own_left_out(before: Sequence[str], after: Sequence[str]) -> str | None:
    """Which of the relay's two keys, ``present`` or ``next``, is there no more, if one is."""
    was, now = ([key.partition(" ")[0] for key in _accepted(x, OWN)] for x in (before, after))
    if len(was) < 2 or len(set(was) & set(now)) != 1:
        return None
    return "next" if was[0] in now else "present"


def _key_changes(name: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    if new[0] in (key.partition(" udp/")[0] for key in old[1:]):
        yield f"{name}: key {new[0]} alone, key {old[0]} is refused"
    elif new[0] != old[0]:
        who = "whoever dials is away until it" if name == RELAY else "it is away until it"
        yield f"{name}: key {new[0]} in place of key {old[0]} ({who} has the new config)"
    elif new[1:] != old[1:]:
        cost = f" (who has its config already is away until it has the one of key {new[0]} again)"
        yield from (f"{name}: next key {key} is accepted no more{cost}" for key in old[1:])
    if new[1:] != old[1:]:
        yield from (f"{name}: next key {key}, accepted beside key {new[0]}" for key in new[1:])


def _peers(lines: Mapping[str, str], name: str) -> bool:
    return f"home {name}" in lines or f"device {name}" in lines


def _keys(peer: Peer) -> str:
    """Nothing for a peer whose first key the program made, as nearly all are."""
    words = [_generation(peer.key, peer.public_key)]
    if peer.next_key:
        words.append(_generation(peer.next_key.key, peer.next_key.public_key))
    return f"{KEY}{peer.name} {', next '.join(words)}" if words != ["1"] else ""


def _generation(key: int, public: str | None) -> str:
    return f"{key} {public[:8]}" if public else str(key)


def _key(line: str) -> str:
    first, _, rest = line.partition(" ")
    return first if "/" in first or first == "tunnel" else f"{first} {rest.partition(' ')[0]}"


def _apart_from_port(line: str) -> list[str]:
    words = line.split(" ")
    return words[:2] + words[3:]


def _cost_of_port(old: Sequence[str], new: Sequence[str]) -> str:
    """The tunnel goes on; who knew the next key knew the port as well."""
    known = new[0] in (key.partition(" ")[0] for key in old[1:])
    return "" if known else " (who dials the old port is away until it has its new config)"


def _cost(key: str) -> str:
    if key.startswith(("ssh ", "firewall ")):
        return ""
    if key == "tunnel":
        return " (the tunnel restarts, and calls homes and devices back: seconds)"
    return " (what is connected through it ends)"


def _tunnel(tunnel: Tunnel) -> str:
    words = [f"tunnel {tunnel.network} udp/{tunnel.port} mtu {tunnel.mtu}"]
    words += [f"udp/{port}" for port in tunnel.other_ports]
    if tunnel.tls is not None:
        words.append(f"tls tcp/{tunnel.tls}")
    if not tunnel.ipv6:
        words.append("without IPv6")
    return " ".join(words)


def _own_keys(tunnel: Tunnel) -> Iterator[str]:
    if tunnel.next_way:
        yield f"{OWN} {tunnel.key}, next {tunnel.next_way.key} udp/{tunnel.next_way.port}"
    elif tunnel.key != 1:
        yield f"{OWN} {tunnel.key}"


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
