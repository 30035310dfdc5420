"""A living relay is entered by real SSH: pinned, confirmed anew, and told in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from components.carrier import bundle, looking, observing, request
from components.plan import STATIC, HostPlan

from ..relay_stack import ProcessWatch
from ..waiting import eventually
from . import living
from .conftest import RELAY, RELAY6, Lab, make
from .door import OPERATE, Door, opened
from .living import FINE
from .topology import internet


@pytest.fixture(scope="module")
def door(wg_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with internet(wg_env) as net:
        lab = make(net)
        lab.relay_up()
        lab.home_up()
        lab.serve("home", 8081)
        yield opened(lab, tmp_path_factory.mktemp("door"))


def plan(lab: Lab, *forwards: str) -> HostPlan:
    return living.plan(lab, [{"name": "home", "forwards": [*forwards]}])


def carried(wanted: HostPlan, **scripts: str) -> str:
    """Its bundle, with the check that asks no systemd."""
    return bundle(wanted, ["home home"], replaced={"check": FINE} | scripts)


def test_a_port_is_added_over_two_connections(door: Door) -> None:
    first = door.operate("bring", carried(plan(door.lab, "91:8081/tcp")))
    assert first.returncode == 0, first.stderr
    before = door.connections()
    done = door.operate("bring", carried(plan(door.lab, "91:8081/tcp", "92:8081/tcp")))
    assert done.returncode == 0, done.stderr
    assert "brought rules" in done.stderr
    assert "confirmed over a new connection" in done.stderr
    assert door.connections() == before + 2
    assert door.lab.call("tcp", 92) == "203.0.113.9"
    again = door.operate("bring", carried(plan(door.lab, "91:8081/tcp", "92:8081/tcp")))
    assert "nothing was changed" in again.stderr
    assert door.connections() == before + 3


def test_who_would_be_locked_out_is_let_back_in(door: Door) -> None:
    """The plan's own rules keep SSH out: nobody can confirm it."""
    good = plan(door.lab, "91:8081/tcp")
    assert door.operate("bring", carried(good)).returncode == 0
    shut = (
        "chain shut { type filter hook input priority 0; tcp dport 2222 ct state new drop; }\n}\n"
    )
    locked = living.edited(good, "wg0.ip.nft", lambda text: text.rstrip().removesuffix("}") + shut)
    done = door.operate("bring", carried(locked))
    assert done.returncode == 1
    assert "no new connection could be made" in done.stderr
    assert "Traceback" not in done.stderr
    assert not looked(door)["reached"], "the off-case: it was locked out indeed"
    living.time_is_up(door.lab)
    assert looked(door)["is"] == "here"
    assert door.lab.call("tcp", 91) == "203.0.113.9"


def looked(door: Door, **other: Any) -> dict[str, Any]:
    return dict(json.loads(door.operate("look", looking(), **other).stdout))


def test_what_was_changed_by_hand_is_named(door: Door) -> None:
    good = plan(door.lab, "91:8081/tcp")
    assert door.operate("bring", carried(good)).returncode == 0
    assert looked(door)["changed"] == []
    assert looked(door)["summary"] == ["home home"]
    door.lab.net["relay"].run("nft flush map ip cgnat-relay ports")
    assert looked(door)["changed"] == ["rules ip-table-cgnat-relay"]
    assert "brought rules" in door.operate("bring", carried(good)).stderr
    assert looked(door)["changed"] == []
    door.lab.net["relay"].run("chmod 644 /etc/wireguard/wg0.peers")
    assert looked(door)["changed"] == ["peers /etc/wireguard/wg0.peers"]
    assert "brought peers" in door.operate("bring", carried(good)).stderr


def test_other_words_of_a_newer_program_are_no_drift(door: Door) -> None:
    """Or the first update with it would restart every tunnel."""
    good = plan(door.lab, "91:8081/tcp")
    assert door.operate("bring", carried(good)).returncode == 0
    newer = carried(good, state="echo tunnel said otherwise")
    done = door.operate("bring", newer)
    assert "nothing was changed" in done.stderr
    assert looked(door)["changed"] == []
    assert "nothing was changed" in door.operate("bring", carried(good)).stderr


