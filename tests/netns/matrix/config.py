"""One relay with every feature at once: the config that the matrix is asked of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network
from typing import Any

from components.device import device_config
from components.home import home_config
from components.home_rules import home_rules
from components.keys import RelayKeys
from components.model import Home, Settings
from components.plan import relay_plan
from components.wireguard import Uplink

from ...unit import samples

RELAY, RELAY6 = "198.51.100.7", "2001:db8:7::7"
PREFIX = "fd00:c9a7::/64"  # drawn anew for a real relay
MTU = 1380  # not the default, which wg-quick guesses right
OTHER_PORT = 443
# Added to a transparent home's ports, for the same at a home that masquerades and for a
# masqueraded forward.
PLAIN, SHOWN = 3000, 1000
HOSTS = {
    "home": 2,
    "guarded": 3,
    "plain": 4,
    "office": 5,
    "villa": 6,
    "phone": 10,
    "laptop": 11,
    "tablet": 12,
}  # peers, by the last number of their addresses


def inner(name: str) -> str:
    """A peer's IPv4 address in the tunnel."""
    return f"172.16.0.{HOSTS[name]}"


def inner6(name: str) -> str:
    """A peer's IPv6 address in the tunnel."""
    return f"fd00:c9a7::{HOSTS[name]:x}"


def _forwards(base: int, lan: bool, **each: str) -> list[dict[str, Any]]:
    """The same forwards for each mode."""
    wanted: list[dict[str, Any]] = [
        {"port": 80 + base, "to": 8080, "protocol": "both"},
        {"port": 81 + base, "to": 8081, "protocol": "both"},  # a container's
        {"port": f"{900 + base}-{902 + base}", "protocol": "both"},
        {"port": f"{300 + base}-{301 + base}", "to": 8082, "protocol": "both"},
        {"port": 91 + base, "to": 8080, "protocol": "both", "from": ["203.0.113.0/24"]},
        {"port": 92 + base, "to": 8080, "protocol": "both", "from": ["203.0.114.0/24"]},
        {"port": 70 + base, "to": 8070, "protocol": "both"},  # nobody listens there
        {"port": 85 + base, "to": 8085},  # a container's, that tells its largest segment
        {"port": 86 + base, "to": 8086, "protocol": "udp"},  # answers with much
    ]
    wanted[4]["from"].append("2001:db8:9::/64")
    wanted[5]["from"].append("2001:db8:99::/64")
    if lan:
        at = {"host": "192.168.1.50", "to": 25, "via": 2525, "protocol": "both"}
        wanted.append({"port": 25 + base} | at)
        own = {"host": "192.168.1.2", "to": 8093, "via": 8093, "protocol": "both"}
        wanted.append({"port": 93 + base} | own)
    return [forward | each for forward in wanted]


CONFIG: dict[str, Any] = {
    "tunnel": {"mtu": MTU, "otherPorts": [OTHER_PORT]},
    "homes": [
        {
            "name": "home",
            "address": inner("home"),
            "forwards": _forwards(0, True) + _forwards(SHOWN, True, mode="masquerade"),
        },
        {
            "name": "guarded",
            "address": inner("guarded"),
            "protected": True,
            "accept": [2200],
            "egress": "all",
            "forwards": ["2080:8080/both"],
        },
        {
            "name": "plain",
            "address": inner("plain"),
            "mode": "masquerade",
            "ipv6": True,
            "forwards": _forwards(PLAIN, False),
        },
        {"name": "villa", "address": inner("villa"), "egress": "all"},
        {
            "name": "office",
            "address": inner("office"),
            "egress": ["2500/both"],
            "forwards": ["5093:8094"],
        },
    ],
    "devices": [
        {"name": "phone", "address": inner("phone"), "reach": ["homes", "devices"]},
        {"name": "laptop", "address": inner("laptop")},
        {"name": "tablet", "address": inner("tablet"), "reach": ["devices"], "traffic": "all"},
    ],
}
# Who dials the relay's other port, or its IPv6 address; the rest dial its first.
DIALS = {
    "laptop": f"{RELAY}:{OTHER_PORT}",
    "tablet": f"[{RELAY6}]:{OTHER_PORT}",
    "villa": f"[{RELAY6}]:51820",
}
Files = dict[str, str]


@dataclass(frozen=True)
class Generated:
    """Every generated file that decides about packets: by host, then by path."""

    files: dict[str, Files] = field(repr=False)
    settings: Settings
    keys: RelayKeys


def generate() -> Generated:
    """All hosts' files, with keys made anew."""
    settings = samples.settings(**CONFIG)
    keys: RelayKeys = replace(samples.keys(settings), prefix=IPv6Network(PREFIX))
    settings = settings.drawn(IPv6Network(PREFIX))
    relay = {
        file.path: file.content
        for file in relay_plan(settings, keys).files
        if file.path.startswith(("/etc/wireguard/", "/etc/cgnat-relay/firewall", "/etc/sysctl.d/"))
        and not file.path.endswith(".call")  # a script, and no rule
    }
    files = {"relay": relay}
    for peer in settings.peers:
        dial = DIALS.get(peer.name, f"{RELAY}:{settings.tunnel.port}")
        uplink, own = Uplink(keys.wireguard.public, dial), keys.peers[peer.name]
        if isinstance(peer, Home):
            files[peer.name] = {
                "/etc/wireguard/wg0.conf": home_config(peer, settings.tunnel, own, uplink)
            }
            rules = home_rules(peer, uplink)
            if rules is not None:
                files[peer.name]["/etc/wireguard/wg0.rules"] = rules
        else:
            files[peer.name] = {
                "/etc/wireguard/wg0.conf": device_config(peer, settings.tunnel, own, uplink)
            }
    return Generated(files, settings, keys)
