"""A machine that lets SSH in by the tunnel alone is left, though its tunnel goes with the relay.

systemd, apt and dpkg are stand-ins (``untouched``); sshd, the tunnel and the firewall are real.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.carrier import bundle
from components.machine import inside
from components.model import Site
from components.plan import STATIC, relay_plan
from operate import remote

from . import living, untouched
from .conftest import Lab, make
from .door import PORT, Door, opened
from .living import FINE
from .test_ssh_by_tunnel import ONLY, TUNNEL, reaches
from .topology import internet
from .untouched import holds, left

DEVICES = ["laptop", {"name": "phone", "traffic": "all"}]
PROVIDER = "FORWARD -p tcp --dport 2222 -j DROP"
MINE = "nft add table inet mine"
STAYS = "package nftables stays, for table inet mine\n"


@pytest.fixture
def door(wg_env: dict[str, str], tmp_path: Path) -> Iterator[Door]:
    """Somebody's machine, and the devices of the relay that it is to be."""
    with internet(wg_env) as net:
        lab = make(net, {"devices": DEVICES, **ONLY})
        untouched.somebodys(lab)
        made = opened(lab, tmp_path)
        untouched.stand_in(lab)
        yield made


def entry(door: Door, only: bool = True) -> dict[str, Any]:
    return inside(replace(door.lab.settings, ssh_by_tunnel=only))


def planned(lab: Lab, only: bool = True, guarded: bool = True, **scripts: str) -> str:
    """The bundle of an adopted machine's whole plan."""
    site = Site(adopted=True, guarded=guarded, ssh_port=PORT)
    settings = replace(lab.settings, site=site, ssh_by_tunnel=only)
    return bundle(relay_plan(settings, lab.keys), replaced={"check": FINE} | scripts)


def brought(door: Door, at: str = "client", only: bool = True, **how: Any) -> None:
    done = door.operate("bring", planned(door.lab, only, **how), at, **entry(door, only))
    assert done.returncode == 0, done.stderr


def closed(door: Door) -> Lab:
    """The relay, where the laptop has come and SSH is closed to the public."""
    lab = door.lab
    brought(door)
    lab.device_up("laptop", host="laptop")
    brought(door, "laptop")
    assert not reaches(door, "client", lab.address)
    assert reaches(door, "laptop", TUNNEL)
    return lab


def destroyed(
    door: Door, at: str = "laptop", only: bool = True, **how: Any
) -> subprocess.CompletedProcess[str]:
    return door.operate("undo", planned(door.lab, only, **how), at, **entry(door, only))


def test_the_first_try_leaves_it_as_it_was_and_says_what_stays(door: Door) -> None:
    before = holds(door.lab)
    lab = closed(door)
    lab.net["relay"].run(MINE)
    done = destroyed(door)
    assert (done.returncode, done.stderr) == (0, STAYS)
    assert reaches(door, "client", lab.address)
    lab.net["relay"].run("nft delete table inet mine")
    assert left(lab, before) == ["nftables"]
    living.time_is_up(lab)
    assert reaches(door, "client", lab.address), "nothing closes it later"
    again = destroyed(door)
    assert (again.returncode, again.stderr) == (0, "nothing of a relay is here\n")


def test_who_has_no_other_way_in_changes_nothing(door: Door) -> None:
    lab = closed(door)
    before = holds(lab)
    lab.net["internet"].run(f"iptables -I {PROVIDER}")
    done = destroyed(door)
    assert done.returncode == 1
    assert f"root@{lab.address} port {PORT} cannot be reached" in done.stderr
    assert "check the address, the port, and the provider's firewall" in done.stderr
    assert "nothing was changed" in done.stderr
    assert "FORGET" not in done.stderr, "it lives"
    assert len(done.stderr.splitlines()) == 1
    assert left(lab, before) == []
    assert reaches(door, "laptop", TUNNEL)
    lab.net["internet"].run(f"iptables -D {PROVIDER}")
    assert not reaches(door, "client", lab.address), "it is closed as before"
    assert not living.timers(lab)
    done = destroyed(door)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_that_ends_in_between_is_closed_again(door: Door) -> None:
    """As where ``pulumi`` is ended once SSH has been opened."""
    lab = closed(door)
    came = f"SSH_CONNECTION='{lab.inner('laptop')[0]} 40000 {TUNNEL} {PORT}'; "
    said = living.run(lab, came + remote.undo("wg0"), stdin=planned(lab))
    assert said.split() == [remote.BY_TUNNEL]
    assert reaches(door, "client", lab.address)
    assert reaches(door, "laptop", TUNNEL)
    living.time_is_up(lab)
    assert not reaches(door, "client", lab.address)
    assert reaches(door, "laptop", TUNNEL)


def test_one_that_is_cut_short_once_the_tunnel_is_gone_has_a_way_in(door: Door) -> None:
    """Whatever loads the firewall then, a timer or a boot: nothing may close SSH any more."""
    before = holds(door.lab)
    lab = closed(door)
    undo = (STATIC / "undo").read_text()
    cut = undo.replace("\tsystemctl -q disable $now cgnat-relay-firewall.service", "\texit 1", 1)
    assert cut != undo
    done = door.operate("undo", planned(lab, undo=cut), "laptop", **entry(door))
    assert done.returncode == 1
    assert lab.net["relay"].run("ip link show wg0", check=False) == ""
    living.time_is_up(lab)
    lab.net["relay"].run("/usr/local/lib/cgnat-relay/firewall up")
    assert reaches(door, "client", lab.address)
    done = destroyed(door)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(lab, before) == []


@pytest.mark.parametrize("only", [True, False], ids=["closed", "open"])
def test_who_sends_all_traffic_by_the_tunnel_is_told_to_take_it_down(
    door: Door, only: bool
) -> None:
    """By the relay's public address it would come by the tunnel as well."""
    lab = door.lab
    brought(door, only=only)
    lab.device_up("phone", host="phone")
    brought(door, "phone", only=only)
    before = holds(lab)
    done = destroyed(door, "phone", only)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert "take that tunnel down here" in done.stderr
    assert ("take ssh.tunnelOnly out" in done.stderr) == only
    assert left(lab, before) == []
    assert reaches(door, "phone", TUNNEL)
    assert reaches(door, "client", lab.address) != only
    # As it says.
    if only:
        brought(door, "phone", only=False)
    lab.net["phone"].run("wg-quick down wg0")
    done = destroyed(door, "phone", only=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_it_never_closes_the_tunnel_is_no_way_to_leave(door: Door) -> None:
    """Its own firewall guards it: the provider's keeps callers out, and a device comes in."""
    lab = door.lab
    before = holds(lab)
    brought(door, only=False, guarded=False)
    lab.device_up("laptop", host="laptop")
    lab.net["internet"].run(f"iptables -I {PROVIDER}")
    done = destroyed(door, only=False, guarded=False)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert "provider's firewall" in done.stderr
    assert reaches(door, "laptop", TUNNEL)
    lab.net["internet"].run(f"iptables -D {PROVIDER}")
    done = destroyed(door, only=False, guarded=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(lab, before) == []
