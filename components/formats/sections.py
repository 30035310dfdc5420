"""The text of a ``wg0.conf``, taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sections:
    """``[Interface]`` and the one ``[Peer]``, each as keys and values in the text's order.

    A key may be there more than once. It holds private keys, so ``repr`` shows none of it.
    """

    interface: Pairs = field(repr=False)
    peer: Pairs = field(repr=False)

    @property
    def hooks(self) -> bool:
        """Whether wg-quick would run commands."""
        return any(key in ("PreUp", "PostUp", "PreDown", "PostDown") for key, _ in self.interface)

    def commands(self, key: str, interface: str) -> list[str]:
        """What wg-quick would run at ``PreUp``, ``PostUp``, ``PreDown`` or ``PostDown``."""
        return [value.replace("%i", interface) for k, value in self.interface if k == key]


def sections(config: str) -> Sections:
    """What a text of ``home_config`` says."""
    found: dict[str, list[tuple[str, str]]] = {"[Interface]": [], "[Peer]": []}
    current = ""
    for line in config.splitlines():
        if line in found:
            current = line
        elif line:
            key, _, value = line.partition(" = ")
            found[current].append((key, value))
    return Sections(tuple(found["[Interface]"]), tuple(found["[Peer]"]))
