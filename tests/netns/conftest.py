"""The generated configs, brought up by wg-quick itself between namespaces."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components import wireguard
from components.keys import RelayKeys
from components.model import Mode, Settings
from components.plan import relay_plan
from components.wireguard import Uplink
from engine import build, obtain

from ..unit import samples
from ..waiting import eventually
from .topology import Host, internet

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

    def relay_up(self) -> None:
        relay = self.net["relay"]
        for file in relay_plan(self.settings, self.keys).files:
            if file.path.startswith("/etc/wireguard/"):
                relay.write(file.path, file.content)
        relay.run("wg-quick up wg0")

    def home_up(self, mode: Mode, private: str = "") -> None:
        """Only the home's side: what the relay thinks of the mode stays as it is.

        ``private`` is the key that the home's owner puts where the placeholder is.
        """
        first = replace(self.settings.homes[0], mode=mode)
        keys = self.keys.homes[first.name]
        uplink = Uplink(self.keys.wireguard.public, f"198.51.100.7:{self.settings.tunnel.port}")
        text = wireguard.home_config(first, self.settings.tunnel, keys, uplink)
        home = self.net["home"]
        home.write("/etc/wireguard/wg0.conf", text.replace(wireguard.PLACEHOLDER, private))
        home.run("wg-quick up wg0")
        eventually(
            lambda: home.run("wg show wg0 latest-handshakes").split()[-1] != "0", "handshake"
        )

    def serve(self, host: str, port: int, verb: str = "serve") -> None:
        self.net[host].start([*TALK, verb, "0.0.0.0", str(port)])  # noqa: S104
        eventually(
            lambda: str(port) in self.net[host].run("ss -Hlntu"), f"{host} listens on {port}"
        )

    def largest_segment(self, port: int) -> int:
        """How much the client may send in one segment, in bytes."""
        return int(self.call("size", port))

    def call(self, kind: str, port: int, source: int = 0, host: str = "client") -> str:
        """What the far side saw, or an empty text where nothing answered."""
        command = [*TALK, kind, "198.51.100.7", str(port), str(source)]
        return self.net[host].run(command, check=False).strip()


def make(net: dict[str, Host], **raw: Any) -> Lab:
    settings = samples.settings(homes=[{"name": "home", "forwards": FORWARDS, **raw}])
    return Lab(net, settings, samples.keys(settings))


@pytest.fixture(scope="module")
def net(wg_env: dict[str, str]) -> Iterator[dict[str, Host]]:
    with internet(wg_env) as made:
        yield made
