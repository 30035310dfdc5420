"""A living relay whose peers change their keys; what moves them runs as its unit would run it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.installer import home_installer
from components.keys import PeerKeys
from components.plan import UNITS, HostPlan

from ..unit import samples
from ..waiting import eventually
from . import living
from .conftest import Lab

# What homeInstaller asks of systemd about the tunnel.
HOME_SYSTEMCTL = """#!/bin/sh
case "$*" in
"stop wg-quick@wg0.service") ! ip link show wg0 >/dev/null 2>&1 || wg-quick down wg0 ;;
"start wg-quick@wg0.service") wg-quick up wg0 ;;
"-q is-active wg-quick@wg0.service") ip link show wg0 >/dev/null 2>&1 ;;
esac
"""
RESTART, STOP = "restart cgnat-relay-rotate.service", "-q disable --now cgnat-relay-rotate.service"


def systemctl(lab: Lab, words: str) -> None:
    living.run(lab, f"systemctl {words}")


def begin(lab: Lab) -> None:
    """Files of its own for the relay, and what stands in for systemd."""
    living.own_files(lab)
    lab.net["relay"].run(f"mkdir -p {UNITS}")


def planned(lab: Lab, *extra: str, also: tuple[str, ...] = (), **raw: Any) -> HostPlan:
    """The plan of ``lab``'s keys, with more forwards and more homes."""
    home = {"name": "home", "forwards": ["80:8080", "81:8081/udp", *extra], **raw}
    others = [{"name": name} for name in also]
    return living.plan(lab, [home, *others], "peers", "rules", devices=["laptop"])


def following(lab: Lab, name: str = "home", public: str | None = None) -> PeerKeys:
    """Phase 1 in the keys of ``lab``: another generation beside the present one."""
    new = samples.peer_keys(public)
    changed(lab, name, replace(lab.keys.peers[name], following=new))
    return new


def changed(lab: Lab, name: str, keys: PeerKeys) -> None:
    lab.keys = replace(lab.keys, peers=lab.keys.peers | {name: keys})


def bring(lab: Lab, *extra: str, also: tuple[str, ...] = (), **raw: Any) -> str:
    """Bring the plan and confirm it; what the confirmation says."""
    token = living.bring(lab, planned(lab, *extra, also=also, **raw))
    return living.confirm(lab, token) if token else ""


def peers(lab: Lab) -> dict[str, list[str]]:
    """By public key: preshared key, endpoint, addresses, handshake and counters."""
    dump = lab.net["relay"].run("wg show wg0 dump").splitlines()[1:]
    return {key: rest for key, *rest in (line.split("\t") for line in dump)}


def owner(lab: Lab, name: str = "home") -> str:
    """The public key that has a peer's addresses."""
    address = f"{lab.inner(name)[0]}/32"
    return next(key for key, rest in peers(lab).items() if address in rest[2].split(","))


def comes_with(lab: Lab, keys: PeerKeys, name: str = "home") -> None:
    """Wait until it has been moved to a key."""
    eventually(lambda: owner(lab, name) == keys.public, f"{name} comes with that key")


def home_takes(lab: Lab, private: str = "") -> None:
    """The home's owner puts the newest config in place of the one there is."""
    lab.net["home"].run("wg-quick down wg0")
    lab.home_up(private=private)


def houses_installer(lab: Lab) -> None:
    """Let the home be run by its installer, in place of what it has now."""
    home = lab.net["home"]
    home.run("wg-quick down wg0")
    home.run("rm /etc/wireguard/wg0.conf")
    living.own_files(lab, "home")
    home.run(f"mkdir -p {living.BIN} /run/systemd/system {UNITS}")
    home.write(f"{living.BIN}/systemctl", HOME_SYSTEMCTL)
    home.run(f"chmod 755 {living.BIN}/systemctl")


def installed(lab: Lab) -> str:
    """Run the newest ``homeInstaller`` at home; the interface's number, and what it said."""
    home = lab.net["home"]
    text = home_installer(lab.home(), lab.settings.tunnel, lab.keys, lab.uplink)
    said = home.run(["sh", "-c", f"PATH={living.BIN}:$PATH sh -s"], stdin=text)
    return home.run("ip -o link show wg0").partition(":")[0] + " " + said
