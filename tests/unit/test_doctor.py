"""Each cause is told by its name, and only where it is the cause."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest

from components.carrier import target
from components.summary import destination
from doctor.__main__ import asked
from operate.doctor import TRIES, Answer, Target, call, diagnose, excluded, read, report

from . import samples

TARGET = Target("tcp", 80, "127.0.0.1:1", "home", "172.16.0.19", "8080")
SAID = [
    "peer 172.16.0.19/32,fd00::1/128 12",
    "peer 172.16.0.9/32 never",
    "port tcp 80",
    "port udp 27015-27020",
    "flow tcp 80 2 1",
]


def changed(*lines: str) -> list[str]:
    """The relay's words, with other lines for the same things."""
    heads = {line.split(",")[0].split("/")[0][:14] for line in lines}
    return [x for x in SAID if x.split(",")[0].split("/")[0][:14] not in heads] + list(lines)


NO_FLOW = changed("flow tcp 80 0 0")


@pytest.mark.parametrize(
    ("answer", "said", "cause"),
    [
        (Answer.OPEN, SAID, None),
        (Answer.OPEN, [], None),
        (Answer.SILENT, [x for x in SAID if "port tcp" not in x], "rule missing"),
        (Answer.REFUSED, [x for x in SAID if "port tcp" not in x], "rule missing"),
        (Answer.SILENT, changed("peer 172.16.0.19/32 never"), "no handshake: home has never"),
        (Answer.SILENT, changed("peer 172.16.0.19/32,fd00::1/128 181"), "last seen 181 s ago"),
        (Answer.REFUSED, SAID, "service down: home refuses port 8080"),
        (Answer.REFUSED, [*NO_FLOW, "home 80 refuses"], "service down: home refuses port 8080"),
        (Answer.REFUSED, NO_FLOW, "service down: home refuses port 8080"),
        (Answer.REFUSED, [*NO_FLOW, "home 80 takes"], "callers are refused before it; open"),
        # Others than this caller come through.
        (Answer.REFUSED, [*SAID, "home 80 takes"], "callers are refused before it; open"),
        (Answer.SILENT, changed("flow tcp 80 0 0"), "outer firewall"),
        (Answer.SILENT, SAID, "return path"),
        (Answer.SILENT, changed("flow tcp 80 1 0"), "silent"),
        (Answer.UNHEARD, SAID, None),  # it has come to the relay
        # Who is taken and told nothing may have met one before the relay, as QEMU's NAT.
        (Answer.TAKEN, changed("flow tcp 80 2 0"), None),
        (Answer.TAKEN, [x for x in SAID if "port tcp" not in x], "rule missing"),
        (Answer.TAKEN, changed("peer 172.16.0.19/32 never"), "no handshake: home has never"),
        (Answer.TAKEN, changed("flow tcp 80 0 0"), "outer firewall"),
        (Answer.TAKEN, SAID, "return path"),
    ],
)
def test_causes(answer: Answer, said: list[str], cause: str | None) -> None:
    found = diagnose(TARGET, answer, read(said))
    assert found is None if cause is None else cause in str(found)


def test_silence_over_udp_is_no_fault_but_a_lost_home_is() -> None:
    target = replace(TARGET, protocol="udp", port=27016)
    there = [*SAID, "flow udp 27016 1 1"]
    assert diagnose(target, Answer.UNHEARD, read(there)) is None
    assert "outer firewall" in str(diagnose(target, Answer.UNHEARD, read(SAID)))
    assert "service down" in str(diagnose(target, Answer.REFUSED, read(there)))
    lost = replace(target, address="172.16.0.9")
    assert "no handshake" in str(diagnose(lost, Answer.UNHEARD, read(SAID)))


@pytest.mark.parametrize(
    ("dialled", "told"),
    [
        ([], "is its tunnel up, and does it have"),
        (["dialled 51820 0 0"], "nothing at all comes to udp/51820: an outer firewall"),
        (["dialled 51820 3 1"], "with keys that are not known"),
        (["dialled 51820 3 0"], "others come by it"),
    ],
)
def test_a_home_that_is_not_there_is_told_by_what_comes_to_the_tunnels_port(
    dialled: list[str], told: str
) -> None:
    lost = replace(TARGET, address="172.16.0.9")
    found = str(diagnose(lost, Answer.SILENT, read([*SAID, *dialled])))
    assert found.startswith("no handshake: home has never been seen; ")
    assert told in found


FORWARD = "drops\tcertain\tforward\tchain f of table inet mine in nft\tsudo nft insert x"
INPUT = "drops\tcertain\tinput\tchain i of table inet mine in nft\tsudo nft insert y"


