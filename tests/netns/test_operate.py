"""A living relay is entered by real SSH: pinned, confirmed anew, and told in one sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from components.carrier import looking, request

from ..relay_stack import ProcessWatch
from ..waiting import eventually
from . import living
from .conftest import make
from .door import OPERATE, Door, carried, opened, plan
from .topology import internet

# /tmp with no room for one file more, and of what was there a folder alone: sshd's.
FULL = """set -eu
mkdir /run/kept
mount --bind "$1" /run/kept
mount -t tmpfs -o nr_inodes=32 none /tmp
mkdir -p "$1"
mount --bind /run/kept "$1"
number=0
while mkdir "/tmp/$number" 2>/dev/null; do number=$((number + 1)); done
"""


@pytest.fixture(scope="module")
def door(wg_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with internet(wg_env) as net:
        lab = make(net)
        lab.relay_up()
        lab.home_up()
        lab.serve("home", 8081)
        yield opened(lab, tmp_path_factory.mktemp("door"))


def test_a_port_is_added_over_two_connections(door: Door) -> None:
    first = door.operate("bring", carried(plan(door.lab, "91:8081/tcp")))
    assert first.returncode == 0, first.stderr
    before = door.connections()
    done = door.operate("bring", carried(plan(door.lab, "91:8081/tcp", "92:8081/tcp")))
    assert done.returncode == 0, done.stderr
    assert "brought rules in " in done.stderr
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
    assert not door.look()["reached"], "the off-case: it was locked out indeed"
    living.time_is_up(door.lab)
    assert door.look()["is"] == "here"
    assert door.lab.call("tcp", 91) == "203.0.113.9"


def test_what_was_changed_by_hand_is_named(door: Door) -> None:
    # It tells of the namespace that it was mounted from.
    door.lab.net["relay"].run("mount -t sysfs none /sys")
    good = plan(door.lab, "91:8081/tcp")
    assert door.operate("bring", carried(good)).returncode == 0
    assert door.look()["changed"] == []
    assert door.look()["summary"] == ["home home"]
    door.lab.net["relay"].run("nft flush map ip cgnat-relay ports")
    assert door.look()["changed"] == ["rules ip-table-cgnat-relay"]
    assert "brought rules in " in door.operate("bring", carried(good)).stderr
    assert door.look()["changed"] == []
    door.lab.net["relay"].run("chmod 644 /etc/wireguard/wg0.peers")
    assert door.look()["changed"] == ["peers /etc/wireguard/wg0.peers"]
    assert "brought peers" in door.operate("bring", carried(good)).stderr
    # Who drops before the relay's rules, as Docker puts its owner's first; and who could not.
    relay = door.lab.net["relay"]
    relay.run("iptables -N THEIRS")
    relay.run("iptables -I FORWARD -j THEIRS")
    relay.run("iptables -A THEIRS -o tailscale0 -j DROP")
    relay.run("ip link add virbr0 type bridge")
    for state in ("NEW", "RELATED"):
        relay.run(f"iptables -A THEIRS -i virbr0 -m conntrack --ctstate {state} -j REJECT")
    assert door.look()["changed"] == []
    for drops in ("-i eth9 ! -s 192.0.2.2", "! -o virbr0"):
        relay.run(f"iptables -R THEIRS 1 {drops} -j DROP")
        assert door.look()["changed"] == ["rules iptables-before-WG0-FORWARD"]
    assert "brought rules in " in door.operate("bring", carried(good)).stderr
    assert door.look()["changed"] == []
    # A ban of somebody is its owner's will; of the tunnel's own addresses it would be a fault.
    relay.run("iptables -F THEIRS")
    relay.run("iptables -I FORWARD -j THEIRS")
    relay.run("iptables -A THEIRS -s 203.0.113.66 -j DROP")
    assert door.look()["changed"] == []
    relay.run("iptables -A THEIRS -s 172.16.0.0/12 -j DROP")
    assert door.look()["changed"] == ["rules iptables-before-WG0-FORWARD"]
    relay.run("iptables -D FORWARD -j THEIRS")
    # Which jump comes first tells nothing: the tunnel's start may have another order than a mend.
    for change in ("-D", "-I"):
        door.lab.net["relay"].run(f"iptables {change} FORWARD -o wg0 -j WG0-FORWARD")
        named = [] if change == "-I" else ["rules iptables-chain-WG0-FORWARD"]
        assert door.look()["changed"] == named
    for way in ("-o", "-i"):
        door.lab.net["relay"].run(f"iptables -D FORWARD {way} wg0 -j WG0-FORWARD")
        door.lab.net["relay"].run(f"iptables -I FORWARD {way} wg0 -j WG0-FORWARD")
    assert door.look()["changed"] == []


def test_a_full_tmp_is_in_nobodys_way(door: Door) -> None:
    """Others fill it, or its inodes; nothing of ours needs any of it."""
    relay = door.lab.net["relay"]
    first, second = plan(door.lab, "91:8081/tcp"), plan(door.lab, "91:8081/tcp", "92:8081/tcp")
    assert door.operate("bring", carried(first)).returncode == 0
    relay.run(["sh", "-c", FULL, "sh", str(door.log.parent)])
    assert door.look()["changed"] == []
    done = door.operate("bring", carried(second))
    assert done.returncode == 0, done.stderr
    relay.run("umount -R /tmp")


def test_a_relay_whose_port_nobody_reaches_is_noted(door: Door) -> None:
    """And none where a home is, or where something comes at all."""
    good = plan(door.lab, "91:8081/tcp")
    assert door.operate("bring", carried(good)).returncode == 0
    relay, home = door.lab.net["relay"], door.lab.net["home"]
    ping = f"ping -c 1 -W 1 {door.lab.settings.tunnel.relay}"

    def noted() -> bool:
        home.run(ping, check=False)
        asked = looking(["interface wg0", "network 172.16.0.0/24", "udp 51820"])
        found = json.loads(door.operate("look", asked).stdout)
        return any("nothing at all to udp/51820" in cause for cause, _ in found["notes"])

    eventually(lambda: "1 received" in home.run(ping, False), "home is there", within=60)
    relay.run("conntrack -D -p udp --reply-port-src 51820", check=False)
    assert not noted(), "the off-case: it has come"
    eaten = "FORWARD -p udp --dport 51820 -j DROP"
    door.lab.net["internet"].run(f"iptables -I {eaten}")
    try:
        relay.run(f"wg set wg0 peer {door.lab.keys.peers['home'].public} remove")
        assert door.operate("bring", carried(good)).returncode == 0
        relay.run("conntrack -D -p udp --reply-port-src 51820", check=False)
        relay.run("conntrack -D -p udp --orig-port-src 51820", check=False)
        assert noted()
        flow = "-p udp -s 203.0.113.77 -d 198.51.100.7 --sport 1 --dport 51820 -t 60"
        relay.run(f"conntrack -I {flow}")
        assert not noted(), "the off-case: something comes to it"
    finally:
        door.lab.net["internet"].run(f"iptables -D {eaten}")
    relay.run("conntrack -D -p udp --reply-port-src 51820", check=False)
    eventually(lambda: "1 received" in home.run(ping, False), "home is back", within=60)


def test_other_words_of_a_newer_program_are_no_drift(door: Door) -> None:
    """Or the first update with it would restart every tunnel."""
    good = plan(door.lab, "91:8081/tcp")
    assert door.operate("bring", carried(good)).returncode == 0
    newer = carried(good, state="echo tunnel said otherwise")
    done = door.operate("bring", newer)
    assert "nothing was changed" in done.stderr
    assert door.look()["changed"] == []
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
        found = door.look()
        return found["is"] == "here" and not found["changed"]

    eventually(taken_back, "the plan before", within=60)
    assert door.lab.call("tcp", 91) == "203.0.113.9"
