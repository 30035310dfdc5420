"""A road warrior's config: plain WireGuard, for wg-quick and for any app that reads its files."""

from __future__ import annotations

from .home import ANYWHERE
from .keys import PeerKeys
from .model import Device, Traffic, Tunnel
from .wireguard import Uplink, hosts, interface, peer


def device_config(device: Device, tunnel: Tunnel, keys: PeerKeys, uplink: Uplink) -> str:
    """One file that the WireGuard apps import, also as a QR code.

    With all its traffic by the relay, IPv6 goes there too, or it would leak past the tunnel.
    """
    addresses = tunnel.addresses(device)
    extra = [f"DNS = {', '.join(map(str, device.dns))}"] if device.dns else []
    networks = ANYWHERE if device.traffic is Traffic.ALL else tunnel.networks
    text = interface(tunnel, ", ".join(hosts(addresses)), keys.private, extra)
    allowed = networks[: len(addresses)]
    return text + "\n" + peer(uplink, keys.preshared, allowed, tunnel.keepalive)
