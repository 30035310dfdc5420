"""Every argument that a kind's module gives its SDK exists and has the right type."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import sdks

CLOUDS = sdks.ROOT / "components" / "clouds"


def mypy(*words: str) -> subprocess.CompletedProcess[str]:
    """Strict, with the SDKs' own types; what it has read is kept beside them."""
    folder = sdks.environment()
    command = [sys.executable, "-m", "mypy", "--config-file", str(CONFIG)]
    command += ["--python-executable", str(folder / "bin" / "python")]
    command += ["--cache-dir", str(folder / "mypy"), *words]
    return subprocess.run(command, cwd=sdks.ROOT, capture_output=True, text=True)


CONFIG = Path(__file__).parent / "mypy.ini"


def test_every_module_is_strictly_typed() -> None:
    done = mypy(str(CLOUDS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("hetzner", "server_type=self.plan", "types=self.plan"),
        ("digitalocean", "size=self.plan", "size=7"),
        ("linode", "type=self.plan", "type_=self.plan"),
        ("vultr", "enable_ipv6=True", "enable_ipv6=[]"),
        ("lightsail", "bundle_id=self.plan", "bundle=self.plan"),
        ("oracle", "display_name=name", "displayed=name"),
        ("ionos", "template_uuid=", "template="),
    ],
)
def test_the_check_can_fail(kind: str, right: str, wrong: str, tmp_path: Path) -> None:
    """Another text, of another length, is read in the module's place."""
    module, shadow = CLOUDS / f"{kind}.py", tmp_path / "shadow.py"
    source = module.read_text()
    assert right in source
    shadow.write_text(source.replace(right, wrong))
    done = mypy("--shadow-file", str(module), str(shadow), str(module))
    assert done.returncode == 1
    assert re.search(r"\[(call-arg|arg-type|call-overload)\]", done.stdout), done.stdout
