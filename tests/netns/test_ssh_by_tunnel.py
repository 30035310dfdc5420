"""SSH closes to the public once a device has come, and lets in who comes by the tunnel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.carrier import bundle, looking
from components.machine import inside
from components.plan import STATIC, HostPlan
from operate import remote

from . import living
from .conftest import Lab, make
from .door import PORT, Door, opened
from .living import BIN, BROKEN, FINE, own_files
from .topology import internet

TUNNEL = "172.16.0.1"
ONLY = {"ssh": {"port": PORT, "tunnelOnly": True}}
FORWARDS = ["91:8081/tcp"]
SYSTEMCTL = """#!/bin/sh
case "$*" in
"stop cgnat-relay-revert-*.timer") : >/etc/wireguard/bin/timers ;;
"-q enable cgnat-relay-recover.service") ;;
"start cgnat-relay-firewall.service") /usr/local/lib/cgnat-relay/firewall up ;;
*) exit 1 ;;
esac
"""
SSHD = '*" ssh.service") echo "$*" >>/run/sshd-asked ;;\n'
PARTS = ("firewall", "peers", "rules")


@pytest.fixture
def door(wg_env: dict[str, str], tmp_path: Path) -> Iterator[Door]:
    """A relay whose firewall is up and lets SSH in; nobody has come yet."""
    with internet(wg_env) as net:
        lab = make(net, {"devices": ["laptop"], **ONLY})
        lab.relay_up()
        lab.home_up()
        lab.serve("home", 8081)
        own_files(lab)
        made = opened(lab, tmp_path)
        net["relay"].write(f"{BIN}/systemctl", SYSTEMCTL)
        yield made


def planned(
    lab: Lab, *forwards: str, only: bool = True, parts: tuple[str, ...] = PARTS
) -> HostPlan:
    """A plan with its firewall."""
    whole: dict[str, Any] = {"devices": ["laptop"], "ssh": {"port": PORT, "tunnelOnly": only}}
    return living.plan(lab, [{"name": "home", "forwards": [*forwards]}], *parts, **whole)


def packed(plan: HostPlan) -> str:
    """Its bundle; setup and check would ask this machine's systemd."""
    return bundle(plan, replaced={"check": FINE, "setup": ":"})


def carried(lab: Lab, *forwards: str, **other: Any) -> str:
    return packed(planned(lab, *forwards, **other))


def reaches(door: Door, at: str, to: str) -> bool:
    """Whether SSH answers there at all."""
    words = ["timeout", "3", "bash", "-c", f"head -c 4 </dev/tcp/{to}/{PORT}"]
    return door.lab.net[at].run(words, check=False) == "SSH-"


def entry(door: Door, only: bool = True) -> dict[str, Any]:
    return inside(replace(door.lab.settings, ssh_by_tunnel=only))


def changed(door: Door, at: str) -> list[str]:
    said = door.operate("look", looking(), at, **entry(door))
    return list(json.loads(said.stdout)["changed"])


def test_it_waits_for_a_device_and_then_closes(door: Door) -> None:
    lab, public = door.lab, door.lab.address
    assert entry(door) == {"inside": TUNNEL, "insidePort": PORT, "insideFirst": True}
    done = door.operate("bring", carried(lab, *FORWARDS), **entry(door))
    assert done.returncode == 0, done.stderr
    assert "SSH stays open to the public until a device has come" in done.stderr
    assert reaches(door, "client", public)
    assert changed(door, "client") == []

    lab.device_up("laptop", host="laptop")
    assert changed(door, "client") == ["firewall ssh-by-tunnel"]
    done = door.operate("bring", carried(lab, *FORWARDS), "laptop", **entry(door))
    assert done.returncode == 0, done.stderr
    assert "confirmed over a new connection, by the tunnel" in done.stderr
    assert not reaches(door, "client", public)
    assert not reaches(door, "laptop", public)
    assert reaches(door, "laptop", TUNNEL)
    assert not reaches(door, "home", TUNNEL), "a home is no device"
    assert changed(door, "laptop") == []
    assert lab.call("tcp", 91) == "203.0.113.9", "what is forwarded stays"

    # It stays closed when nobody is in the tunnel, and what changes comes by it.
    done = door.operate("bring", carried(lab, *FORWARDS, "92:8081/tcp"), "laptop", **entry(door))
    assert done.returncode == 0, done.stderr
    assert lab.call("tcp", 92) == "203.0.113.9"
    outside = door.operate("bring", carried(lab), **entry(door))
    assert outside.returncode == 1
    assert TUNNEL in outside.stderr
    assert public in outside.stderr

    # The off-case: without the option it is open again. It is entered by the tunnel once more.
    plan = carried(lab, *FORWARDS, only=False)
    done = door.operate("bring", plan, "laptop", **entry(door, only=False))
    assert done.returncode == 0, done.stderr
    assert reaches(door, "client", public)


def test_who_is_not_in_the_tunnel_locks_nobody_out(door: Door) -> None:
    """Another device has come; the computer that brings the plan is none."""
    lab, public = door.lab, door.lab.address
    done = door.operate("bring", carried(lab, "92:8081/tcp"), **entry(door))
    assert done.returncode == 0, done.stderr
    lab.device_up("laptop", host="laptop")
    done = door.operate("bring", carried(lab, *FORWARDS), **entry(door))
    assert done.returncode == 1
    assert "no new connection could be made" in done.stderr
    assert "is this computer one of the relay's devices" in done.stderr
    assert not reaches(door, "client", public), "until the minute is over"
    living.time_is_up(lab)
    assert reaches(door, "client", public)
    assert lab.call("tcp", 91) == "", "all of the change is taken back"
    assert lab.call("tcp", 92) == "203.0.113.9"
    assert "ssh-closed" not in lab.net["relay"].run("ls /etc/cgnat-relay")


