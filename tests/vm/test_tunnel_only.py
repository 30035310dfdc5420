"""SSH by the tunnel alone, on a machine that was adopted: closed, cut by power, and left.

This computer is the relay's device, for it is here that ``pulumi`` runs: it has an interface of its
own for as long as that lasts, in a network that nobody else is likely to use.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..netns.conftest import wireguard_env
from ..relay_stack import BOOT_ID
from ..waiting import BOOT, eventually
from .adopted import MATRIX, NAME, Adopted, as_at_first

pytestmark = MATRIX

INTERFACE = "cgnat-laptop"
TUNNEL = {"network": "10.213.77.0/24", "ipv6": False}
RELAY = "10.213.77.1"
CONFIG = {"devices": ["laptop"], "ssh": {"tunnelOnly": True}}
# What somebody else has come to need, and how it is taken away again.
NEEDS = "/etc/sysctl.d/98-mine.conf"
NEED = f"echo net.ipv4.ip_forward=1 >{NEEDS}"
NO_NEED = f"rm {NEEDS}; sysctl -qw net.ipv4.ip_forward=0"


@contextmanager
def joined(machine: Adopted, folder: Path) -> Iterator[None]:
    """This computer as the laptop; QEMU hands on what is sent to the tunnel's port."""
    port = json.loads(machine.stack.lab("reserve", NAME))["endpointPort"]
    text = str(machine.stack.outputs()["deviceConfigs"]["laptop"])
    text = text.replace(f"Endpoint = {machine.reach}:51820", f"Endpoint = 127.0.0.1:{port}")
    config = folder / f"{INTERFACE}.conf"
    config.touch(mode=0o600)
    config.write_text(text)

    def quick(verb: str) -> None:
        words = ["wg-quick", verb, str(config)]
        done = subprocess.run(words, env=wireguard_env(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    quick("up")
    try:
        yield
    finally:
        quick("down")


def lets_in(address: str) -> bool:
    """Whether SSH answers there."""
    try:
        with socket.create_connection((address, 22), timeout=10) as caller:
            return caller.recv(4) == b"SSH-"
    except OSError:
        return False


@pytest.fixture(scope="module")
def bare(booted: Adopted, tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    return as_at_first(booted, tmp_path_factory.mktemp("tunnel-only"))


def test_it_closes_stays_closed_over_a_power_cut_and_is_left(bare: Adopted, tmp_path: Path) -> None:
    bare.enter()
    before = bare.trace()
    bare.configure(tunnel=TUNNEL, more=CONFIG, firewall="managed")
    assert "SSH stays open to the public until a device has come" in bare.up()
    assert lets_in(bare.reach)
    with joined(bare, tmp_path):
        eventually(lambda: lets_in(RELAY), "SSH by the tunnel", within=60)
        assert "firewall ssh-by-tunnel" in bare.stack.pulumi("preview", "--diff")
        assert "confirmed over a new connection, by the tunnel" in bare.up()
        assert not lets_in(bare.reach)

        first = bare.run(BOOT_ID)
        bare.stack.lab("reset", NAME)
        eventually(lambda: bare.run(BOOT_ID) != first, "another boot", within=BOOT)
        eventually(lambda: lets_in(RELAY), "SSH by the tunnel after it", within=BOOT)
        assert not lets_in(bare.reach)
        assert "unchanged" in bare.stack.pulumi("preview")

        # Where the tunnel does not come up there would be no way in.
        tunnel = "wg-quick@wg0"
        bare.run(f"systemctl stop {tunnel}; mv /etc/wireguard/wg0.peers /run/")
        assert not lets_in(bare.reach), "the off-case: it was stopped, and has not failed"
        assert not bare.well(f"systemctl start {tunnel}")
        assert lets_in(bare.reach)
        bare.run(f"mv /run/wg0.peers /etc/wireguard/; systemctl start {tunnel}")
        eventually(lambda: lets_in(RELAY), "SSH by the tunnel again", within=60)
        assert not lets_in(bare.reach)

        bare.run(NEED)
        assert f"forwarding stays on, for {NEEDS}" in bare.destroy()
        assert lets_in(bare.reach)
        assert not lets_in(RELAY), "the off-case: the tunnel is gone"
    bare.run(NO_NEED)
    bare.same(before)
