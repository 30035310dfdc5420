"""Why a forward does not answer, as `doctor` and an update's probe tell it: by real SSH."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.carrier import observing, request
from components.plan import STATIC

from ..waiting import eventually
from .conftest import FORWARDS, RELAY, RELAY6, make
from .door import OPERATE, Door, carried, opened, plan
from .living import FINE
from .topology import internet

LAN = "192.168.1.50"
BEHIND = {"port": 90, "to": 8090, "host": LAN, "via": 2090}


@contextmanager
def entered(env: dict[str, str], folder: Path) -> Iterator[Door]:
    """A relay whose home has come and serves, also from its LAN."""
    with internet(env) as net:
        lab = make(net, forwards=[*FORWARDS, BEHIND])
        lab.relay_up()
        lab.home_up()
        lab.serve_both("home", 8081)
        lab.serve("lan", 8090)
        yield opened(lab, folder)


@pytest.fixture(scope="module")
def door(wg_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with entered(wg_env, tmp_path_factory.mktemp("door")) as made:
        yield made


def diagnosed(
    door: Door,
    port: int = 95,
    protocol: str = "tcp",
    relay: str = RELAY,
    to: str = "8081",
    at: str = "client",
    by: str = RELAY,
) -> tuple[int, str]:
    """The exit code, and what is said of one forward: ``at`` a host, which enters ``by``."""
    lab = door.lab
    target = {
        "protocol": protocol,
        "port": port,
        "reach": f"{relay}:{port}",
        "home": "home",
        "address": str(lab.home().address),
        "to": to,
    }
    bundle = observing([target], {"check": FINE})
    asked = request(door.host(address=by), "wg0", bundle, [target])
    words = lab.net[at].argv([*OPERATE, "diagnose"])
    done = subprocess.run(
        words, input=asked, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


CAUSES = {
    "rule missing": ("relay", "nft flush map ip cgnat-relay ports"),
    "service down": (
        "home",
        "iptables -I INPUT -p tcp --dport 8081 -j REJECT --reject-with tcp-reset",
    ),
    "return path": ("home", "iptables -I INPUT -p tcp --dport 8081 -j DROP"),
    "outer firewall: no packet": ("internet", "iptables -I FORWARD -p tcp --dport 95 -j DROP"),
    "outer firewall: the relay reaches home's port 8081, callers are refused before it": (
        "internet",
        "iptables -I FORWARD -p tcp --dport 95 -j REJECT --reject-with tcp-reset",
    ),
    # Of the owner's own: an accept of ours does not undo its drop.
    "own firewall: on the relay chain f of table inet mine in nft drops it": (
        "relay",
        "nft 'add table inet mine; add chain inet mine f"
        " { type filter hook forward priority 0; policy drop; }'",
    ),
    "own firewall: on the relay chain g of table inet mine in nft drops it": (
        "relay",
        "nft 'add table inet mine; add chain inet mine g { type filter hook forward priority 0; };"
        " add rule inet mine g reject with tcp reset; add rule inet mine g reject'",
    ),
    "no handshake": ("relay", "wg set wg0 peer KEY remove"),
}


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.partition(" drops")[0])
def test_a_cause_is_told_by_its_name(door: Door, cause: str) -> None:
    """The service is refused by a rule that answers as the kernel does where nobody listens."""
    where, command = CAUSES[cause]
    lab = door.lab
    wanted = plan(lab, "95:8081/tcp")
    assert door.operate("bring", carried(wanted)).returncode == 0
    eventually(lambda: diagnosed(door) == (0, "tcp/95 to home: answers\n"), "all is well", 60)
    host = lab.net[where]
    host.run(command.replace("KEY", lab.keys.peers["home"].public))
    lab.net["relay"].run("conntrack -D -p tcp --orig-port-dst 95", check=False)
    try:
        code, said = diagnosed(door)
    finally:
        if "iptables -I" in command:
            host.run(command.replace(" -I ", " -D "))
        if command.startswith("nft 'add"):
            host.run("nft delete table inet mine")
        door.operate("bring", carried(wanted))
        # Home notices that its session is gone once what it sends is not answered.
        ping = f"ping -c 1 -W 1 {lab.settings.tunnel.relay}"
        eventually(lambda: "1 received" in lab.net["home"].run(ping, False), "home is back", 60)
    assert code == 1
    assert f"tcp/95 to home: {cause}" in said


def test_a_datagram_tells_what_stops_it_from_a_silent_home(door: Door) -> None:
    lab = door.lab
    assert door.operate("bring", carried(plan(lab, "96:8081/udp"))).returncode == 0
    fine = (0, "udp/96 to home: answers\n")
    eventually(lambda: diagnosed(door, 96, "udp") == fine, "all is well", 60)

    def stopped(host: str, rule: str) -> tuple[int, str]:
        lab.net["relay"].run("conntrack -D -p udp --orig-port-dst 96", check=False)
        lab.net[host].run(f"iptables -I {rule}")
        try:
            return diagnosed(door, 96, "udp")
        finally:
            lab.net[host].run(f"iptables -D {rule}")

    code, said = stopped("home", "INPUT -p udp --dport 8081 -j DROP")
    assert (code, "home is silent" in said) == (0, True), said
    code, said = stopped("internet", "FORWARD -p udp --dport 96 -j DROP")
    assert (code, "outer firewall" in said) == (1, True), said
    refuse = "INPUT -p udp --dport 8081 -j REJECT --reject-with icmp-port-unreachable"
    code, said = stopped("home", refuse)
    assert (code, "service down" in said) == (1, True), said


def test_the_relay_asks_a_host_on_homes_lan_where_home_hands_it_on(door: Door) -> None:
    """The user reads the port that he knows; at home another one leads there."""
    lab, to = door.lab, f"8090 of {LAN}"
    assert door.operate("bring", carried(plan(lab, BEHIND))).returncode == 0
    fine = (0, "tcp/90 to home: answers\n")
    eventually(lambda: diagnosed(door, 90, to=to) == fine, "all is well", 60)

    def refused(host: str, rule: str) -> tuple[int, str]:
        lab.net["relay"].run("conntrack -D -p tcp --orig-port-dst 90", check=False)
        lab.net[host].run(f"iptables -I {rule} -j REJECT --reject-with tcp-reset")
        try:
            return diagnosed(door, 90, to=to)
        finally:
            lab.net[host].run(f"iptables -D {rule} -j REJECT --reject-with tcp-reset")

    code, said = refused("internet", "FORWARD -p tcp --dport 90")
    assert (code, f"outer firewall: the relay reaches home's port {to}, " in said) == (1, True), (
        said
    )
    code, said = refused("lan", "INPUT -p tcp --dport 8090")
    assert (code, f"service down: home refuses port {to};" in said) == (1, True), said


def test_what_goes_elsewhere_to_the_same_port_has_not_come_to_the_forward(door: Door) -> None:
    """The relay's own programs dial it as well, and a home's by `egress`."""
    lab = door.lab
    assert door.operate("bring", carried(plan(lab, "95:8081/tcp"))).returncode == 0
    flow = "-p tcp -s 198.51.100.7 -d 203.0.113.77 --sport 5000 --dport 95 --state ESTABLISHED"
    lab.net["relay"].run("conntrack -D -p tcp --orig-port-dst 95", check=False)
    lab.net["relay"].run(f"conntrack -I {flow} -t 60 -u SEEN_REPLY")
    lab.net["internet"].run("iptables -I FORWARD -p tcp --dport 95 -j DROP")
    try:
        code, said = diagnosed(door)
    finally:
        lab.net["internet"].run("iptables -D FORWARD -p tcp --dport 95 -j DROP")
        lab.net["relay"].run("conntrack -D -p tcp --orig-port-dst 95", check=False)
    assert (code, "outer firewall: no packet" in said) == (1, True), said


PHONE = "192.0.2.130"
LEFT_OUT = "95 to home: not for this computer: `from` leaves {} out\n"


def limited(door: Door, *sources: str) -> None:
    """Port 95 is for these callers alone; the phone is answered."""
    forward = {"port": 95, "to": 8081, "protocol": "both", "from": [*sources, PHONE]}
    assert door.operate("bring", carried(plan(door.lab, forward))).returncode == 0
    fine = (0, "tcp/95 to home: answers\n")
    eventually(lambda: diagnosed(door, at="phone") == fine, "all is well", 60)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_who_is_not_on_the_list_is_no_failure(door: Door, protocol: str) -> None:
    """Whatever flows those have who are; and what they meet is told as ever."""
    limited(door)
    lab, said = door.lab, f"{protocol}/{LEFT_OUT}"
    assert diagnosed(door, protocol=protocol) == (0, said.format("203.0.113.9"))
    lab.net["relay"].run("conntrack -F")
    assert diagnosed(door, protocol=protocol) == (0, said.format("203.0.113.9"))
    limited(door, "203.0.113.9")
    assert diagnosed(door, protocol=protocol) == (0, f"{protocol}/95 to home: answers\n")


def test_who_is_not_on_the_list_is_told_what_those_meet_who_are(door: Door) -> None:
    limited(door)
    home, relay = door.lab.net["home"], door.lab.net["relay"]
    refuse = "INPUT -p tcp --dport 8081 -j REJECT --reject-with tcp-reset"
    home.run(f"iptables -I {refuse}")
    try:
        code, said = diagnosed(door)
    finally:
        home.run(f"iptables -D {refuse}")
    assert relay.run("conntrack -L -p tcp --orig-port-dst 95"), "the phone's"
    assert (code, "tcp/95 to home: service down: home refuses port 8081" in said) == (1, True), said
    relay.run("nft flush map ip cgnat-relay ports")
    code, said = diagnosed(door)
    assert (code, "tcp/95 to home: rule missing" in said) == (1, True), said


def test_the_list_is_asked_about_the_address_by_which_the_relay_was_entered(door: Door) -> None:
    """Behind a carrier's NAT its own; by the tunnel, or over the other family, none."""
    limited(door)
    over6 = {"relay": RELAY6, "by": RELAY6}
    nobody = "not for this computer: `from` lets in nobody over IPv6"
    assert diagnosed(door, at="home") == (0, f"tcp/{LEFT_OUT}".format("192.0.2.2"))
    code, said = diagnosed(door, at="home", by=str(door.lab.settings.tunnel.relay))
    assert (code, "tcp/95 to home: perhaps not for this computer: " in said) == (0, True), said
    code, said = diagnosed(door, relay=RELAY6)
    assert (code, nobody in said) == (0, True), said
    assert diagnosed(door, **over6) == (0, f"tcp/{LEFT_OUT}".format("2001:db8:9::9"))
    limited(door, "2001:db8:8::/48")
    assert diagnosed(door, **over6) == (0, f"tcp/{LEFT_OUT}".format("2001:db8:9::9"))
    code, said = diagnosed(door, relay=RELAY6)
    assert (code, "perhaps not for this computer: " in said) == (0, True), said
    limited(door, "2001:db8:9::/48")
    assert diagnosed(door, **over6) == (0, "tcp/95 to home: answers\n")


