"""A machine that is there already: a VM with nothing of ours, and the stack that adopts it."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ..relay_stack import BOOT_ID, Stack
from ..waiting import BOOT, eventually

HERE = Path(__file__).parent
HELLO = HERE.parents[1] / "lab" / "guest" / "hello.py"
NAME, USER = "somebodys", "op"
FORWARDS = ["80:8080", "5353:5353/udp"]
# `openssl passwd -6` of PASSWORD, so that sudo asks for it.
PASSWORD = "correct horse"  # noqa: S105 - of a VM that lives for a test
OPENED = ("tcp/80", "tcp/81", "tcp/8443", "udp/5353")
UNFINISHED = "/etc/wireguard/cgnat-relay/unfinished"
# netbase, which iptables depends on, makes it where there is none; a provider's image has one.
LEFT = re.compile(r"[-+] (file /etc/hosts |content \S+  /etc/hosts$)")
LETS_IN = "journalctl -q -o cat -t sshd -t sshd-session | grep -c 'Accepted publickey' || :"
MATRIX = pytest.mark.skipif("MATRIX" not in os.environ, reason="a part of make matrix")


@dataclass
class Adopted:
    """The machine, the keys that open it, and its stack. ``user``: op, root, or the image's own."""

    stack: Stack
    key: Path
    variant: str = "vps"
    user: str = USER
    reach: str = ""
    host_key: str = ""
    opened: dict[str, str] = field(default_factory=dict)
    seen: str = field(default="", repr=False)

    def boot(self) -> None:
        """Power on, with a user who may use sudo."""
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.key)]
        subprocess.run(words, check=True)
        document = {**self.users(), "ssh_pwauth": False}
        reserved = json.loads(self.stack.lab("reserve", NAME))
        self.reach = str(reserved["reach"])
        variant = ("--variant", self.variant)
        self.stack.lab("start", NAME, *variant, stdin=f"#cloud-config\n{json.dumps(document)}")
        self.run("cloud-init status --wait >/dev/null || :")
        public = self.run("cat /etc/ssh/ssh_host_ed25519_key.pub")
        self.host_key = " ".join(public.split()[:2])
        self.opened = json.loads(self.stack.lab("open", NAME, *OPENED))

    def users(self) -> dict[str, Any]:
        """Who may come, as cloud-init takes it."""
        keys = {"ssh_authorized_keys": [self.key.with_suffix(".pub").read_text().strip()]}
        if self.user == "root":
            return {"disable_root": False, "users": [{"name": "root", **keys}]}
        if self.user != USER:
            return keys  # the image's own user has sudo without a password
        words = ["openssl", "passwd", "-6", PASSWORD]
        hashed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
        user = {"name": USER, "shell": "/bin/bash", "lock_passwd": False, "passwd": hashed}
        return {"users": [{**user, "sudo": "ALL=(ALL) ALL", **keys}]}

    def run(self, command: str, check: bool = True, stdin: str = "") -> str:
        """A shell command as root, whatever the network does."""
        return self.stack.inside(NAME, command, check=check, stdin=stdin)

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """Meanwhile, the command line and the environment of every process on the machine."""
        found: list[str] = []
        every = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
        loop = f"while [ -e /run/watching ]; do {every} >>/run/watched; sleep 0.3; done"
        last = "sort -u /run/watched >/run/seen.new; mv /run/seen.new /run/seen; rm /run/watched"
        there = shlex.quote(f"{loop}; {last}")
        self.run(f"touch /run/watching; setsid sh -c {there} >/dev/null 2>&1 &")
        try:
            yield found
        finally:
            until = "until [ -e /run/seen ]; do sleep 0.1; done"
            found.append(self.run(f"rm /run/watching; {until}; cat /run/seen; rm /run/seen"))

    def well(self, command: str) -> bool:
        """Whether a command ends well."""
        said = self.run(f"{{ {command}; }} >/dev/null 2>&1 && echo well || :")
        return said.strip() == "well"

    def install(self, packages: str) -> None:
        """Debian's own."""
        apt = "apt-get -q -y --no-install-recommends install"
        self.run(f"export DEBIAN_FRONTEND=noninteractive; {apt} {packages} >/dev/null 2>&1")

    def reboot(self) -> None:
        """In order, as its owner does it: whatever stops does what it does when it stops."""
        booted = self.run(BOOT_ID)
        self.run("systemd-run -q --on-active=1 systemctl reboot")
        eventually(lambda: self.run(BOOT_ID) != booted, "another boot", within=BOOT)

    def under_way(self) -> bool:
        """Whether a change has begun that is neither confirmed nor taken back."""
        return self.well(f"[ -d {UNFINISHED} ]")

    def script(self, name: str, *words: str, stdin: str = "") -> str:
        """One of the scripts beside this file."""
        self.run(f"cat >/run/{name}", stdin=(HERE / name).read_text())
        return self.run(f"sh /run/{name} {' '.join(words)}; rm /run/{name}", stdin=stdin)

    def trace(self) -> list[str]:
        """All that the machine holds and does."""
        return self.script("trace.sh").splitlines()

    def enter(self) -> None:
        """Its owner has logged in before: a user's first login leaves marks of its own."""
        known = f"UserKnownHostsFile={self.key.with_name('known')}"
        words = ["ssh", "-i", str(self.key), "-o", known, "-o", "StrictHostKeyChecking=accept-new"]
        words += ["-o", "BatchMode=yes", f"{self.user}@{self.reach}", "sudo -n true || :"]

        def let_in() -> bool:
            done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            return True

        eventually(let_in, f"SSH of {self.user}", within=BOOT)  # sshd may be the last to come

    def same(self, before: list[str]) -> None:
        """Nothing is left but what is documented."""
        left = compared(before, self.trace())
        assert not left, "\n".join(left)

    def configure(
        self,
        forwards: list[str] | None = None,
        homes: list[Any] | None = None,
        tunnel: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        **vps: Any,
    ) -> None:
        """Write the stack's config; ``more`` are other keys of it."""
        given = {
            "kind": "adopt",
            "host": self.reach,
            "user": self.user,
            "key": str(self.key),
            "hostKey": self.host_key,
        }
        password = vps.pop("password", PASSWORD)
        given = {key: value for key, value in (given | vps).items() if value is not None}
        one = [{"name": "home", "forwards": FORWARDS if forwards is None else forwards}]
        whole = {"tunnel": tunnel} if tunnel else {}
        self.stack.configure(vps=given, homes=homes or one, **whole, **(more or {}))
        if self.user == USER:
            self.stack.secret("vps.password", password)

    def up(self, check: bool = True) -> str:
        return self.stack.up(check=check)

    def destroy(self, check: bool = True) -> str:
        return self.stack.destroy(check=check)

    def house(self) -> None:
        """A home joins; it is on the machine itself, so it dials another address of it."""
        text = str(self.stack.outputs()["homeConfig"])
        text = text.replace(f"Endpoint = {self.reach}:", "Endpoint = 192.0.2.1:")
        self.run("cat >/run/hello.py", stdin=HELLO.read_text())
        self.script("house.sh", stdin=text)
        eventually(lambda: "hello" in self.page(), "the house's page", within=BOOT)

    def page(self, port: int = 80) -> str:
        """The page behind a forwarded port; OSError where nothing answers."""
        with urllib.request.urlopen(f"http://{self.opened[f'tcp/{port}']}/", timeout=5) as answer:
            return str(answer.read().decode().strip())

    def datagram(self) -> str:
        """What answers on UDP 5353; OSError where nothing does."""
        host, _, port = self.opened["udp/5353"].rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.settimeout(5)
            caller.connect((host, int(port)))
            caller.send(b"who am I?")
            return caller.recv(2048).decode().strip()

    def hears(self) -> bool:
        """Whether UDP 5353 answers."""
        try:
            return "hello" in self.datagram()
        except OSError:
            return False

    def answers(self, port: int) -> bool:
        try:
            return "hello" in self.page(port)
        except OSError:
            return False

    def logins(self) -> int:
        """How often SSH has let somebody in."""
        return int(self.run(LETS_IN))


def compared(before: list[str], after: list[str]) -> list[str]:
    """What is not as it was, but for the documented."""
    was, now = Counter(before), Counter(after)
    lines = [f"- {x}" for x in (was - now).elements()] + [f"+ {x}" for x in (now - was).elements()]
    return [x for x in lines if not LEFT.match(x)]


@contextmanager
def fresh(folder: Path, variant: str = "vps", user: str = USER) -> Iterator[Adopted]:
    """A machine that has just been powered on, and a stack that knows nothing of it yet."""
    stack = Stack(folder)
    machine = Adopted(stack, folder / "key", variant, user)
    stack.init()
    try:
        machine.boot()
        yield machine
    finally:
        stack.lab("down")


def as_at_first(machine: Adopted, folder: Path) -> Adopted:
    """The same machine as its snapshot has it, and a stack that knows nothing of it yet."""
    machine.stack.lab("resume")  # whoever had it before may have switched it off
    machine.stack.lab("restore", NAME)
    stack = Stack(folder, machines=machine.stack.machines)
    stack.init()
    return replace(machine, stack=stack, seen="")
