"""The relay's own key changes in two phases; who is connected stays so."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from components.keys import wireguard_key
from components.plan import HostPlan

from ..unit import samples
from ..waiting import eventually
from . import living, rotating
from .adopted import survey
from .conftest import Lab, make
from .living import BIN, ended, settled, started
from .rotating import RESTART, STOP, home_takes, systemctl
from .topology import internet

CLIENT = "203.0.113.9"
PARTS = ("tunnel", "next", "peers", "rules")
NEXT = {"key": 2, "port": 51822}
FORWARDS = ["80:8080", "81:8081/udp", "82:8082/both"]
HIDDEN = {"port": 83, "to": 8080, "mode": "masquerade"}
# As iproute2 has it where the kernel was started with ipv6.disable=1.
WITHOUT = """#!/bin/sh
case " $* " in
*" -6 "* | *:*) echo "RTNETLINK answers: Operation not supported" >&2 && exit 2 ;;
esac
PATH=${PATH#*:} exec ip "$@"
"""


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"devices": ["laptop"]}, forwards=[*FORWARDS, HIDDEN])
        made.relay_up()
        # The strictest: what comes by another interface than answers go to is dropped.
        made.net["relay"].run("sysctl -qw net.ipv4.conf.all.rp_filter=1")
        rotating.begin(made)
        bring(made)
        made.home_up()
        made.serve("home", 8080, verb="count")
        made.serve("home", 8081, verb="echo")
        made.serve_both("home", 8082)
        yield made


def planned(lab: Lab, *extra: str) -> HostPlan:
    tunnel = lab.settings.tunnel
    raw: dict[str, object] = {"port": tunnel.port, "key": tunnel.key}
    if tunnel.next_way:
        raw["next"] = NEXT
    home = {"name": "home", "forwards": [*FORWARDS, HIDDEN, *extra]}
    return living.plan(lab, [home], *PARTS, devices=["laptop"], tunnel=raw)


def bring(lab: Lab, *extra: str) -> str:
    token = living.bring(lab, planned(lab, *extra))
    return living.confirm(lab, token) if token else ""


def begin(lab: Lab) -> str:
    """Phase 1."""
    settings = samples.settings(tunnel={"next": NEXT})
    tunnel = replace(lab.settings.tunnel, next_way=settings.tunnel.next_way)
    lab.settings = replace(lab.settings, tunnel=tunnel)
    lab.keys = replace(lab.keys, following=wireguard_key(samples.seed()))
    return bring(lab)


def finished(lab: Lab) -> None:
    """Phase 2, in the settings."""
    tunnel = replace(lab.settings.tunnel, port=51822, key=2, next_way=None)
    lab.settings = replace(lab.settings, tunnel=tunnel)
    lab.keys = replace(lab.keys, wireguard=lab.keys.newest, following=None)


def given_up(lab: Lab) -> None:
    tunnel = replace(lab.settings.tunnel, next_way=None)
    lab.settings = replace(lab.settings, tunnel=tunnel)
    lab.keys = replace(lab.keys, following=None)


def routed(lab: Lab, name: str = "home") -> bool:
    """Whether a peer's addresses are routed to the next interface, of both families."""
    relay = lab.net["relay"]
    shown = relay.run("ip route show dev wg0-2", check=False) + relay.run(
        "ip -6 route show dev wg0-2", check=False
    )
    found = [address in shown.split() for address in lab.inner(name)]
    assert found in ([True, True], [False, False]), shown
    return found[0]


@pytest.fixture
def spent() -> list[float]:
    """Seconds of each step that may lose datagrams."""
    return []


@contextmanager
def away(spent: list[float]) -> Iterator[None]:
    """Such a step, and no waiting for an answer; on an emulated machine it is long."""
    began = time.monotonic()
    yield
    spent.append(time.monotonic() - began)


def few_are_lost(pings: subprocess.Popen[str], spent: list[float]) -> None:
    """No more than in that time, of one each 10 ms."""
    sent, back = map(int, ended(pings).split())
    seconds = " and ".join(f"{one:.1f}" for one in spent)
    print(f"{sent - back} of {sent} datagrams, one each 10 ms, were lost; away {seconds} s")
    assert sent - back < 100 * sum(spent)


def comes(lab: Lab, name: str = "home") -> None:
    eventually(lambda: routed(lab, name), f"{name} comes by the next key")


def received(lab: Lab) -> int:
    dump = lab.net["relay"].run("wg show wg0 dump").splitlines()[1:]
    return sum(int(line.split("\t")[5]) for line in dump)


def test_the_relays_key_changes_under_all_flows(lab: Lab, spent: list[float]) -> None:
    relay, old = lab.net["relay"], lab.keys.wireguard
    link = relay.run("cat /sys/class/net/wg0/ifindex", check=False)
    mark = lab.way.mark
    download, pings, hidden = (
        started(lab, "download", 80),
        started(lab, "pings", 81),
        started(lab, "download", 83),
    )
    said = begin(lab)
    assert "waits home" in said
    assert "waits laptop" in said
    assert lab.both(82) == [CLIENT, CLIENT]
    assert not routed(lab)
    with away(spent):
        home_takes(lab)
        comes(lab)
    eventually(lambda: lab.both(82) == [CLIENT, CLIENT], "the home answers")
    assert lab.way.mark == mark, "home's marks stay what they were"
    assert settled(lab) == [], "a change of keys under way is no drift"
    assert "waits home" not in bring(lab, "91:8082/udp"), "another change goes on beside it"
    assert routed(lab)
    pinged = relay.run(f"ping -c 1 -W 3 {lab.inner('home')[0]}")
    assert " 0% packet loss" in pinged

    finished(lab)
    with away(spent):
        bring(lab)
    eventually(lambda: lab.both(82) == [CLIENT, CLIENT], "the home answers", within=12)
    assert relay.run("wg show wg0 listen-port") == "51822\n"
    assert relay.run("cat /sys/class/net/wg0/ifindex", check=False) == link
    assert relay.run("wg show wg0 public-key").strip() != old.public
    assert relay.run(["sh", "-c", "wg show wg0-2 2>&1 || :"]).startswith("Unable")
    before = received(lab)
    eventually(lambda: received(lab) > before + 800_000, "the downloads go on")
    for stream in (download, hidden):
        assert int(ended(stream)) > 500_000
    few_are_lost(pings, spent)
    found = relay.run("find /etc/wireguard /etc/systemd /usr/local/lib -name '*rotate*'")
    assert found == ""
    assert relay.run("find /etc/wireguard /etc/systemd -name 'wg*-2*'") == ""
    assert "wg0-2" not in relay.run("iptables-save") + relay.run("ip6tables-save")

    # The old one is refused.
    lab.keys = replace(lab.keys, wireguard=old)
    lab.settings = replace(lab.settings, tunnel=replace(lab.settings.tunnel, port=51820))
    lab.net["home"].run("wg-quick down wg0")
    with pytest.raises(AssertionError, match="handshake: not within"):
        lab.home_up()


def test_what_adopts_a_machine_knows_both_interfaces_for_ours(lab: Lab) -> None:
    """Phase 2 wants the port that the next interface has."""
    relay = lab.net["relay"]
    begin(lab)
    home_takes(lab)
    comes(lab)
    terms = ["interface wg0", "network 172.16.0.0/24", "udp 51822", "udp 51820", "ours"]
    relay.run("mkdir /run/looked")
    relay.write("/run/looked/terms", "".join(f"{term}\n" for term in terms))
    survey(relay.write, "/run/looked")
    said = relay.run("sh /run/looked/preflight /run/looked", check=False)
    assert "UDP port" not in said, said
    assert "wg0" not in said, said
    relay.write("/run/looked/terms", "".join(f"{term}\n" for term in terms[:-1]))
    said = relay.run("sh /run/looked/preflight /run/looked", check=False)
    assert "UDP port 51822 is taken" in said, "the off-case"
    assert "is in use on wg0-2" in said


@pytest.mark.parametrize("how", ["turned off", "not in the kernel"])
def test_without_ipv6_the_key_changes_as_elsewhere(lab: Lab, how: str, spent: list[float]) -> None:
    """A peer has an IPv6 address inside all the same, which can be routed nowhere there."""
    relay = lab.net["relay"]
    if how == "turned off":
        relay.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    else:
        relay.write(f"{BIN}/ip", WITHOUT)
        relay.run(f"chmod 755 {BIN}/ip")

    def comes_by_the_next() -> bool:
        listed = relay.run("cat /etc/wireguard/wg0-2.arrived", check=False).split()
        return listed == [lab.keys.peers["home"].public]

    begin(lab)
    home_takes(lab)
    eventually(comes_by_the_next, "the home is known to come by the next key")
    both = lab.settings, lab.keys
    given_up(lab)
    home_takes(lab)
    eventually(lambda: not comes_by_the_next(), "and to have gone back")
    lab.settings, lab.keys = both
    home_takes(lab)
    eventually(comes_by_the_next, "and to come again")
    assert lab.inner("home")[1] not in relay.run("ip -6 route show dev wg0-2", check=False).split()
    assert "waits home" not in bring(lab, "91:8082/udp")
    pings = started(lab, "pings", 81)
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers")
    finished(lab)
    with away(spent):
        bring(lab)
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers", within=12)
    few_are_lost(pings, spent)


def test_the_relay_calls_who_is_idle(lab: Lab) -> None:
    """Nobody sends anything: by itself a home would notice after two minutes."""
    begin(lab)
    home_takes(lab)
    comes(lab)
    finished(lab)
    bring(lab)

    def shaken() -> bool:
        return lab.net["relay"].run("wg show wg0 latest-handshakes").count("\t0\n") == 1

    eventually(shaken, "the home's handshake", within=12)
    assert lab.call("udp", 82) == CLIENT


def test_a_call_that_fails_keeps_no_change_from_coming(lab: Lab) -> None:
    """As where a plan before, which knows no calls, comes back."""
    begin(lab)
    home_takes(lab)
    comes(lab)
    finished(lab)
    without = living.edited(planned(lab), "wg0.call", lambda _: "exit 3\n")
    living.confirm(lab, living.bring(lab, without))
    assert lab.net["relay"].run("wg show wg0 listen-port") == "51822\n"


def test_the_installer_knows_its_relay_by_any_of_its_keys(lab: Lab) -> None:
    rotating.houses_installer(lab)
    number = rotating.installed(lab).split()[0]
    begin(lab)
    said = rotating.installed(lab)
    assert "/etc/wireguard/wg0.conf has new keys" in said
    assert said.split()[0] == number
    comes(lab)
    finished(lab)
    bring(lab)
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers")
    assert "new keys" not in rotating.installed(lab)
    # The off-case: a relay that is another one.
    other = wireguard_key(samples.seed())
    lab.keys = replace(lab.keys, wireguard=other, identity=other.public)
    with pytest.raises(AssertionError, match="wg0 leads to another relay"):
        rotating.installed(lab)


def test_without_what_moves_it_a_home_that_came_is_not_answered(lab: Lab) -> None:
    """The off-case."""
    begin(lab)
    systemctl(lab, STOP)
    home_takes(lab)
    assert lab.call("udp", 82) == ""
    systemctl(lab, RESTART)
    comes(lab)
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers")


def test_a_home_that_goes_back_is_followed(lab: Lab) -> None:
    begin(lab)
    home_takes(lab)
    comes(lab)
    both = lab.settings, lab.keys
    given_up(lab)
    home_takes(lab)
    eventually(lambda: not routed(lab), "the home is back")
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers")
    bring(lab)
    assert lab.call("udp", 82) == CLIENT
    lab.settings, lab.keys = both
    bring(lab)
    assert lab.call("udp", 82) == CLIENT


def test_who_is_connected_by_the_key_that_goes_is_not_cut_off(lab: Lab) -> None:
    relay = lab.net["relay"]
    begin(lab)
    both = lab.settings, lab.keys
    finished(lab)
    with pytest.raises(AssertionError, match="home comes with its present key, which this plan"):
        bring(lab)
    lab.settings, lab.keys = both
    assert lab.call("udp", 82) == CLIENT
    home_takes(lab)
    comes(lab)
    given_up(lab)
    with pytest.raises(AssertionError, match="home comes with its next key, which this plan"):
        bring(lab)
    lab.settings, lab.keys = both
    assert lab.call("udp", 82) == CLIENT
    # The laptop has never come: it keeps nobody waiting.
    finished(lab)
    bring(lab)
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers")
    lab.device_up("laptop", host="laptop")
    home = lab.inner("home")[0]
    assert lab.call("tcp", 8082, host="laptop", to=home) == lab.inner("laptop")[0]
    assert relay.run("wg show wg0 peers").count("\n") == 2


def test_a_change_of_the_key_that_nobody_confirms_is_taken_back(
    lab: Lab, spent: list[float]
) -> None:
    relay = lab.net["relay"]
    begin(lab)
    home_takes(lab)
    comes(lab)
    pings = started(lab, "pings", 81)
    both = lab.settings, lab.keys
    finished(lab)
    with away(spent):
        assert living.bring(lab, planned(lab))
        assert relay.run("wg show wg0 listen-port") == "51822\n"
        living.time_is_up(lab)
    lab.settings, lab.keys = both
    assert relay.run("wg show wg0 listen-port") == "51820\n"
    assert relay.run("wg show wg0-2 listen-port") == "51822\n"
    comes(lab)
    eventually(lambda: lab.call("udp", 82) == CLIENT, "the home answers", within=12)
    assert settled(lab) == []
    few_are_lost(pings, spent)


def test_another_port_of_the_tunnel_restarts_nothing(lab: Lab) -> None:
    """Homes dial the old one; those that are told by the relay itself come with the next packet."""
    relay = lab.net["relay"]
    peers = sorted(relay.run("wg show wg0 latest-handshakes").splitlines())
    lab.settings = replace(lab.settings, tunnel=replace(lab.settings.tunnel, port=4500))
    bring(lab)
    assert relay.run("wg show wg0 listen-port") == "4500\n"
    assert sorted(relay.run("wg show wg0 latest-handshakes").splitlines()) == peers
    assert re.search(r"^ListenPort = 4500$", relay.run("cat /etc/wireguard/wg0.conf"), re.M)
