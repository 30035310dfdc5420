"""A living relay whose peers change their keys; what moves them runs as its unit would run it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.keys import PeerKeys
from components.plan import UNITS, HostPlan

from ..unit import samples
from ..waiting import eventually
from . import living
from .conftest import Lab

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
