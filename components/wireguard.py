"""WireGuard's configuration text, for the relay and for a home, as wg-quick(8) reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from .keys import HomeKeys, RelayKeys
from .model import Home, Mode, Settings, Tunnel
from .rules import TABLE, forward_chain

PLACEHOLDER = "PUT-THE-PRIVATE-KEY-OF-THIS-HOME-HERE"
# Marks are in the top byte: Tailscale uses the third, Kubernetes the second, wg-quick all four.
MASK = 0xFF000000


def relay_interface(settings: Settings, keys: RelayKeys) -> str:
    """``/etc/wireguard/wg0.conf`` of the relay: the interface, without its peers.

    Peers and rules are in files of their own beside it, so that either changes alone. PostUp may
    run twice; PreDown cannot fail, since a failure there would leave the interface up. The filter
    is there before the first peer and goes after the last. Files are piped in, as wg-quick itself
    does: AppArmor's profile for it keeps nft from reading them (Ubuntu 25.04 on).
    """
    tunnel = settings.tunnel
    chain = forward_chain(settings)
    jumps = ["-i %i", "-o %i"]
    up = [
        "cat /etc/wireguard/%i.iptables | iptables-restore --wait --noflush",
        *(
            f"iptables -w -C FORWARD {j} -j {chain} 2>/dev/null"
            f" || iptables -w -I FORWARD {j} -j {chain}"
            for j in jumps
        ),
        "cat /etc/wireguard/%i.nft | nft -f -",
        "wg addconf %i /etc/wireguard/%i.peers",
    ]
    down = [f"nft delete table ip {TABLE} 2>/dev/null || :"]
    gone = [
        *(f"iptables -w -D FORWARD {j} -j {chain} 2>/dev/null || :" for j in jumps),
        f"iptables -w -F {chain} 2>/dev/null && iptables -w -X {chain} || :",
    ]
    return _interface(
        f"{tunnel.relay}/{tunnel.network.prefixlen}",
        keys.wireguard.private,
        tunnel,
        [f"ListenPort = {tunnel.port}"],
        up,
        down,
        gone,
    )


def relay_peers(settings: Settings, keys: RelayKeys) -> str:
    """``wg0.peers``: every home, for ``wg addconf``.

    A peer may send from its own tunnel address only; what a caller's packet carries outside that
    is the relay's business.
    """
    return "\n".join(
        "\n".join(
            [
                f"# {home.name}",
                "[Peer]",
                f"PublicKey = {keys.homes[home.name].public}",
                f"PresharedKey = {keys.homes[home.name].preshared}",
                f"AllowedIPs = {home.address}/32",
                "",
            ]
        )
        for home in settings.homes
    )


@dataclass(frozen=True)
class Uplink:
    """What a home must know of its relay: its public key, and ``host:port`` to dial."""

    public_key: str
    endpoint: str


def home_config(home: Home, tunnel: Tunnel, keys: HomeKeys, uplink: Uplink) -> str:
    """One file for wg-quick at home. It depends on keys, mode and tunnel, never on forwards."""
    up: list[str] = []
    down: list[str] = []
    extra: list[str] = []
    allowed = str(tunnel.network)
    if home.mode is Mode.TRANSPARENT:
        # A caller's packet has the caller's address as its inner source, and WireGuard drops
        # what is not in AllowedIPs; Table = off keeps that from becoming a default route.
        allowed, extra = "0.0.0.0/0", ["Table = off"]
        up, down = _return_path(home, slot(uplink.public_key))
    interface = _interface(
        f"{home.address}/{tunnel.network.prefixlen}",
        keys.private or PLACEHOLDER,
        tunnel,
        extra,
        up,
        down,
    )
    peer = [
        "[Peer]",
        f"PublicKey = {uplink.public_key}",
        f"PresharedKey = {keys.preshared}",
        f"Endpoint = {uplink.endpoint}",
        f"AllowedIPs = {allowed}",
        f"PersistentKeepalive = {tunnel.keepalive}",
        "",
    ]
    return interface + "\n" + "\n".join(peer)


def slot(public_key: str) -> int:
    """A number from 1 to 254 for a relay, from its public key.

    A home of two relays needs a mark, a routing table and two rule preferences for each.
    """
    return 1 + hashlib.sha256(public_key.encode()).digest()[0] % 254


def _interface(
    address: str,
    private: str,
    tunnel: Tunnel,
    extra: list[str],
    up: list[str],
    down: list[str],
    gone: Sequence[str] = (),
) -> str:
    lines = [
        "[Interface]",
        f"Address = {address}",
        f"PrivateKey = {private}",
        f"MTU = {tunnel.mtu}",
        *extra,
        *(f"PostUp = {line}" for line in up),
        *(f"PreDown = {line}" for line in down),
        *(f"PostDown = {line}" for line in gone),
        "",
    ]
    return "\n".join(lines)


def _return_path(home: Home, slot: int) -> tuple[list[str], list[str]]:
    """PostUp and PreDown that send answers, and only answers, back by the tunnel.

    Flows that come in by the tunnel are marked, their answers carry the mark, and marked packets
    are routed by a table of their own. ``iif %i lookup main`` comes first, so that callers whose
    address lies in a network that home also uses are answered as well. wg-quick cuts a line at a
    number sign, so there is none.
    """
    mark, mask = f"{slot << 24:#010x}", f"{MASK:#010x}"
    keep = f"{~MASK & 0xFFFFFFFF:#010x}"
    table, first = 7000 + slot, 7000 + 2 * slot
    # networkd removes rules that are not its own, but for those of protocol kernel.
    rules = [
        f"pref {first} protocol kernel iif %i lookup main",
        f"pref {first + 1} protocol kernel fwmark {mark}/{mask} lookup {table}",
    ]
    ours = f"ct mark and {mask} == {mark} meta mark set meta mark and {keep} or {mark};"
    nft = " ".join(
        [
            "add table ip %i; delete table ip %i; table ip %i {",
            # A UDP socket on 0.0.0.0 answers from the LAN address, chosen before any mark can
            # route it, and conntrack would take that for a new flow. So who asked is learned,
            # and the source of the answer is set before conntrack sees it.
            "set asked { type ipv4_addr . inet_service . inet_service; size 262144;",
            "flags dynamic,timeout; timeout 3m; };",
            "chain learn { type filter hook prerouting priority raw;",
            "iifname %i meta l4proto udp fib daddr type local",
            "update @asked { ip saddr . udp sport . udp dport }; };",
            "chain answer { type route hook output priority raw;",
            f"meta l4proto udp ip saddr != {home.address}",
            f"ip daddr . udp dport . udp sport @asked ip saddr set {home.address}; }};",
            "chain tag { type filter hook prerouting priority mangle;",
            f"iifname %i ct state new ct mark set ct mark and {keep} or {mark};",
            ours,
            "};",
            # Answers only: home's own ICMP about a container's flow must not go astray.
            "chain return_path { type route hook output priority mangle;",
            f"ct direction reply {ours}",
            "}; }",
        ]
    )
    forward = [
        f"-m connmark --mark {mark}/{mask} -m conntrack --ctstate ESTABLISHED,RELATED",
        "-i %i -m conntrack --ctstate DNAT",
    ]
    up = [
        # Per interface, and so gone with it; AppArmor's profile (Ubuntu 25.04 on) allows all alone.
        "sysctl -q -w net.ipv4.conf.%i.src_valid_mark=1 2>/dev/null"
        " || sysctl -q net.ipv4.conf.all.src_valid_mark=1",
        f"ip -4 route replace default dev %i table {table}",
        *(f"ip -4 rule del {rule} 2>/dev/null || :; ip -4 rule add {rule}" for rule in rules),
        f"nft '{nft}'",
        "iptables -w -N %i-home 2>/dev/null || iptables -w -F %i-home",
        *(f"iptables -w -A %i-home {match} -j ACCEPT" for match in forward),
        # The relay may reach what home publishes, not whatever home could route to.
        "iptables -w -A %i-home -i %i -j DROP",
        *_jump("FORWARD", "-j %i-home"),
        *_jump("INPUT", "-i %i -j ACCEPT"),
    ]
    down = [
        "iptables -w -D INPUT -i %i -j ACCEPT 2>/dev/null || :",
        "iptables -w -D FORWARD -j %i-home 2>/dev/null || :",
        "iptables -w -F %i-home 2>/dev/null && iptables -w -X %i-home || :",
        "nft delete table ip %i 2>/dev/null || :",
        *(f"ip -4 rule del {rule} 2>/dev/null || :" for rule in rules),
    ]
    return up, down


def _jump(chain: str, rule: str) -> list[str]:
    return [f"iptables -w -C {chain} {rule} 2>/dev/null || iptables -w -I {chain} {rule}"]
