"""What a packet and a new connection cost on a relay with many forwards and peers.

    python3 -m bench.scale [--rounds N] [--limit S] [--sizes S,S] [--vm] [--json FILE]

One relay, one home that is connected, and peers that are configured and silent. The relay's rules
and peers are swapped from size to size (``bench/sizes.py``) as an update swaps them, and each size
is measured in turn, in an order that is drawn anew in each round, so that the machine's drift meets
all alike. The smallest size is measured twice in each round: what differs there is noise.
``--vm`` does it inside a lab VM, whose kernel has WireGuard.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from components.plan import STATIC, relay_plan
from components.wireguard import relay_peers
from tests.netns.conftest import RELAY, Lab, wireguard_env
from tests.netns.topology import internet
from tests.unit import samples

from . import cli, emulated, peers
from .cli import Keep
from .compare import made_with
from .dataplane import machine
from .origins import begun, ended
from .ratio import SEED, Ratio, ratio
from .sizes import ALL, FORWARDS, LARGEST, NAMED, PORT, SMALLEST, Size, read

AGAIN = "again"  # the smallest size a second time
# More is better, and the target for the ratio to the smallest size.
TARGETS = {
    "throughput": (True, 0.97),
    "round trip": (False, 1.05),
    "new connections": (True, 0.9),
}
UNITS = {"throughput": "Mbit/s", "round trip": "µs", "new connections": "1/s"}
ROUNDS, SECONDS = 30, 1  # and seconds of each load
LOAD = Path(__file__).with_name("load.py")


class Swapped:
    """A relay that is brought from size to size."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.relay = lab.net["relay"]

    def to(self, size: Size) -> None:
        """Rules in one transaction, peers that came or went; raises where they are not there."""
        settings = samples.settings(**size.config())
        peers = {peer.name: self.lab.keys.peers[peer.name] for peer in settings.peers}
        keys = replace(self.lab.keys, peers=peers)
        settings = settings.drawn(keys.prefix)
        files = {file.path: file.content for file in relay_plan(settings, keys).files}
        for family in ("ip", "ip6"):
            self.relay.run("nft -f -", stdin=files[f"/etc/wireguard/wg0.{family}.nft"])
        present = set(self.relay.run("wg show wg0 peers").split())
        wanted = {keys.public for keys in peers.values()}
        gone = [word for key in sorted(present - wanted) for word in ("peer", key, "remove")]
        if gone:
            self.relay.run(["wg", "set", "wg0", *gone])
        new = tuple(home for home in settings.homes if peers[home.name].public not in present)
        if new:
            text = relay_peers(replace(settings, homes=new), keys)
            self.relay.run("wg addconf wg0 /dev/stdin", stdin=text)
        self._there(size)

    def _there(self, size: Size) -> None:
        said = self.relay.run(["sh", "-c", (STATIC / "flows").read_text(), "flows", "list", "ip"])
        rules = [line for line in said.splitlines() if line.startswith(("ports ", "ranges "))]
        peers = self.relay.run("wg show wg0 peers").split()
        if (len(rules), len(peers)) != (1 if size.ranged else size.forwards, size.peers):
            raise AssertionError(f"{size}: {len(rules)} rules and {len(peers)} peers are loaded")

    def measure(self) -> dict[str, float]:
        """All of ``load.py``, by the one port that is answered."""
        words = [RELAY, str(PORT), str(SECONDS)]
        said = self.lab.net["client"].run(["python3", str(LOAD), "call", *words], timeout=120)
        return {name: float(value) for name, value in json.loads(said).items()}


