"""A home that is looked after: the files of its installer, and the watch, run once by hand."""

from __future__ import annotations

import re
import subprocess
import time

from components.installer import STATIC, home_files
from components.plan import relay_plan
from components.wireguard import Uplink

from ..waiting import eventually
from .conftest import RELAY, Lab
from .topology import Host
from .units import CREDENTIALS, command

NAME = "relay.example.org"


class Watched:
    """Home ``home`` of a lab, up, with its installer's files beside its config."""

    def __init__(self, lab: Lab, by_name: bool = False, wait: bool = True) -> None:
        self.lab, self.host = lab, lab.net["home"]
        endpoint = f"{NAME if by_name else RELAY}:{lab.settings.tunnel.port}"
        uplink = Uplink(lab.keys.wireguard.public, endpoint)
        self.files = home_files(lab.home(), lab.settings.tunnel, lab.keys, uplink)
        if by_name:
            self.host.write("/run/hosts", "")
            self.host.run("mount --bind /run/hosts /etc/hosts")
            names(self.host, RELAY)
        self.host.write("/run/watch", (STATIC / "watch").read_text())
        for file, text in (("wg0.watch", "watch.facts"), ("wg0.conf", "conf")):
            self.host.write(f"/etc/wireguard/{file}", self.files[text])
        self.host.run("wg-quick up wg0")
        lab.serve("home", 8080)
        if wait:
            eventually(lambda: self.handshake() > 0, "handshake")

    def watch(self) -> str:
        """What the watch says; what it did can be seen in WireGuard."""
        return self.host.run(["sh", "-c", "sh /run/watch wg0 2>&1"], timeout=120).strip()

    def endpoint(self) -> str:
        return self.host.run("wg show wg0 endpoints").split()[-1]

    def handshake(self) -> int:
        return int(self.host.run("wg show wg0 latest-handshakes").split()[-1])

    def sent(self) -> int:
        """Bytes into the tunnel."""
        return int(self.host.run("wg show wg0 transfer").split()[-1])

    def idle(self, seconds: float = 12) -> None:
        """Wait until nothing has been sent for so long that the relay has answered what was."""
        until = time.monotonic() + 60
        last, since = self.sent(), time.monotonic()
        while time.monotonic() < since + seconds:
            assert time.monotonic() < until, f"home goes on sending, {last} bytes up to now"
            time.sleep(0.2)
            if (now := self.sent()) != last:
                last, since = now, time.monotonic()

    def answers(self, kind: str = "tcp") -> str:
        """Whom home names to a caller; silence takes two seconds."""
        return self.lab.call(kind, 80)


def names(host: Host, address: str) -> None:
    """What the relay's name means on this host from now on."""
    host.run(["sh", "-c", "cat > /run/hosts"], stdin=f"127.0.0.1 localhost\n{address} {NAME}\n")


def relay_serves_tls(lab: Lab) -> subprocess.Popen[str]:
    """The relay's TLS unit, by the plan's own files."""
    plan = relay_plan(lab.settings, lab.keys)
    files = {file.path: file.content for file in plan.files}
    relay = lab.net["relay"]
    relay.run(f"mkdir {CREDENTIALS}")
    relay.write(f"{CREDENTIALS}/tls.pem", files["/etc/cgnat-relay/tls.pem"])
    unit = files["/etc/systemd/system/cgnat-relay-tls.service"]
    process = relay.start(command(unit, files["/etc/cgnat-relay/tls.env"]))
    eventually(lambda: ":443 " in relay.run("ss -Hlnt"), "the relay listens")
    return process


def home_speaks_tls(home: Watched, certificate: str | None = None) -> subprocess.Popen[str]:
    """The home's TLS unit, by the installer's own files."""
    home.host.run(f"mkdir -p {CREDENTIALS}")
    home.host.write(f"{CREDENTIALS}/relay.crt", certificate or home.files["tls.crt"])
    unit = (STATIC / "tls-client.service").read_text()
    process = home.host.start(command(unit, home.files["tls.env"]))
    eventually(lambda: local(home) in home.host.run("ss -Hlnu"), "home's client listens")
    return process


def local(home: Watched) -> str:
    """What WireGuard dials to go through TLS."""
    return "127.0.0.1:" + re.findall(r"^LOCAL=(\d+)$", home.files["tls.env"], re.MULTILINE)[0]
