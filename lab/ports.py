"""Ports as users write them, and where on this machine they can be had."""

import errno
import itertools
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lab.errors import LabError

PATTERN = re.compile(r"(tcp|udp)/([0-9]{1,5})(?:-([0-9]{1,5}))?")
LAST = 65535
SHIFT = 10_000
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, order=True)
class Ports:
    """One port or a range, of one protocol: ``tcp/80``, ``udp/27015-27020``."""

    protocol: str
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> "Ports":
        """Read ``tcp/80`` or ``udp/27015-27020``."""
        found = PATTERN.fullmatch(text)
        if found:
            first = int(found[2])
            last = int(found[3] or first)
            if 1 <= first <= last <= LAST:
                return cls(found[1], first, last)
        raise LabError(
            f"{text!r} is no port: write tcp/80 or udp/27015-27020, "
            f"numbers from 1 to {LAST}, the lower one first"
        )

    def __str__(self) -> str:
        return f"{self.protocol}/{self.numbers()}"

    def numbers(self, offset: int = 0) -> str:
        """Give the numbers as text, moved up by ``offset``."""
        first, last = self.first + offset, self.last + offset
        return str(first) if first == last else f"{first}-{last}"

    def each(self, offset: int = 0) -> range:
        """Give every single port, moved up by ``offset``."""
        return range(self.first + offset, self.last + offset + 1)


def parse_all(texts: Iterable[str]) -> list[Ports]:
    """Read several ports, sorted, each once; two that share a port are refused."""
    ports = sorted({Ports.parse(text) for text in texts})
    for before, after in itertools.pairwise(ports):
        if before.protocol == after.protocol and after.first <= before.last:
            raise LabError(f"{before} and {after} share ports; declare each port once")
    return ports


def bindable(address: str, protocol: str, port: int) -> bool:
    """Tell whether this user can listen there now; below 1024 often only root can."""
    with socket.socket(socket.AF_INET, KINDS[protocol]) as listener:
        if protocol == "tcp":  # as QEMU does; for UDP it would hide that the port is in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            if protocol == "tcp":
                listener.listen(1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EADDRINUSE):
                return False
            raise LabError(
                f"this machine cannot listen on {address} ({error.strerror}); "
                "the lab needs the whole of 127.0.0.0/8 on its loopback interface, as Linux has it"
            ) from error
    return True


def place(ports: Ports, free: Callable[[str, int], bool]) -> int:
    """Choose where on the host these ports go: how far they are moved up.

    The same numbers if they can be had, else all moved by 10,000, 20,000 and so on.
    """
    for offset in range(0, LAST - ports.last + 1, SHIFT):
        if all(free(ports.protocol, port) for port in ports.each(offset)):
            return offset
    raise LabError(
        f"no port on this machine is left for {ports}: "
        f"{ports.numbers()} and every {SHIFT} above it are in use or not allowed to this user"
    )
