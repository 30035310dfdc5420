"""The README's table of kinds, from what they say of themselves.

python3 -m components.overview
"""

from __future__ import annotations

from .kinds import ROWS

HEADER = ("kind", "machine", "address kept", "firewall outside", "IPv6", "user-data", "tested")


def table() -> str:
    """The table in Markdown, a row for each kind."""
    rows = [
        (
            f"`{kind}`",
            facts.title,
            facts.address,
            facts.firewall,
            facts.ipv6,
            limit,
            facts.tested,
        )
        for kind, (facts, limit) in ROWS.items()
    ]
    lines = [HEADER, tuple("---" for _ in HEADER), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(table(), end="")
