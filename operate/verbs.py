"""What can be done: bring a plan and confirm it, look, undo."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from . import doctor, remote, ssh
from .causes import AwayError, LostError
from .errors import OperateError
from .held import held
from .request import Host, Request

INSIDE = "is this computer one of the relay's devices, with its tunnel up?"
CALLERS = 32  # at once: what is asked over UDP is forgotten by the relay after 30 s
CONFIRM = 45  # seconds for a new connection; the machine takes the change back after 60
PAST = 20  # seconds for a connection past the tunnel, once SSH is open to the public
FORGET = "CGNAT_RELAY_FORGET"
TAKE_OVER = "CGNAT_RELAY_TAKE_OVER"

Say = Callable[[str], None]


def bring(request: Request, say: Say) -> None:
    """Bring the machine to the plan, and confirm over a new connection that it lets one in."""
    host, interface = request.host, request.interface
    began = time.monotonic()
    taking = os.environ.get(TAKE_OVER) == host.address
    said = ssh.patiently(host, remote.bring(interface, taking), request.bundle)
    told = dict(line.partition(" ")[::2] for line in _lines(said))
    if told.get("ssh") == "waits":
        say("SSH stays open to the public until a device has come; the next update closes it")
    if "taken" in told:
        say(
            f"{host.address}: the relay of another stack is taken over: its homes and devices are"
            " cut off until each has its new config, and that stack can change it no more"
        )
    if "unconfirmed" not in told:
        _still(said, say)
        say("as planned; nothing was changed")
        return
    say(f"brought {told.get('touched', '').strip()} in {time.monotonic() - began:.1f} s")
    token = f"{told['unconfirmed']}\n"
    by_tunnel = host.by_tunnel() if told.get("ssh") == "tunnel" else None
    # As it will be entered from now on, and no other way.
    way = by_tunnel or replace(host, inside=None)
    try:
        said = ssh.patiently(way, remote.confirm(interface), token, CONFIRM)
    except LostError as lost:
        if lost.made:
            cause = (
                "and the connection that confirms it was lost, so that it stays, or is taken back"
                " within a minute; pulumi up tells which"
            )
        else:
            cause = (
                f"but no new connection could be made within {CONFIRM} s, so the machine takes it"
                " back by itself within a minute"
            )
        hint = f"; {INSIDE}" if by_tunnel and not lost.made else ""
        raise OperateError(f"the change was brought, {cause}: {lost}{hint}") from None
    say(f"confirmed over a new connection{', by the tunnel' if by_tunnel else ''}")
    _still(said, say)


def _lines(said: str) -> list[str]:
    """Ended by a newline alone: in a name there may be what Unicode takes for the end of a line."""
    return [line for line in said.split("\n") if line]


def _still(said: str, say: Say) -> None:
    """Tell who comes with the present key, where a next one is accepted."""
    names = [line.partition(" ")[2] for line in _lines(said) if line.startswith("waits ")]
    if names:
        say(f"with the present key: {', '.join(names)}; the next is accepted as well")


def look(request: Request, say: Say) -> dict[str, Any]:
    """What the machine is like. One that cannot be reached is no error: ``reached`` is false.

    ``away``: it does not answer, which may pass, in place of not letting us in.
    """
    del say
    try:
        said = ssh.patiently(request.host, remote.look(request.interface), request.bundle)
    except OperateError as error:
        away = isinstance(error, AwayError)
        return {"reached": False, "why": str(error), "away": away}
    found: dict[str, Any] = {"reached": True, "is": "new", "owner": "", "summary": [], "drift": ""}
    found |= {"changed": [], "faults": [], "notes": [], "pairs": {}, "ways": {}}
    for line in _lines(said):
        name, *words = line.split("\t")
        if name in ("is", "owner", "drift"):
            found[name] = words[0]
        elif name in ("pair", "way"):
            found[f"{name}s"][words[0]] = words[1]
        elif name in ("fault", "note"):
            found[f"{name}s"].append(words)
        elif name in ("summary", "changed"):
            found[name].append(" ".join(words))
    return found


def undo(request: Request, say: Say) -> None:
    """Leave the machine as it was found, or forget it where the user says that it is gone."""
    host = request.host
    if os.environ.get(FORGET) == host.address:
        say(f"{host.address} is forgotten: nothing was undone there; what it was brought last:")
        for line in held(request.bundle, request.interface):
            say(f"  {line}")
        return
    try:
        said = ssh.patiently(host, remote.undo(request.interface), request.bundle)
    except LostError as lost:
        inside = f"; {INSIDE}" if host.inside_first else ""
        raise OperateError(
            f"{lost}{inside}; if it is gone for good, {FORGET}={host.address} before the command"
            " forgets it"
        ) from None
    if remote.BY_TUNNEL in _lines(said):
        said = _past_the_tunnel(request)
    for line in _lines(said):
        say(line)


def _past_the_tunnel(request: Request) -> str:
    """Undo over a connection that outlives the tunnel. The machine lets us in by one for a while.

    Where none can be made nothing is changed: it would end with no way in at all.
    """
    public = replace(request.host, inside=None)
    try:
        ssh.patiently(public, ":", "", PAST)
    except OperateError as error:
        why = f"the tunnel goes with the relay, so it is left by another way, and {error}"
        raise _unchanged(request.host, why) from None
    said = ssh.patiently(public, remote.undo(request.interface), request.bundle)
    if remote.BY_TUNNEL in _lines(said):
        opened = "take ssh.tunnelOnly out and run pulumi up, " if public.inside_first else ""
        raise _unchanged(
            request.host,
            f"from here {public.address} is reached by its own tunnel, which is to be taken away;"
            f" {opened}take that tunnel down here, then destroy",
        )
    return said


def _unchanged(host: Host, why: str) -> OperateError:
    """The reason, once SSH is as it was; if it cannot be asked the machine sees to that itself."""
    try:
        ssh.patiently(host.by_tunnel() or host, remote.close(), "")
    except OperateError:
        why = f"SSH is as it was within {remote.OPEN} s; {why}"
    return OperateError(f"nothing was changed: {why}")


def diagnose(request: Request, say: Say) -> int:
    """Ask each forward from here, and the relay why one does not answer; 1 where any does not."""
    with ThreadPoolExecutor(CALLERS) as callers:
        answers = [*zip(request.targets, callers.map(doctor.call, request.targets), strict=True)]
    said = ssh.patiently(request.host, remote.observe(request.interface), request.bundle)
    relay = doctor.read(_lines(said))
    found = [(t, answer, doctor.diagnose(t, answer, relay)) for t, answer in answers]
    for line in doctor.report(found, relay):
        say(line)
    return 1 if relay.missing or any(cause for _, _, cause in found) else 0