def test_a_firewall_of_the_relays_own_is_told_from_an_outer_one() -> None:
    """Where it is certain; else both are named. Not where a packet has come through."""
    silent = changed("flow tcp 80 0 0")
    found = str(diagnose(TARGET, Answer.SILENT, read([*silent, INPUT, FORWARD])))
    assert found.startswith("own firewall: on the relay chain f of table inet mine in nft drops it")
    assert "sudo nft insert x" in found
    perhaps = FORWARD.replace("certain", "perhaps").replace("chain f", "chain g")
    found = str(diagnose(TARGET, Answer.SILENT, read([*silent, perhaps])))
    assert found.startswith("outer firewall: ")
    assert "chain g of table inet mine in nft drops it: sudo nft insert x" in found
    found = str(diagnose(TARGET, Answer.SILENT, read([*silent, perhaps, FORWARD])))
    assert found.startswith("own firewall: on the relay chain f ")
    assert "own" not in str(diagnose(TARGET, Answer.SILENT, read([*silent, INPUT])))
    assert "return path" in str(diagnose(TARGET, Answer.SILENT, read([*SAID, FORWARD])))
    lost = replace(TARGET, address="172.16.0.9")
    nothing = [*SAID, "dialled 51820 0 0"]
    found = str(diagnose(lost, Answer.SILENT, read([*nothing, INPUT, FORWARD])))
    assert "no handshake: home" in found
    assert "on the relay chain i of table inet mine in nft drops what comes to udp/51820" in found
    found = str(diagnose(lost, Answer.SILENT, read([*nothing, INPUT.replace("certain", "no")])))
    assert "an outer firewall eats it" in found
    assert "or on the relay chain i " in found


def test_a_relay_that_is_not_whole_is_said_first() -> None:
    relay = read([*SAID, "missing interface wg0 is not up"])
    lines = [*report([(TARGET, Answer.OPEN, None)], relay)]
    assert lines == ["relay: interface wg0 is not up", "tcp/80 to home: answers"]


LISTED = [
    "limited ip tcp 80",
    "allowed ip tcp 80 192.0.2.0/24",
    "allowed ip tcp 80 192.0.2.7-192.0.2.9",
    "limited ip udp 27015-27020",
    "allowed ip udp 27015-27020 203.0.113.9",
    "limited ip6 tcp 80",
    "limited ip6 udp 27015-27020",
    "allowed ip6 udp 27015-27020 2001:db8::/32",
]
OUT, IN = "caller 203.0.113.9", "caller 192.0.2.1"
LEFT_OUT = "not for this computer: `from` leaves 203.0.113.9 out"
UNKNOWN = "perhaps not for this computer: "


@pytest.mark.parametrize("answer", [Answer.SILENT, Answer.TAKEN, Answer.REFUSED])
def test_who_is_not_on_the_list_is_no_failure(answer: Answer) -> None:
    """Whatever flows others have."""
    for flows in (SAID, NO_FLOW):
        relay = read([*flows, *LISTED, OUT])
        assert diagnose(TARGET, answer, relay) is None
        assert [*report([(TARGET, answer, None)], relay)] == [f"tcp/80 to home: {LEFT_OUT}"]
    relay = read([*NO_FLOW, *LISTED, IN])
    assert diagnose(TARGET, answer, relay) is not None, "the off-case: one who is"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ([x for x in SAID if "port tcp" not in x], "rule missing"),
        (changed("peer 172.16.0.19/32 never"), "no handshake"),
        ([*SAID, "home 80 refuses"], "service down: home refuses port 8080"),
        ([*SAID, "home 80 takes"], None),
        ([*NO_FLOW, FORWARD], "own firewall"),
        ([*SAID, FORWARD], None),
        ([*NO_FLOW, FORWARD.replace("certain", "perhaps")], None),
    ],
)
def test_what_the_relay_sees_itself_is_told_to_who_is_not_on_the_list(
    said: list[str], cause: str | None
) -> None:
    for relay in (read([*said, *LISTED, OUT]), read([*said, *LISTED])):
        for answer in (Answer.SILENT, Answer.REFUSED):
            found = diagnose(TARGET, answer, relay)
            assert found is None if cause is None else str(found).startswith(cause)
    assert diagnose(TARGET, Answer.OPEN, read([*said, *LISTED, OUT])) is None


