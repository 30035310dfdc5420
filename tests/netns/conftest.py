"""The generated configs, brought up by wg-quick itself between namespaces."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components import wireguard
from components.device import device_config
from components.home import Way, home_config
from components.home_rules import home_rules
from components.keys import RelayKeys
from components.model import Home, Mode, Settings
from components.plan import STATIC, relay_plan
from components.wireguard import Uplink
from engine import build, obtain

from ..unit import samples
from ..waiting import eventually
from .topology import Host, internet

RELAY, RELAY6 = "198.51.100.7", "2001:db8:7::7"
HERE = Path(__file__).resolve().parent
TALK = [sys.executable, str(HERE / "talk.py")]
FORWARDS = [
    "80:8080",
    "80:8080/udp",
    "81:8081",
    "81:8081/udp",
    "9000-9002:9000/udp",
    "300-301:8082",
]


@pytest.fixture(scope="session")
def wg_env() -> dict[str, str]:
    return wireguard_env()


def wireguard_env() -> dict[str, str]:
    """wg-quick's environment: the kernel's WireGuard where there is one, else userspace."""
    env = {**os.environ}
    probe = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "wg0", "type", "wireguard"], capture_output=True
    )
    if probe.returncode:
        pinned = hashlib.sha256((HERE / "wireguard" / "go.sum").read_bytes()).hexdigest()[:12]
        binary = obtain.cache() / f"wireguard-go-{pinned}" / "wireguard"
        if not binary.exists():
            build_wireguard(binary)
        env["WG_QUICK_USERSPACE_IMPLEMENTATION"] = str(HERE / "wireguard-userspace")
        env["WIREGUARD_GO"] = str(binary)
    return env


def build_wireguard(binary: Path) -> None:
    """Build the userspace WireGuard from its pinned modules; Go's folders go away with it."""
    binary.parent.mkdir(parents=True, exist_ok=True)
    go = build.find_go(obtain.cache() / "engine" / "go-toolchain")
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        made = Path(folder) / binary.name
        subprocess.run(
            [go, "build", "-trimpath", "-o", str(made), "golang.zx2c4.com/wireguard"],
            cwd=HERE / "wireguard",
            env=build.environment(Path(folder) / "go"),
            check=True,
        )
        made.rename(binary)


