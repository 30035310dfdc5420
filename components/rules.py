"""The relay's packet rules: NAT in an nft table of our own, filter rules in iptables chains.

NAT is one lookup in a map however many forwards there are, and the table is replaced in one
transaction. Accepts are in iptables because an ``accept`` in a table of our own does not undo a
``drop`` in another (Docker, ufw, Oracle's image). What may cross is decided by sets in nft on a
flow's first packet and kept as its mark, so the accepts are few and never change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from .family import PORT, Family
from .model import Forward, Home, Mode, Network, PortRange, Reach, Settings, Traffic

TABLE = "cgnat-relay"
# Bits of a flow's mark, in the top byte: Tailscale uses the third, Kubernetes the second.
CROSSES = 0x01000000  # may pass through the relay: a device to a home, a home to the internet
HIDDEN = 0x02000000  # its caller is shown to home as the relay
# What egress must never reach: a provider's inner networks, and its metadata (RFC 6890, and
# Azure's public address for it); also not by the way of a NAT64 (RFC 6052, RFC 8215) or 6to4.
# The kernel forwards neither to loopback addresses nor to multicast groups of its own accord.
NOT_INTERNET = {
    Family.V4: (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",
    ),
    Family.V6: (
        "::/16",
        "64:ff9b::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/9",
    ),
}


def nat(settings: Settings, family: Family = Family.V4) -> str:
    """The nft ruleset of one address family: DNAT to the homes, what may cross, MSS clamp.

    Loading it replaces the table as a whole; flows that are established keep their mapping,
    since NAT is decided on a flow's first packet.
    """
    tunnel = settings.tunnel
    ip, address = family.nft, family.address_type
    names = ", ".join(f'"{name}"' for name in tunnel.interfaces)
    wg = f"{{ {names} }}" if len(tunnel.interfaces) > 1 else names
    port = "inet_proto . inet_service"
    # A home without an address of this family answers no caller of it.
    homes = {str(a): home for home in settings.homes if (a := tunnel.address(home, family))}
    devices = [str(a) for device in settings.devices if (a := tunnel.address(device, family))]
    forwards = [
        (a, home, forward)
        for a, home in homes.items()
        for forward in home.forwards
        # A LAN host is named by its IPv4 address, and nobody translates one to the other.
        if family is Family.V4 or forward.host is None
    ]
    hidden = [f for _, home, f in forwards if (f.mode or home.mode) is Mode.MASQUERADE]
    limited = [f for _, _, f in forwards if f.sources]
    to_homes, to_devices = (_reaching(settings, reach, family) for reach in Reach)
    outbound, outbound_ports = _outbound(settings, family)
    crosses, hides = f"ct mark set ct mark or {CROSSES:#010x}", f"ct mark and {HIDDEN:#010x} != 0"
    inside = tunnel.network if family is Family.V4 else tunnel.prefix
    relay = tunnel.relay if family is Family.V4 else tunnel.inner6(tunnel.relay)
    clamp = "tcp option maxseg size set rt mtu"
    lines = [
        f"add table {ip} {TABLE}",
        f"delete table {ip} {TABLE}",
        f"table {ip} {TABLE} {{",
        *_set("map ports", f"{port} : {address} . inet_service", _singles(forwards)),
        *_set("map ranges", f"{port} : {address}", _ranges(forwards), interval=True),
        *_set("set hidden", port, map(_listening, hidden), interval=True),
        *_set("set limited", port, map(_listening, limited), interval=True),
        *_set("set allowed", f"{port} . {address}", _allowed(limited, family), interval=True),
        *_set("set other_ports", "inet_service", map(str, tunnel.other_ports)),
        *_set("set homes", address, homes),
        *_set("set selves", f"{address} . {address}", (f"{a} . {a}" for a in homes)),
        *_set("set roaming", address, devices),
        *_set("set to_homes", address, to_homes),
        *_set("set to_devices", address, to_devices),
        *_set("set outbound", address, outbound),
        *_set("set outbound_ports", f"{address} . {port}", outbound_ports, interval=True),
        *_set("set not_internet", address, NOT_INTERNET[family], interval=True),
        # Nobody outside has an address of the tunnel's; a forged one would pass for a peer's.
        "\tchain forged {",
        "\t\ttype filter hook prerouting priority raw; policy accept;",
        # The address first: most packets have another, and a name is dear to compare.
        f'\t\t{ip} saddr {inside} iifname != {wg} iifname != "lo" drop',
        "\t}",
        # A NAT chain is asked of a flow's first packet alone: what is decided once stands here.
        "\tchain prerouting {",
        "\t\ttype nat hook prerouting priority dstnat; policy accept;",
        # Many clouds give the NIC a private address behind 1:1 NAT: match whatever is ours.
        "\t\tfib daddr type != local return",
        f"\t\tudp dport @other_ports redirect to :{tunnel.port}",
        f"\t\t{PORT} @limited {PORT} . {ip} saddr != @allowed drop",
        f"\t\t{PORT} @hidden ct mark set ct mark or {HIDDEN:#010x}",
        f"\t\tmeta l4proto {{ tcp, udp }} dnat {ip} addr . port to {PORT} map @ports",
        f"\t\tmeta l4proto {{ tcp, udp }} dnat to {PORT} map @ranges",
        "\t}",
        "\tchain postrouting {",
        "\t\ttype nat hook postrouting priority srcnat; policy accept;",
        # Not masquerade: that ends a flow whose way to its home is another interface by now.
        f"\t\toifname {wg} ct status dnat {hides} snat {ip} to {relay}",
        # A home that sends all by the relay and dials its public address meets itself.
        f"\t\toifname {wg} ct status dnat {ip} saddr . {ip} daddr @selves snat {ip} to {relay}",
        f"\t\toifname != {wg} ct mark and {CROSSES:#010x} != 0 masquerade",
        "\t}",
        "\tchain forward {",
        "\t\ttype filter hook forward priority mangle; policy accept;",
        # Two questions to each packet, and the rest to few of them.
        "\t\tct state new jump first",
        "\t\ttcp flags & (syn | rst) == syn jump clamp",
        "\t}",
        "\tchain first {",
        f"\t\tiifname {wg} jump crossing",
        # Without the tunnel a home's address leads to whoever has it in a provider's network.
        f"\t\toifname != {wg} {ip} daddr @homes drop",
        "\t}",
        "\tchain crossing {",
        f"\t\toifname {wg} {ip} saddr @to_homes {ip} daddr @homes {crosses}",
        f"\t\toifname {wg} {ip} saddr @to_devices {ip} daddr @roaming {crosses}",
        f"\t\toifname != {wg} {ip} daddr != @not_internet {ip} saddr @outbound {crosses}",
        f"\t\toifname != {wg} {ip} daddr != @not_internet"
        f" {ip} saddr . {PORT} @outbound_ports {crosses}",
        "\t}",
        *(() if settings.site.guarded else _itself(settings, family, wg)),
        # Clamped both ways: path MTU discovery is often broken, and a ClientHello with a
        # post-quantum key no longer fits one packet.
        "\tchain clamp {",
        f"\t\toifname {wg} {clamp}",
        f"\t\tiifname {wg} {clamp}",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def filter_rules(settings: Settings, family: Family = Family.V4) -> str:
    """Input for ``iptables-restore --noflush``: the chain for all that crosses the tunnel.

    Answers first, or each packet would walk the rest; then what was forwarded, and what ``nat``
    let cross. Nothing else does: neither a provider's metadata address (169.254.169.254) can be
    reached from the tunnel, nor the tunnel's network from outside.
    """
    chain = forward_chain(settings)
    names = settings.tunnel.interfaces
    prohibited = "icmp-admin-prohibited" if family is Family.V4 else "icmp6-adm-prohibited"
    return "\n".join(
        [
            "*filter",
            f":{chain} - [0:0]",
            f"-A {chain} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            *(f"-A {chain} -o {wg} -m conntrack --ctstate DNAT -j ACCEPT" for wg in names),
            *(
                f"-A {chain} -i {wg} -m connmark --mark {CROSSES:#010x}/{CROSSES:#010x} -j ACCEPT"
                for wg in names
            ),
            f"-A {chain} -j REJECT --reject-with {prohibited}",
            "COMMIT",
            "",
        ]
    )


def _itself(settings: Settings, family: Family, wg: str) -> Iterator[str]:
    """What homes may reach of a machine whose own firewall stays: not its services.

    They come past the provider's firewall and whatever rules are bound to its NIC. Devices are its
    owner's own; what goes on here meets the owner's rules.
    """
    tunnel, ip = settings.tunnel, family.nft
    icmp, prohibited = "icmp", "icmp type admin-prohibited"
    if family is Family.V6:
        icmp, prohibited = "ipv6-icmp", "icmpv6 type admin-prohibited"
    ssh = f"tcp dport {settings.site.ssh_port or settings.ssh_port}"
    yield from (
        "\tchain input {",
        "\t\ttype filter hook input priority filter; policy accept;",
        # The state first: the tunnel's own packets come here too. What is not tracked is none.
        f"\t\tct state != {{ established, related }} iifname {wg} {ip} saddr @homes jump itself",
        "\t}",
        "\tchain itself {",
        f"\t\tmeta l4proto {icmp} return",
        # A tunnel from behind a home that sends all by this one.
        *(f"\t\tudp dport {port} return" for port in tunnel.ports),
        *([f"\t\ttcp dport {tunnel.tls} return"] if tunnel.tls is not None else []),
        # Or who sits there, and sends that by the relay, could not change it any more.
        f"\t\t{ip} saddr @outbound {ssh} return",
        f"\t\t{ip} saddr . {PORT} @outbound_ports {ssh} return",
        f"\t\treject with {prohibited}",
        "\t}",
    )


def forward_chain(settings: Settings) -> str:
    """The chain's name: the interface in capitals, as other tools' chains are named."""
    return f"{settings.tunnel.interface.upper()}-FORWARD"


def _listening(forward: Forward) -> str:
    return f"{forward.protocol.value} . {forward.ports}"


def _keeps_ports(ports: PortRange, to: PortRange) -> bool:
    return len(ports) > 1 and ports == to


def _singles(forwards: Iterable[tuple[str, Home, Forward]]) -> Iterator[str]:
    """An element for each port; nft cannot shift a range, so a shifted one is spelled out."""
    for address, _, f in forwards:
        if not _keeps_ports(f.ports, f.entry):
            for i in range(len(f.ports)):
                port, entry = f.ports.first + i, f.entry.first + i
                yield f"{f.protocol.value} . {port} : {address} . {entry}"


def _ranges(forwards: Iterable[tuple[str, Home, Forward]]) -> Iterator[str]:
    """One element for a range that keeps its ports."""
    for address, _, f in forwards:
        if _keeps_ports(f.ports, f.entry):
            yield f"{_listening(f)} : {address}"


def _allowed(limited: Iterable[Forward], family: Family) -> Iterator[str]:
    for forward in limited:
        for network in collapsed(forward.sources, family):
            yield f"{_listening(forward)} . {network}"


def collapsed(networks: Iterable[Network], family: Family) -> list[Network]:
    """Those of one family, none inside another: nft refuses intervals that overlap."""
    if family is Family.V4:
        return [*collapse_addresses(n for n in networks if isinstance(n, IPv4Network))]
    return [*collapse_addresses(n for n in networks if isinstance(n, IPv6Network))]


def _reaching(settings: Settings, reach: Reach, family: Family) -> list[str]:
    """The devices that may dial whom ``reach`` says."""
    allowed = (device for device in settings.devices if reach in device.reach)
    return [str(a) for device in allowed if (a := settings.tunnel.address(device, family))]


def _outbound(settings: Settings, family: Family) -> tuple[list[str], list[str]]:
    """Who may send all to the internet, and who may send what goes to some ports."""
    whole: list[str] = []
    ports: list[str] = []
    for peer in settings.peers:
        address = settings.tunnel.address(peer, family)
        if address is None:
            continue
        if isinstance(peer, Home):
            if peer.egress.everything:
                whole.append(str(address))
            ports += [f"{address} . {o.protocol.value} . {o.ports}" for o in peer.egress.ports]
        elif peer.traffic is Traffic.ALL:
            whole.append(str(address))
    return whole, ports


def _set(head: str, kind: str, elements: Iterable[object], interval: bool = False) -> Iterator[str]:
    """The lines of a set or a map."""
    yield f"\t{head} {{"
    yield f"\t\ttype {kind}"
    if interval:
        yield "\t\tflags interval"
    members = [f"\t\t\t{element}," for element in elements]
    if members:
        yield from ("\t\telements = {", *members, "\t\t}")
    yield "\t}"
