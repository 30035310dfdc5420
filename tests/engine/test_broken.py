"""A machine that does not become what was ordered fails the update, by a deadline, with reasons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..relay_stack import Stack

DEADLINE = 120  # seconds for the VM to open SSH, which it never will; its console speaks by then

PROGRAM = """
import dataclasses, sys
sys.path.insert(0, {root!r})
import pulumi
from components import Lab, Relay

BROKEN = "#cloud-config\\nbootcmd: [[systemctl, mask, --now, ssh.service]]\\n"


class Broken(Lab):
    def provision(self, name, order, parent):
        user_data = pulumi.Output.secret(BROKEN)
        return super().provision(name, dataclasses.replace(order, user_data=user_data), parent)


Relay("relay", {{"machine": Broken(boot_timeout={deadline}), "homes": [{{"name": "home"}}]}})
"""
PROJECT = """
name: cgnat-relay
runtime: {{name: python, options: {{virtualenv: {venv!r}}}}}
"""


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Stack]:
    """A program of a library's user, outside the checkout, whose user-data shuts SSH."""
    stack = Stack(tmp_path, program=tmp_path)
    stack.configure()
    stack.init()
    text = PROGRAM.format(root=str(ROOT), deadline=DEADLINE)
    (tmp_path / "__main__.py").write_text(text)
    (tmp_path / "Pulumi.yaml").write_text(PROJECT.format(venv=str(ROOT / ".venv")))
    yield stack
    stack.destroy()
    assert stack.lab("status").strip() == "[]"


def test_broken_user_data_fails_up_with_the_consoles_tail(broken: Stack) -> None:
    started = time.monotonic()
    said = broken.up(check=False)
    taken = time.monotonic() - started
    assert "exit status 0" not in said
    assert f"never opened within {DEADLINE} s" in said
    assert "login:" in said or "Linux version" in said or "systemd" in said, "the console's tail"
    assert taken < DEADLINE + 60
    assert "Traceback" not in said
