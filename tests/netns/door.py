"""A living relay's sshd, and what ``operate`` does through it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.carrier import bundle, looking, request
from components.plan import HostPlan

from ..relay_stack import ROOT
from ..sshd import sshd_program
from ..waiting import eventually
from . import living
from .conftest import RELAY, Lab
from .living import BIN, FINE

PORT = 2222
USERSPACE = ("WG_QUICK_USERSPACE_IMPLEMENTATION", "WIREGUARD_GO")
OPERATE = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "operate"]


@dataclass
class Door:
    """The relay's sshd, and the keys that open it."""

    lab: Lab
    keys: dict[str, str] = field(repr=False)
    log: Path

    def host(self, **other: Any) -> dict[str, object]:
        """How it is entered, as ``operate`` reads it."""
        found = {
            "address": RELAY,
            "port": PORT,
            "user": "root",
            "hostKey": self.keys["host.pub"],
            "key": self.keys["user"],
        }
        return found | other

    def operate(
        self, verb: str, given: str, at: str = "client", **other: Any
    ) -> subprocess.CompletedProcess[str]:
        """A verb, from where the client is, or another host."""
        words = self.lab.net[at].argv([*OPERATE, verb])
        asked = request(self.host(**other), "wg0", given)
        return subprocess.run(
            words, input=asked, capture_output=True, text=True, timeout=120, check=False
        )

    def look(self, **other: Any) -> dict[str, Any]:
        """What the machine is like, as ``operate`` says it."""
        return dict(json.loads(self.operate("look", looking(), **other).stdout))

    def connections(self) -> int:
        """How often somebody was let in."""
        return self.log.read_text().count("Accepted publickey")


def opened(lab: Lab, folder: Path) -> Door:
    """The relay's sshd, which ends with the network."""
    for name in ("host", "user", "other"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    keys = {p.name: p.read_text() for p in folder.iterdir()}
    relay = lab.net["relay"]
    # Where the kernel has no WireGuard, wg-quick is told whom to start.
    told = [f"{name}={value}" for name, value in relay.env.items() if name in USERSPACE]
    (folder / "config").write_text(
        f"Port {PORT}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user.pub /run/user.pub\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        f"SetEnv {' '.join([f'PATH={BIN}:/usr/sbin:/usr/bin:/sbin:/bin', *told])}\n"
    )
    living.stand_in(lab)
    # In the relay's own /run, where its WireGuard can be asked.
    program = sshd_program(folder)[-1]
    relay.run("mkdir -p /run/sshd")
    relay.run(f"mount --bind {folder}/passwd /etc/passwd")
    words = [program, "-D", "-E", str(folder / "log"), "-f", f"{folder}/config"]
    relay.start(words)
    log = folder / "log"
    eventually(lambda: log.exists() and "listening" in log.read_text(), "sshd")
    return Door(lab, keys, log)


def plan(lab: Lab, *forwards: Any) -> HostPlan:
    """One home's, with these forwards."""
    return living.plan(lab, [{"name": "home", "forwards": [*forwards]}])


def carried(wanted: HostPlan, **scripts: str) -> str:
    """Its bundle, with the check that asks no systemd."""
    return bundle(wanted, ["home home"], replaced={"check": FINE} | scripts)
