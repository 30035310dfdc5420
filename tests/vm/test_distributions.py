"""The relay on the distributions that it says it runs on, each with its own kernel and packages.

A machine is adopted, changed, rebooted and left; then once more beside its own ufw, switched on. A
home on the same machine joins, so that each distribution's wg-quick is seen as a home's too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .. import table
from ..relay_stack import BOOT_ID, Stack
from ..waiting import BOOT, eventually
from . import callers
from .adopted import FORWARDS, MATRIX, NAME, Adopted, compared, fresh

pytestmark = MATRIX

CALLER = "198.51.100.2"
GREETING = f"hello from home, you are {CALLER}"
WORKS = "works"


@dataclass(frozen=True)
class Distribution:
    """An image of the lab, and whom such a machine's owner logs in as."""

    variant: str
    user: str


DISTRIBUTIONS = {
    "Debian 13": Distribution("debian-13", "root"),
    "Ubuntu 24.04": Distribution("ubuntu-24", "ubuntu"),
    "Debian 12": Distribution("vps", "root"),
    "Debian 11": Distribution("debian-11", "root"),
    "Ubuntu 22.04": Distribution("ubuntu-22", "ubuntu"),
}
VERSIONS = {
    "kernel": "uname -r",
    "nft": "nft --version | cut -d ' ' -f 2 | tr -d v",
    "wireguard-tools": "wg --version | cut -d ' ' -f 2 | tr -d v",
    "OpenSSH": "ssh -V 2>&1 | sed 's/^OpenSSH_//; s/[ ,].*//'",
}
STEPS = (
    "adopted",
    "a port added",
    "changed by hand",
    "reboot",
    "left as found",
    "beside ufw",
)
COLUMNS = (*VERSIONS, "user", *STEPS)


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, list[str]]]:
    """The rows of those that were seen whole; the page takes them."""
    found: dict[str, list[str]] = {}
    yield found
    heads = ["distribution", *COLUMNS]
    table.write("adopt.md", "distributions", heads, list(DISTRIBUTIONS), found)


def forwards(machine: Adopted, within: float = 150) -> None:
    """Both protocols reach home, and home sees who calls."""
    calls: dict[str, Callable[[], str]] = {"TCP": machine.page, "UDP": machine.datagram}
    for protocol, call in calls.items():
        eventually(lambda call=call: call() == GREETING, f"the caller's own {protocol}", within)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_it_is_adopted_and_left(name: str, seen: dict[str, list[str]], tmp_path: Path) -> None:
    distribution = DISTRIBUTIONS[name]
    with fresh(tmp_path, distribution.variant, distribution.user) as machine:
        # netplan, for one, enables units at each boot but the first.
        first = machine.run(BOOT_ID)
        machine.stack.lab("reset", NAME)
        eventually(lambda: machine.run(BOOT_ID) != first, "another boot", within=BOOT)
        machine.run("systemctl is-system-running --wait >/dev/null || :")
        machine.enter()
        before = machine.trace()
        machine.configure()
        assert "confirmed over a new connection" in machine.up()
        machine.house()
        forwards(machine)
        versions = [machine.run(command).strip() for command in VERSIONS.values()]

        machine.configure([*FORWARDS, "8443:8080"])
        machine.up()
        assert machine.answers(8443)

        machine.run("nft flush map ip cgnat-relay ports")
        assert not machine.answers(80), "the off-case: it is our rules that forward"
        drift = machine.stack.pulumi("preview", "--diff")
        assert "rules ip-table-cgnat-relay" in drift
        machine.up()
        forwards(machine)
        assert "unchanged" in machine.stack.pulumi("preview")

        machine.stack.lab("reset", NAME)
        eventually(lambda: machine.well("wg show wg0"), "the tunnel after a reboot", within=BOOT)
        machine.house()
        forwards(machine)

        machine.script("house.sh", "gone")
        assert len(compared(before, machine.trace())) > 20, "the off-case: the relay is seen"
        machine.destroy()
        machine.same(before)

        machine.run("apt-get -q update >/dev/null 2>&1")
        machine.install("ufw")
        machine.run("ufw allow 22/tcp; ufw --force enable")
        before = machine.trace()
        machine.configure()
        machine.up()
        machine.house()
        forwards(machine)
        machine.run("ufw reload")
        forwards(machine)
        machine.script("house.sh", "gone")
        machine.destroy()
        machine.same(before)
    seen[name] = [*versions, distribution.user, *[WORKS] * len(STEPS)]


@pytest.mark.parametrize("image", ["debian-13", "ubuntu-24"])
def test_a_relay_is_provisioned_with_it(image: str, tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    homes = [{"name": "home", "forwards": FORWARDS}]
    # Where sshd is started by its socket, that has to take the port.
    stack.configure(vps={"kind": "lab", "image": image}, homes=homes, ssh={"port": 2222})
    stack.init()
    try:
        stack.up()
        stack.lab("home", "test-home", stdin=stack.outputs()["homeConfig"])
        eventually(lambda: callers.page(stack, 80) == GREETING, "the page", within=BOOT)
        assert callers.datagram(stack, 5353) == GREETING
        listening = stack.inside("test-relay", "ss -Hlnt 'sport = :2222 or sport = :22'")
        assert ":2222 " in listening
        assert ":22 " not in listening
        stack.lab("reset", "test-relay")
        callers.answers(stack, within=BOOT)
        assert "unchanged" in stack.pulumi("preview"), "SSH is at its port, and nothing has drifted"
        stack.destroy()
    finally:
        stack.lab("down")
