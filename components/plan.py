"""What a relay's host must hold, as one value; cloud-init and SSH only carry it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import firewall, rules, wireguard
from .family import Family
from .keys import RelayKeys, TlsKey, WireGuardKey
from .model import Settings, Tunnel

STATIC = Path(__file__).resolve().parent.parent / "cloud-init" / "host"
LIB = "/usr/local/lib/cgnat-relay"
UNITS = "/etc/systemd/system"
PACKAGES = (
    "wireguard-tools",  # wg, wg-quick and its unit
    "iptables",  # the chains that accept
    "nftables",  # the table that forwards
    "conntrack",  # ends the flows of a forward that is taken away
)
# Services that flush or replace everyone's packet rules when they start, stop or reload.
NEIGHBOURS = ("docker", "firewalld", "iptables", "netfilter-persistent", "nftables", "ufw")
IFUP = "/etc/network/if-up.d/zz-cgnat-relay"  # the last of ifupdown's hooks
UPDATES = ("unattended-upgrades",)  # security updates without anyone's hand
ROTATE = "cgnat-relay-rotate.service"  # while keys change
TLS_PACKAGES = ("socat",)  # the tunnel inside TLS, see docs/blocked.md


@dataclass(frozen=True)
class File:
    """A file of root's: absolute path, mode as octal text, and content, which may be secret."""

    path: str
    content: str = field(repr=False)
    mode: str = "0644"


@dataclass(frozen=True)
class Part:
    """Files that change together and alone."""

    name: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class HostPlan:
    """Packages, parts and the units that are enabled and started, in order."""

    packages: tuple[str, ...]
    parts: tuple[Part, ...]
    units: tuple[str, ...]

    @property
    def files(self) -> tuple[File, ...]:
        """All files of all parts."""
        return tuple(file for part in self.parts for file in part.files)


def relay_plan(settings: Settings, keys: RelayKeys) -> HostPlan:
    """The plan of a relay: parts base, firewall, tunnel, peers, rules, and tls if it is on."""
    settings = settings.drawn(keys.prefix)
    wg = settings.tunnel.interface
    etc = f"/etc/wireguard/{wg}"
    tls = [_tls(settings.tunnel, keys.tls)] if keys.tls else []
    next_way = [_next_way(settings, keys.following)] if keys.following else []
    return HostPlan(
        packages=packages(settings),
        parts=(
            _base(settings),
            _firewall(settings, keys),
            Part(
                "tunnel",
                (
                    File(f"{etc}.conf", wireguard.relay_interface(settings, keys), "0600"),
                    _static("call", f"{etc}.call", "0755"),
                ),
            ),
            Part("peers", tuple(_peers(settings, keys, etc))),
            Part(
                "rules",
                tuple(
                    file
                    for family in Family
                    if family is Family.V4 or settings.tunnel.prefix
                    for file in (
                        File(f"{etc}.{family.nft}.nft", rules.nat(settings, family), "0600"),
                        File(
                            f"{etc}.{family.iptables}",
                            rules.filter_rules(settings, family),
                            "0600",
                        ),
                    )
                ),
            ),
            *next_way,
            *tls,
        ),
        units=(
            "cgnat-relay-recover.service",
            "cgnat-relay-firewall.service",
            f"wg-quick@{wg}.service",
            *(["cgnat-relay-tls.service"] if tls else []),
            *([f"wg-quick@{settings.tunnel.next_interface}.service"] if next_way else []),
            *([ROTATE] if _changing(settings, keys) else []),
        ),
    )


def packages(settings: Settings) -> tuple[str, ...]:
    """What must be installed; updates are an adopted machine's own affair."""
    updates = () if settings.site.adopted else UPDATES
    return PACKAGES + updates + (() if settings.tunnel.tls is None else TLS_PACKAGES)


def _peers(settings: Settings, keys: RelayKeys, etc: str) -> Iterator[File]:
    """Who may dial, and while keys change what moves a peer from one to the other."""
    yield File(f"{etc}.peers", wireguard.relay_peers(settings, keys), "0600")
    if pairs := wireguard.relay_pairs(settings, keys):
        yield File(f"{etc}.pairs", pairs, "0600")
    if _changing(settings, keys):
        yield _static("rotate", f"{LIB}/rotate", "0755")
        yield _static(ROTATE, f"{UNITS}/{ROTATE}")


def _changing(settings: Settings, keys: RelayKeys) -> bool:
    """Whether anyone may come with either of two keys."""
    return bool(keys.following or wireguard.relay_pairs(settings, keys))


def _next_way(settings: Settings, key: WireGuardKey) -> Part:
    """The relay's next key, at an interface that lives with the first."""
    name, first = settings.tunnel.next_interface, f"wg-quick@{settings.tunnel.interface}.service"
    beside = f"[Unit]\nBindsTo={first}\nPartOf={first}\nAfter={first}\n"
    return Part(
        "next",
        (
            File(f"/etc/wireguard/{name}.conf", wireguard.relay_next(settings, key), "0600"),
            File(f"{UNITS}/wg-quick@{name}.service.d/50-cgnat-relay.conf", beside),
        ),
    )


