"""Rules whose absence no packet here can show, and why each is there."""

from __future__ import annotations

IDLE: dict[str, str] = {
    f'relay wg0.{ip}.nft: oifname != "wg0" {ip} daddr @homes drop': (
        "it is for a relay whose tunnel is down: test_flushed.py"
    )
    for ip in ("ip", "ip6")
}