HOLDS = """
find /etc/cgnat-relay /etc/wireguard /usr/local/lib/cgnat-relay /run -printf '%p %m %y %l\\n' 2>&1
find /etc/wireguard /etc/cgnat-relay /run -type f -exec sha256sum {} + 2>&1
nft -s list ruleset
wg showconf wg0
ip addr
ip route show table all
ip rule
sysctl -a -r '^net.ipv[46].'
"""


def test_it_changes_nothing_there(wg_env: dict[str, str], tmp_path: Path) -> None:
    """Of a relay that none has asked yet, whatever it is about to tell."""
    with entered(wg_env, tmp_path) as door:
        lab, relay = door.lab, door.lab.net["relay"]
        forward = {"port": 95, "to": 8081, "protocol": "both", "from": [PHONE]}
        assert door.operate("bring", carried(plan(lab, forward))).returncode == 0
        ping = f"ping -c 1 -W 1 {lab.settings.tunnel.relay}"
        eventually(lambda: "1 received" in lab.net["home"].run(ping, False), "home", within=60)
        before = relay.run(["sh", "-c", HOLDS])
        for there in ("summary", "udp . 95 : ", "PrivateKey", "net.ipv4.ip_forward = 1"):
            assert there in before, "the off-case: it was looked at"
        assert diagnosed(door)[0] == 0
        assert diagnosed(door, at="phone")[0] == 0
        assert diagnosed(door, 99)[0] == 1
        assert relay.run(["sh", "-c", HOLDS]) == before


