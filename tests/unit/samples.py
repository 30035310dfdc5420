"""A relay to look at, with keys made anew in each run."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import Any

from components import config
from components.faults import Collector
from components.keys import PeerKeys, RelayKeys, ssh_key, tls_key, unique_local, wireguard_key
from components.model import Settings

# What ssh would take for a private key until it reads on.
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nno key at all\n-----END OPENSSH PRIVATE KEY-----\n"
HOMES: list[dict[str, Any]] = [
    {"name": "home", "forwards": ["80:8080", "443:8081", "5353:5353/udp"]},
    {"name": "games", "forwards": ["27015-27020:27015/udp", "3000-3001:4000"]},
    {"name": "nas", "mode": "masquerade", "forwards": ["2049:2049"]},
]


def seed() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def settings(**raw: Any) -> Settings:
    faults = Collector()
    found = config.read({"homes": HOMES} | raw, faults)
    assert found, faults.faults
    return found


def peer_keys(public: str | None = None) -> PeerKeys:
    """A pair of the program's, or a public key whose private one is its owner's."""
    if public:
        return PeerKeys(public, seed())
    pair = wireguard_key(seed())
    return PeerKeys(pair.public, seed(), pair.private)


def keys(of: Settings) -> RelayKeys:
    peers = {}
    for peer in of.peers:
        following = peer_keys(peer.next_key.public_key) if peer.next_key else None
        peers[peer.name] = replace(peer_keys(peer.public_key), following=following)
    prefix = unique_local(base64.b64encode(os.urandom(5)).decode())
    tls = None if of.tunnel.tls is None else tls_key(seed())
    own = wireguard_key(seed())
    following = wireguard_key(seed()) if of.tunnel.next_way else None
    hosts = ssh_key(seed()), ssh_key(seed())
    return RelayKeys(own, *hosts, peers, prefix, tls, following, own.public)
