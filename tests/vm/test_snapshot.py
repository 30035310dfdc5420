"""A machine that is restored is what it was at its snapshot, and knows what time it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ..relay_stack import BOOT_ID
from .adopted import NAME, Adopted, as_at_first

FILE, PROCESS = "/root/later", "[s]leep 4567"


def test_what_came_later_is_gone(booted: Adopted, tmp_path: Path) -> None:
    machine = as_at_first(booted, tmp_path)
    boot = machine.run(BOOT_ID)
    machine.run("date -s 2020-01-01")
    machine.stack.lab("snapshot", NAME)
    machine.run(f"echo later >{FILE}; setsid sleep 4567 >/dev/null 2>&1 &")
    assert machine.well(f"[ -e {FILE} ] && pgrep -f '{PROCESS}'")
    machine.stack.lab("restore", NAME)
    assert not machine.well(f"[ -e {FILE} ]")
    assert not machine.well(f"pgrep -f '{PROCESS}'")
    assert machine.run(BOOT_ID) == boot
    assert float(machine.run("date +%s")) == pytest.approx(time.time(), abs=30)
    machine.stack.lab("snapshot", NAME)  # as at first, for whoever comes next
