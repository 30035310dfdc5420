"""What an idle home costs a day, counted on the relay's line by kind of WireGuard message."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from .arms import Arm

DAY = 86_400  # seconds
KINDS = {"initiation": 1, "response": 2, "data": 4}  # the first byte of WireGuard's messages
WAYS = {"received": ("input", "iifname", "dport"), "sent": ("output", "oifname", "sport")}


@dataclass
class Counter:
    """Counts packets and bytes, IP header included, from when it is made."""

    arm: Arm
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.arm.net["relay"].run("nft -f -", stdin=self._rules())

    def _rules(self) -> str:
        port, lines = self.arm.lab.settings.tunnel.port, ["table inet count {"]
        for way, (hook, name, end) in WAYS.items():
            lines += [f"counter {way}_{kind} {{ }}" for kind in KINDS]
            lines.append(f"chain {way} {{ type filter hook {hook} priority -300;")
            for kind, byte in KINDS.items():
                match = f'{name} "eth0" udp {end} {port} @th,64,8 {byte}'
                lines.append(f"{match} counter name {way}_{kind}")
            lines.append("}")
        return "\n".join([*lines, "}"])

    def read(self) -> dict[str, Any]:
        """Packets and bytes by way and kind, the seconds they took, and bytes a day."""
        seconds = time.monotonic() - self.began
        listed = json.loads(self.arm.net["relay"].run("nft -j list counters table inet count"))
        counters = [row["counter"] for row in listed["nftables"] if "counter" in row]
        seen = {c["name"]: {"packets": c["packets"], "bytes": c["bytes"]} for c in counters}
        per_day = sum(c["bytes"] for c in counters) / seconds * DAY
        return {"seconds": round(seconds, 1), "seen": seen, "bytes_per_day": round(per_day)}
