"""The real engine adopts the relay's host in a namespace, from where the client is.

Real are the engine, the program, SSH, the scripts, WireGuard, rules and files. Stand-ins: systemd,
apt and dpkg (``untouched``), and a list that says the kernel could load its modules, for WireGuard
may be another's here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..relay_stack import ROOT, Stack
from . import untouched
from .conftest import RELAY, Lab
from .door import PORT, Door, opened

HOME = "/etc/wireguard/wg0.conf"
BUILTIN = """
modules=/usr/lib/modules/$(uname -r)
mkdir -p "$modules"
for name in wireguard nf_tables nft_chain_nat nft_compat; do
	echo "kernel/net/$name.ko" >>"$modules/modules.builtin"
done
"""


@dataclass
class Owned:
    """Somebody's machine, its door, and the stack that adopts it."""

    door: Door
    stack: Stack
    key: Path
    port: int = PORT

    @property
    def lab(self) -> Lab:
        return self.door.lab

    @property
    def host_key(self) -> str:
        return " ".join(self.door.keys["host.pub"].split()[:2])

    def configure(self, vps: dict[str, Any] | None = None, **raw: Any) -> None:
        """Write the stack's config; of ``vps`` what is to be otherwise, None for not at all."""
        given = {
            "kind": "adopt",
            "host": RELAY,
            "port": self.port,
            "key": str(self.key),
            "hostKey": self.host_key,
            **(vps or {}),
        }
        self.stack.configure(vps={k: v for k, v in given.items() if v is not None}, **raw)

    def preview(self, *words: str, check: bool = True) -> str:
        return self.stack.pulumi("preview", *words, check=check)

    def up(self, check: bool = True) -> str:
        return self.stack.up(check=check)

    def destroy(self, check: bool = True) -> str:
        return self.stack.destroy(check=check)

    def house(self) -> None:
        """The first home joins, with the config that is the stack's output."""
        self.lab.net["home"].write(HOME, str(self.stack.outputs()["homeConfig"]))
        self.lab.dial("home", "wg0")

    def answers(self, port: int) -> bool:
        return bool(self.lab.call("tcp", port))

    def logins(self) -> int:
        """How often SSH has let somebody in."""
        return self.door.connections()


def owned(lab: Lab, folder: Path) -> Owned:
    """The relay's host as somebody's who has no relay yet, and a stack that knows nothing of it."""
    untouched.somebodys(lab)
    door = opened(lab, folder)
    untouched.stand_in(lab)
    lab.net["relay"].run(["sh", "-c", BUILTIN])
    words = lab.net["client"].argv(["env", "-C", str(ROOT)])  # nsenter forgets where it was
    stack = Stack(folder / "stack", within=words)
    stack.init()
    return Owned(door, stack, folder / "user")