@dataclass
class Lab:
    """The picture of ``topology``, with a relay and a home brought up from one ``Settings``."""

    net: dict[str, Host]
    settings: Settings
    keys: RelayKeys
    address: str = RELAY

    @property
    def way(self) -> Way:
        """The numbers that the relay has at its homes."""
        return Way(self.uplink.slot)

    def relay_up(self) -> None:
        relay = self.net["relay"]
        for file in relay_plan(self.settings, self.keys).files:
            if file.path.startswith("/etc/wireguard/"):
                relay.write(file.path, file.content)
        relay.run("wg-quick up wg0")

    def firewall_up(self) -> None:
        """The relay's own firewall, by the script that its unit runs."""
        relay = self.net["relay"]
        relay.run("mount -t tmpfs none /mnt")  # where nothing else is, in a namespace of its own
        for file in relay_plan(self.settings, self.keys).files:
            if file.path.startswith("/etc/cgnat-relay/"):
                relay.write(f"/mnt/{Path(file.path).name}", file.content)
        self.firewall("up")

    def firewall(self, action: str) -> None:
        """Run the firewall's script, on the files where ``firewall_up`` put them."""
        text = (STATIC / "firewall").read_text().replace("/etc/cgnat-relay/", "/mnt/")
        self.net["relay"].run(["sh", "-c", text, "firewall", action])

    @property
    def uplink(self) -> Uplink:
        dial = f"{self.address}:{self.settings.tunnel.newest_port}"
        return Uplink(self.keys.newest.public, dial, self.keys.identity)

    def home(self, name: str = "home") -> Home:
        return next(home for home in self.settings.homes if home.name == name)

    def home_up(
        self,
        mode: Mode | None = None,
        private: str = "",
        name: str = "home",
        wg: str = "wg0",
        host: str = "home",
    ) -> None:
        """Home ``name`` of the config on a host; what the relay thinks of it stays as it is.

        ``private`` is the key that the home's owner puts where the placeholder is.
        """
        config = self.home(name)
        config = replace(config, mode=mode or config.mode)
        text = home_config(config, self.settings.tunnel, self.keys.peers[name].newest, self.uplink)
        home = self.net[host]
        home.write(f"/etc/wireguard/{wg}.conf", text.replace(wireguard.PLACEHOLDER, private))
        rules = home_rules(config, self.uplink)
        if rules is not None:
            home.write(f"/etc/wireguard/{wg}.rules", rules)
        self.dial(host, wg)

    def device_up(self, name: str, host: str = "phone", wg: str = "wg0") -> None:
        """Device ``name`` of the config, on a host."""
        device = next(d for d in self.settings.devices if d.name == name)
        text = device_config(
            device, self.settings.tunnel, self.keys.peers[name].newest, self.uplink
        )
        self.net[host].write(f"/etc/wireguard/{wg}.conf", text)
        self.dial(host, wg)

    def dial(self, name: str, wg: str) -> None:
        """Bring a tunnel up that is on a host's disk, and wait until the relay has answered."""
        host = self.net[name]
        host.run(f"wg-quick up {wg}")
        eventually(
            lambda: host.run(f"wg show {wg} latest-handshakes").split()[-1] != "0", "handshake"
        )

    def serve(self, host: str, port: int, verb: str = "serve", at: str = "0.0.0.0") -> None:  # noqa: S104
        self.net[host].start([*TALK, verb, at, str(port)])
        self.listens(host, at, port)

    def listens(self, host: str, at: str, port: int) -> None:
        """Wait until someone listens there."""
        listening = f"{'[' + at + ']' if ':' in at else at}:{port} "
        eventually(
            lambda: listening in self.net[host].run("ss -Hlntu"), f"{host} listens on {listening}"
        )

    def largest_segment(self, port: int, to: str = RELAY) -> int:
        """How much the client may send in one segment, in bytes."""
        return int(self.call("size", port, to=to))

    def call(
        self,
        kind: str,
        port: int,
        source: int = 0,
        host: str = "client",
        to: str = "",
        own: str = "",
    ) -> str:
        """What the far side saw, or an empty text where nothing answered."""
        command = [*TALK, kind, to or self.address, str(port), str(source), own]
        return self.net[host].run(command, check=False).strip()

    def both(self, port: int, **how: str) -> list[str]:
        """What the far side saw by TCP and by UDP."""
        return [self.call(kind, port, **how) for kind in ("tcp", "udp")]

    def serve_both(self, host: str, port: int) -> None:
        """A server of TCP and UDP in both address families."""
        self.serve(host, port)
        self.serve(host, port, at="::")

    def inner(self, name: str) -> tuple[str, str]:
        """A peer's addresses in the tunnel, IPv4 first; one of them may be missing."""
        peer = next(peer for peer in self.settings.peers if peer.name == name)
        addresses = [*map(str, self.settings.tunnel.addresses(peer)), ""]
        return addresses[0], addresses[1]

    def calls(
        self, *asked: tuple[str, int], host: str = "client", to: str = ""
    ) -> dict[tuple[str, int], str]:
        """The same for many (kind, port) at once: silence takes two seconds each."""
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = pool.map(lambda ask: self.call(*ask, host=host, to=to), asked)
            return dict(zip(asked, answers, strict=True))


def make(net: dict[str, Host], whole: dict[str, Any] | None = None, **raw: Any) -> Lab:
    """A relay and one home, with more keys of that home (``raw``) and of the config (``whole``)."""
    home = {"name": "home", "forwards": FORWARDS, **raw}
    settings = samples.settings(**{"homes": [home], **(whole or {})})
    keys = samples.keys(settings)
    return Lab(net, settings.drawn(keys.prefix), keys)


@pytest.fixture(scope="module")
def net(wg_env: dict[str, str]) -> Iterator[dict[str, Host]]:
    with internet(wg_env) as made:
        yield made