def _firewall(settings: Settings, keys: RelayKeys) -> Part:
    tunnel = settings.tunnel
    udp = [f"{port}/udp" for port in tunnel.ports]
    ports = [*udp, *([f"{tunnel.tls}/tcp"] if tunnel.tls is not None else [])]
    return Part(
        "firewall",
        (
            File("/etc/cgnat-relay/firewall.v4", firewall.rules(settings, 4)),
            File("/etc/cgnat-relay/firewall.v6", firewall.rules(settings, 6)),
            File("/etc/cgnat-relay/ports", "".join(f"{port}\n" for port in ports)),
            File("/etc/cgnat-relay/interface", f"{tunnel.interface}\n"),
            *(_closed(settings, keys) if settings.ssh_by_tunnel else ()),
            _static("firewall", f"{LIB}/firewall", "0755"),
            _static("restore", f"{LIB}/restore", "0755"),
            _static("cgnat-relay-firewall.service", f"{UNITS}/cgnat-relay-firewall.service"),
            *(
                _static("neighbour.conf", f"{UNITS}/{name}.service.d/50-cgnat-relay.conf")
                for name in NEIGHBOURS
            ),
            # Its own reload runs first. Of the others that have one, firewalld's flushes, but is
            # asked for over D-Bus, so that no unit hears of it (``firewall follow``).
            _static(
                "neighbour-reload.conf", f"{UNITS}/nftables.service.d/51-cgnat-relay-reload.conf"
            ),
            # Not by its unit: ifup@ counts as started while it still loads an owner's rules.
            _static("ifup", IFUP, "0755"),
            # Not in the tunnel's own file, whose change would have homes dial anew.
            _static(
                "tunnel.conf",
                f"{UNITS}/wg-quick@{tunnel.interface}.service.d/50-cgnat-relay.conf",
            ),
            # Nor in the next one's, whose change would start that anew.
            *(
                _static(
                    "tunnel-place.conf",
                    f"{UNITS}/wg-quick@{name}.service.d/51-cgnat-relay-place.conf",
                )
                for name in tunnel.interfaces
            ),
        ),
    )


def _closed(settings: Settings, keys: RelayKeys) -> tuple[File, ...]:
    """What is loaded instead once one of the devices has come, each told by its public key."""
    known = (keys.peers[device.name] for device in settings.devices)
    devices = "".join(f"{each.public}\n" for own in known for each in (own, own.following) if each)
    return (
        File("/etc/cgnat-relay/closed.v4", firewall.rules(settings, 4, closed=True)),
        File("/etc/cgnat-relay/closed.v6", firewall.rules(settings, 6, closed=True)),
        File("/etc/cgnat-relay/devices", devices),
    )


def _tls(tunnel: Tunnel, key: TlsKey) -> Part:
    """What takes the tunnel inside TLS, as a unit of its own, not root's."""
    return Part(
        "tls",
        (
            File("/etc/cgnat-relay/tls.pem", key.private + key.certificate, "0600"),
            File("/etc/cgnat-relay/tls.env", f"PORT={tunnel.tls}\nTUNNEL={tunnel.port}\n"),
            _static("cgnat-relay-tls.service", f"{UNITS}/cgnat-relay-tls.service"),
        ),
    )


def _base(settings: Settings) -> Part:
    """What concerns the whole machine; of an adopted one no more than the relay needs."""
    sshd = [
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        f"Port {settings.ssh_port}",
        "",
    ]
    ours = (
        File("/etc/sysctl.d/60-cgnat-relay.conf", "\n".join(_sysctls(settings))),
        _static("setup", f"{LIB}/setup", "0755"),
        _static("cgnat-relay-recover.service", f"{UNITS}/cgnat-relay-recover.service"),
    )
    whole = (
        # sshd takes the first value it meets: this must sort before a provider's own file.
        File("/etc/ssh/sshd_config.d/10-cgnat-relay.conf", "\n".join(sshd), "0600"),
        _static("apt.conf", "/etc/apt/apt.conf.d/52cgnat-relay"),
    )
    return Part("base", ours if settings.site.adopted else ours + whole)


def _sysctls(settings: Settings) -> list[str]:
    """sysctl.d(5); a leading hyphen lets a kernel without IPv6 be."""
    lines = ["net.ipv4.ip_forward = 1"]
    if settings.tunnel.prefix:
        # What that does to routers' advertisements is for `setup advertisements`: no line here can
        # tell who takes any.
        lines.append("-net.ipv6.conf.all.forwarding = 1")
    return [*lines, ""]


def _static(name: str, path: str, mode: str = "0644") -> File:
    return File(path, (STATIC / name).read_text(), mode)
