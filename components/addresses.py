"""The homes' addresses in the tunnel: derived from the name, or pinned by the config."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network


def derived(name: str, network: IPv4Network) -> IPv4Address:
    """The address that ``name`` has in ``network``, whoever else is in it.

    A hash over the name picks one of the hosts but the first, which is the relay's; so adding,
    removing or reordering homes moves nobody. ``network`` must be /30 or larger.
    """
    hosts = network.num_addresses - 3  # network, broadcast, relay
    digest = hashlib.sha256(name.encode()).digest()
    return network.network_address + 2 + int.from_bytes(digest[:8], "big") % hosts


def usable(address: IPv4Address, network: IPv4Network) -> bool:
    """Whether a home may have it: in the network, and not the relay's nor a broadcast."""
    offset = int(address) - int(network.network_address)
    return address in network and 2 <= offset < network.num_addresses - 1


def free(network: IPv4Network, taken: Iterable[IPv4Address]) -> IPv4Address | None:
    """The lowest address that nobody has, to be named in advice; None where all are taken."""
    used = set(taken)
    return next((a for a in _hosts(network) if a not in used), None)


def _hosts(network: IPv4Network) -> Iterator[IPv4Address]:
    for offset in range(2, network.num_addresses - 1):
        yield network.network_address + offset
