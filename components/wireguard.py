"""WireGuard's configuration text as wg-quick(8) reads it: its parts, and the relay's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from .family import Family
from .keys import PeerKeys, RelayKeys, WireGuardKey
from .model import Settings, Tunnel
from .rules import TABLE, forward_chain

PLACEHOLDER = "PUT-THE-PRIVATE-KEY-OF-THIS-PEER-HERE"
# A kernel started with ipv6.disable=1 has none of its tables.
NO_IPV6 = "[ ! -e /proc/sys/net/ipv6 ]"


@dataclass(frozen=True)
class Uplink:
    """What a peer must know of its relay: its public key, and ``host:port`` to dial.

    ``identity`` is the relay's first public key, where that is another.
    """

    public_key: str
    endpoint: str
    identity: str = ""

    @property
    def slot(self) -> int:
        """A number from 1 to 254 for this relay, from its first public key.

        A home of two relays needs a mark, a routing table and rule preferences for each, and keeps
        them when the relay's key changes.
        """
        known_by = self.identity or self.public_key
        return 1 + hashlib.sha256(known_by.encode()).digest()[0] % 254


def relay_interface(settings: Settings, keys: RelayKeys) -> str:
    """``/etc/wireguard/wg0.conf`` of the relay: the interface, without its peers.

    Peers and rules are in files of their own beside it, so that either changes alone. PostUp may
    run twice; PreDown cannot fail, since a failure there would leave the interface up. The filter
    is there before the first peer and goes after the last. Files are piped in, as wg-quick itself
    does: AppArmor's profile for it keeps nft from reading them (Ubuntu 25.04 on).
    """
    tunnel = settings.tunnel
    chain = forward_chain(settings)
    families = Family if tunnel.prefix else (Family.V4,)
    up = [line for family in families for line in _filter_up(family, chain)]
    if tunnel.prefix:
        inner = tunnel.inner6(tunnel.relay)
        up.append(f"ip -6 addr replace {inner}/{tunnel.prefix.prefixlen} dev %i 2>/dev/null || :")
    up += [
        *(_if_there(f, f"cat /etc/wireguard/%i.{f.nft}.nft | nft -f -") for f in families),
        "wg addconf %i /etc/wireguard/%i.peers",
        _call(tunnel, "back"),
    ]
    down = [_call(tunnel, "keep")]
    down += [f"nft delete table {f.nft} {TABLE} 2>/dev/null || :" for f in families]
    gone = [line for family in families for line in _filter_down(family, chain)]
    return interface(
        tunnel,
        f"{tunnel.relay}/{tunnel.network.prefixlen}",
        keys.wireguard.private,
        [f"ListenPort = {tunnel.port}"],
        up,
        down,
        gone,
    )


def relay_next(settings: Settings, key: WireGuardKey) -> str:
    """``wg0-2.conf``: the relay's next key, beside ``wg0`` and with the same peers and rules.

    Whose route leads here is decided by who comes (``cloud-init/host/rotate``).
    """
    tunnel = settings.tunnel
    chain = forward_chain(settings)
    families = Family if tunnel.prefix else (Family.V4,)
    up = [line for family in families for line in _jumps_up(family, chain)]
    if tunnel.prefix:
        up.append(f"ip -6 addr replace {tunnel.inner6(tunnel.relay)}/128 dev %i 2>/dev/null || :")
    up += [f"wg addconf %i /etc/wireguard/{tunnel.interface}.peers", _call(tunnel, "back")]
    down = [_call(tunnel, "keep")]
    gone = [line for family in families for line in _jumps_down(family, chain)]
    extra = [f"ListenPort = {tunnel.newest_port}"]
    return interface(tunnel, f"{tunnel.relay}/32", key.private, extra, up, down, gone)


def _call(tunnel: Tunnel, verb: str) -> str:
    """Where the peers are is kept, and they are called back (``cloud-init/host/call``)."""
    return f". /etc/wireguard/{tunnel.interface}.call {verb} %i || :"


def _if_there(family: Family, command: str) -> str:
    return command if family is Family.V4 else f"{NO_IPV6} || {command}"


def _filter_up(family: Family, chain: str) -> list[str]:
    tool = family.iptables
    return [
        _if_there(family, f"cat /etc/wireguard/%i.{tool} | {tool}-restore --wait --noflush"),
        *_jumps_up(family, chain),
    ]


def _jumps_up(family: Family, chain: str) -> list[str]:
    tool = family.iptables
    return [
        _if_there(
            family,
            f"{tool} -w -C FORWARD {jump} -j {chain} 2>/dev/null"
            f" || {tool} -w -I FORWARD {jump} -j {chain}",
        )
        for jump in ("-i %i", "-o %i")
    ]


def _jumps_down(family: Family, chain: str) -> list[str]:
    tool = family.iptables
    return [f"{tool} -w -D FORWARD {j} -j {chain} 2>/dev/null || :" for j in ("-i %i", "-o %i")]


def _filter_down(family: Family, chain: str) -> list[str]:
    tool = family.iptables
    return [
        *_jumps_down(family, chain),
        f"{tool} -w -F {chain} 2>/dev/null && {tool} -w -X {chain} || :",
    ]


def relay_peers(settings: Settings, keys: RelayKeys) -> str:
    """``wg0.peers``: every home and device, for ``wg addconf``.

    A peer may send from its own tunnel addresses only; what a caller's packet carries outside
    those is the relay's business. A key that comes after has no addresses yet: they move to it
    when it is used (``cloud-init/host/rotate``).
    """
    sections: list[str] = []
    for who in settings.peers:
        own = keys.peers[who.name]
        sections.append(_accepted(who.name, own, hosts(settings.tunnel.addresses(who))))
        if own.following:
            sections.append(_accepted(f"{who.name}, next key", own.following, []))
    return "\n".join(sections)


def _accepted(comment: str, keys: PeerKeys, allowed: Sequence[str]) -> str:
    lines = [
        f"# {comment}",
        "[Peer]",
        f"PublicKey = {keys.public}",
        f"PresharedKey = {keys.preshared}",
        *([f"AllowedIPs = {', '.join(allowed)}"] if allowed else []),
        "",
    ]
    return "\n".join(lines)


def relay_pairs(settings: Settings, keys: RelayKeys) -> str:
    """``wg0.pairs``: a line for each peer with two keys: its name, both, its addresses."""
    return "".join(
        f"{who.name} {own.public} {own.following.public}"
        f" {','.join(hosts(settings.tunnel.addresses(who)))}\n"
        for who in settings.peers
        if (own := keys.peers[who.name]).following
    )


def hosts(addresses: Sequence[object]) -> list[str]:
    """Each address as a network of its own."""
    return [f"{a}/{128 if ':' in str(a) else 32}" for a in addresses]


def peer(uplink: Uplink, preshared: str, allowed: Sequence[object], keepalive: int) -> str:
    """The one ``[Peer]`` of a home or a device: the relay. ``keepalive`` in seconds."""
    lines = [
        "[Peer]",
        f"PublicKey = {uplink.public_key}",
        f"PresharedKey = {preshared}",
        f"Endpoint = {uplink.endpoint}",
        f"AllowedIPs = {', '.join(map(str, allowed))}",
        f"PersistentKeepalive = {keepalive}",
        "",
    ]
    return "\n".join(lines)


def interface(
    tunnel: Tunnel,
    address: str,
    private: str | None,
    extra: Sequence[str] = (),
    up: Sequence[str] = (),
    down: Sequence[str] = (),
    gone: Sequence[str] = (),
) -> str:
    """An ``[Interface]`` section; ``up``, ``down`` and ``gone`` are wg-quick's commands."""
    lines = [
        "[Interface]",
        f"Address = {address}",
        f"PrivateKey = {private or PLACEHOLDER}",
        f"MTU = {tunnel.mtu}",
        *extra,
        *(f"PostUp = {line}" for line in up),
        *(f"PreDown = {line}" for line in down),
        *(f"PostDown = {line}" for line in gone),
        "",
    ]
    return "\n".join(lines)