@pytest.mark.parametrize(
    ("target", "caller", "told"),
    [
        (TARGET, OUT, LEFT_OUT),
        (TARGET, IN, ""),
        (TARGET, "", UNKNOWN),
        # Entered over the other family: nothing tells the address of this one, but none is let in.
        (TARGET, "caller 2001:db8::9", UNKNOWN),
        (
            replace(TARGET, reach="2001:db8:7::7:80"),
            IN,
            "not for this computer: `from` lets in nobody over IPv6",
        ),
        (replace(TARGET, port=81), OUT, ""),
        (replace(TARGET, protocol="udp", port=27016), OUT, ""),
        (
            replace(TARGET, protocol="udp", port=27016),
            IN,
            LEFT_OUT.replace("203.0.113.9", "192.0.2.1"),
        ),
        (replace(TARGET, protocol="udp", port=27016, reach="2001:db8:7::7:1"), OUT, UNKNOWN),
        (
            replace(TARGET, protocol="udp", port=27016, reach="2001:db8:7::7:1"),
            "caller 2001:db8::9",
            "",
        ),
        (
            replace(TARGET, protocol="udp", port=27016, reach="::1:1"),
            "caller fd00::9",
            "not for this computer: `from` leaves fd00::9 out",
        ),
    ],
)
def test_the_list_is_asked_about_the_address_that_entered_the_relay(
    target: Target, caller: str, told: str
) -> None:
    found = excluded(target, read([*LISTED, *([caller] if caller else [])]))
    assert found is not None and found.startswith(told) if told else found is None


def test_by_a_name_of_both_families_who_is_let_in_by_one_is_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [(socket.AF_INET6, 1, 6, "", ("::1", 1)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = replace(TARGET, reach="relay.example:80")
    assert excluded(target, read([*LISTED, IN])) is None
    assert str(excluded(target, read([*LISTED, OUT]))) == LEFT_OUT
    assert str(excluded(target, read(LISTED))).startswith(UNKNOWN)


def test_an_outer_firewall_is_not_claimed_of_one_list_alone() -> None:
    """Behind a carrier's NAT one call may come by another address than the next."""
    silent = str(diagnose(TARGET, Answer.SILENT, read([*NO_FLOW, *LISTED, IN])))
    assert silent.startswith("outer firewall: ")
    assert "another address than 192.0.2.1" in silent
    assert "another address" not in str(diagnose(TARGET, Answer.SILENT, read([*NO_FLOW, IN])))


def test_calls_tell_taken_open_refused_and_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = f"127.0.0.1:{server.getsockname()[1]}"
        assert call(replace(TARGET, reach=here)) is Answer.TAKEN

        def hang_up() -> None:
            server.accept()[0].close()  # the one before
            asked = server.accept()[0]
            assert asked.recv(99).startswith(b"HEAD / ")
            asked.sendall(b"HTTP/1.0 200 OK")
            asked.close()
            greeted = server.accept()[0]
            greeted.sendall(b"220 mail")
            greeted.close()
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert call(replace(TARGET, reach=here)) is Answer.OPEN, "the web"
        assert call(replace(TARGET, reach=here)) is Answer.OPEN, "mail, which speaks first"
        assert call(replace(TARGET, reach=here)) is Answer.REFUSED, "as QEMU and proxies do"
        thread.join()
    assert call(replace(TARGET, reach=here)) is Answer.REFUSED


def test_a_datagram_tells_open_refused_and_silent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        target = replace(TARGET, protocol="udp", reach=f"127.0.0.1:{server.getsockname()[1]}")
        assert call(target) is Answer.UNHEARD
        assert [server.recv(9) for _ in range(TRIES)] == [b"\0"] * TRIES

        def answer() -> None:
            said, caller = server.recvfrom(9)
            server.sendto(said, caller)

        thread = threading.Thread(target=answer)
        thread.start()
        assert call(target) is Answer.OPEN
        thread.join()
    assert call(target) is Answer.REFUSED


def test_a_forward_is_named_as_its_owner_knows_it() -> None:
    """By the stack's outputs as by the config; of a host on home's LAN, which one."""
    forwards = ["80-82:8080", {"port": 90, "to": 8090, "host": "192.168.1.50", "via": 2090}]
    (home,) = samples.settings(homes=[{"name": "home", "forwards": forwards}]).homes
    own, lan = (target(home, forward, "r:1") for forward in home.forwards)
    assert (own["to"], lan["to"]) == ("8080", "8090 of 192.168.1.50")
    told = {
        "homeConfigs": {"home": f"[Interface]\nAddress = {home.address}/32, fd00::1/128\n"},
        "forwards": [
            {
                "home": "home",
                "listen": f"198.51.100.7:{forward.ports}/tcp",
                "to": destination(home, forward),
                "reach": "r:1",
            }
            for forward in home.forwards
        ],
    }
    assert [*asked(told)] == [own, lan]