MUTE = """
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
taken = []
while True:
    taken.append(server.accept())
"""


def test_who_takes_a_call_and_is_mute_is_home_only_if_the_relay_saw_it(door: Door) -> None:
    """Over both families; the off-case is one before the relay who takes all."""
    lab = door.lab
    lab.net["home"].start(["python3", "-c", MUTE, "8098"])
    assert door.operate("bring", carried(plan(lab, "97:8098/tcp"))).returncode == 0
    fine = (0, "tcp/97 to home: answers\n")
    for relay in (RELAY, RELAY6):
        eventually(lambda relay=relay: diagnosed(door, 97, relay=relay) == fine, relay, within=60)
        lab.net["relay"].run("conntrack -F")
    lab.net["internet"].start(["python3", "-c", MUTE, "97"])
    lab.listens("internet", "*", 97)
    taking = "PREROUTING -p tcp --dport 97 -j REDIRECT"
    lab.net["internet"].run(f"iptables -t nat -I {taking}")
    try:
        code, said = diagnosed(door, 97)
    finally:
        lab.net["internet"].run(f"iptables -t nat -D {taking}")
    assert (code, "outer firewall" in said) == (1, True), said


OWN_INPUT = """
table inet mine {
	chain i {
		type filter hook input priority 0; policy drop;
		ct state established accept
		tcp dport 2222 accept
	}
}
"""
EATEN = {
    "outer": "nothing at all comes to udp/51820: an outer firewall",
    "own": "on the relay chain i of table inet mine in nft drops what comes to udp/51820",
    "no": "dials udp/51820 with keys that are",
}


