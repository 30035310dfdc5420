"""IPv4 and IPv6: the same rules, spelled twice."""

from __future__ import annotations

from enum import Enum

# Protocol and port of a packet, to look up in a map or a set. Not "meta l4proto": where a set has
# intervals, nft (1.0.9) turns its one byte round as if it were two, which newer kernels refuse
# (Ubuntu's 6.8.0-151: "Operation not supported"). It asks conntrack, so not of what is no flow.
PORT = "ct protocol . th dport"


class Family(Enum):
    """An address family, and the words that the kernel's tools have for it."""

    V4 = 4
    V6 = 6

    @property
    def nft(self) -> str:
        """The family of an nft table, and the name of its header in a rule."""
        return "ip" if self is Family.V4 else "ip6"

    @property
    def address_type(self) -> str:
        """The nft type of an address."""
        return f"ipv{self.value}_addr"

    @property
    def iptables(self) -> str:
        """The command for filter rules."""
        return "iptables" if self is Family.V4 else "ip6tables"

    @property
    def ip(self) -> str:
        """ip(8), held to this family."""
        return f"ip -{self.value}"
