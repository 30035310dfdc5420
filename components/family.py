"""IPv4 and IPv6: the same rules, spelled twice."""

from __future__ import annotations

from enum import Enum


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
