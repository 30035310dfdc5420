"""``homeConfig``: one file for wg-quick at home, and the return path in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .family import PORT, Family
from .keys import PeerKeys
from .model import Address, Home, Mode, Protocol, Tunnel
from .wireguard import Uplink, interface, peer

# Marks are in the top byte: Tailscale uses the third, Kubernetes the second, wg-quick all four.
MASK = 0xFF000000
KEEP = f"{~MASK & 0xFFFFFFFF:#010x}"
QUIET = " 2>/dev/null || :"
ANYWHERE = ("0.0.0.0/0", "::/0")
# What a protected home takes; one set could not be asked everywhere (``family.PORT``), and what the
# guard must end may be of no flow.
DECLARED = {protocol: f"declared_{protocol.value}" for protocol in Protocol}
# Under MASK, the mark of what stays on home's own line whatever egress says: WireGuard's own
# datagrams, and answers to who came in by that line. No slot has 255.
OWN_LINE = f"{MASK:#010x}"


@dataclass(frozen=True)
class Way:
    """The numbers that one relay has at a home, so that a home of two relays keeps them apart.

    ``slot`` is 1 to 254.
    """

    slot: int

    @property
    def table(self) -> str:
        """The same whatever the interface is called, so that rules can name it."""
        return f"cgnat-relay-{self.slot}"

    @property
    def mark(self) -> str:
        """What a flow by this tunnel is marked with, under ``MASK``."""
        return f"{self.slot << 24:#010x}"

    @property
    def route(self) -> int:
        """The number of the routing table."""
        return 7000 + self.slot

    @property
    def first(self) -> int:
        """The lowest preference of its answers."""
        return 7000 + 8 * self.slot

    @property
    def out(self) -> int:
        """The lowest preference of egress: behind the answers of every relay."""
        return 9100 + 4 * self.slot

    @property
    def last(self) -> int:
        """A preference behind the main table's, which is 32766."""
        return 33000 + self.slot


def home_config(home: Home, tunnel: Tunnel, keys: PeerKeys, uplink: Uplink) -> str:
    """One file for wg-quick at home. It depends on keys, mode and tunnel, never on forwards."""
    plain = [
        f"{a}/{n.prefixlen}" for a, n in zip(tunnel.addresses(home), tunnel.networks, strict=False)
    ]
    if home.mode is Mode.MASQUERADE:
        allowed = [str(network) for network in tunnel.networks[: len(plain)]]
        text = interface(tunnel, ", ".join(plain), keys.private)
        return text + "\n" + peer(uplink, keys.preshared, allowed, tunnel.keepalive)
    # A caller's packet has the caller's address as its inner source, and WireGuard drops
    # what is not in AllowedIPs; Table = off keeps that from becoming a default route.
    way = Way(uplink.slot)
    extra = ["Table = off"]
    if home.egress:
        extra.append(f"FwMark = {OWN_LINE}")
    gone: list[str] = []
    if home.protected:
        # From before there is an interface until it is no more: what got a connection in between
        # would keep it.
        extra.append(f"PreUp = nft '{_guard(tunnel.addresses(home), way)}'")
        gone.append(f"nft delete table inet {way.table}{QUIET}")
    up, down = _way_back(home, tunnel, way)
    text = interface(tunnel, plain[0], keys.private, extra, up, down, gone)
    allowed = list(ANYWHERE[: len(plain)])
    return text + "\n" + peer(uplink, keys.preshared, allowed, tunnel.keepalive)


def _way_back(home: Home, tunnel: Tunnel, way: Way) -> tuple[list[str], list[str]]:
    """PostUp and PreDown that send answers, and only answers, back by the tunnel.

    Flows that come in by the tunnel are marked, their answers carry the mark, and marked packets
    are routed by a table of their own. Lines of IPv6 may fail without harm, so that a home
    without it has the rest. wg-quick cuts a line at a number sign, so there is none.
    """
    # Per interface, and so gone with it; AppArmor's profile (Ubuntu 25.04 on) allows all alone.
    # With egress it is every line's source that is checked by its mark; wg-quick's own full tunnel
    # sets this too, and like ours leaves it set. A container may only read it, and has it set from
    # outside.
    everywhere = (
        '[ "$(cat /proc/sys/net/ipv4/conf/all/src_valid_mark 2>/dev/null)" = 1 ]'
        " || sysctl -q net.ipv4.conf.all.src_valid_mark=1"
    )
    here = "sysctl -q -w net.ipv4.conf.%i.src_valid_mark=1 2>/dev/null"
    up = [everywhere if home.egress else f"{here} || {everywhere}"]
    down: list[str] = []
    address = tunnel.address(home, Family.V6)
    if address is not None and tunnel.prefix:
        up.append(f"ip -6 addr replace {address}/{tunnel.prefix.prefixlen} dev %i nodad{QUIET}")
    for family in Family:
        inner = tunnel.address(home, family)
        if inner is None:
            continue
        lines, undo = _family(home, inner, family, way)
        quiet = QUIET if family is Family.V6 else ""
        up += [line + quiet for line in lines]
        down += undo
    # Last: the elements of the maps and sets that were made above, where this home has any. A
    # file that does not fit is said in the journal; the tunnel to mend it by stays.
    up.append(
        "[ ! -e /etc/wireguard/%i.rules ] || cat /etc/wireguard/%i.rules | nft -f -"
        " || echo '%i.rules does not fit this wg0.conf: take both anew' >&2"
    )
    return up, down


