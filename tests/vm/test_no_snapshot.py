"""A machine that has no snapshot cannot be restored, and runs on."""

from __future__ import annotations

from ..relay_stack import BOOT_ID, Stack


def test_it_is_told_and_left_alone(relay: Stack) -> None:
    boot = relay.inside("test-relay", BOOT_ID)
    said = relay.lab("restore", "test-relay", check=False)
    assert "lab: test-relay has no snapshot: run `python3 -m lab snapshot test-relay`" in said
    assert relay.inside("test-relay", BOOT_ID) == boot
