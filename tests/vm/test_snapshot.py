"""A machine that is restored is what it was at its snapshot, and knows what time it is."""

from __future__ import annotations

import time

import pytest

from .adopted import NAME, Adopted

FILE, PROCESS = "/root/later", "[s]leep 4567"


def test_what_came_later_is_gone(booted: Adopted) -> None:
    booted.stack.lab("restore", NAME)  # whoever had it before may have rebooted it
    boot = booted.run("cat /proc/sys/kernel/random/boot_id")
    booted.run(f"echo later >{FILE}; setsid sleep 4567 >/dev/null 2>&1 & date -s 2020-01-01")
    assert booted.well(f"[ -e {FILE} ] && pgrep -f '{PROCESS}'")
    booted.stack.lab("restore", NAME)
    assert not booted.well(f"[ -e {FILE} ]")
    assert not booted.well(f"pgrep -f '{PROCESS}'")
    assert booted.run("cat /proc/sys/kernel/random/boot_id") == boot
    assert float(booted.run("date +%s")) == pytest.approx(time.time(), abs=30)


def test_one_without_a_snapshot_is_told(booted: Adopted) -> None:
    booted.stack.lab("snapshot", NAME)  # again: the older one goes
    said = booted.stack.lab("restore", "nobody", check=False)
    assert "lab: nobody does not run" in said