def _family(home: Home, inner: Address, family: Family, way: Way) -> tuple[list[str], list[str]]:
    """The lines of one address family."""
    rules = [*_rules(home, inner, family, way)]
    ip, tool = family.ip, family.iptables
    accept = [
        f"-m connmark --mark {way.mark}/{MASK:#010x} -m conntrack --ctstate ESTABLISHED,RELATED",
        "-i %i -m conntrack --ctstate DNAT",
    ]
    up = [
        f"{ip} route replace default dev %i table {way.route}",
        *(f"{ip} rule del {rule} 2>/dev/null || :; {ip} rule add {rule}" for rule in rules),
        f"nft '{_table(home, inner, family, way)}'",
        f"{tool} -w -N %i-home 2>/dev/null || {tool} -w -F %i-home",
        *(f"{tool} -w -A %i-home {match} -j ACCEPT" for match in accept),
        # The relay may reach what home publishes, not whatever home could route to.
        f"{tool} -w -A %i-home -i %i -j DROP",
        *(_once(tool, rule) for rule in ("FORWARD -j %i-home", "INPUT -i %i -j ACCEPT")),
    ]
    down = [
        f"{tool} -w -D INPUT -i %i -j ACCEPT{QUIET}",
        f"{tool} -w -D FORWARD -j %i-home{QUIET}",
        f"{tool} -w -F %i-home 2>/dev/null && {tool} -w -X %i-home || :",
        f"nft delete table {family.nft} {way.table}{QUIET}",
        *(f"{ip} rule del {rule}{QUIET}" for rule in rules),
    ]
    return up, down


def _once(tool: str, rule: str) -> str:
    chain, _, rest = rule.partition(" ")
    return f"{tool} -w -C {rule} 2>/dev/null || {tool} -w -I {chain} {rest}"


def _rules(home: Home, inner: Address, family: Family, way: Way) -> Iterator[str]:
    """Routing rules, in the order of their preference.

    ``iif %i lookup main`` comes first, so that callers whose address lies in a network that home
    also uses are answered as well. networkd removes rules that are not its own, but for those of
    protocol kernel.
    """
    own = "protocol kernel"
    yield f"pref {way.first} {own} iif %i lookup main"
    yield f"pref {way.first + 1} {own} fwmark {way.mark}/{MASK:#010x} lookup {way.route}"
    if family is Family.V6:
        # A home without IPv6 of its own has no route to its callers: TCP's answer is routed by
        # its source, UDP's (a socket on ::) by what comes behind the main table.
        yield f"pref {way.first + 2} {own} from {inner} lookup {way.route}"
        yield f"pref {way.last} {own} ipproto udp lookup {way.route}"
    if home.egress:
        yield f"pref {way.out} {own} fwmark {OWN_LINE}/{OWN_LINE} lookup main"
        # The LAN stays where it is. Not suppress_prefixlength 0: wg-quick deletes that rule when
        # another full tunnel goes down, whoever made it.
        yield f"pref {way.out + 1} {own} lookup main suppress_prefixlength 1"
        for select in _selectors(home):
            yield f"pref {way.out + 2} {own} {select} lookup {way.route}"


def _selectors(home: Home) -> Iterator[str]:
    if home.egress.everything:
        yield f"not fwmark {OWN_LINE}/{OWN_LINE}"
    for opening in home.egress.ports:
        yield f"ipproto {opening.protocol.value} dport {opening.ports}"


