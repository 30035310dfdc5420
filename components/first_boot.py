"""What a provider takes as user-data: the whole plan where it fits, else what lets SSH in.

What was left out comes over SSH, as every later change does.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from enum import Enum

from .carrier import archive
from .keys import RelayKeys
from .plan import STATIC, File, HostPlan
from .userdata import cloud_config

END = "END"  # base64 has no such line: each of its is a multiple of four letters long
# A kind of MIME part that cloud-init unpacks, so that it passes where only text does.
MIME = (
    "Content-Type: application/gzip\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n{body}"
)
BOOTSTRAP = ("base", "firewall")


class Form(Enum):
    """What the provider takes: text for cloud-init, that in base64, or a shell script alone."""

    TEXT = "text"
    BASE64 = "base64"
    SCRIPT = "script"


class TooLarge(ValueError):  # noqa: N818 - says what is the matter
    """No user-data is within the limit; ``size`` is that of the smallest, in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"the smallest user-data has {size} bytes")


def first_boot(plan: HostPlan, keys: RelayKeys, form: Form, limit: int | None) -> str:
    """User-data in ``form``, the fullest that is within ``limit`` bytes; raises ``TooLarge``.

    It holds the SSH host key, and all other keys of the relay where the whole plan fits. Raises
    ValueError where there is no such key: an adopted machine has booted long ago.
    """
    size = 0
    for _, text in forms(plan, keys, form):
        size = len(text.encode())
        if limit is None or size <= limit:
            return text
    raise TooLarge(size)


def bootstrap(plan: HostPlan) -> HostPlan:
    """What a machine must have before the rest can come: packages, sshd, the firewall."""
    return HostPlan(
        packages=plan.packages,
        parts=tuple(part for part in plan.parts if part.name in BOOTSTRAP),
        units=tuple(unit for unit in plan.units if "firewall" in unit),
    )


def forms(plan: HostPlan, keys: RelayKeys, form: Form) -> Iterator[tuple[str, str]]:
    """The same plan readable, then compressed, then what lets SSH in alone; each with its name."""
    readable, compressed, alone = "readable", "compressed", "SSH alone"
    if form is Form.SCRIPT:
        yield compressed, launch_script(plan, keys)
        yield alone, launch_script(bootstrap(plan), keys)
        return
    whole = cloud_config(plan, keys)
    yield readable, _base64(whole.encode()) if form is Form.BASE64 else whole
    for name, text in ((compressed, whole), (alone, cloud_config(bootstrap(plan), keys))):
        packed = gzip.compress(text.encode(), mtime=0)
        if form is Form.BASE64:
            yield name, _base64(packed)
        else:
            yield name, MIME.format(body=base64.encodebytes(packed).decode())


def launch_script(plan: HostPlan, keys: RelayKeys) -> str:
    """``cloud-init/host/launch`` with the plan behind it, for a provider that takes no more."""
    if keys.host is None or keys.management is None:
        raise ValueError("no SSH keys for a first boot")
    lists = {"packages": plan.packages, "units": plan.units}
    members = [
        File("/etc/ssh/ssh_host_ed25519_key", keys.host.private, "0600"),
        File("/etc/ssh/ssh_host_ed25519_key.pub", f"{keys.host.public}\n"),
        File("/root/.ssh/authorized_keys", f"{keys.management.public}\n", "0600"),
        *(
            File(f"/run/cgnat-relay-launch/{name}", "".join(f"{word}\n" for word in words))
            for name, words in lists.items()
        ),
        *plan.files,
    ]
    head = (STATIC / "launch").read_text().rstrip("\n")
    body = base64.encodebytes(archive(members)).decode().rstrip("\n")
    return f"{head}\n\nlaunch <<'{END}'\n{body}\n{END}\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
