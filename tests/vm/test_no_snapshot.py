"""A machine that has no snapshot cannot be restored, and runs on."""

from __future__ import annotations

from ..relay_stack import Stack

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def test_it_is_told_and_left_alone(relay: Stack) -> None:
    boot = relay.inside("test-relay", BOOT_ID)
    said = relay.lab("restore", "test-relay", check=False)
    assert "lab: test-relay has no snapshot: run `python3 -m lab snapshot test-relay`" in said
    assert relay.inside("test-relay", BOOT_ID) == boot
