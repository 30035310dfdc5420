"""Every host with the generated files, and one host's files swapped while the rest go on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

from components.plan import STATIC

from ...waiting import eventually
from ..topology import Host, hosts
from .config import HOSTS, Files, Generated
from .picture import COVETED, NAMES, SERVERS, wire

AGENT = Path(__file__).with_name("agent.py")
# The firewall's script, on files that lie where a namespace can have them.
FIREWALL = (STATIC / "firewall").read_text().replace("/etc/cgnat-relay/", "/etc/wireguard/")
SETUP = (
    (STATIC / "setup")
    .read_text()
    .replace("/etc/sysctl.d/60-cgnat-relay.conf", "/etc/wireguard/sysctl")
)
# What a kernel starts with, and sysctl.d(5) in three lines; a name may hold an asterisk.
BOOTED = """
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
ip -6 route flush proto ra
for file in /proc/sys/net/ipv6/conf/*/accept_ra; do echo 1 > "$file"; done
"""
SYSCTLS = """
sed -n 's/^-\\{0,1\\}\\([^= ]*\\) *= *\\(.*\\)/\\1 \\2/p' /etc/wireguard/sysctl |
while read -r key value; do
  for file in /proc/sys/$(echo "$key" | tr . /); do echo "$value" > "$file"; done
done
"""


class Agent:
    """A process in a host that serves and calls; many requests may be under way."""

    def __init__(self, host: Host) -> None:
        self.process: Popen[str] = Popen(
            host.argv([sys.executable, str(AGENT)]),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._waiting: dict[int, Future[str]] = {}
        self._lock = threading.Lock()
        self._next = 0
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, **request: Any) -> Future[str]:
        """What was seen, once it is known."""
        assert self.process.stdin
        with self._lock:
            self._next += 1
            future: Future[str] = Future()
            self._waiting[self._next] = future
            self.process.stdin.write(json.dumps({"id": self._next, **request}) + "\n")
            self.process.stdin.flush()
        return future

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            said = json.loads(line)
            self._waiting.pop(said["id"]).set_result(said["seen"])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(timeout=10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


class CannotStartError(Exception):
    """wg-quick or a loader refused a host's files."""


@dataclass
class World:
    """Hosts, their agents, and the generated files that they have now."""

    net: dict[str, Host] = field(repr=False)
    generated: Generated = field(repr=False)  # keys
    agents: dict[str, Agent] = field(default_factory=dict)
    up: set[str] = field(default_factory=set)
    has: dict[str, Files] = field(default_factory=dict, repr=False)

    def start(self) -> None:
        """Servers, then the relay, then everyone who dials it."""
        self.agents = {name: Agent(self.net[name]) for name in SERVERS}
        ready = [self.agents[name].ask(serve=servers) for name, servers in SERVERS.items()]
        assert {future.result(timeout=20) for future in ready} == {"ready"}
        self.apply("relay")
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.apply, HOSTS))

    def stop(self) -> None:
        """End the agents; the hosts end the rest."""
        for agent in self.agents.values():
            agent.stop()

    def apply(self, name: str, files: Files | None = None) -> None:
        """Take host ``name`` down and up again with these files, or with the generated ones.

        The relay's files are loaded as its units do it: firewall, sysctls, tunnel; then everyone
        dials it anew. Raises ``CannotStartError`` where wg-quick or a loader refuses;
        the interface is down then.
        """
        host = self.net[name]
        if name in self.up:
            host.run("wg-quick down wg0")
            self.up.discard(name)
        steps = [_write(files or self.generated.files[name]), "conntrack -F 2>/dev/null || :"]
        steps.append("sysctl -qw net.ipv4.conf.all.src_valid_mark=0")  # nobody takes it back
        if name == "relay":
            steps += [_firewall(), _sysctls()]
        steps.append("wg-quick up wg0 </dev/null")
        try:
            # By standard input: keys must not be seen in a list of processes.
            host.run("sh -eu", stdin="\n".join(steps), timeout=60)
        except AssertionError as error:
            raise CannotStartError(str(error)) from error
        self.up.add(name)
        self.has[name] = files or self.generated.files[name]
        if name == "relay":
            self.agents["internet"].ask(advertise="relay").result(timeout=5)
            self._covet()
        self._shake(self.up - {"relay"} if name == "relay" else {name}, dial=name == "relay")

    def load(self, path: str, content: str, anew: bool) -> bool:
        """One file of the relay's, on the living tunnel; whether such a file can be loaded so.

        By the command that loads it at a start too: a table or chain is replaced whole. ``anew``:
        the peers dial again, where a session that goes on would hide what its start needs.
        """
        name = path.rpartition("/")[2]
        tool = name.rpartition(".")[2]
        if path.startswith("/etc/cgnat-relay/"):
            command = _firewall()
        elif tool == "nft":
            command = f"cat /etc/wireguard/{name} | nft -f -"
        elif tool in ("iptables", "ip6tables"):
            command = f"cat /etc/wireguard/{name} | {tool}-restore --wait --noflush"
        elif tool == "conf" and path.startswith("/etc/sysctl.d/"):
            command = _sysctls()
        else:
            return False
        script = f"{_file(path, content)}\n{command}\nconntrack -F 2>/dev/null || :"
        self.net["relay"].run("sh -eu", stdin=script)
        if path.startswith("/etc/sysctl.d/"):
            self.agents["internet"].ask(advertise="relay").result(timeout=5)
        if anew:
            self._shake(self.up - {"relay"}, dial=True)
        return True

    def _covet(self) -> None:
        """The relay, as whoever rents it out could have it, sends homes what is not theirs."""
        relay, public = self.net["relay"], self.generated.keys.peers
        allowed = relay.run("wg show wg0 allowed-ips").splitlines()
        for name, more in COVETED.items():
            for line in allowed:
                key, *has = line.split()
                if key == public[name].public:
                    wanted = ",".join([*filter("(none)".__ne__, has), *more])
                    relay.run(["wg", "set", "wg0", "peer", key, "allowed-ips", wanted])
            for network in more:
                relay.run(f"ip route add {network} dev wg0 metric 9999")

    def _shake(self, names: set[str], dial: bool) -> None:
        """Wait for these peers' handshakes; where there is none, the probes will say so.

        A peer dials anew where its relay has, or its first handshake fell between two PostUps: a
        session that timed out would do the same seconds later.
        """
        left = set(names)

        def shaken(name: str) -> bool:
            return self.net[name].run("wg show wg0 latest-handshakes").split()[-1:] not in (
                [],
                ["0"],
            )

        with ThreadPoolExecutor() as pool:
            for _ in range(4):
                if dial:
                    list(pool.map(self._dial, left))
                dial = True
                with contextlib.suppress(AssertionError):
                    eventually(lambda now=left: all(pool.map(shaken, now)), "handshakes", 0.7)
                left = {name for name in left if not shaken(name)}
                if not left:
                    return

    def _dial(self, name: str) -> None:
        section = self.has[name]["/etc/wireguard/wg0.conf"].partition("[Peer]")[2]
        key = self.generated.keys.wireguard.public
        again = (
            f"wg set wg0 peer {key} remove\nwg addconf wg0 /dev/stdin <<'E'\n[Peer]{section}\nE\n"
        )
        self.net[name].run("sh -eu", stdin=again, check=False)


def _firewall() -> str:
    return _script(FIREWALL, "firewall up")


def _sysctls() -> str:
    return BOOTED + _script(SETUP, "setup advertisements") + SYSCTLS


def _script(text: str, words: str) -> str:
    quoted = text.replace("'", "'\\''")
    return f"sh -c '{quoted}' {words} </dev/null"


def _write(files: Files) -> str:
    """Shell that writes a host's files, and leaves no other."""
    written = [_file(path, content) for path, content in files.items()]
    return "\n".join(["umask 077", "rm -f /etc/wireguard/*", *written, ""])


def _file(path: str, content: str) -> str:
    """A file from a here-document; all lie in the one folder that a namespace has for itself."""
    at = "/etc/wireguard/sysctl" if path.startswith("/etc/sysctl.d/") else path
    at = at.replace("/etc/cgnat-relay/", "/etc/wireguard/")
    return f"cat > {at} <<'END-OF-FILE'\n{content.rstrip(chr(10))}\nEND-OF-FILE"


@contextlib.contextmanager
def world(env: dict[str, str], generated: Generated) -> Iterator[World]:
    """Everything up with the generated files."""
    with hosts(NAMES, env) as net:
        wire(net)
        made = World(net, generated)
        try:
            made.start()
            yield made
        finally:
            made.stop()
