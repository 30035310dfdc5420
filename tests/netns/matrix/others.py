"""What is the same whatever the mode: devices, egress, refusals, and the relay itself."""

from __future__ import annotations

from collections.abc import Iterator

from .agent import CLOSED, PROHIBITED, SILENCE
from .config import RELAY, RELAY6, inner, inner6
from .picture import INNER
from .rows import (
    CARRIER,
    CLIENT,
    CLIENT6,
    GATE,
    GATE6,
    METADATA,
    Probe,
    Row,
    calls,
    plain,
)


def rest() -> Iterator[Row]:
    out = (RELAY, RELAY6)
    anyone = (CLIENT, CLIENT6)
    egress = ("test_homes_own_programs", "test_ipv6_goes_the_same_way")
    yield plain(
        "egress-port",
        "`egress` of some ports: to such a port",
        *calls("egress-port", "office", anyone, 2500, out),
        *calls("egress-port-bound", "office", (CLIENT,), 2500, RELAY, source="192.168.1.5"),
        tests=egress,
    )
    yield plain(
        "egress-other",
        "to another port, and to the LAN",
        *calls("egress-other", "office", (CLIENT,), 2501, CARRIER),
        *calls("egress-lan", "office", ("192.168.1.50",), 2500, "192.168.1.5"),
        tests=("test_the_lan_is_reached_directly",),
    )
    yield plain(
        "egress-all",
        "`egress: all`: home's programs, and its containers",
        *calls("egress-all", "guarded", anyone, 2501, out),
        *calls("egress-container", "pod", anyone, 2501, out),
        *calls("egress-by-ipv6", "villa", anyone, 2501, out),
        tests=(*egress, "test_a_container_behind_it"),
    )
    yield plain(
        "egress-all-lan",
        "`egress: all`: to home's own LAN",
        *calls("egress-all-lan", "guarded", ("192.168.1.50",), 7001, "192.168.1.3"),
        *calls("egress-all-lan6", "guarded", ("fd00:1::1",), 7001, CLOSED),
        tests=("test_the_lan_is_reached_directly",),
    )
    yield plain(
        "own-line",
        "`egress: all`: a TCP caller who comes by home's own line",
        *calls("own-line", "carrier", ("100.64.0.2",), 8888, "100.64.0.1")[::2],
        *calls("own-line", "carrier", ("fd00:1::3",), 8080, "fd00:64::1")[::2],
        *calls("own-line-strict", "carrier", ("fd00:1::6",), 8080, "fd00:64::1")[::2],
        tests=("test_who_comes_by_homes_own_line_is_answered_by_it",),
    )
    yield plain(
        "own-line-port",
        "`egress` of some ports: a TCP caller from such a port, by home's own line",
        *calls("own-line-port", "carrier", ("100.64.0.2",), 8889, "100.64.0.1", from_port=2500)[
            ::2
        ],
        *calls("own-line-port", "carrier", ("fd00:1::5",), 8080, "fd00:64::1", from_port=2500)[::2],
        tests=("test_who_comes_by_homes_own_line_is_answered_by_it",),
    )
    yield plain(
        "other-port",
        "`tunnel.otherPorts`: a device whose tunnel goes there, by IPv4 and by IPv6",
        *calls("other-port", "laptop", (inner("home"),), 8080, inner("laptop")),
        *calls("other-port6", "tablet", (CLIENT,), 2501, RELAY),
        tests=("test_a_provider_blocks_ports",),
    )
    yield plain(
        "hairpin-egress",
        "`egress: all`: home dials its own forward",
        *calls("hairpin-egress", "guarded", out, 2080, (GATE, GATE6)),
        tests=("test_home_itself",),
    )
    yield plain(
        "egress-refused",
        "a home without `egress` sends to the internet, or to the provider's metadata",
        *calls("egress-refused", "home", (CLIENT,), 2501, PROHIBITED, device="wg0"),
        *calls("egress-refused", "home", (CLIENT6,), 2501, PROHIBITED, source=inner6("home")),
        *calls("metadata", "home", (METADATA,), 80, PROHIBITED, device="wg0"),
        tests=("test_a_home_without_egress_gets_nothing_out",),
    )
    yield plain(
        "inner-networks",
        "who may send all to the internet dials a provider's inner network",
        *(Probe(f"inner-{a}", "tablet", "tcp", a, 80, PROHIBITED) for a in INNER),
        tests=("test_a_providers_inner_networks_are_out_of_reach",),
    )
    yield plain(
        "device-all",
        "a device with all its traffic dials the internet",
        *calls("device-all", "tablet", anyone, 2501, out),
        *calls("device-all-80", "tablet", anyone, 80, out),
        tests=("test_all_traffic_leaves_by_the_relay",),
    )
    phone, laptop = (inner("phone"), inner6("phone")), (inner("laptop"), inner6("laptop"))
    reach = ("test_it_reaches_whom_its_config_names",)
    yield plain(
        "device-device",
        "a device dials another that it may reach",
        *calls("device-device", "phone", laptop, 7000, phone),
        tests=reach,
    )
    yield plain(
        "device-refused",
        "a device dials whom it may not reach",
        *calls("device-no-device", "laptop", phone, 7000, PROHIBITED),
        *calls("device-no-home", "tablet", (inner("plain"), inner6("plain")), 8080, PROHIBITED),
        tests=reach,
    )
    other = (inner("plain"), inner6("plain"))
    yield plain(
        "peers-refused",
        "a home dials another home, or a device",
        *calls("home-home", "home", other, 8080, PROHIBITED, device="wg0"),
        *calls("home-device", "home", phone, 7000, PROHIBITED, device="wg0"),
        tests=("test_a_home_dials_nobody_in_the_tunnel",),
    )
    own = (inner("home"), inner6("home"))
    yield plain(
        "neighbour-refused",
        "a neighbour of the relay routes into the tunnel",
        *calls("neighbour", "internet", own, 8080, PROHIBITED)[1::2],
        tests=("test_a_neighbour_does_not_route_into_the_tunnel",),
    )
    yield plain(
        "forged",
        "a caller outside with an address of the tunnel's",
        *(
            Probe(f"forged{i}", "internet", "send", to, 80, SILENCE, by, "", 7070, "tablet")
            for i, to, by in ((4, RELAY, inner("tablet")), (6, RELAY6, inner6("tablet")))
        ),
        tests=("test_nobody_outside_passes_for_a_peer",),
    )
    guarded = (inner("guarded"), inner6("guarded"))
    yield plain(
        "protected",
        "a protected home: what is forwarded, and what it accepts besides",
        *calls("protected-forward", "client", out, 2080, anyone),
        *calls("protected-accept", "phone", guarded, 2200, phone)[::2],
        *(
            Probe(f"protected-ping{i}", "phone", "ping", a, 0, a)
            for i, a in zip("46", guarded, strict=True)
        ),
        tests=("test_what_is_forwarded_answers_by_both_families", "test_ping_still_works"),
    )
    yield plain(
        "protected-refused",
        "a protected home: any other port, or another address of it",
        *calls("protected-other", "phone", guarded, 9999, SILENCE),
        *calls(
            "protected-stray", "relay", ("192.168.1.3", "fd00:1::3"), 8080, SILENCE, device="wg0"
        ),
        tests=("test_even_the_relay_gets_no_other_port",),
    )
    yield plain(
        "behind-home",
        "the relay dials a container that home opened to its LAN alone",
        *calls("behind-home", "relay", ("172.17.0.2", "fd00:17::2"), 8081, SILENCE, device="wg0"),
        tests=("test_the_relay_reaches_nothing_that_home_does_not_publish",),
    )
    yield plain(
        "undeclared",
        "a port of the relay's that nothing is declared for",
        *calls("undeclared", "client", out, 8099, SILENCE),
        tests=("test_undeclared_ports_do_not_answer",),
    )
    yield plain(
        "relay-ssh",
        "SSH, ping and DHCP of the relay itself",
        *calls("ssh", "client", out, 22, anyone)[::2],
        *(Probe(f"ping{i}", "client", "ping", a, 0, a) for i, a in zip("46", out, strict=True)),
        Probe("dhcp4", "internet", "udp", RELAY, 68, "198.51.100.1", from_port=67),
        Probe(
            "dhcp6",
            "internet",
            "udp",
            "fe80::7%relay",
            546,
            "fe80::1",
            "fe80::1%relay",
            from_port=547,
        ),
        tests=("test_the_relays_firewall_holds_over_ipv6",),
    )
    yield plain(
        "relay-out",
        "the relay's own programs: to the internet, and to each other",
        *calls("relay-out", "relay", anyone, 2501, out),
        *calls("loopback", "relay", ("127.0.0.1", "::1"), 8099, ("127.0.0.1", "::1")),
        tests=(),
    )
