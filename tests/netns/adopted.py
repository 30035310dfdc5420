"""A machine of someone else's, to be looked at before it is adopted.

Its network is a namespace of its own, and its files are this machine's under an overlay, so that
anything can be changed there. Made for it, as a sound machine has them: os-release, the folder that
tells of systemd, the kernel's list of built-in modules. The rest is real.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from components.carrier import SURVEY
from components.plan import STATIC

from .topology import Host

ADDRESS = "203.0.113.7"
MODULES = {
    "wireguard": "drivers/net/wireguard/wireguard.ko",
    "nf_tables": "net/netfilter/nf_tables.ko",
    "nft_chain_nat": "net/netfilter/nft_chain_nat.ko",
    "nft_compat": "net/netfilter/nft_compat.ko",
}
TERMS = (
    "interface wg0",
    "network 172.16.0.0/24",
    "udp 51820",
    "port tcp/80",
    "port tcp/443",
    "port udp/27015-27020",
    "package not-there-yet",
    "ipv6",
    f"dialled {ADDRESS}",
)
ROOT = "/mnt/root"
# Sysfs tells of the network namespace that it was mounted from.
MOUNTS = f"""set -eu
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work {ROOT}
mount -t overlay none -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work {ROOT}
mount --rbind /proc {ROOT}/proc
mount -t sysfs none {ROOT}/sys
mount --bind /dev {ROOT}/dev
mount --bind /run {ROOT}/run
mkdir -p {ROOT}/etc/wireguard
mount --bind /etc/wireguard {ROOT}/etc/wireguard
mkdir -p /run/systemd/system /run/look
rm -f {ROOT}/.dockerenv
ip link add eth0 type veth peer name provider
ip link set provider up
ip addr add {ADDRESS}/24 dev eth0
ip link set eth0 up
"""
# Nothing can be changed by who only looks.
LOOK = f"mount -o remount,bind,ro {ROOT} && mount -o remount,bind,ro {ROOT}/run && exec chroot"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"


def survey(write: Callable[[str, str], None], folder: str) -> None:
    """Lay down what looks at a machine before it is adopted."""
    for name in SURVEY:
        write(f"{folder}/{name}", (STATIC / name).read_text())


class Machine:
    """A sound machine: ``look`` finds nothing until a test has brought it into trouble."""

    def __init__(self, host: Host) -> None:
        """Needs overlayfs."""
        self.host = host
        self.host.run(["sh", "-c", MOUNTS])
        self.modules()
        self.write("/etc/os-release", 'PRETTY_NAME="Debian 12"\nID=debian\nVERSION_ID="12"\n')
        survey(self.write, "/run/look")
        self.run("chmod -R a+rX /run/look")

    def run(self, command: str, check: bool = True) -> str:
        """A line of shell in its own files."""
        return self.host.run(["chroot", ROOT, "sh", "-c", command], check=check)

    def write(self, path: str, text: str) -> None:
        """A file in its own files; its folder is made."""
        command = f'mkdir -p "{Path(path).parent}" && cat > "{path}"'
        self.host.run(["chroot", ROOT, "sh", "-c", command], stdin=text)

    def modules(self, *without: str, listed: str = "modules.builtin") -> None:
        """A stand-in for the list of the kernel's modules, and nothing else that tells of them."""
        lines = [f"kernel/{path}\n" for name, path in MODULES.items() if name not in without]
        folder = f"/lib/modules/{os.uname().release}"
        self.run(f"rm -rf {folder}")
        self.write(f"{folder}/{listed}", "".join(lines))
        if without or listed != "modules.builtin":
            self.host.run(f"mount --bind /dev/null {ROOT}/proc/kallsyms")
            self.host.run(f"mount -t tmpfs none {ROOT}/sys/module")

    def look(
        self, *more: str, terms: Iterable[str] = TERMS, ahead: int = 0, user: str = ""
    ) -> list[tuple[str, str, str]]:
        """Each finding: kind, cause, fix. ``ahead`` is by how many seconds the clock is."""
        lines = [*terms, f"now {int(time.time()) - ahead}", *more]
        self.write("/run/look/terms", "".join(f"{line}\n" for line in lines))
        command = f"{LOOK} {ROOT} {user} sh /run/look/preflight /run/look"
        done = subprocess.run(
            self.host.argv(["unshare", "--mount", "sh", "-c", command]),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        findings = [line.split("\t") for line in done.stdout.splitlines()]
        assert all(len(f) == 3 and all(f) and f[0] in ("fault", "note") for f in findings), findings
        return [(kind, cause, fix) for kind, cause, fix in findings]

    def causes(self, *more: str, **how: object) -> list[str]:
        """The causes alone."""
        return [cause for _, cause, _ in self.look(*more, **how)]  # type: ignore[arg-type]
