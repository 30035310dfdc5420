"""A living relay in a namespace, brought from plan to plan by the carrier's own bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.carrier import bundle
from components.plan import HostPlan, relay_plan

from ..unit import samples
from .conftest import Lab

# A stand-in for the check, which asks systemd as well.
FINE, BROKEN = "wg show $1 >/dev/null", "echo not so >&2; exit 1"
UNPACK = "rm -rf /run/new; mkdir /run/new && base64 -d | tar -xzf - -C /run/new"
APPLY = "sh /run/new/apply /run/new wg0"
STATE = "/etc/wireguard/cgnat-relay"
# What apply asks of systemd about the tunnel, and nothing of the machine that the tests run on.
SYSTEMCTL = """#!/bin/sh
case "$*" in
"stop wg-quick@wg0.service") ! ip link show wg0 >/dev/null 2>&1 || wg-quick down wg0 ;;
"start wg-quick@wg0.service") wg-quick up wg0 ;;
*cgnat-relay-tls.service | daemon-reload) echo "$*" >>/run/asked ;;
*) exit 1 ;;
esac
"""


def plan(lab: Lab, homes: list[Any], *parts: str, **whole: Any) -> HostPlan:
    """Those parts of a relay's plan whose files lie in its namespace."""
    settings = samples.settings(**{"homes": homes, **whole})
    peers = samples.keys(settings).peers | lab.keys.peers
    found = relay_plan(settings, replace(lab.keys, peers=peers))
    wanted = parts or ("peers", "rules")
    return HostPlan((), tuple(part for part in found.parts if part.name in wanted), ())


def lay(lab: Lab, wanted: HostPlan, check: str = FINE) -> None:
    """The bundle of a plan on the relay, unpacked."""
    relay = lab.net["relay"]
    relay.run(["sh", "-c", UNPACK], stdin=bundle(wanted))
    relay.write("/run/new/check", check)
    relay.run("mkdir -p /run/bin")
    relay.write("/run/bin/systemctl", SYSTEMCTL)
    relay.run("chmod 755 /run/bin/systemctl")


def run(lab: Lab, command: str, check: bool = True) -> str:
    """A command of the relay's, with the stand-in for systemctl."""
    return lab.net["relay"].run(["sh", "-c", f"PATH=/run/bin:$PATH; {command}"], check=check)


def apply(lab: Lab, wanted: HostPlan, check: str = FINE) -> None:
    """Bring the relay to a plan, as over SSH."""
    lay(lab, wanted, check)
    try:
        run(lab, APPLY)
    finally:
        lab.net["relay"].run("rm -rf /run/new")