@pytest.mark.parametrize("eaten", EATEN)
def test_a_firewall_that_eats_udp_is_told_from_a_home_with_other_keys(
    door: Door, eaten: str
) -> None:
    lab = door.lab
    wanted = plan(lab, "95:8081/tcp")
    assert door.operate("bring", carried(wanted)).returncode == 0
    rule = "FORWARD -p udp --dport 51820 -j DROP"
    if eaten == "outer":
        lab.net["internet"].run(f"iptables -I {rule}")
    if eaten == "own":
        lab.net["relay"].run("nft -f -", stdin=OWN_INPUT)
    lab.net["relay"].run(f"wg set wg0 peer {lab.keys.peers['home'].public} remove")
    lab.net["relay"].run("conntrack -D -p udp --reply-port-src 51820", check=False)
    told = EATEN[eaten]

    def said() -> str:
        # Home has a session yet: what it sends starts the handshake that nobody answers.
        lab.net["home"].run(f"ping -c 1 -W 1 {lab.settings.tunnel.relay}", check=False)
        # What the relay had under way when the peer went would make home's own an answer to it.
        lab.net["relay"].run("conntrack -D -p udp --orig-port-src 51820", check=False)
        code, found = diagnosed(door)
        assert code == 1
        return found if told in found else ""

    try:
        assert "no handshake" in eventually(said, told, within=60)
    finally:
        if eaten == "outer":
            lab.net["internet"].run(f"iptables -D {rule}")
        if eaten == "own":
            lab.net["relay"].run("nft delete table inet mine")
        door.operate("bring", carried(wanted))


MANY = 20


def test_what_answers_the_relay_has_come_to_the_tunnels_port(door: Door) -> None:
    """Where the relay spoke first, a home's packets are no flow of their own."""
    relay = door.lab.net["relay"]

    def dialled() -> int:
        said = relay.run(f"sh {STATIC}/observe {STATIC} wg0", check=False)
        (line,) = [line for line in said.splitlines() if line.startswith("dialled 51820 ")]
        return int(line.split()[2])

    def flows(first: int, more: str = "") -> None:
        """Many, for a peer's own may come and go meanwhile."""
        flow = "-p udp -s 198.51.100.7 -d 203.0.113.77 --sport 51820 -t 60"
        made = f"conntrack -I {flow} --dport $port {more} || exit"
        numbers = f"$(seq {first} {first + MANY - 1})"
        relay.run(["sh", "-c", f"for port in {numbers}; do {made}; done"])

    seen = dialled()
    flows(1)
    assert dialled() < seen + MANY // 2, "the off-case: nothing came of it"
    flows(1001, "-u SEEN_REPLY")
    assert dialled() > seen + MANY // 2
