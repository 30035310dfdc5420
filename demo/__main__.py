"""The steps of ``make`` around an update: ``python3 -m demo VERB STACK``.

``resume`` before it, ``summary`` after it, ``run`` for the proof, ``down`` for the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from handout import outputs
from handout.outputs import Forward

DEADLINE = 600  # seconds; a home takes one to two minutes under software emulation
DEV = Path(__file__).resolve().parents[1] / ".dev"
CONFIG = "pulumi stack output homeConfig --show-secrets"


def main() -> None:
    """Parse, then run."""
    parser = argparse.ArgumentParser(prog="python3 -m demo", description=__doc__)
    parser.add_argument("what", choices=sorted(VERBS))
    parser.add_argument("stack")
    given = parser.parse_args()
    VERBS[given.what](given.stack)


def resume(stack: str) -> None:
    """Boot what a reboot of this machine has switched off, before an update looks at it."""
    booted = json.loads(_lab("resume"))
    if not booted:
        return
    print(f"lab: booting again after this machine was off: {', '.join(booted)}")
    for machine in json.loads(_lab("status")):
        if machine["name"] in booted and "address" in machine:
            address = machine["address"]
            greeted(str(address["sshHost"]), int(address["sshPort"]))


def greeted(host: str, port: int) -> None:
    """Wait until SSH says its name there; an update tells more where it does not in time."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.5)


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
    pages = [f for f in outputs.forwards(found) if f.to.endswith(":8080")]
    page = next((f for f in pages if f.port.endswith("/tcp")), None)
    if page is None:
        sys.exit("the demo's home serves its page on TCP port 8080; forward one there, as 80:8080")
    config = found["homeConfigs"][page.home]
    if "PUT-THE-PRIVATE-KEY" in config:
        sys.exit(f"home {page.home} keeps its own private key, so the demo cannot play it")
    start = time.monotonic()
    print("home: starting a VM behind a NAT with no way in; it is given homeConfig, no more")
    name = f"{stack}-home"
    _lab("stop", name)
    _lab("home", name, stdin=config)
    text = fetch(page, start + DEADLINE)
    print(f"home: answered {time.monotonic() - start:.0f} s after power-on")
    print(f"\n$ curl http://{page.reach}/\n{text}")


def down(stack: str) -> None:
    """Destroy the stack and its VMs; its state and keys go with it, other stacks stay."""
    if stack in outputs.stacks():
        for words in (["destroy", "--yes", "--skip-preview"], ["stack", "rm", "--yes"]):
            command = ["pulumi", *words, "--stack", stack, "--non-interactive"]
            if words[0] == "stack":
                command.append("--preserve-config")
            if subprocess.run(command, check=False).returncode:
                sys.exit(f"stack {stack} could not be destroyed; its state is kept in .dev")
    for machine in json.loads(_lab("status")):
        if machine["name"].startswith(f"{stack}-"):
            _lab("stop", machine["name"])
            _lab("release", machine["name"])
    others = outputs.stacks()
    if others:
        print(f"down: stack {stack} is gone; .dev is kept for {', '.join(others)}")
        return
    shutil.rmtree(DEV)
    print(f"down: no VM, no state, no key of stack {stack} is left")


def _lab(*words: str, stdin: str = "") -> str:
    """A call of the lab program; where it fails, its own message ends this one."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", *words],
        input=stdin,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


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


VERBS = {"resume": resume, "summary": summary, "run": run, "down": down}

if __name__ == "__main__":
    main()
