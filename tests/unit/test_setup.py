"""What the script that installs packages takes for installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.plan import STATIC

# dpkg-query tells of a package once for each architecture, and of no package that it never saw.
DPKG_QUERY = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
for name; do
	case $name in
	two-of-it) printf '%s installed\\n%s installed\\n' "$name" "$name" ;;
	removed) echo "$name config-files" ;;
	unknown) code=1 ;;
	*) echo "$name installed" ;;
	esac
done
exit ${code:-0}
"""


@pytest.mark.parametrize(
    ("names", "has"),
    [
        (["one", "another"], True),
        (["one", "two-of-it"], True),
        (["one", "removed"], False),
        (["one", "unknown"], False),
        (["two-of-it", "unknown"], False),
    ],
)
def test_all_packages_must_be_installed(names: list[str], has: bool, tmp_path: Path) -> None:
    stand_in = tmp_path / "dpkg-query"
    stand_in.write_text(DPKG_QUERY)
    stand_in.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", str(STATIC / "setup"), "has", *names], env=env)
    assert (done.returncode == 0) == has
