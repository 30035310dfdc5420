"""A machine that a stack adopts to change it, with a round trip before it: in a VM, or without.

In network namespaces no CPU is emulated, and systemd, apt and the line are stand-ins
(``tests.netns.adopting``, ``bench/delay.py``); all else is as in a VM, the engine too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.netns.adopting import Owned, owned
from tests.netns.conftest import RELAY, make, wireguard_env
from tests.netns.door import PORT as SSH
from tests.netns.topology import internet
from tests.relay_stack import Stack
from tests.vm.adopted import fresh
from tests.waiting import eventually

from .sizes import Size

ROUND_TRIP = 50  # ms
SERVED, NEAR = 8080, 2200
FIRST, PORT = f"80:{SERVED}", 8443
ADDED = f"{PORT}:{SERVED}"
DELAY = (
    "tc qdisc replace dev $(ip -o route show default | awk '{ print $5; exit }')"
    f" root netem delay {ROUND_TRIP}ms"
)
LINE = Path(__file__).with_name("delay.py")
TO_LINE = f"""
table ip line {{
  chain output {{
    type nat hook output priority -100;
    ip daddr {RELAY} tcp dport {NEAR} redirect to :{NEAR}
  }}
}}
"""


class Machine(Protocol):
    """What is asked of it. It ends with its VM or its namespaces, and its stack's folder."""

    stack: Stack

    def configure(self, *, homes: list[Any], tunnel: dict[str, Any]) -> None:
        """Write the stack's config."""

    def up(self) -> str:
        """``pulumi up``; what it says."""

    def house(self) -> None:
        """The first home joins, and serves."""

    def answers(self, port: int) -> bool:
        """Whether the home does, by a forward."""

    def logins(self) -> int:
        """How often SSH has let somebody in."""


def configure(machine: Machine, size: Size, *more: str) -> None:
    """That size, and so many forwards more of the home that is connected."""
    machine.configure(**size.config(first=FIRST, more=more))


@contextmanager
def in_a_vm() -> Iterator[Machine]:
    """A lab VM, whose kernel delays all that it sends."""
    with _folder() as folder, fresh(folder) as machine:
        machine.run(DELAY)
        yield machine


@contextmanager
def in_namespaces() -> Iterator[Machine]:
    """A host of the namespaces' internet; the line is SSH's alone."""
    with internet(wireguard_env()) as net, _folder() as folder:
        machine = owned(make(net), folder)
        machine.lab.serve("home", SERVED)
        _line(machine)
        yield machine


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


def _line(machine: Owned) -> None:
    """It is entered by another port, which leads to the line."""
    client = machine.lab.net["client"]
    client.start([sys.executable, str(LINE), str(NEAR), RELAY, str(SSH), str(ROUND_TRIP)])
    eventually(lambda: f":{NEAR} " in client.run("ss -Hlnt"), "the line")
    client.run("nft -f -", stdin=TO_LINE)
    machine.port = NEAR