def measure(
    sizes: Sequence[Size], rounds: int, limit: float, keep: Keep = lambda _: None
) -> dict[str, Any]:
    """Each size in each round, ``rounds`` times, or as often as fits in ``limit`` seconds.

    ``keep`` is given what there is after each round, for a run that does not end well.
    """
    env = wireguard_env()
    with internet(env) as net:
        keys = samples.keys(samples.settings(**LARGEST.config()))
        settings = samples.settings(**SMALLEST.config())
        lab = Lab(net, settings.drawn(keys.prefix), keys)
        lab.relay_up()
        lab.home_up()
        at = str(lab.home().address)
        net["home"].start(["python3", str(LOAD), "serve", at, str(PORT)])
        lab.listens("home", at, PORT)
        swapped = Swapped(lab)
        draw = random.Random(SEED)  # noqa: S311 - an order, not a secret
        found: list[dict[str, dict[str, float]]] = []
        began, made = time.monotonic(), begun()
        on = {"machine": machine(), **made_with(peers.Peers())}

        def so_far() -> dict[str, Any]:
            return {
                **on,
                **ended(made),
                "seconds": round(time.monotonic() - began, 1),
                "cut short": len(found) < rounds,
                "rounds": found,
            }

        while len(found) < rounds and time.monotonic() - began < limit:
            arms = [(str(size), size) for size in sizes] + [(AGAIN, SMALLEST)]
            draw.shuffle(arms)
            seen = {}
            for name, size in arms:
                swapped.to(size)
                seen[name] = swapped.measure()
            found.append(seen)
            keep(so_far())
        return so_far()


def compared(result: dict[str, Any], arm: str, what: str) -> Ratio:
    """One arm against one forward of as many peers, round by round."""
    rounds = result["rounds"]
    base = base_of(arm, rounds[0])
    return ratio([r[arm][what] for r in rounds], [r[base][what] for r in rounds])


def pooled(result: dict[str, Any], arms: Sequence[str], what: str) -> Ratio:
    """Several arms as one, each against its own base: the geometric mean of each round."""
    rounds = result["rounds"]

    def means(names: Sequence[str]) -> list[float]:
        return [statistics.geometric_mean(r[name][what] for name in names) for r in rounds]

    return ratio(means(arms), means([base_of(arm, rounds[0]) for arm in arms]))


def many(result: dict[str, Any], ranged: bool) -> list[str]:
    """The arms that have most forwards, of each number of peers."""
    sizes = (size for size in ALL if size.forwards == FORWARDS[-1] and size.ranged == ranged)
    return [str(size) for size in sizes if str(size) in result["rounds"][0]]


def base_of(arm: str, there: Iterable[str]) -> str:
    """What an arm is compared with: of one forward, what peers cost."""
    size = NAMED.get(arm, SMALLEST)
    base = str(Size(1, size.peers if size.forwards > 1 else 1))
    return base if base in there else str(SMALLEST)


def main() -> None:
    """Measure and print."""
    parser = cli.parser("bench.scale", __doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--limit", type=float, default=2400, help="seconds for all rounds")
    parser.add_argument("--sizes", default=None, help="FORWARDSxPEERS, as 1x1,1000x250,1000rx1")
    parser.add_argument("--vm", action="store_true", help="inside a lab VM, with its kernel")
    parser.add_argument("--json", type=Path, help="write machine and each round here")
    options = parser.parse_args()
    sizes = [read(word) for word in options.sizes.split(",")] if options.sizes else [*ALL]
    if SMALLEST not in sizes:
        sizes.insert(0, SMALLEST)
    if options.vm:
        words = ["--rounds", str(options.rounds), "--limit", str(options.limit)]
        words += ["--sizes", options.sizes] if options.sizes else []
        result = emulated.run(f"bench.scale {' '.join(words)}", options.limit + 900)
    else:
        kept = {"keep": partial(cli.write, options.json)} if options.json else {}
        result = measure(sizes, options.rounds, options.limit, **kept)
    cli.write(options.json, result)
    for arm in result["rounds"][0]:
        shown = [f"{what} {compared(result, arm, what)}" for what in TARGETS]
        print(f"{arm:<24} {'   '.join(shown)}", flush=True)


if __name__ == "__main__":
    cli.run(main)
