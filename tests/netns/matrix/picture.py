"""The hosts that the matrix is asked of, without any WireGuard.

    client 203.0.113.9 ──┐
      2001:db8:9::9      │
    phone 192.0.2.130 ───┼ internet ─┬─ 198.51.100.7 relay, its IPv6 default route by
    laptop 192.0.2.194 ──┤           │  2001:db8:7::7       router advertisement
    tablet 192.0.2.66 ───┘           │
      fd00:a::                       └─ 192.0.2.2 carrier 100.64.0.1   NAT, 1460 bytes, no fragments
                                                     │
                                          100.64.0.2 router 192.168.1.1  NAT; 8888 to guarded,
                                                     │                8889 to office
          lan .50, home .2, guarded .3, plain .4, office .5, villa .6, behind 192.168.1.1; home,
          guarded and plain each have a container, 172.17.0.2, behind Docker's rules

All homes check sources strictly (rp_filter 1, and as firewalld does over IPv6); home and guarded
drop by policy. Guarded, office and villa have IPv6 of their own and are called by it; villa dials
the relay by it. Inner networks are addresses of the host internet.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ..topology import NAT, Host, link
from .config import MTU

NAMES = (
    "client phone laptop tablet internet relay carrier router home guarded plain office villa lan"
    " container pod box"
)
# Addresses that no peer may reach by the relay, one of each network that it knows to be inner.
INNER = (
    *("0.9.9.9", "10.9.9.9", "100.64.9.9", "168.63.129.16", "169.254.169.254", "172.20.9.9"),
    *("192.0.0.9", "192.168.9.9", "198.18.9.9", "240.9.9.9"),
    *("0:9::9", "64:ff9b::9", "2002:9::9", "fd99::9", "fec0::9"),
)
# Addresses behind homes, or of their LAN, that are none of the relay's business.
COVETED = {
    "home": ("172.17.0.2/32", "fd00:17::2/128"),
    "guarded": ("192.168.1.3/32", "fd00:1::3/128"),
}
OUTER = 60 + 20  # bytes: WireGuard's and IPv4's headers, with room
CABLES = """
client eth0 internet client
phone eth0 internet phone
laptop eth0 internet laptop
tablet eth0 internet tablet
relay eth0 internet relay
carrier wan internet carrier
router wan carrier lan
lan eth0 router port1
home eth0 router port2
guarded eth0 router port3
plain eth0 router port4
office eth0 router port5
villa eth0 router port6
container eth0 home docker0
pod eth0 guarded docker0
box eth0 plain docker0
"""
# Who dials by IPv6 has 96 bits of zeros behind the first 32: the userspace WireGuard loses the rest
# of an address where it sends to IPv4 ones besides (golang.zx2c4.com/wireguard, conn/bind_std.go).
ADDRESSES = """
client eth0 203.0.113.9/24 2001:db8:9::9/64 192.168.1.77/32 fd00:17::77/128
phone eth0 192.0.2.130/26
laptop eth0 192.0.2.194/26
tablet eth0 192.0.2.66/26 fd00:a::/128 fe80::2/64
relay eth0 198.51.100.7/24 2001:db8:7::7/64 fe80::7/64
internet client 203.0.113.1/24 2001:db8:9::1/64
internet phone 192.0.2.129/26
internet laptop 192.0.2.193/26
internet tablet 192.0.2.65/26 fe80::1/64
internet relay 198.51.100.1/24 2001:db8:7::1/64 fe80::1/64
internet carrier 192.0.2.1/26 2001:db8:c::1/64
carrier wan 192.0.2.2/26 2001:db8:c::2/64
carrier lan 100.64.0.1/24 fd00:64::1/64
router wan 100.64.0.2/24 fd00:64::2/64
router lan 192.168.1.1/24 fd00:1::1/64
lan eth0 192.168.1.50/24
home eth0 192.168.1.2/24
home docker0 172.17.0.1/16 fd00:17::1/64
guarded eth0 192.168.1.3/24 fd00:1::3/64
guarded docker0 172.17.0.1/16 fd00:17::1/64
plain eth0 192.168.1.4/24
plain docker0 172.17.0.1/16 fd00:17::1/64
office eth0 192.168.1.5/24 fd00:1::5/64
villa eth0 192.168.1.6/24 fd00:1::6/64 fd00:6::/128
container eth0 172.17.0.2/16 fd00:17::2/64
pod eth0 172.17.0.2/16 fd00:17::2/64
box eth0 172.17.0.2/16 fd00:17::2/64
"""
ROUTES = """
client default 203.0.113.1
client default 2001:db8:9::1
phone default 192.0.2.129
laptop default 192.0.2.193
tablet default 192.0.2.65
tablet default fe80::1 dev eth0 src fd00:a::
relay default 198.51.100.1
internet 192.168.1.77/32 203.0.113.9
internet fd00:17::77/128 2001:db8:9::9
internet 172.16.0.0/24 198.51.100.7
internet fd00:c9a7::/64 2001:db8:7::7
internet fd00:1::/64 2001:db8:c::2
internet fd00:6::/128 2001:db8:c::2
internet fd00:a::/128 fe80::2 dev tablet
carrier default 192.0.2.1
carrier default 2001:db8:c::1
carrier fd00:1::/64 fd00:64::2
carrier fd00:6::/128 fd00:64::2
router fd00:6::/128 fd00:1::6
router default 100.64.0.1
router default fd00:64::1
lan default 192.168.1.1
home default 192.168.1.1
guarded default 192.168.1.1
guarded default fd00:1::1
plain default 192.168.1.1
office default 192.168.1.1
office default fd00:1::1
villa default 192.168.1.1
villa default fd00:1::1 src fd00:6::
container default 172.17.0.1
container default fd00:17::1
pod default 172.17.0.1
pod default fd00:17::1
box default 172.17.0.1
box default fd00:17::1
"""
# As Docker has them: published ports, and its own accepts where the policy is to drop.
DOCKER = """
table ip docker {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname != "docker0" meta l4proto { tcp, udp } th dport { 8081, 8085 } dnat to 172.17.0.2
  }
}
table ip6 docker {
  chain prerouting {
    type nat hook prerouting priority -100;
    iifname != "docker0" meta l4proto { tcp, udp } th dport { 8081, 8085 } dnat to fd00:17::2
  }
}
"""
# What drops of its own at a home: ufw's INPUT, Docker's FORWARD; and what the user opened, to the
# LAN and to a container.
POLICIES = """
for tool in iptables ip6tables; do
  $tool -P INPUT DROP
  $tool -P FORWARD DROP
  $tool -A INPUT -i lo -j ACCEPT
  $tool -A INPUT -i eth0 -j ACCEPT
  $tool -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
  $tool -A FORWARD -i docker0 -m conntrack --ctstate NEW -j ACCEPT
  $tool -A FORWARD -o eth0 -j ACCEPT
  $tool -A FORWARD -o docker0 -p udp --dport 8081 -j ACCEPT
