"""A machine that is forgotten: what was not undone there is said, by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.carrier import bundle
from components.model import Site
from components.plan import relay_plan
from operate import verbs
from operate.held import held
from operate.request import Host, Request

from . import samples

SETTINGS = replace(samples.settings(), site=Site(adopted=True, ssh_port=22))
KEYS = samples.keys(SETTINGS)
PLAN = relay_plan(SETTINGS, KEYS)
HOST = Host("203.0.113.7", "root", "ssh-ed25519 AAAA")


def test_packages_units_and_files_are_named() -> None:
    lines = [*held(bundle(PLAN), "wg0")]
    assert lines[0].endswith(": wireguard-tools, iptables, nftables, conntrack")
    assert lines[1].startswith("3 units, enabled: cgnat-relay-recover.service, ")
    assert lines[1].endswith(", wg-quick@wg0.service")
    assert lines[2].startswith(f"{len(PLAN.files)} files")
    assert "  /etc/sysctl.d: 60-cgnat-relay.conf" in lines
    files = [line.strip().split(": ") for line in lines if line.startswith("  ")]
    named = {f"{folder}/{name}" for folder, names in files for name in names.split(", ")}
    assert named == {file.path for file in PLAN.files}
    assert "/etc/wireguard/cgnat-relay" in lines[-2]
    assert "WG0-FORWARD" in lines[-1]


def test_no_key_is_said() -> None:
    said = "\n".join(held(bundle(PLAN), "wg0"))
    assert KEYS.wireguard.private not in said
    assert KEYS.peers["home"].preshared not in said


@pytest.mark.parametrize("broken", ["", "AAAA", "?", bundle(PLAN)[:200]])
def test_what_is_no_bundle_is_no_traceback(broken: str) -> None:
    assert [line.split(":")[0] for line in held(broken, "wg0")] == [
        "what it knew of itself",
        "in its kernel",
    ]


def test_the_one_that_is_named_is_forgotten_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    asked: list[str] = []

    def entered(host: Host, words: str, stdin: str) -> str:
        asked.append(host.address)
        return "as it was\n"

    monkeypatch.setattr(verbs.ssh, "patiently", entered)
    monkeypatch.setenv(verbs.FORGET, HOST.address)
    verbs.undo(Request(HOST, "wg0", bundle(PLAN)), said.append)
    assert not asked
    assert "203.0.113.7 is forgotten: nothing was undone there" in said[0]
    assert any("wireguard-tools" in line for line in said)
    said.clear()
    verbs.undo(Request(replace(HOST, address="203.0.113.8"), "wg0"), said.append)
    assert (asked, said) == (["203.0.113.8"], ["as it was"])