def _table(home: Home, inner: Address, family: Family, way: Way) -> str:
    """The nft table of one family, on one line."""
    ip, here = family.nft, f"{family.nft} {way.table}"
    ours = f"ct mark and {MASK:#010x} == {way.mark}"
    tag = f"ct mark set ct mark and {KEEP} or {way.mark};"
    restore = f"{ours} meta mark set meta mark and {KEEP} or {way.mark};"
    parts = [
        f"add table {here}; delete table {here}; table {here} {{",
        # A UDP socket on 0.0.0.0 answers from the LAN address, chosen before any mark can route
        # it, and conntrack would take that for a new flow. So who asked is learned, behind the
        # guard, and the source of the answer is set before conntrack sees it.
        f"set asked {{ type {family.address_type} . inet_service . inet_service; size 262144;",
        "flags dynamic,timeout; timeout 3m; };",
        "set handed_on { type inet_service; flags interval; };",
        "chain learn {",
        f"{ip} daddr {inner} udp dport != @handed_on",
        f"update @asked {{ {ip} saddr . udp sport . udp dport }}; }};",
        "chain answer { type route hook output priority raw;",
        f"meta l4proto udp {ip} saddr != {inner}",
        f"{ip} daddr . udp dport . udp sport @asked {ip} saddr set {inner}; }};",
        "chain arrive {",
        f"ct state new {tag}",
        f"{restore} meta l4proto udp jump learn; }};",
        # By its index: to compare a name takes longer, and this is asked of each packet.
        "chain enter { type filter hook prerouting priority mangle;",
        "iif %i jump arrive; };",
        # What home hands on has the mark behind all checks of its source: one that looks at marks,
        # as firewalld's of IPv6 does, would have a container's answer come in by the tunnel.
        "chain hand_back { type filter hook prerouting priority security;",
        f"iif != %i {restore} }};",
        # Answers only: home's own ICMP about a container's flow must not go astray.
        "chain return_path { type route hook output priority mangle;",
        f"ct direction reply {restore} }};",
    ]
    if family is Family.V4:
        parts += [
            "map lan { type inet_proto . inet_service : ipv4_addr . inet_service; };",
            "set lan_hosts { type ipv4_addr; };",
            # Before Docker's own, at -100.
            "chain hand_on { type nat hook prerouting priority -110;",
            f"iifname %i ip daddr {inner} meta l4proto {{ tcp, udp }}",
            f"dnat ip addr . port to {PORT} map @lan; }};",
            # A LAN host answers by its own gateway, so it must see home's address.
            "chain towards_lan { type nat hook postrouting priority 90;",
            f"oifname != %i {ours} ct status dnat ip daddr @lan_hosts masquerade; }};",
        ]
    if home.egress:
        own = f"and {OWN_LINE} == {OWN_LINE}"
        keep = f"ct mark {own} meta mark set meta mark and {KEEP} or {OWN_LINE};"
        parts += [
            # Who came in by home's own line is answered by it, and strict rp_filter wants the
            # mark on what comes in as well; before mangle, where iptables checks sources of IPv6.
            "chain own_line { type filter hook prerouting priority -160;",
            "ct state new iifname != { %i, lo } fib daddr type local",
            f"ct mark and {OWN_LINE} == 0 ct mark set ct mark and {KEEP} or {OWN_LINE};",
            f"iif != %i {keep} }};",
            "chain own_answer { type route hook output priority mangle;",
            f"ct direction reply {keep} }};",
            # Marked as well, or strict rp_filter drops what comes back for a chosen port.
            "chain leave_tag { type filter hook postrouting priority mangle;",
            f"meta mark {own} ct mark set ct mark and {KEEP} or {OWN_LINE};",
            f"oifname %i ct state new {tag} }};",
            "chain leave { type nat hook postrouting priority 90;",
            f"oifname %i {ip} saddr != {inner} snat to {inner}; }};",
        ]
    return " ".join([*parts, "}"])


def _guard(inner: Sequence[Address], way: Way) -> str:
    """A protected home's: what is not in ``DECLARED`` ends here, before anyone's DNAT.

    So does what names another address than its own in the tunnel, of whatever state: a port that
    leads to a LAN host may be a service of home's own at the address on the LAN, and what home asks
    its LAN is a flow that a relay could forge answers to.
    """
    return " ".join(
        [
            f"add table inet {way.table}; delete table inet {way.table};",
            f"table inet {way.table} {{",
            *(f"set {n} {{ type inet_service; flags interval; }};" for n in DECLARED.values()),
            "chain undeclared { meta l4proto != { tcp, udp, icmp, ipv6-icmp } drop;",
            *(f"{p.value} dport != @{name} drop;" for p, name in DECLARED.items()),
            "};",
            "chain guard { type filter hook prerouting priority -160;",
            # Not only what is new: a lone packet of SCTP is invalid, and would pass.
            "iifname %i ct state != { established, related } jump undeclared;",
            *(f"iifname %i ip{6 if ':' in str(a) else ''} daddr != {a} drop;" for a in inner),
            "}; }",
        ]
    )
