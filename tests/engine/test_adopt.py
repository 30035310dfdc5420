"""Somebody's machine under the real engine: adopted, changed, mended, and left as it was found.

It is a namespace (``tests.netns.adopting``); the layer vm has whole machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..netns import living, untouched
from ..netns.adopting import Owned, owned
from ..netns.conftest import RELAY, make, wireguard_env
from ..netns.topology import internet

CALLER = "203.0.113.9"
FLOWS = ("90:8090", "91:8091/udp")
BEGUN = f"{living.STATE}/unfinished"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    with internet(wireguard_env()) as net:
        lab = make(net)
        for port in (8080, 8081):
            lab.serve("home", port)
        lab.serve("home", 8090, "count")
        lab.serve("home", 8091, "echo")
        yield owned(lab, tmp_path_factory.mktemp("adopted"))


def configure(machine: Owned, *forwards: str, **raw: Any) -> None:
    machine.configure(homes=[{"name": "home", "forwards": [*FLOWS, *forwards]}], **raw)


def test_from_the_first_up_to_destroy(machine: Owned) -> None:
    lab = machine.lab
    before = untouched.holds(lab)
    configure(machine, "80:8080")
    machine.up()
    assert lab.call("tcp", 80) == "", "a home that has not come"
    machine.house()
    assert lab.call("tcp", 80) == CALLER
    assert lab.call("tcp", 81) == ""

    download, pings = (living.started(lab, *flow) for flow in (("download", 90), ("pings", 91)))
    configure(machine, "80:8080", "81:8081")
    shown = machine.preview("--diff")
    assert "tcp/81 to home" in shown
    assert "replace" not in shown
    entered = machine.logins()
    machine.up()
    assert machine.logins() == entered + 3, "a look, an apply, and its confirmation"
    assert lab.call("tcp", 81) == CALLER

    assert "CGNAT_RELAY_DRIFT" not in machine.preview("--diff")
    lab.net["relay"].run("nft flush table ip cgnat-relay")  # without any chain no flow is NATed
    assert lab.call("tcp", 81) == ""
    assert "rules ip-table-cgnat-relay" in machine.preview("--diff")
    machine.up()
    assert lab.call("tcp", 81) == CALLER
    assert int(living.ended(download)) > 0
    sent, back = map(int, living.ended(pings).split())
    assert sent == back > 0

    assert untouched.left(lab, before), "the off-case"
    machine.destroy()
    assert untouched.left(lab, before) == []
    assert lab.call("tcp", 80) == ""


def test_an_engine_that_is_killed_leaves_a_lock_and_the_next_up_finishes(machine: Owned) -> None:
    """In the first update, and in a later one. The lock is that of a state in files."""
    lab = machine.lab
    before = untouched.holds(lab)
    for number, port in enumerate((80, 81)):
        configure(machine, f"{port}:8080")
        machine.stack.killed(lambda: living.run(lab, f"ls -d {BEGUN}", check=False))
        assert "the stack is currently locked by" in machine.up(check=False)
        machine.stack.cancel()
        machine.up()
        if not number:
            lab.net["home"].run("wg-quick down wg0", check=False)  # another test's
            machine.house()
        assert lab.call("tcp", port) == CALLER
    machine.destroy()
    assert untouched.left(lab, before) == []


def test_without_a_host_key_it_is_shown_and_nothing_is_done(machine: Owned) -> None:
    before = untouched.holds(machine.lab)
    configure(machine, vps={"hostKey": None})
    said = machine.preview(check=False)
    assert "exit status 0" not in said
    assert f"'cgnat-relay:vps.hostKey' '{machine.host_key}'" in said
    assert untouched.left(machine.lab, before) == []


def test_what_is_in_the_way_is_told_and_nothing_is_done(machine: Owned) -> None:
    lab = machine.lab
    lab.serve("relay", 443, at=RELAY)
    before = untouched.holds(lab)
    configure(machine, "443:8080")
    said = machine.up(check=False)
    assert "443" in said
    assert "Traceback" not in said
    assert untouched.left(lab, before) == []


def test_a_machine_that_is_gone_can_be_forgotten(machine: Owned) -> None:
    configure(machine)
    machine.up()
    machine.lab.net["internet"].run("ip link set relay down")
    said = machine.destroy(check=False)
    assert "exit status 0" not in said
    assert f"CGNAT_RELAY_FORGET={RELAY}" in said
    machine.stack.env["CGNAT_RELAY_FORGET"] = RELAY
    said = machine.destroy()
    for told in ("nothing was undone there", "wireguard-tools", "/etc/sysctl.d: 60-cgnat-relay"):
        assert told in said
