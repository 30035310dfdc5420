"""What a machine that lives is told and asked, over SSH: its plan, and what has become of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pulumi
from pulumi_command import local

from .carrier import bundle, command, folder, looking, observing, request, target
from .machine import Access, Machine
from .model import Settings
from .owner import another
from .plan import HostPlan
from .summary import accepted, changes, closes, cut_off, cuts, own_left_out, summary

DRIFT = "CGNAT_RELAY_DRIFT"
TAKEN = "another stack's relay"
BROUGHT = "CGNAT_RELAY_BROUGHT"


class Carried(NamedTuple):
    """A machine at its plan, once ``command`` has run; what that was ``asked`` is secret."""

    command: local.Command
    asked: pulumi.Output[str]


def carry(
    name: str,
    settings: Settings,
    machine: Machine,
    plan: pulumi.Output[HostPlan],
    owner: pulumi.Output[str],
    parent: pulumi.Resource,
    looked: Mapping[str, Any] | None = None,
) -> Carried:
    """Brings the machine to the plan and confirms it anew, or fails the update and says why.

    After the first boot of a machine with user-data the plan is there already and is only looked
    at. A machine that was adopted is left as it was found when this resource is deleted. ``owner``
    is whose relay it is. ``looked`` is what the machine has said already in this run, if it has.
    """
    wg, lines = settings.tunnel.interface, summary(settings)
    host = lifted(machine.access, settings)
    if looked is not None:
        said = looked
        drift = owner.apply(lambda mine: told(name, settings, said, another(said, mine)))
    elif not settings.drift:
        drift = pulumi.Output.from_input("")
    else:
        drift = seen(name, settings, machine, host)
    asked = pulumi.Output.all(host, plan, drift, owner).apply(
        lambda found: request(found[0], wg, bundle(found[1], lines, found[2], found[3]))
    )
    brought = operated(
        f"{name}-plan",
        asked,
        create=command("bring", lines),
        delete=command("undo") if settings.site.adopted else None,
        environment={DRIFT: drift},
        triggers=[machine.incarnation],
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[machine.booted] if machine.booted else [],
            # The old must be taken away before the new comes, where it is the same machine.
            delete_before_replace=settings.site.adopted,
            custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m", delete="30m"),
        ),
    )
    return Carried(brought, asked)


def probe(
    name: str,
    settings: Settings,
    machine: Machine,
    carried: Carried,
    parent: pulumi.Resource,
) -> local.Command:
    """Dials every forward from here at each change, or fails the update and names the cause.

    A change is whatever is brought anew, be it a rule that somebody took away, and not only what
    is dialled. An update keeps the id, so it is told by a digest of what was asked.
    """
    forwards = [(home, forward) for home in settings.homes for forward in home.forwards]

    def write(found: Sequence[Any]) -> str:
        targets = [target(h, f, found[1].get(str(f.opening), "")) for h, f in forwards]
        bundle = observing(targets)
        return request(found[0], settings.tunnel.interface, bundle, targets)

    return operated(
        f"{name}-probe",
        pulumi.Output.all(lifted(machine.access, settings), machine.reach).apply(write),
        create=command("diagnose", summary(settings)),
        environment={BROUGHT: pulumi.Output.unsecret(carried.asked.apply(_digest))},
        triggers=[carried.command.id],
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[carried.command]),
    )


def _digest(asked: str) -> str:
    return hashlib.sha256(asked.encode()).hexdigest()


def operated(
    name: str, asked: pulumi.Output[str], opts: pulumi.ResourceOptions, **given: Any
) -> local.Command:
    """A Command of ``operate``, whose request is secret and whose words for people are shown."""
    secret: pulumi.Output[str] = pulumi.Output.secret(asked)
    output = pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"])
    return local.Command(
        name,
        stdin=secret,
        logging=local.Logging.STDERR,
        add_previous_output_in_env=False,
        dir=folder(),
        opts=pulumi.ResourceOptions.merge(opts, output),
        **given,
    )


def lifted(access: Access, settings: Settings) -> pulumi.Output[dict[str, object]]:
    """How a machine is entered, once it is known; secret."""
    return pulumi.Output.secret(pulumi.Output.all(**access.fields(settings)))


def seen(
    name: str,
    settings: Settings,
    machine: Machine,
    host: pulumi.Output[dict[str, object]],
) -> pulumi.Output[str]:
    """What is not as the last update left it, in words; while all is well, what was mended last.

    An invoke, since that is what runs at every preview. What comes, goes or changes is said too.
    """

    def impatient(found: Sequence[Any]) -> str:
        return request({**found[0], "patience": 0}, settings.tunnel.interface, looking())

    # Another machine is not asked before it is there.
    asked: pulumi.Output[str] = pulumi.Output.secret(
        pulumi.Output.all(host, machine.incarnation).apply(impatient)
    )
    looked = local.run_output(
        command=command("look"),
        stdin=asked,
        logging=local.Logging.NONE,
        add_previous_output_in_env=False,
        dir=folder(),
        opts=pulumi.InvokeOutputOptions(depends_on=[machine.booted] if machine.booted else []),
    )
    return pulumi.Output.unsecret(
        looked.apply(lambda result: told(name, settings, json.loads(result.stdout)))
    )


def told(name: str, settings: Settings, look: Mapping[str, Any], taken: bool = False) -> str:
    """Tell the user what was seen, and return the drift's text. ``taken``: from another stack.

    An update tells once more what it cuts: there may have been no preview. With ``drift: false``
    no text asks for an update, but to take the relay over.
    """
    preview = pulumi.runtime.is_dry_run()
    if not look["reached"]:
        if preview:
            pulumi.log.warn(f"{name}: whether it is as it was left is not known: {look['why']}")
        return ""
    after = summary(settings)
    if not look["summary"]:
        for line in closes(after):
            pulumi.log.info(f"{name}: {line}")
    else:
        for line in changes(look["summary"], after):
            if preview or cuts(line):
                pulumi.log.info(f"{name}: {line}")
        if preview:
            _tell_keys(name, look, after)
    if not settings.drift:
        return TAKEN if taken else ""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return drifted(look, after, now, taken)


def _tell_keys(name: str, look: Mapping[str, Any], after: Sequence[str]) -> None:
    """While keys change: who comes with which, and whom this would cut off."""
    before, pairs, ways = look["summary"], look["pairs"], look["ways"]
    left = own_left_out(before, after)
    for peer, which in ways.items():
        if which == left:
            pulumi.log.warn(
                f"{name}: {peer} comes by the relay's {which} key, which this leaves out: it must"
                " take its new config first, and while it is connected the update is refused"
            )
        elif left is None:
            pulumi.log.info(f"{name}: {peer} comes by the relay's {which} key")
    cut = dict(cut_off(pairs, before, after))
    for peer, which in cut.items():
        pulumi.log.warn(
            f"{name}: {peer} comes with its {which} key, which this leaves out: the update will be"
            " refused until it has its new config"
        )
    for peer, which in pairs.items():
        if peer not in cut and len(accepted(after, peer)) > 1:
            pulumi.log.info(f"{name}: {peer} comes with its {which} key")


def drifted(look: Mapping[str, Any], wanted: Sequence[str], now: str, taken: bool = False) -> str:
    """``2: peers peers-of-wg0``: numbered, so that the same twice is another text.

    The text of a drift stays until there is another one, for a change of it is an update. A machine
    that was put back to an older plan (``wanted`` is the summary of ours), or to none, is as that
    left it, and yet to be brought anew; where there is none nothing counts, so ``now`` tells apart.
    """
    found = list(look["changed"])
    if look["is"] == "new":
        return f"{now}: no relay is there"
    if look["is"] == "here" and look["summary"] and list(look["summary"]) != list(wanted):
        found.insert(0, "another plan")
    if taken:
        found.insert(0, TAKEN)
    if look["is"] == "between":
        found.insert(0, "a change that was not confirmed")
    mended = str(look["drift"])
    if not found:
        return mended
    number = mended.partition(":")[0]
    return f"{int(number) + 1 if number.isdigit() else 1}: {', '.join(found)}"
