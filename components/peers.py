"""Reading homes and devices: everyone at the other end of the tunnel.

Names, addresses and public keys are theirs alone, across homes and devices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, ip_address

from . import addresses
from .claims import Claims
from .faults import Collector, shown
from .keys import is_wireguard_key
from .model import (
    Address,
    Device,
    Egress,
    Forward,
    Home,
    Mode,
    NextKey,
    Opening,
    PortRange,
    Reach,
    Traffic,
    merged,
)
from .notation import read_forward, read_opening
from .reading import flag, integer, items, section, word

HOME_KEYS = (
    "name",
    "forwards",
    "mode",
    "address",
    "publicKey",
    "ipv6",
    "protected",
    "accept",
    "egress",
    "key",
    "next",
)
DEVICE_KEYS = ("name", "address", "publicKey", "reach", "traffic", "dns", "ipv6", "key", "next")
NEXT_KEYS = ("key", "publicKey")
MOST_KEYS = 9999
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NEEDS_RULES = "needs rules at home, which masquerade does without"


@dataclass
class Roll:
    """Who has which name, address and public key, by key path."""

    network: IPv4Network
    faults: Collector
    names: dict[str, str] = field(default_factory=dict)
    addresses: dict[IPv4Address, str] = field(default_factory=dict)
    public_keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.addresses[self.network.network_address + 1] = "the relay"

    def name(self, raw: Mapping[str, object], path: str) -> str | None:
        """A DNS label that nobody else has; None where it is at fault."""
        value = raw.get("name")
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            reason = "missing" if value is None else f"{shown(value)} is not a DNS label"
            fix = "use a-z, 0-9 and inner hyphens, up to 63 letters"
            self.faults.add(f"{path}.name", reason, fix)
            return None
        if value in self.names:
            reason = f"{value} is taken by {self.names[value]}"
            self.faults.add(f"{path}.name", reason, "choose another name")
            return None
        self.names[value] = path
        return value

    def address(self, raw: Mapping[str, object], name: str | None, path: str) -> IPv4Address:
        """The pinned address or the derived one. A clash is a fault that names a free one."""
        network, taken, path = self.network, self.addresses, f"{path}.address"
        relay = network.network_address + 1
        pinned = raw.get("address")
        if pinned is None:
            if name is None:
                return relay
            address = addresses.derived(name, network)
            if address in taken:
                spare = addresses.free(network, taken)
                fix = (
                    f"pin a free one with address: {spare}" if spare else "choose a larger network"
                )
                reason = f"{name} would get {address}, which {taken[address]} has"
                self.faults.add(path, reason, fix)
            taken.setdefault(address, path.removesuffix(".address"))
            return address
        try:
            address = IPv4Address(pinned if isinstance(pinned, str) else "")
        except ValueError:
            address, reason = relay, f"{shown(pinned)} is not an IPv4 address"
        else:
            if address in taken:
                reason = f"{address} is taken by {taken[address]}"
            elif not addresses.usable(address, network):
                reason = f"{address} is no host address in {network}"
            else:
                taken[address] = path.removesuffix(".address")
                return address
        spare = addresses.free(network, taken)
        fix = f"{spare} is free" if spare else "choose a larger tunnel.network"
        self.faults.add(path, reason, fix)
        return address

    def public_key(self, raw: Mapping[str, object], path: str) -> str | None:
        """A public key that nobody else has, where one is given."""
        value = raw.get("publicKey")
        if value is None:
            return None
        path = f"{path}.publicKey"
        if not isinstance(value, str) or not is_wireguard_key(value):
            # The value is not shown: it may be a private key, pasted by mistake.
            reason = "is not a WireGuard public key"
            self.faults.add(path, reason, "paste what `wg pubkey` prints")
            return None
        if value in self.public_keys:
            reason = f"is the key of {self.public_keys[value]} too"
            self.faults.add(path, reason, "make a key pair for each home")
        self.public_keys.setdefault(value, path)
        return value

    def next_key(self, raw: Mapping[str, object], key: int, path: str) -> NextKey | None:
        """The generation after ``key``, where there is one to be accepted."""
        if raw.get("next") is None:
            return None
        path = f"{path}.next"
        given = section(raw["next"], path, NEXT_KEYS, self.faults)
        following = generation(given.get("key"), f"{path}.key", self.faults, after=key)
        public = self.public_key(given, path)
        if raw.get("publicKey") is not None and given.get("publicKey") is None:
            reason = "missing; its key is its own, and the relay knows a peer by its public key"
            fix = "make another pair there with `wg genkey`, for a new preshared key as well"
            self.faults.add(f"{path}.publicKey", reason, fix)
        return NextKey(following, public)


def read_peers(
    homes: object,
    devices: object,
    network: IPv4Network,
    declared: list[tuple[str, Forward]],
    faults: Collector,
) -> tuple[tuple[Home, ...], tuple[Device, ...]]:
    """Homes and devices in the config's order; ``declared`` gets each forward with its path."""
    if not isinstance(homes, Sequence) or isinstance(homes, str | bytes) or not homes:
        faults.add(
            "homes",
            "missing" if homes is None else "is a list of at least one home",
            'write - {name: home, forwards: ["80:8080"]}',
        )
        homes = ()
    roll = Roll(network, faults)
    listed = [(f"homes[{i}]", item) for i, item in enumerate(homes)]
    listed += items(devices, "devices", "[phone, laptop]", faults)
    found: dict[str, Home | Device] = {}
    # Pinned addresses are given out first: a pin must not lose to a derived address above it.
    for path, value in sorted(listed, key=lambda entry: not _pins(entry[1])):
        if path.startswith("homes"):
            home = _home(value, path, roll, declared)
            found |= {path: home} if home else {}
        else:
            device = _device(value, path, roll)
            found |= {path: device} if device else {}
    declared.sort(key=lambda entry: _position(entry[0]))
    ordered = [found[path] for path, _ in listed if path in found]
    return (
        tuple(peer for peer in ordered if isinstance(peer, Home)),
        tuple(peer for peer in ordered if isinstance(peer, Device)),
    )


