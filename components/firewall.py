"""The machine's own firewall: what may reach the relay itself, for IPv4 and IPv6.

Policy stays ACCEPT and the drop is the last rule of a chain of our own, so that taking the chain
away, or a failure to load it, locks nobody out.
"""

from __future__ import annotations

from .family import Family
from .model import Settings

CHAIN = "RELAY-INPUT"


def rules(settings: Settings, version: int, closed: bool = False) -> str:
    """Input for ``iptables-restore --noflush`` (``version`` 4) or ``ip6tables-restore`` (6).

    Forwarded ports need no rule here: they are DNATed and never meet INPUT. Where the machine's
    own firewall stays in charge, the tunnel is let in and nothing else is said. ``closed``: SSH is
    let in from devices alone, and by the tunnel, where WireGuard has seen to the source.
    """
    icmp = "icmp" if version == 4 else "ipv6-icmp"  # for 6 that is neighbour discovery too
    dhcp = "--sport 67 --dport 68" if version == 4 else "-d fe80::/10 --sport 547 --dport 546"
    tunnel = settings.tunnel
    ours = [f"-p udp --dport {port}" for port in tunnel.ports]
    if tunnel.tls is not None:
        ours.append(f"-p tcp --dport {tunnel.tls}")
    whole = [
        "-i lo",
        "-m conntrack --ctstate ESTABLISHED,RELATED",
        f"-p {icmp}",
        f"-p udp {dhcp}",
    ]
    guarded = settings.site.guarded
    accepted = [*whole, *ours] if guarded else ours
    # Of an adopted machine its own rules are asked on: fail2ban's bans go on.
    ssh = "RETURN" if settings.site.adopted and not closed else "ACCEPT"
    callers = _devices(settings, version) if closed else [""]
    entered = [f"{caller}-p tcp --dport {settings.ssh_port} -j {ssh}" for caller in callers]
    return "\n".join(
        [
            "*filter",
            f":{CHAIN} - [0:0]",
            *(f"-A {CHAIN} {match} -j ACCEPT" for match in accepted),
            *(f"-A {CHAIN} {rule}" for rule in (*entered, "-j DROP") if guarded),
            "COMMIT",
            "",
        ]
    )


def _devices(settings: Settings, version: int) -> list[str]:
    """A match for each device."""
    tunnel = settings.tunnel
    family = Family.V4 if version == 4 else Family.V6
    found = (tunnel.address(device, family) for device in settings.devices)
    return [
        f"-i {interface} -s {address} "
        for address in found
        if address is not None
        for interface in tunnel.interfaces
    ]
