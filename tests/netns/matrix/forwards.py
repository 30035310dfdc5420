"""What a home's mode decides: forwards, and who meets them from inside."""

from __future__ import annotations

from collections.abc import Iterator

from .agent import CLOSED, SILENCE
from .config import MTU, RELAY, RELAY6, inner, inner6
from .rows import (
    AT_HOME,
    BOTH,
    CARRIER,
    CLIENT,
    CLIENT6,
    FORWARD,
    GATE,
    GATE6,
    MASQUERADE,
    NO_FORWARD,
    TRANSPARENT,
    Probe,
    Row,
    calls,
    forwarded,
    named,
)


def forward_rows() -> Iterator[Row]:
    # Less the headers and the timestamp of every segment.
    segment = {"4": str(MTU - 52), "6": str(MTU - 72)}
    home4, home6 = "test_home_sees_the_caller", "test_home_sees_the_callers_ipv6_address"
    masquerade = "test_a_forward_hides_its_callers_while_its_home_sees_others"
    yield forwarded("host", "TCP and UDP to home itself", 80, tests=(home4, masquerade))
    yield forwarded(
        "host6", "IPv6: TCP and UDP to home itself", 80, families=("6",), tests=(home6,)
    )
    yield forwarded(
        "container", "to a container behind Docker's rules", 81, families=BOTH, tests=(home4, home6)
    )
    ranges = ("test_ranges_keep_their_ports_or_shift_them",)
    yield forwarded("range", "a range of ports", 901, families=BOTH, tests=ranges)
    yield forwarded("shifted", "a shifted range, port by port", 301, families=BOTH, tests=ranges)
    limits = ("test_a_list_of_networks_lets_in_those_alone", "test_sources_are_limited_by_family")
    yield forwarded("from", "`from`: a caller who is listed", 91, families=BOTH, tests=limits)
    yield forwarded(
        "not-from",
        "`from`: a caller who is not",
        92,
        families=BOTH,
        answers=SILENCE,
        tests=limits,
    )
    lan = forwarded(
        "lan-host",
        "`host`: another machine of home's LAN",
        25,
        answers="192.168.1.2",
        without={MASQUERADE: AT_HOME},
        tests=("test_a_lan_host_answers_and_sees_home",),
    )
    yield lan
    yield forwarded(
        "lan-address",
        "`host`: a service on home's own LAN address",
        93,
        without={MASQUERADE: AT_HOME},
        tests=("test_homes_own_lan_address_keeps_the_caller",),
    )
    yield forwarded(
        "same-network",
        "a caller from a network that home uses too",
        80,
        source={"4": "192.168.1.77"},
        tests=("test_callers_from_a_network_that_home_uses_too",),
    )
    yield forwarded(
        "same-network6",
        "the same with IPv6",
        80,
        families=("6",),
        source={"6": "fd00:17::77"},
        tests=("test_home_sees_the_callers_ipv6_address",),
    )
    yield Row(
        "user-dnat",
        "home's user leads the port on to another of its IPv6 addresses",
        {
            TRANSPARENT: (
                Probe(f"user-dnat6[{TRANSPARENT}]", "client", "tcp", RELAY6, 5093, CLIENT6),
            ),
            MASQUERADE: "not applicable: home has a route to the relay itself",
            FORWARD: "not applicable: home has a route to the relay itself",
        },
    )
    mss = ("test_segments_fit_the_tunnel",)
    yield forwarded(
        "segments-in",
        "largest segment that the caller may send",
        85,
        kinds=("size",),
        families=BOTH,
        want=segment,
        tests=mss,
    )
    yield forwarded(
        "segments-out",
        "largest segment that home may send",
        85,
        kinds=("tcp",),
        families=BOTH,
        want=segment,
        tests=mss,
    )
    yield forwarded(
        "large",
        "a UDP answer of 1,400 bytes on a path of 1,460",
        86,
        kinds=("large",),
        families=BOTH,
        tests=("test_the_path_holds_the_mtu_and_60_bytes",),
    )
    yield forwarded(
        "error",
        "ICMP errors: a port that nobody listens on",
        70,
        kinds=("udp", "tcp"),
        families=BOTH,
        answers=CLOSED,
        tests=("test_a_port_that_nobody_listens_on_refuses",),
    )


def mode_rows() -> Iterator[Row]:
    """Where the mode matters and the caller is not outside."""
    for name, words, behind in (
        ("hairpin-lan", "a host on home's LAN dials the relay's address", ("lan", "lan")),
        ("hairpin-home", "home dials its own forward", ("home", "plain")),
    ):
        asked = (
            (TRANSPARENT, behind[0], 80, CARRIER),
            (MASQUERADE, behind[1], 3080, GATE),
            (FORWARD, behind[0], 1080, GATE),
        )
        yield Row(
            name,
            words,
            {
                mode: named(mode, calls(name, host, (RELAY,), port, answer))
                for mode, host, port, answer in asked
            },
            ("test_a_host_on_homes_lan", "test_home_itself"),
        )
    everywhere = (RELAY, RELAY6)
    tablet = (inner("tablet"), inner6("tablet"))
    yield Row(
        "hairpin-device",
        "a device with all its traffic dials the relay's address",
        {
            TRANSPARENT: named(
                TRANSPARENT, calls("hairpin-device", "tablet", everywhere, 80, tablet)
            ),
            MASQUERADE: named(
                MASQUERADE, calls("hairpin-device", "tablet", everywhere, 3080, (GATE, GATE6))
            ),
            FORWARD: named(
                FORWARD, calls("hairpin-device", "tablet", everywhere, 1080, (GATE, GATE6))
            ),
        },
        ("test_a_device_with_all_its_traffic",),
    )
    phone = (inner("phone"), inner6("phone"))
    yield Row(
        "device-home",
        "a device dials home's tunnel address",
        {
            TRANSPARENT: named(
                TRANSPARENT,
                calls("device-home", "phone", (inner("home"), inner6("home")), 8080, phone),
            ),
            MASQUERADE: named(
                MASQUERADE,
                calls("device-home", "phone", (inner("plain"), inner6("plain")), 8080, phone),
            ),
            FORWARD: NO_FORWARD,
        },
        ("test_it_reaches_whom_its_config_names",),
    )
    yield Row(
        "own-traffic",
        "home's own traffic, without `egress`",
        {
            TRANSPARENT: named(TRANSPARENT, calls("own-traffic", "home", (CLIENT,), 2501, CARRIER)),
            MASQUERADE: named(MASQUERADE, calls("own-traffic", "plain", (CLIENT,), 2501, CARRIER)),
            FORWARD: NO_FORWARD,
        },
        ("test_home_goes_out_by_its_own_line",),
    )
