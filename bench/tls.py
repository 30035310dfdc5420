"""What the tunnel inside TLS costs in throughput, against the bare tunnel.

    python3 -m bench.tls [--pairs N] [--seconds S]

A caller downloads from a home through the relay by iperf3, one TCP stream, in network namespaces;
the two ways in turn. It needs root, iperf3, and socat as the relay and the home run it.
"""

from __future__ import annotations

import json
import statistics

from tests.netns.conftest import RELAY, make, wireguard_env
from tests.netns.topology import Host, internet
from tests.netns.watching import Watched, home_speaks_tls, local, relay_serves_tls
from tests.waiting import eventually

from . import cli

PORT = 5201


def download(client: Host, seconds: int) -> float:
    """Mbit/s that the caller received."""
    words = f"iperf3 -c {RELAY} -p {PORT} -R -t {seconds} -O 1 -J"
    found = json.loads(client.run(words, timeout=seconds + 20))
    return float(found["end"]["sum_received"]["bits_per_second"]) / 1e6


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.tls", __doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"bare": [], "TLS": []}
    with internet(wireguard_env()) as net:
        lab = make(net, {"tunnel": {"tls": True}}, forwards=["80:8080", PORT])
        lab.relay_up()
        relay_serves_tls(lab)
        home = Watched(lab)
        home_speaks_tls(home)
        home.host.start(["iperf3", "-s", "-p", str(PORT)])
        eventually(lambda: f":{PORT} " in home.host.run("ss -Hlnt"), "iperf3 listens")
        peer = lab.keys.wireguard.public
        for _ in range(options.pairs):
            for way, endpoint in (("bare", f"{RELAY}:51820"), ("TLS", local(home))):
                home.host.run(f"wg set wg0 peer {peer} endpoint {endpoint}")
                eventually(lambda: home.host.run("ping -c 1 -W 2 -I wg0 172.16.0.1"), "the relay")
                found[way].append(download(net["client"], options.seconds))
    for way, runs in found.items():
        spread = f"{min(runs):.0f} to {max(runs):.0f}"
        print(f"{way}: {statistics.median(runs):.0f} Mbit/s, median of {len(runs)} ({spread})")


if __name__ == "__main__":
    main()
