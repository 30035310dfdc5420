"""Kind ``adopt``: a machine that is there already, entered over SSH and left as it was found."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pulumi

from .carrier import PROJECT, looking, request
from .faults import Collector, shown
from .first_boot import Form
from .machine import Access, Facts, Machine, Order
from .model import Settings, Site
from .plan import packages
from .reading import integer, known, word

KEYS = ("kind", "host", "user", "port", "key", "hostKey", "password", "firewall")
FIREWALLS = ("own", "managed")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_HOST_KEY = re.compile(r"(ssh-[a-z0-9]+|ecdsa-sha2-nistp[0-9]+) [A-Za-z0-9+/]+={0,2}")
FACTS = Facts(
    title="a machine that is there already",
    address="it is yours",
    firewall="yours",
    ipv6="yes, where it has it",
    tested="over real SSH, in VMs",
)
PEM = "-----BEGIN "  # how the text of a key begins
PUBLIC = (b"ssh-", b"ecdsa-", b"sk-")  # how that of its public half begins
LARGEST = 2**16  # bytes of a key's file
PUTTY = "one of PuTTY's: puttygen KEY.ppk -O private-openssh -o id"
SCAN = 10  # seconds for a machine to show its host key


@dataclass(frozen=True)
class Adopt:
    """``host`` is an address or a name; ``host_key`` the public line to pin.

    ``key`` is the text of a private key or the path of one; without it the user's agent is asked.
    ``password`` is for sudo, where ``user`` is not root and sudo asks for one. ``managed``: the
    relay's own firewall guards the machine too, as it does on a machine that was made for it.
    """

    host: str
    host_key: str
    user: str = "root"
    port: int = 22
    key: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    managed: bool = False

    user_data_form: Form = Form.TEXT
    user_data_limit: int | None = None
    port_limit: int | None = None

    @property
    def site(self) -> Site:
        """It is somebody's, and so is its SSH."""
        return Site(adopted=True, guarded=self.managed, ssh_port=self.port)

    def survey(self, settings: Settings, faults: Collector) -> Mapping[str, Any] | None:
        """Ask the machine itself, read-only; all that stands in the way is noted at once.

        A preview goes on without what does not answer, and asks nothing with ``drift: false``.
        """
        preview = pulumi.runtime.is_dry_run()
        if preview and not settings.drift:
            return None
        tls = settings.tunnel.tls
        terms = [
            *(f"interface {name}" for name in settings.tunnel.interfaces),
            f"network {settings.tunnel.network}",
            *(f"udp {port}" for port in settings.tunnel.ports),
            *([f"tls {tls}"] if tls is not None else []),
            *(f"port {opening}" for opening in settings.taken if str(opening) != f"tcp/{tls}"),
            *(f"package {name}" for name in packages(settings)),
            *(["ipv6"] if settings.tunnel.ipv6 else []),
            *(["crosses"] if settings.crosses else []),
            f"now {int(time.time())}",
            *([f"dialled {self.host}"] if _is_address(self.host) else []),
        ]
        asked = request(self.access.fields(settings), settings.tunnel.interface, looking(terms))
        found = ask(asked)
        if not found["reached"] and not (preview and found.get("away")):
            cause, _, fix = str(found["why"]).partition("; ")
            faults.add("vps", cause, fix or "see to it, then try again")
        for cause, fix in found.get("faults", ()):
            faults.add("vps", cause, fix)
        for cause, fix in found.get("notes", ()):
            pulumi.log.info(f"{self.host}: {cause}; {fix}")
        return found

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """Nothing is made: the machine is there."""
        reach = {str(o): f"{self.host}:{o.ports.first}" for o in order.openings}
        return Machine(
            public_ip=pulumi.Output.from_input(self.host),
            endpoint=pulumi.Output.from_input(f"{self.host}:{order.tunnel_port}"),
            reach=pulumi.Output.from_input(reach),
            access=self.access,
            incarnation=pulumi.Output.from_input(self.host),
        )

    @property
    def access(self) -> Access:
        """How it is entered; its secrets are plain here."""
        is_text = self.key is not None and self.key.startswith(PEM)
        return Access(
            address=self.host,
            port=self.port,
            user=self.user,
            host_key=self.host_key,
            key=self.key if is_text else None,
            key_file=None if is_text else self.key,
            password=self.password,
        )


def read(options: Mapping[str, object], path: str, faults: Collector) -> Adopt:
    """A machine to adopt from its options in the config; without a host key it is shown which."""
    known(options, KEYS, f"{path}.", faults)
    before = len(faults)
    host = _matching(options.get("host"), f"{path}.host", _HOST, "203.0.113.7", faults)
    port = integer(options.get("port", 22), f"{path}.port", 1, 65535, faults)
    user = _matching(options.get("user", "root"), f"{path}.user", _USER, "root", faults)
    key = _key(options.get("key"), f"{path}.key", faults)
    password = options.get("password")
    if password is not None and (not isinstance(password, str) or "\n" in password):
        faults.add(f"{path}.password", "is not a line of text", "set it with --secret --path")
    firewall = word(
        options.get("firewall", "own"), f"{path}.firewall", FIREWALLS, "firewall", faults
    )
    host_key = options.get("hostKey")
    if host_key is None and len(faults) == before:
        _offer(host, port, f"{path}.hostKey", faults)
    elif host_key is not None and not _is_host_key(host_key):
        fix = "write the first two words of the machine's /etc/ssh/ssh_host_ed25519_key.pub"
        faults.add(f"{path}.hostKey", f"{shown(host_key)} is no SSH host key", fix)
    return Adopt(
        host=host,
        host_key=" ".join(str(host_key).split()[:2]),
        user=user,
        port=port,
        key=key,
        password=password if isinstance(password, str) else None,
        managed=firewall == "managed",
    )