done
ip6tables -A INPUT -p ipv6-icmp -j ACCEPT
"""
# firewalld's IPv6_rpfilter, which is on by default; the kernel has none of its own for IPv6.
STRICT6 = """
table inet firewalld {
  chain filter_PREROUTING {
    type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
}
"""
# A port that the user leads to a program on the LAN address.
PROXY = """
table ip6 proxy {
  chain pre {
    type nat hook prerouting priority dstnat;
    tcp dport 8094 dnat to [fd00:1::5]:8093
  }
}
"""
CARRIER = """
table ip few {
  chain early { type filter hook prerouting priority -450; ip frag-off & 0x3fff != 0 drop; }
}
"""
ROUTER = """
table ip opened {
  chain pre {
    type nat hook prerouting priority dstnat;
    iifname "wan" tcp dport 8888 dnat to 192.168.1.3:8080
    iifname "wan" meta l4proto { tcp, udp } th dport 8889 dnat to 192.168.1.5:8080
  }
}
"""
ANY = ("0.0.0.0", "::")  # noqa: S104 - inside a namespace
SERVERS: dict[str, list[tuple[str, int, str]]] = {
    "client": [(a, p, "address") for a in ANY for p in (80, 2500, 2501)],
    "internet": [(a, 80, "address") for a in ANY],
    "relay": [(a, p, "address") for a in ANY for p in (22, 68, 546, 8099)],
    "home": [(a, p, "address") for a in ANY for p in (8080, 8083, 901, 1901, 9999)]
    + [("192.168.1.2", 8093, "address"), *((a, 8086, "large") for a in ANY)],
    "guarded": [(a, p, "address") for a in ANY for p in (8080, 2200, 9999)],
    "plain": [(a, p, "address") for a in ANY for p in (8080, 8083, 3901, 9999)]
    + [(a, 8086, "large") for a in ANY],
    "office": [*((a, 8080, "address") for a in ANY), ("fd00:1::5", 8093, "address")],
    "lan": [(ANY[0], p, "address") for p in (25, 2500, 7001)],
    "phone": [(a, 7000, "address") for a in ANY],
    "laptop": [(a, 7000, "address") for a in ANY],
    "tablet": [(a, 7000, "address") for a in ANY],
    "container": [(a, p, w) for a in ANY for p, w in ((8081, "address"), (8085, "segments"))],
    "box": [(a, p, w) for a in ANY for p, w in ((8081, "address"), (8085, "segments"))],
    "pod": [],
    "villa": [(a, 8080, "address") for a in ANY],
    "carrier": [],
}


def wire(net: dict[str, Host]) -> None:
    """Cables, addresses, routes and rules of the hosts themselves."""
    for cable in CABLES.split("\n"):
        if cable:
            one, dev_one, other, dev_other = cable.split()
            link(net[one], dev_one, net[other], dev_other)
    scripts: dict[str, list[str]] = {name: [] for name in net}
    scripts["router"].append(
        "ip link add lan type bridge; ip link set lan up;"
        " for port in 1 2 3 4 5 6; do ip link set port$port master lan; done"
    )
    for line in ADDRESSES.split("\n"):
        name, dev, *addresses = line.split() or ("", "")
        for address in addresses:
            dad = " nodad" if ":" in address else ""
            scripts[name].append(f"ip addr add {address} dev {dev}{dad}")
    scripts["internet"] += [
        f"ip addr add {address} dev lo" + (" nodad" if ":" in address else "") for address in INNER
    ]
    for line in ROUTES.split("\n"):
        if line:
            name, to, via = line.split(maxsplit=2)
            scripts[name].append(f"ip route add {to} via {via}")
    for name in ("internet", "carrier", "router", "home", "guarded", "plain"):
        scripts[name].append("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for name in scripts:  # many refusals at once are all said
        scripts[name].append("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0")
    for name in ("home", "guarded", "plain", "office", "villa"):
        scripts[name].append(
            "for d in all default eth0; do sysctl -qw net.ipv4.conf.$d.rp_filter=1; done"
        )
    for name in ("home", "guarded", "plain"):
        scripts[name].append(f"nft -f - <<'E'\n{DOCKER}\nE")
    for name in ("home", "guarded"):
        scripts[name].append(POLICIES)
    for name in ("home", "guarded", "plain", "office", "villa"):
        scripts[name].append(f"nft -f - <<'E'\n{STRICT6}\nE")
    scripts["office"].append(f"nft -f - <<'E'\n{PROXY}\nE")
    for name in ("carrier", "router"):
        extra = CARRIER if name == "carrier" else ROUTER
        scripts[name].append(f"nft -f - <<'E'\n{NAT.format(dev='wan')}{extra}\nE")
        scripts[name].append(f"ip link set wan mtu {MTU + OUTER}")
    scripts["carrier"].append(f"ip link set lan mtu {MTU + OUTER}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda n: net[n].run("sh -eu", stdin="\n".join(scripts[n])), net))
