"""The same hosts twice: with the relay's generated configs, and with WireGuard alone.

Both arms have the same namespaces and links, so the same hops: client, internet, relay, carrier,
router, home. In arm ``relay`` the client dials the relay's address and all that is generated is at
work. In arm ``bare`` the client dials home's tunnel address: the internet routes the tunnel's
network to the relay, and relay and home do nothing but route, without one rule of nft or iptables
and without conntrack. So the ratio of the two is what DNAT, filter, marks and clamp cost together.

Arm ``tracked`` is arm ``bare`` with one stateful rule on relay and home, as any firewall has one:
what conntrack alone costs of that.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.wireguard import interface, peer, relay_peers
from tests.netns.conftest import RELAY, Lab, make
from tests.netns.topology import Host, internet
from tests.waiting import eventually

CLIENTS = "203.0.113.0/24"
LOAD, PING = 5201, 5300  # ports: iperf3's, and the round trips'
FORWARDS = [f"{LOAD}:{LOAD}/both", f"{PING}:{PING}"]


STATEFUL = """
table inet stateful {
  chain through { type filter hook forward priority 0; ct state established accept; }
  chain here { type filter hook input priority 0; ct state established accept; }
}
"""


@dataclass(frozen=True)
class Arm:
    """One set of hosts, and where its client dials."""

    name: str
    lab: Lab
    to: str

    @property
    def net(self) -> dict[str, Host]:
        """The hosts by name."""
        return self.lab.net

    def busy(self, host: str) -> list[str]:
        """The names of the processes on a host, apart from the one that holds its namespace."""
        found = []
        for pid in self.net[host].inside():
            with contextlib.suppress(OSError):  # it has ended since
                found.append(Path(f"/proc/{pid}/comm").read_text().strip())
        return sorted(found)


@contextlib.contextmanager
def relay_arm(env: dict[str, str]) -> Iterator[Arm]:
    """All that is generated, as a user has it by default."""
    with internet(env) as net:
        lab = make(net, forwards=FORWARDS)
        lab.relay_up()
        lab.home_up()
        yield Arm("relay", lab, RELAY)


# Run in another checkout: its configs for settings and keys that are made here.
RENDER = """
import json, pickle, sys
from components.home import home_config
from components.plan import relay_plan
settings, keys, uplink = pickle.load(sys.stdin.buffer)
home = settings.homes[0]
files = {file.path: file.content for file in relay_plan(settings, keys).files}
text = home_config(home, settings.tunnel, keys.peers[home.name], uplink)
json.dump({"relay": files, "home": {"/etc/wireguard/wg0.conf": text}}, sys.stdout)
"""


@contextlib.contextmanager
def other_arm(env: dict[str, str], checkout: Path) -> Iterator[Arm]:
    """The relay's arm as another checkout makes it, of the same names and fields in ``model``."""
    with internet(env) as net:
        lab = make(net, forwards=FORWARDS)
        done = subprocess.run(
            [sys.executable, "-c", RENDER],
            input=pickle.dumps((lab.settings, lab.keys, lab.uplink)),
            capture_output=True,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )
        if done.returncode:
            raise AssertionError(f"{checkout} renders nothing:\n{done.stderr.decode()}")
        for host, files in json.loads(done.stdout).items():
            for path, content in files.items():
                if path.startswith("/etc/wireguard/"):
                    net[host].write(path, content)
            net[host].run("wg-quick up wg0")
        yield Arm("other", lab, RELAY)


def bare_up(lab: Lab) -> None:
    """WireGuard and routes between relay and home, and a route to home's tunnel address."""
    net, tunnel, keys, home = lab.net, lab.settings.tunnel, lab.keys, lab.home()
    mine = keys.peers[home.name]
    at = f"{tunnel.relay}/{tunnel.network.prefixlen}"
    text = interface(tunnel, at, keys.wireguard.private, [f"ListenPort = {tunnel.port}"])
    net["relay"].write("/etc/wireguard/wg0.conf", text + relay_peers(lab.settings, keys))
    text = interface(tunnel, f"{home.address}/24", mine.private, ["Table = off"])
    text += peer(lab.uplink, mine.preshared, ["0.0.0.0/0"], tunnel.keepalive)
    net["home"].write("/etc/wireguard/wg0.conf", text)
    net["internet"].run(f"ip route add {tunnel.network} via {RELAY}")
    net["relay"].run("wg-quick up wg0")
    net["home"].run("wg-quick up wg0")
    net["home"].run(f"ip route add {CLIENTS} dev wg0")
    shown = "wg show wg0 latest-handshakes"
    eventually(lambda: net["home"].run(shown).split()[-1] != "0", "handshake")


@contextlib.contextmanager
def bare_arm(env: dict[str, str], tracked: bool = False) -> Iterator[Arm]:
    """WireGuard and routes; with a stateful rule on relay and home where it is ``tracked``."""
    with internet(env) as net:
        lab = make(net, forwards=FORWARDS)
        bare_up(lab)
        for host in ("relay", "home") if tracked else ():
            net[host].run("nft -f -", stdin=STATEFUL)
        yield Arm("tracked" if tracked else "bare", lab, str(lab.home().address))


def serve(arm: Arm) -> None:
    """What answers at home, in either arm: iperf3 and the round trips, on home's tunnel address.

    iperf3 connects its UDP socket, so it must be bound to the address that callers reach.
    """
    home, at = arm.net["home"], str(arm.lab.home().address)
    pingpong = Path(__file__).with_name("pingpong.py")
    home.start(["iperf3", "--server", "--bind", at, "--port", str(LOAD)])
    home.start(["python3", str(pingpong), "serve", at, str(PING)])
    for port in (LOAD, PING):
        arm.lab.listens("home", at, port)


WINDS_UP = ("busy", "unable to connect", "control socket")  # of iperf3, as a proxy hands it on


def iperf(
    arm: Arm, *words: str, timeout: float = 60, begins: Callable[[], object] = bool
) -> dict[str, Any]:
    """One run of iperf3 from the client; the end of its report.

    It is run again only while the server winds up the run before; ``begins`` is called before each.
    """
    command = ["iperf3", "--json", "--client", arm.to, "--port", str(LOAD), *words]
    found: dict[str, Any] = {}

    def run() -> bool:
        begins()
        said = json.loads(arm.net["client"].run(command, check=False, timeout=timeout) or "{}")
        found.clear()
        found.update(said)
        return not any(word in said.get("error", "") for word in WINDS_UP)

    eventually(run, f"iperf3 by {arm.name}", within=30)
    if "error" in found or "end" not in found:
        raise AssertionError(f"iperf3 by {arm.name}: {found.get('error', 'it said nothing')}")
    return dict(found["end"])