def generation(value: object, path: str, faults: Collector, after: int = 0) -> int:
    """The number of a key: any from 1, and one after ``after``."""
    if value is None and after:
        faults.add(path, "missing", f"write the number after {after}: {after + 1}")
        return after + 1
    number = integer(1 if value is None else value, path, 1, MOST_KEYS, faults)
    if number and number <= after:
        reason = f"{number} is no key after {after}, which is the present one"
        faults.add(path, reason, f"write {after + 1}")
    return number


def _position(path: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\[(\d+)\]", path))


def _pins(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("address") is not None


def _home(value: object, path: str, roll: Roll, declared: list[tuple[str, Forward]]) -> Home | None:
    faults = roll.faults
    if not isinstance(value, Mapping):
        faults.add(path, "a home is a mapping", f"known here: {', '.join(HOME_KEYS)}")
        return None
    raw = section(value, path, HOME_KEYS, faults)
    name = roll.name(raw, path)
    address = roll.address(raw, name, path)
    modes = [mode.value for mode in Mode]
    mode = Mode(word(raw.get("mode", modes[0]), f"{path}.mode", modes, "mode", faults))
    public_key = roll.public_key(raw, path)
    key = generation(raw.get("key"), f"{path}.key", faults)
    forwards = [
        (here, forward)
        for here, item in items(
            raw.get("forwards", ()), f"{path}.forwards", '["80:8080", "443:8081"]', faults
        )
        for forward in read_forward(item, here, faults)
    ]
    for here, forward in forwards:
        if forward.host is not None and forward.host in roll.network:
            reason = f"{forward.host} is in the tunnel's own network, {roll.network}"
            fix = "write the LAN host's address, or choose another tunnel.network"
            faults.add(f"{here}.host", reason, fix)
    declared += forwards
    home = Home(
        name or path,
        address,
        mode,
        tuple(forward for _, forward in forwards),
        public_key,
        # A failing `Address =` line takes a whole tunnel down, so plain clients ask for it.
        ipv6=flag(raw.get("ipv6", mode is Mode.TRANSPARENT), f"{path}.ipv6", faults),
        protected=flag(raw.get("protected", False), f"{path}.protected", faults),
        accept=_openings(raw.get("accept"), f"{path}.accept", faults),
        egress=_egress(raw.get("egress"), f"{path}.egress", faults),
        key=key,
        next_key=roll.next_key(raw, key, path),
    )
    _needs_rules(home, path, forwards, faults)
    _entries(forwards, faults)
    return home


def _needs_rules(
    home: Home, path: str, forwards: list[tuple[str, Forward]], faults: Collector
) -> None:
    if home.accept and not home.protected:
        reason = "is for a protected home; any other accepts all that comes by the tunnel"
        faults.add(f"{path}.accept", reason, "add protected: true, or leave it out")
    if home.mode is Mode.TRANSPARENT:
        return
    transparent = "use mode: transparent at this home"
    for key, wanted in (("protected", home.protected), ("egress", bool(home.egress))):
        if wanted:
            faults.add(f"{path}.{key}", _NEEDS_RULES, transparent)
    for here, forward in forwards:
        if forward.mode is Mode.TRANSPARENT:
            reason = "this home has no way back for its callers' own addresses"
            faults.add(f"{here}.mode", reason, transparent)
        if forward.host is not None:
            faults.add(f"{here}.host", _NEEDS_RULES, transparent)


def _entries(forwards: list[tuple[str, Forward]], faults: Collector) -> None:
    """A port of home's tunnel address leads to one place: home itself, or one LAN host."""
    claims: Claims[tuple[str, Forward]] = Claims()
    for path, forward in forwards:
        for earlier, other in claims.take(forward.protocol, forward.entry, (path, forward)):
            if _leads(other) == _leads(forward) or (other.host is None and forward.host is None):
                continue
            key = "via" if forward.host else "to"
            reason = f"enters home on {forward.entry}, which {earlier} leads elsewhere"
            faults.add(f"{path}.{key}", reason, "give the LAN host's forward a free port with via")
            break


def _leads(forward: Forward) -> tuple[IPv4Address | None, PortRange, PortRange]:
    return forward.host, forward.entry, forward.to


def _openings(value: object, path: str, faults: Collector) -> tuple[Opening, ...]:
    return merged(
        opening
        for here, item in items(value, path, "[22]", faults)
        for opening in read_opening(item, here, faults)
    )


def _egress(value: object, path: str, faults: Collector) -> Egress:
    if value == "all":
        return Egress(everything=True)
    if value is not None and not isinstance(value, list | tuple):
        faults.add(path, f"{shown(value)} is neither all nor a list of ports", "write all, or [25]")
        return Egress()
    return Egress(ports=_openings(value, path, faults))


def _device(value: object, path: str, roll: Roll) -> Device | None:
    """A device; a name alone stands for one with the defaults."""
    faults = roll.faults
    if not isinstance(value, Mapping | str):
        faults.add(path, "a device is a name or a mapping", f"known here: {', '.join(DEVICE_KEYS)}")
        return None
    raw = section({"name": value} if isinstance(value, str) else value, path, DEVICE_KEYS, faults)
    name = roll.name(raw, path)
    reach = raw.get("reach")
    reach = ["homes"] if reach is None else reach
    reaches = [each.value for each in Reach]
    traffics = [traffic.value for traffic in Traffic]
    key = generation(raw.get("key"), f"{path}.key", faults)
    return Device(
        name or path,
        roll.address(raw, name, path),
        reach=frozenset(
            Reach(word(item, here, reaches, "reach", faults))
            for here, item in items(reach, f"{path}.reach", "[homes]", faults)
        ),
        traffic=Traffic(
            word(raw.get("traffic", traffics[0]), f"{path}.traffic", traffics, "traffic", faults)
        ),
        dns=tuple(
            address
            for here, item in items(raw.get("dns"), f"{path}.dns", "[9.9.9.9]", faults)
            if (address := _resolver(item, here, faults)) is not None
        ),
        public_key=roll.public_key(raw, path),
        ipv6=flag(raw.get("ipv6", True), f"{path}.ipv6", faults),
        key=key,
        next_key=roll.next_key(raw, key, path),
    )


def _resolver(value: object, path: str, faults: Collector) -> Address | None:
    try:
        # An interface after a percent sign is one of this machine's, not of the device's.
        return ip_address(value if isinstance(value, str) and "%" not in value else "")
    except ValueError:
        faults.add(path, f"{shown(value)} is not an address", "write a resolver's, like 9.9.9.9")
        return None
