"""A home whose network systemd-networkd keeps (systemd 248 or later).

networkd makes the interface and keeps its address. It knows no marks of connections and no nft, so
where a home is transparent a unit raises the interface and runs wg-quick's own commands around
that.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..home import ANYWHERE, Way
from ..model import Home, Tunnel
from .sections import Sections, sections

UNITS = "/etc/systemd/network"


def networkd(config: str, home: Home, tunnel: Tunnel, way: Way) -> dict[str, str]:
    """The files by name; ``config`` is home's ``home_config`` and ``way`` its relay's numbers."""
    whole, wg = sections(config), tunnel.interface
    files = {
        f"{wg}.netdev": _netdev(whole, tunnel),
        f"{wg}.network": _network(whole, home, tunnel, way),
    }
    if whole.hooks:
        files |= {f"{wg}-tunnel": _script(whole, wg), f"{wg}-tunnel.service": _unit(wg)}
    return files


def _netdev(whole: Sections, tunnel: Tunnel) -> str:
    renamed = {"PrivateKey": "PrivateKey", "FwMark": "FirewallMark"}
    interface = [(renamed[k], v) for k, v in whole.interface if k in renamed]
    return _text(
        f"# {UNITS}/{tunnel.interface}.netdev, mode 0640, root:systemd-network:"
        " networkd must read the keys, others not.",
        ("NetDev", [("Name", tunnel.interface), ("Kind", "wireguard"), ("MTUBytes", tunnel.mtu)]),
        ("WireGuard", interface),
        ("WireGuardPeer", whole.peer),
    )


def _network(whole: Sections, home: Home, tunnel: Tunnel, way: Way) -> str:
    pairs = [*zip(tunnel.addresses(home), tunnel.networks, strict=False)]
    network = [("Address", f"{address}/{network.prefixlen}") for address, network in pairs]
    link: list[tuple[str, object]] = []
    routes: list[tuple[str, list[tuple[str, object]]]] = []
    if whole.hooks:
        # The commands make these routes too; but networkd, when it starts anew or is told to
        # reconfigure the link, takes those away that it does not know.
        network.append(("KeepConfiguration", "yes"))
        link.append(("ActivationPolicy", "manual"))
        routes = [
            ("Route", [("Destination", anywhere), ("Table", way.route)])
            for anywhere in ANYWHERE[: len(pairs)]
        ]
    return _text(
        f"# {UNITS}/{tunnel.interface}.network, mode 0644.",
        ("Match", [("Name", tunnel.interface)]),
        ("Link", link),
        ("Network", network),
        *routes,
    )


def _script(whole: Sections, wg: str) -> str:
    """What wg-quick does around an interface, which is networkd's here."""
    link = f"ip link set dev {wg}"
    around = {
        "up": ("PreUp", f"{link} up", "PostUp"),
        "down": ("PreDown", f"{link} down 2>/dev/null || :", "PostDown"),
    }
    lines = [
        "#!/bin/bash",
        f"# /etc/wireguard/{wg}-tunnel, mode 0755: homeConfig's own commands, in its order.",
        "set -e -o pipefail",
        'case "$1" in',
    ]
    for verb, (before, own, after) in around.items():
        commands = [*whole.commands(before, wg), own, *whole.commands(after, wg)]
        lines += [f"{verb})", *(f"\t{command}" for command in commands), "\t;;"]
    return "\n".join([*lines, "esac", ""])


def _unit(wg: str) -> str:
    device = f"sys-subsystem-net-devices-{wg}.device"
    script = f"/etc/wireguard/{wg}-tunnel"
    return _text(
        f"# /etc/systemd/system/{wg}-tunnel.service, mode 0644. It raises {wg} and goes with it.",
        (
            "Unit",
            [
                ("Description", f"The tunnel {wg} and the way back of its callers"),
                ("BindsTo", device),
                ("After", f"{device} systemd-networkd.service"),
            ],
        ),
        (
            "Service",
            [
                ("Type", "oneshot"),
                ("RemainAfterExit", "yes"),
                ("ExecStart", f"/bin/bash {script} up"),
                # Also where up failed half-way; every command of it may run twice.
                ("ExecStopPost", f"/bin/bash {script} down"),
            ],
        ),
        ("Install", [("WantedBy", device)]),
    )


def _text(head: str, *parts: tuple[str, Iterable[tuple[str, object]]]) -> str:
    """A file of sections as systemd reads it; a section without keys is left out."""
    lines = [head]
    for name, pairs in parts:
        keys = [f"{key}={value}" for key, value in pairs]
        if keys:
            lines += ["", f"[{name}]", *keys]
    return "\n".join([*lines, ""])