def ask(asked: str) -> dict[str, Any]:
    """What ``operate look`` says."""
    done = subprocess.run(
        [sys.executable, "-m", "operate", "look"],
        cwd=PROJECT,
        input=asked,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        why = f"the machine could not be looked at: operate ended with {done.returncode}: {last[0]}"
        return {"reached": False, "why": why, "away": False}
    return dict(json.loads(done.stdout))


def fingerprint(host_key: str) -> str:
    """As ``ssh-keygen -l`` shows it: SHA256 and base64 without padding (RFC 4648)."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _scanned(host: str, port: int, *family: str) -> tuple[list[str], str]:
    """The lines of ssh-keyscan that hold a key, and what it says besides."""
    words = ["ssh-keyscan", *family, "-T", str(SCAN), "-p", str(port)]
    words += ["-t", "ed25519,ecdsa,rsa", host]
    done = subprocess.run(words, capture_output=True, check=False)
    said = done.stdout.decode(errors="replace").splitlines()
    return [line for line in said if line[:1] != "#"], done.stderr.decode(errors="replace")


def _offer(host: str, port: int, path: str, faults: Collector) -> None:
    """Show the key that the machine offers, which is not to be trusted before it was compared."""
    try:
        said, why = _scanned(host, port)
        # It asks the first address that a name has and no other, unlike ssh.
        for family in () if _is_address(host) else ("-4", "-6"):
            said = said or _scanned(host, port, family)[0]
    except FileNotFoundError:
        faults.add(path, "missing, and ssh-keyscan is not here to ask", "install OpenSSH's client")
        return
    offered = [" ".join(line.split()[1:3]) for line in said]
    order = ("ssh-ed25519", "ecdsa", "ssh-rsa")
    offered.sort(key=lambda k: next(i for i, kind in enumerate((*order, "")) if k.startswith(kind)))
    if not offered and "getaddrinfo" in why:
        reason = f"missing, and {host} is no name that can be resolved"
        fix = "check vps.host, or write the address (your ~/.ssh/config is not read)"
        faults.add(path, reason, fix)
        return
    if not offered:
        reason = f"missing, and no SSH server answers at {host} port {port}"
        faults.add(path, reason, "check vps.host, vps.port and the provider's firewall")
        return
    kind = offered[0].split()[0]
    file = f"ssh_host_{kind.removeprefix('ssh-').partition('-')[0]}_key.pub"
    faults.add(
        path,
        f"missing; {host} shows {kind} {fingerprint(offered[0])}",
        f"compare it with `ssh-keygen -lf /etc/ssh/{file}` on the machine's"
        f" console, then: pulumi config set --path 'cgnat-relay:vps.hostKey' '{offered[0]}'",
    )


def _matching(
    value: object, path: str, pattern: re.Pattern[str], example: str, faults: Collector
) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    reason = "missing" if value is None else f"{shown(value)} is none"
    faults.add(path, reason, f"write one like {example}")
    return example


def _key(value: object, path: str, faults: Collector) -> str | None:
    """A private key's text or path; what might be a key's text is never shown."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        faults.add(path, "is neither a path nor a private key", "write ~/.ssh/id_ed25519")
        return None
    text = value.lstrip("\ufeff \t\r\n")
    if text.startswith(PEM):
        return text.replace("\r\n", "\n").rstrip("\n") + "\n"
    try:
        file = Path(value).expanduser()
        if file.is_file():
            if trouble := _unfit(file):
                faults.add(path, *trouble)
            return value  # each operator has another home
    except (OSError, RuntimeError, ValueError):  # too long for a path; no such user; a null byte
        pass
    if value.startswith(("/", "~", ".")) and value.isprintable():
        faults.add(path, f"there is no file {shown(value)}", "write ~/.ssh/id_ed25519")
    else:
        faults.add(
            path,
            "is neither the path of a file nor a private key in OpenSSH's or PEM's form",
            f"write ~/.ssh/id_ed25519, or the key as that file has it ({PUTTY})",
        )
    return None


def _unfit(file: Path) -> tuple[str, str] | None:
    """Why ssh would not use a file as a private key, and what to do; nothing of what it holds."""
    try:
        text = file.read_bytes()[:LARGEST]
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}", "make yourself its owner, chmod 600"
    if text.startswith(PUBLIC):
        if os.environ.get("SSH_AUTH_SOCK"):
            return None  # the agent has the other half
        return (
            f"{file} is the public half",
            "write the private key's file, or load it into an agent",
        )
    if b"\r" in text:
        return f"{file} has Windows line ends", f"sed -i 's/\\r$//' {file}"
    if not text.startswith(PEM.encode()):
        return f"{file} is no private key in OpenSSH's or PEM's form", f"name one ({PUTTY})"
    return None


def _is_host_key(value: object) -> bool:
    if not isinstance(value, str):
        return False
    text = " ".join(value.split()[:2])
    if not _HOST_KEY.fullmatch(text):
        return False
    try:
        blob = base64.b64decode(text.split()[1], validate=True)
    except binascii.Error:
        return False
    kind = text.split()[0].encode()
    return blob.startswith(len(kind).to_bytes(4, "big") + kind)


def _is_address(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
