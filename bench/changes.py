"""What a change costs on a relay that runs, over a link of 50 ms.

    python3 -m bench.changes [--pairs N]

A machine is adopted, a home joins, and the link gets 50 ms of round trip (netem, in the machine).
1. A port is added: seconds from the start of ``pulumi up`` to the first answer through it, against
   an ``up`` without a change; N interleaved pairs. How many SSH connections it took.
2. The same with 1,000 forwards of 250 homes: N changes of one port, against those with one home.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

from tests.vm.adopted import Adopted, fresh

HOMES, EACH = 250, 4
ROUND_TRIP = "50ms"
PORT = "8443:8080"
FEW = ["80:8080"]
DELAY = "tc qdisc add dev $(ip -o route show default | awk '{ print $5; exit }') root netem delay "
LETS_IN = "journalctl -q -o cat -t sshd -t sshd-session | grep -c 'Accepted publickey' || :"


def configure(machine: Adopted, forwards: list[str], more: int) -> None:
    """The first home with those forwards, and so many other homes."""
    homes = [
        {
            "name": f"home{n}",
            "address": f"10.77.1.{n + 1}",
            "forwards": [f"{10_000 + EACH * n + k}:80" for k in range(EACH)],
        }
        for n in range(more)
    ]
    first = {"name": "home", "address": "10.77.0.2", "forwards": forwards}
    machine.configure(homes=[first, *homes], tunnel={"network": "10.77.0.0/16"})


def changed(machine: Adopted) -> tuple[float, float]:
    """Seconds from the start of an ``up`` until the new port answers, and until it has ended."""
    began = time.monotonic()
    first: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set() and not first:
            if machine.answers(8443):
                first.append(time.monotonic() - began)
            else:
                over.wait(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        machine.up()
        ended = time.monotonic() - began
        asking.join(timeout=30)
    finally:
        over.set()
        asking.join()
    if not first:
        raise SystemExit("the port that was added never answered")
    return first[0], ended


def unchanged(machine: Adopted) -> float:
    """Seconds of an ``up`` that has nothing to do."""
    began = time.monotonic()
    machine.up()
    return time.monotonic() - began


def logins(machine: Adopted) -> int:
    """How often SSH has let somebody in."""
    return int(machine.run(LETS_IN))


def series(machine: Adopted, pairs: int, more: int) -> dict[str, list[float]]:
    """N times: no change, a port in, and out again."""
    found: dict[str, list[float]] = {"no change": [], "first answer": [], "up": [], "logins": []}
    for _ in range(pairs):
        found["no change"].append(unchanged(machine))
        configure(machine, [*FEW, PORT], more)
        before = logins(machine)
        first, ended = changed(machine)
        found["logins"].append(logins(machine) - before)
        found["first answer"].append(first)
        found["up"].append(ended)
        configure(machine, FEW, more)
        machine.up()
    return found


def show(label: str, values: list[float]) -> None:
    """A line: the median, least and most."""
    middle = statistics.median(values)
    print(f"{label:<44} {middle:6.2f} ({min(values):.2f} to {max(values):.2f})", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python3 -m bench.changes", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        fresh(Path(name)) as machine,
    ):
        configure(machine, FEW, 0)
        machine.up()
        machine.house()
        machine.run(DELAY + ROUND_TRIP)
        one = series(machine, pairs, 0)
        report("1 forward, 1 home", one)
        configure(machine, FEW, HOMES)
        machine.up()
        many = series(machine, pairs, HOMES)
        report(f"{HOMES * EACH} forwards more, {HOMES} homes", many)
        machine.destroy()
    ratio = statistics.median(many["up"]) / statistics.median(one["up"])
    print(f"up with a port added, many against one: {ratio:.2f}")


def report(label: str, found: dict[str, list[float]]) -> None:
    """Seconds: medians, least and most."""
    show(f"{label}: up without a change, s", found["no change"])
    show(f"{label}: first answer by a new port, s", found["first answer"])
    show(f"{label}: up with it, s", found["up"])
    more = [a - b for a, b in zip(found["first answer"], found["no change"], strict=True)]
    show(f"{label}: answer after a no-op up's time, s", more)
    show(f"{label}: SSH connections", found["logins"])


if __name__ == "__main__":
    main()
