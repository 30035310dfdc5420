"""Connections that a machine holds open when its firewall comes, where the other side speaks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from components.plan import relay_plan

from ..waiting import eventually
from .conftest import RELAY, RELAY6, Lab, make
from .living import adopted
from .topology import Host, internet

HEAR = [sys.executable, str(Path(__file__).with_name("hear.py"))]
HEARD = "/run/heard"
PORT = 5432  # of no port that is declared
FIREWALL = "/usr/local/lib/cgnat-relay/firewall"
KNOWN = "\t\tknown\n"


@pytest.fixture(params=["at once", "after own"])
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[tuple[Lab, bool]]:
    """A machine that nobody guards, with a service of its own; and whether it is a relay."""
    with internet(wg_env) as net:
        made = make(net)
        own = request.param == "after own"
        adopted(made, guarded=not own)
        relay = net["relay"]
        relay.start([*HEAR, "listen", str(PORT), HEARD])
        eventually(lambda: f":{PORT} " in relay.run("ss -Hltn"), "the service")
        ping = f"ping -c 1 -W 1 {RELAY6}"  # which has to be found first
        eventually(lambda: "1 received" in net["client"].run(ping, check=False), "IPv6")
        yield made, own


@contextmanager
def speaker(lab: Lab, to: str) -> Iterator[subprocess.Popen[str]]:
    """A caller who has dialled."""
    pipe = subprocess.PIPE
    words = lab.net["client"].argv([*HEAR, "say", to, str(PORT)])
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as caller:
        try:
            assert caller.stdout
            assert caller.stdout.readline() == "connected\n"
            yield caller
        finally:
            caller.terminate()


def says(caller: subprocess.Popen[str], word: str) -> None:
    assert caller.stdin
    caller.stdin.write(f"{word}\n")
    caller.stdin.flush()


def heard(relay: Host) -> str:
    return relay.run(f"cat {HEARD}", check=False)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_it_hears_the_other_side(lab: tuple[Lab, bool], told: bool) -> None:
    made, own = lab
    relay = made.net["relay"]
    if not told:  # the off-case: conntrack is not told of them
        text = relay.run(f"cat {FIREWALL}")
        assert KNOWN in text
        relay.write(FIREWALL, text.replace(KNOWN, "\t\t:\n"))
        relay.run(f"chmod 755 {FIREWALL}")
    with ExitStack() as stack:
        callers = [stack.enter_context(speaker(made, to)) for to in (RELAY, RELAY6)]
        assert not relay.run("conntrack -L", check=False)
        if own:
            relay.run(f"{FIREWALL} up")
            relay.run("wg-quick up wg0")
            guard(made)
        relay.run(f"{FIREWALL} up")
        for number, caller in enumerate(callers):
            says(caller, f"word {number}")
        spoken = ["word 0", "word 1"]
        if told:
            eventually(lambda: sorted(heard(relay).splitlines()) == spoken, "both words")
        else:
            with pytest.raises(AssertionError):
                eventually(lambda: heard(relay), "a word", within=3)
        # Whoever dials anew is not let in.
        for to in (RELAY, RELAY6):
            with pytest.raises(AssertionError), speaker(made, to):
                pass


def guard(lab: Lab) -> None:
    """The same machine's rules with ``firewall: managed``."""
    relay = lab.net["relay"]
    lab.settings = replace(lab.settings, site=replace(lab.settings.site, guarded=True))
    for file in relay_plan(lab.settings, lab.keys).files:
        if file.path.startswith("/etc/cgnat-relay/firewall."):
            relay.write(file.path, file.content)
