"""User-data in each form, read by cloud-init's own code as its data sources hand it over."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.first_boot import Form, first_boot
from components.plan import relay_plan

from ..unit import samples

SETTINGS = samples.settings()
KEYS = samples.keys(SETTINGS)
PLAN = relay_plan(SETTINGS, KEYS)
WHOLE = first_boot(PLAN, KEYS, Form.TEXT, None)
# What cloud-init makes of a blob: each part's type and text.
READ = """\
import sys
from cloudinit import helpers, user_data, util
found = user_data.UserDataProcessor(helpers.Paths({})).process(sys.stdin.buffer.read())
parts = [part for part in found.walk() if part.get_content_maintype() != "multipart"]
assert len(parts) == 1, parts
assert parts[0].get_content_type() == sys.argv[1], parts[0].get_content_type()
text = util.fully_decoded_payload(parts[0])
sys.stdout.write(text if isinstance(text, str) else text.decode())
"""


def read(cloud_init: Path, blob: bytes, kind: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, kind],
        env={**os.environ, "PYTHONPATH": str(cloud_init)},
        input=blob,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def limits(form: Form) -> list[int | None]:
    """For the whole plan readable, and compressed."""
    return [None, len(first_boot(PLAN, KEYS, form, None)) - 1]


@pytest.mark.parametrize("form", [Form.TEXT, Form.BASE64])
@pytest.mark.parametrize("which", [0, 1], ids=["readable", "compressed"])
def test_cloud_init_reads_the_whole_plan(form: Form, which: int, cloud_init: Path) -> None:
    text = first_boot(PLAN, KEYS, form, limits(form)[which])
    # A provider that wants base64 hands over what it stands for.
    blob = base64.b64decode(text) if form is Form.BASE64 else text.encode()
    assert read(cloud_init, blob, "text/cloud-config") == WHOLE


def test_cloud_init_takes_the_script_as_one(cloud_init: Path) -> None:
    """Also behind another's script, as Lightsail puts it."""
    script = first_boot(PLAN, KEYS, Form.SCRIPT, None)
    assert read(cloud_init, script.encode(), "text/x-shellscript") == script
    both = f"#!/bin/sh\necho first\n{script}"
    assert read(cloud_init, both.encode(), "text/x-shellscript") == both
    checked = subprocess.run(["sh", "-n"], input=both, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_blob_that_is_no_gzip_is_refused(cloud_init: Path) -> None:
    text = first_boot(PLAN, KEYS, Form.TEXT, limits(Form.TEXT)[1])
    with pytest.raises(AssertionError):
        read(cloud_init, text.replace("H4sI", "AAAA").encode(), "text/cloud-config")