APT = "echo 'E: Failed to fetch x: Connection refused' >&2; echo 'sh: y: No such file' >&2\n"
# Ends the sshd of this connection.
HANG_UP = """pid=$$
while [ "$(cat /proc/$pid/comm)" != sshd ]; do pid=$(awk '{ print $4 }' /proc/$pid/stat); done
kill -9 $pid; sleep 9
"""


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            "exit 255",
            "was lost: it ended without a word (there was said last: sh: y: No such file);",
        ),
        (HANG_UP, "closed by remote host. (there was said last: sh: y: No such file);"),
        ("exit 1", "E: Failed to fetch x: Connection refused\nsh: y: No such file\n"),
    ],
    ids=["255", "cut", "1"],
)
def test_what_the_machine_says_is_not_taken_for_ssh(door: Door, end: str, said: str) -> None:
    done = door.operate("bring", carried(plan(door.lab, "99:8081/tcp"), apply=APT + end))
    assert done.returncode == 1
    assert said in done.stderr
    for cause in ("no SSH server listens", "private key", "check the port"):
        assert cause not in done.stderr


def test_nothing_secret_is_in_a_command_line_or_an_environment(door: Door) -> None:
    wanted = plan(door.lab, "93:8081/tcp")
    secret = [door.keys["user"].splitlines()[2], carried(wanted)[200:260]]
    secret += [pair.preshared for pair in door.lab.keys.peers.values()]
    with ProcessWatch() as watch:
        assert door.operate("bring", carried(wanted)).returncode == 0
    seen = b"\n".join(watch.seen).decode(errors="replace")
    assert "sh $new/apply bring" in seen, "the off-case: the run was watched"
    assert not any(text in seen for text in secret)


def test_a_cut_connection_leaves_the_old_plan_or_the_new(door: Door) -> None:
    good, wide = plan(door.lab, "91:8081/tcp"), [f"{p}:{p + 1}" for p in range(10_000, 12_000)]
    assert door.operate("bring", carried(good)).returncode == 0
    words = door.lab.net["client"].argv([*OPERATE, "bring"])
    asked = request(door.host(), "wg0", carried(plan(door.lab, *wide)))
    cut = subprocess.Popen(
        words, start_new_session=True, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert cut.stdin
    before = door.connections()
    cut.stdin.write(asked)
    cut.stdin.close()
    eventually(lambda: door.connections() > before, "the connection")
    os.killpg(cut.pid, signal.SIGKILL)  # its ssh as well
    cut.wait()

    def taken_back() -> bool:
        living.time_is_up(door.lab)
        found = looked(door)
        return found["is"] == "here" and not found["changed"]

    eventually(taken_back, "the plan before", within=60)
    assert door.lab.call("tcp", 91) == "203.0.113.9"


def diagnosed(
    door: Door, port: int = 95, protocol: str = "tcp", relay: str = RELAY
) -> tuple[int, str]:
    """The exit code, and what is said of one forward."""
    lab = door.lab
    target = {
        "protocol": protocol,
        "port": port,
        "reach": f"{relay}:{port}",
        "home": "home",
        "address": str(lab.home().address),
        "to": "8081",
    }
    asked = json.loads(request(door.host(), "wg0", observing([target], {"check": FINE})))
    words = lab.net["client"].argv([*OPERATE, "diagnose"])
    done = subprocess.run(
        words,
        input=json.dumps(asked | {"targets": [target]}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
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


def test_what_answers_the_relay_has_come_to_the_tunnels_port(door: Door) -> None:
    """Where the relay spoke first, a home's packets are no flow of their own."""
    relay = door.lab.net["relay"]

    def dialled() -> list[int]:
        said = relay.run(f"sh {STATIC}/observe {STATIC} wg0", check=False)
        (line,) = [line for line in said.splitlines() if line.startswith("dialled 51820 ")]
        return [int(word) for word in line.split()[2:]]

    seen, silent = dialled()
    flow = "-p udp -s 198.51.100.7 -d 203.0.113.77 --sport 51820 -t 60"
    relay.run(f"conntrack -I {flow} --dport 1")
    assert dialled() == [seen, silent], "the off-case: nothing came of it"
    relay.run(f"conntrack -I {flow} --dport 2 -u SEEN_REPLY")
    assert dialled() == [seen + 1, silent]
