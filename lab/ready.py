"""Waiting for a VM: SSH answers, and with the host key that was given to it."""

import socket
import subprocess
import time

from lab import address, vm
from lab.errors import LabError
from lab.programs import find

PAUSE = 0.5  # seconds between two tries
BANNER = 3.0  # seconds for sshd to say its name
EXCHANGE = 20  # seconds for the key exchange: slow under emulation, and sshd has answered already
CONFIRMATION = 20.0  # seconds after which another host key is final
CONSOLE_LINES = 30
PANIC = "end Kernel panic"  # what a kernel says last


def wait(name: str, host_key: str, timeout: float = 600.0) -> None:
    """Return once SSH answers with exactly this host key (``ssh-ed25519 AAAA…``).

    Raises a LabError that tells why it does not: the VM died, SSH never opened, or it answers
    with another key, which means that cloud-init did not take the user-data as it was written.
    """
    kind, _, rest = host_key.strip().partition(" ")
    expected = rest.partition(" ")[0]
    if kind != "ssh-ed25519" or not expected:
        raise LabError("the host key must be given as `ssh-ed25519 AAAA…`, the text of a .pub file")
    reserved = address.require(name)
    host, port = reserved.reach, reserved.ssh_port
    deadline = time.monotonic() + timeout
    other_since: float | None = None
    while True:
        _must_live(name)
        found = offered_key(host, port, max(0.0, deadline - time.monotonic()))
        if found == expected:
            return
        now = time.monotonic()
        if found is None:
            other_since = None
        elif other_since is None:
            other_since = now
        if other_since is not None and (now - other_since > CONFIRMATION or now > deadline):
            raise LabError(
                f"SSH on {host}:{port} answers with another host key: "
                f"the machine's user-data did not run as written{_evidence(name)}"
            )
        if now > deadline:
            raise LabError(
                f"SSH on {host}:{port} never opened within {timeout:.0f} s{_evidence(name)}"
            )
        time.sleep(PAUSE)


def offered_key(host: str, port: int, limit: float) -> str | None:
    """Give the ed25519 host key that is offered there, in base64; None where none is.

    QEMU takes a connection before its guest can, so only a banner tells that sshd is there; then
    the exchange gets its time, also beyond the limit.
    """
    if not _has_banner(host, port, min(BANNER, limit)):
        return None
    done = subprocess.run(
        [find("ssh-keyscan"), "-T", str(EXCHANGE), "-p", str(port), "-t", "ed25519", host],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] == "ssh-ed25519":
            return words[2]
    return None


def _has_banner(host: str, port: int, limit: float) -> bool:
    if limit <= 0:
        return False
    try:
        with socket.create_connection((host, port), timeout=limit) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _must_live(name: str) -> None:
    state = vm.status(name)["state"]
    if state in ("absent", "reserved"):
        raise LabError(f"{name} was not started: run `python3 -m lab start {name}` first")
    if state != "running":
        raise LabError(f"the VM {name} has died{_evidence(name)}")
    if PANIC in vm.console(name, CONSOLE_LINES):
        raise LabError(f"the kernel of the VM {name} has died{_evidence(name)}")


def _evidence(name: str) -> str:
    """Give the end of the console, for a message."""
    try:
        lines = vm.console(name, CONSOLE_LINES)
    except LabError:
        return ""
    return f"; the end of its console:\n{lines}" if lines else "; its console is empty"
