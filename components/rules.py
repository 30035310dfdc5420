"""The relay's packet rules: NAT in an nft table of our own, filter rules in iptables chains.

NAT is one lookup in a map however many forwards there are, and the table is replaced in one
transaction. Accepts are in iptables because an ``accept`` in a table of our own does not undo a
``drop`` in another (Docker, ufw, Oracle's image).
"""

from __future__ import annotations

from .model import Home, Mode, PortRange, Settings

TABLE = "cgnat-relay"


def nat(settings: Settings) -> str:
    """The nft ruleset that forwards: DNAT to the homes, MSS clamp, masquerade where asked.

    Loading it replaces the table as a whole; flows that are established keep their mapping,
    since NAT is decided on a flow's first packet.
    """
    wg = settings.tunnel.interface
    single = [e for home in settings.homes for e in _singles(home)]
    ranges = [e for home in settings.homes for e in _ranges(home)]
    masked = [str(home.address) for home in settings.homes if home.mode is Mode.MASQUERADE]
    lines = [
        f"add table ip {TABLE}",
        f"delete table ip {TABLE}",
        f"table ip {TABLE} {{",
        "\tmap ports {",
        "\t\ttype inet_proto . inet_service : ipv4_addr . inet_service",
        *_elements(single),
        "\t}",
        "\tmap ranges {",
        "\t\ttype inet_proto . inet_service : ipv4_addr",
        "\t\tflags interval",
        *_elements(ranges),
        "\t}",
        "\tset masqueraded {",
        "\t\ttype ipv4_addr",
        *_elements(masked),
        "\t}",
        "\tchain prerouting {",
        "\t\ttype nat hook prerouting priority dstnat; policy accept;",
        f'\t\tiifname "{wg}" return',
        # Many clouds give the NIC a private address behind 1:1 NAT: match whatever is ours.
        "\t\tfib daddr type != local return",
        "\t\tmeta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @ports",
        "\t\tmeta l4proto { tcp, udp } dnat to meta l4proto . th dport map @ranges",
        "\t}",
        "\tchain postrouting {",
        "\t\ttype nat hook postrouting priority srcnat; policy accept;",
        f'\t\toifname "{wg}" ct status dnat ip daddr @masqueraded masquerade',
        "\t}",
        "\tchain forward {",
        "\t\ttype filter hook forward priority mangle; policy accept;",
        # Clamped both ways: path MTU discovery is often broken, and a ClientHello with a
        # post-quantum key no longer fits one packet.
        f'\t\toifname "{wg}" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
        f'\t\tiifname "{wg}" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def filter_rules(settings: Settings) -> str:
    """Input for ``iptables-restore --noflush``: the chain for all that crosses the tunnel.

    Answers first, or each packet would walk the rest; then what was forwarded. Nothing else
    crosses: from the tunnel neither the internet nor a provider's metadata address
    (169.254.169.254) can be reached, and nobody outside reaches the tunnel's network directly.
    """
    chain = forward_chain(settings)
    wg = settings.tunnel.interface
    return "\n".join(
        [
            "*filter",
            f":{chain} - [0:0]",
            f"-A {chain} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            f"-A {chain} -o {wg} -m conntrack --ctstate DNAT -j ACCEPT",
            f"-A {chain} -j REJECT --reject-with icmp-admin-prohibited",
            "COMMIT",
            "",
        ]
    )


def forward_chain(settings: Settings) -> str:
    """The chain's name: the interface in capitals, as other tools' chains are named."""
    return f"{settings.tunnel.interface.upper()}-FORWARD"


def _keeps_ports(ports: PortRange, to: PortRange) -> bool:
    return len(ports) > 1 and ports == to


def _singles(home: Home) -> list[str]:
    """An element for each port; nft cannot shift a range, so a shifted one is spelled out."""
    return [
        f"{f.protocol.value} . {f.ports.first + i} : {home.address} . {f.to.first + i}"
        for f in home.forwards
        if not _keeps_ports(f.ports, f.to)
        for i in range(len(f.ports))
    ]


def _ranges(home: Home) -> list[str]:
    """One element for a range that keeps its ports."""
    return [
        f"{f.protocol.value} . {f.ports} : {home.address}"
        for f in home.forwards
        if _keeps_ports(f.ports, f.to)
    ]


def _elements(elements: list[str]) -> list[str]:
    if not elements:
        return []
    return ["\t\telements = {", *(f"\t\t\t{element}," for element in elements), "\t\t}"]