def test_a_device_that_comes_during_a_change_is_not_overlooked(door: Door) -> None:
    """What settles then is a plan that leaves SSH open: the next look says that it can close."""
    lab = door.lab
    said = living.run(lab, remote.bring("wg0"), stdin=carried(lab, *FORWARDS))
    assert "ssh waits\n" in said
    lab.device_up("laptop", host="laptop")
    living.confirm(lab, said.split()[-1])
    assert changed(door, "client") == ["firewall ssh-by-tunnel"]


@pytest.mark.parametrize("ours", [False, True], ids=["an adopted machine's", "the relay's own"])
def test_sshd_reads_its_files_anew_only_where_one_is_ours(door: Door, ours: bool) -> None:
    relay = door.lab.net["relay"]
    relay.write(f"{BIN}/systemctl", SYSTEMCTL.replace("*) exit", SSHD + "*) exit"))
    plan = carried(door.lab, *FORWARDS, parts=("base", *PARTS) if ours else PARTS)
    done = door.operate("bring", plan, **entry(door))
    assert done.returncode == 0, done.stderr
    asked = "try-reload-or-restart ssh.service\n" if ours else ""
    assert relay.run(["sh", "-c", "cat /run/sshd-asked 2>/dev/null || :"]) == asked


def test_it_opens_where_the_tunnel_does_not_come_up(door: Door) -> None:
    """As at a boot into a kernel without WireGuard: there would be no way in at all."""
    lab, relay = door.lab, door.lab.net["relay"]
    lab.device_up("laptop", host="laptop")
    done = door.operate("bring", carried(lab, *FORWARDS), "laptop", **entry(door))
    assert done.returncode == 0, done.stderr
    dropin = (STATIC / "tunnel.conf").read_text()
    (stopped,) = re.findall("^ExecStopPost=[+]-(.*)$", dropin, re.MULTILINE)
    relay.run(f"env SERVICE_RESULT=success {stopped}")
    assert not reaches(door, "client", lab.address)
    relay.run(f"env SERVICE_RESULT=exit-code {stopped}")
    assert reaches(door, "client", lab.address)
    relay.run("/usr/local/lib/cgnat-relay/firewall up")  # as after a neighbour's restart
    assert reaches(door, "client", lab.address)
    # Nor does a plan shut it that does not work while there is no tunnel.
    bad = living.edited(planned(lab, "93:8081/tcp"), "wg0.ip.nft", lambda _: "nonsense")
    done = door.operate("bring", bundle(bad, replaced={"check": BROKEN, "setup": ":"}))
    assert "the new plan did not work; the relay runs the one before" in done.stderr
    assert reaches(door, "client", lab.address)
    # One that works, with the tunnel up, does; and the tunnel's own start.
    done = door.operate("bring", carried(lab, "93:8081/tcp"), "laptop", **entry(door))
    assert done.returncode == 0, done.stderr
    assert not reaches(door, "client", lab.address)
    relay.run(f"env SERVICE_RESULT=exit-code {stopped}")
    assert reaches(door, "client", lab.address)
    (started,) = re.findall("^ExecStartPost=[+]-(.*)$", dropin, re.MULTILINE)
    relay.run(started)
    assert not reaches(door, "client", lab.address)
    assert reaches(door, "laptop", TUNNEL)


def test_it_stays_closed_when_the_handshakes_are_forgotten(door: Door) -> None:
    """As after a reboot: who has come once has come."""
    lab, relay = door.lab, door.lab.net["relay"]
    lab.device_up("laptop", host="laptop")
    done = door.operate("bring", carried(lab, *FORWARDS), "laptop", **entry(door))
    assert done.returncode == 0, done.stderr
    lab.net["laptop"].run("wg-quick down wg0")
    laptop = lab.keys.peers["laptop"].public
    relay.run(f"wg set wg0 peer {laptop} remove")
    said = living.run(lab, remote.bring("wg0"), stdin=carried(lab, *FORWARDS))
    assert f"{laptop}\t0\n" in relay.run("wg show wg0 latest-handshakes"), "it is set again"
    assert "ssh tunnel\n" in said
    assert not reaches(door, "client", lab.address)


def test_without_the_option_the_tunnel_confirms_nothing(door: Door) -> None:
    """A plan that keeps SSH out by mistake is taken back, though a device could come in."""
    lab, public = door.lab, door.lab.address
    lab.device_up("laptop", host="laptop")
    good = planned(lab, *FORWARDS, only=False)
    bad = living.edited(good, "firewall.v4", lambda text: text.replace("-p tcp", "-i wg0 -p tcp"))
    done = door.operate("bring", packed(good), "laptop", **entry(door, only=False))
    assert done.returncode == 0, done.stderr
    done = door.operate("bring", packed(bad), "laptop", **entry(door, only=False))
    assert "no new connection could be made" in done.stderr
    assert reaches(door, "laptop", TUNNEL)
    living.time_is_up(lab)
    assert reaches(door, "client", public)
