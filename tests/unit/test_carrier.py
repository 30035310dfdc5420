"""The plan as a living relay gets it: its files with their modes, the same text at any time."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile

from components import rules
from components.carrier import bundle, command
from components.plan import STATIC, relay_plan

from . import samples

SETTINGS = samples.settings()
PLAN = relay_plan(SETTINGS, samples.keys(SETTINGS))


def test_it_names_no_time() -> None:
    """Or an unchanged program would change the relay at every update."""
    packed = base64.b64decode(bundle(PLAN))
    assert packed[4:8] == bytes(4), "gzip's own time"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        assert {member.mtime for member in archive} == {0}
    assert bundle(PLAN) == bundle(PLAN)


def test_each_file_has_its_mode() -> None:
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(bundle(PLAN)))) as archive:
        modes = {member.name: f"{member.mode:04o}" for member in archive}
    for file in PLAN.files:
        assert modes[f"files{file.path}"] == file.mode


def test_what_the_host_runs_has_no_data_but_comments() -> None:
    first, *shown = command("bring", ["home a", "device b"]).splitlines()
    assert shown == ["# home a", "# device b"]
    assert first == command("bring", [])


def test_flows_know_the_marks() -> None:
    text = (STATIC / "flows").read_text()
    assert f"\ncrosses={rules.CROSSES:#010x}\nhidden={rules.HIDDEN:#010x}\n" in text
