"""Preview each example under mocks: what would be made, and what the program says of it.

python -m tests.clouds [KIND...]
"""

from __future__ import annotations

import json
import subprocess
import sys

from components.kinds import CLOUDS

from . import sdks
from .conftest import CREDENTIALS, example


def main(kinds: list[str]) -> int:
    """Print each; 1 where one has a fault."""
    process = subprocess.Popen(
        [sdks.python(), "-W", "ignore", "-m", "tests.clouds.preview"],
        cwd=sdks.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    wrong = 0
    with process:
        assert process.stdin
        assert process.stdout
        for kind in kinds or [cloud.provider.kind for cloud in CLOUDS]:
            print(json.dumps(example(kind) | CREDENTIALS[kind]), file=process.stdin, flush=True)
            found = json.loads(process.stdout.readline())
            print(f"{kind} (mocks, no provider was asked)")
            if "resources" not in found or "fault" in found:
                wrong += 1
                print(found.get("fault") or found["crash"])
                continue
            for line in found["log"]:
                print(f"   {line}")
            for name, resource in sorted(found["resources"].items()):
                print(f" + {resource['type']:62} {name}")
        process.stdin.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
