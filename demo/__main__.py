"""``python3 -m demo summary STACK`` after an update; ``python3 -m demo run STACK``, the proof."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import urllib.error
import urllib.request

from . import outputs
from .outputs import Forward

DEADLINE = 600  # seconds; a home takes one to two minutes under software emulation
CONFIG = "pulumi stack output homeConfig --show-secrets"


def main() -> None:
    """Parse, then run."""
    parser = argparse.ArgumentParser(prog="python3 -m demo", description=__doc__)
    parser.add_argument("what", choices=["summary", "run"])
    parser.add_argument("stack")
    given = parser.parse_args()
    if given.what == "summary":
        summary(given.stack)
    else:
        run(given.stack)


def summary(stack: str) -> None:
    """The public endpoint, the forwards, and what to type next."""
    found = outputs.read(stack)
    rows = outputs.forwards(found)
    print(
        f"\nThe relay forwards. Public address {found['publicIp']}, homes dial {found['endpoint']}."
    )
    for row in rows:
        print(f"  {row.port:<16} to {row.home} {row.to:<22} from here: {row.reach}")
    moved = [row for row in rows if row.port.partition("/")[0] != row.reach.rpartition(":")[2]]
    if moved:
        print("  Ports that this user may not bind here have another number on the right.")
    print(f"\nNext:\n  make demo\n  . .dev/env && {CONFIG}")


def run(stack: str) -> None:
    """Give a second VM ``homeConfig`` and nothing else; print its page, got through the relay."""
    found = outputs.read(stack, secrets=True)
    page = next((f for f in outputs.forwards(found) if f.to.endswith(":8080")), None)
    if page is None or not page.port.endswith("/tcp"):
        sys.exit("the demo's home serves its page on TCP port 8080; forward one there, as 80:8080")
    start = time.monotonic()
    print("home: starting a VM behind a NAT with no way in; it is given homeConfig, no more")
    home = [sys.executable, "-m", "lab", "home", f"{stack}-home"]
    subprocess.run(
        home,
        input=found["homeConfigs"][page.home],
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    text = fetch(page, start + DEADLINE)
    print(f"home: answered {time.monotonic() - start:.0f} s after power-on")
    print(f"\n$ curl http://{page.reach}/\n{text}")


def fetch(page: Forward, deadline: float) -> str:
    """The page, once it answers. Exits at the deadline with what was seen last."""
    url = f"http://{page.reach}/"
    seen = ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode().strip())
        except (urllib.error.URLError, OSError) as error:
            seen = str(error)
        time.sleep(1)
    sys.exit(f"{url} did not answer in time, last seen: {seen}; look at: make status")


if __name__ == "__main__":
    main()
