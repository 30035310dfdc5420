"""The arms that are programs: frp, rathole, chisel and ``ssh -R``, as their manuals set them up.

What they carry is encrypted, as the tunnel is: frp with TLS (its default), rathole with noise,
chisel with the SSH inside it, OpenSSH with its own. All else is at its default. Their settings lie
in each host's own /run; who may dial is told by a token, a password or a key.
A port is added in the way that disturbs least: frp and rathole read their settings anew, chisel
gets a second client beside the first, OpenSSH is asked over its control socket.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.netns.conftest import RELAY, Lab, make
from tests.netns.topology import ENDS, Host
from tests.sshd import sshd_program
from tests.waiting import eventually

from .arms import LOAD, PING
from .contender import FORWARDS, MORE, Contender
from .line import way
from .origins import version
from .peers import Peers

HERE = "127.0.0.1"  # where the proxies' clients find the services at home
BASE = (("load", "tcp", LOAD, LOAD), ("echo", "tcp", PING, PING), ("datagrams", "udp", PING, PING))
ONE_MORE = ("more", "tcp", MORE, PING)
Port = tuple[str, str, int, int]  # a name, the protocol, the relay's port and home's
# Without a session, as by `ssh -N`, sshd leaves Nagle's delay on: 25 connections a second.
IDLE = ["exec", "sleep", "infinity"]
CONTROL = 7000  # where the programs on the relay listen for home


class Daemon:
    """A program on the relay that can be started again."""

    def __init__(self, host: Host, words: list[str]) -> None:
        self.host, self.words = host, words
        self.process = host.start(words)

    def restart(self) -> None:
        """End it, and start it anew."""
        self.process.terminate()
        self.process.wait(timeout=ENDS)
        self.process = self.host.start(self.words)


def arm(name: str, lab: Lab, **other: Any) -> Contender:
    """An arm that is a program; what is not said is as in most of them."""
    given: dict[str, Any] = {"to": RELAY, "at": HERE}
    return Contender(name=name, lab=lab, **(given | other))


def listening(lab: Lab, port: int) -> None:
    """Wait until somebody on the relay listens there, whatever the address."""
    words = f"ss -Hlnt sport = :{port}"
    eventually(lambda: lab.net["relay"].run(words).strip(), f"the relay listens on {port}")


def frp_ports(ports: tuple[Port, ...]) -> str:
    """The client's part of the settings."""
    return "".join(
        f'[[proxies]]\nname = "{name}"\ntype = "{kind}"\nlocalIP = "{HERE}"\n'
        f"localPort = {to}\nremotePort = {port}\n"
        for name, kind, port, to in ports
    )


@contextlib.contextmanager
def frp(env: dict[str, str], peers: Peers) -> Iterator[Contender]:
    """TLS between its two ends and one connection for all, as by default."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS)
        both = f'auth.token = "{secrets.token_hex()}"\nlog.level = "error"\n'
        net["relay"].write("/run/frps.toml", f"bindPort = {CONTROL}\n{both}")
        head = f'serverAddr = "{RELAY}"\nserverPort = {CONTROL}\n{both}'
        head += f'webServer.addr = "{HERE}"\nwebServer.port = 7400\n'  # `frpc reload` asks there
        net["home"].write("/run/frpc.toml", head + frp_ports(BASE))
        server = Daemon(net["relay"], [str(peers.programs["frps"]), "-c", "/run/frps.toml"])
        listening(lab, CONTROL)
        client = str(peers.programs["frpc"])
        net["home"].start([client, "-c", "/run/frpc.toml"])

        def add_port() -> None:
            net["home"].write("/run/frpc.toml", head + frp_ports((*BASE, ONE_MORE)))
            net["home"].run([client, "reload", "-c", "/run/frpc.toml"])

        yield arm(
            "frp",
            lab,
            version=version(peers.programs["frps"]),
            adds="`frpc reload` at home",
            add_port=add_port,
            restarts="`frps`",
            restart=server.restart,
        )


def rathole_services(side: str, ports: tuple[Port, ...]) -> str:
    """The services of one side, ``server`` or ``client``."""
    serves = side == "server"
    return "".join(
        f'[{side}.services.{name}]\ntype = "{kind}"\n'
        + (f'bind_addr = "0.0.0.0:{port}"\n' if serves else f'local_addr = "{HERE}:{to}"\n')
        for name, kind, port, to in ports
    )


@contextlib.contextmanager
def rathole(env: dict[str, str], peers: Peers) -> Iterator[Contender]:
    """Noise with a pinned key, as its manual shows it."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS)
        token, key = secrets.token_hex(), lab.keys.wireguard  # a pair of X25519, as noise takes it
        heads = {
            "server": f'[server]\nbind_addr = "0.0.0.0:{CONTROL}"\ndefault_token = "{token}"\n'
            '[server.transport]\ntype = "noise"\n'
            f'[server.transport.noise]\nlocal_private_key = "{key.private}"\n',
            "client": f'[client]\nremote_addr = "{RELAY}:{CONTROL}"\ndefault_token = "{token}"\n'
            '[client.transport]\ntype = "noise"\n'
            f'[client.transport.noise]\nremote_public_key = "{key.public}"\n',
        }
        sides = {"server": net["relay"], "client": net["home"]}

        def lay(ports: tuple[Port, ...]) -> None:
            for side, host in sides.items():
                host.write("/run/rathole.toml", heads[side] + rathole_services(side, ports))

        lay(BASE)
        words = [str(peers.programs["rathole"]), "/run/rathole.toml"]
        server = Daemon(net["relay"], [*words, "--server"])
        listening(lab, CONTROL)
        net["home"].start([*words, "--client"])
        yield arm(
            "rathole",
            lab,
            version=version(peers.programs["rathole"]),
            adds="its settings are read anew, on both sides",
            add_port=lambda: lay((*BASE, ONE_MORE)),
            restarts="`rathole` on the relay",
            restart=server.restart,
        )


# A command with its password in the environment, as chisel takes it, and what it says in a file.
KNOWN = ["sh", "-c", 'AUTH=$(cat /run/auth) exec "$@" 2>/run/said', "sh"]


@contextlib.contextmanager
def chisel(env: dict[str, str], peers: Peers) -> Iterator[Contender]:
    """SSH over a WebSocket, as by default; a password, and the server's key pinned."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS)
        program = str(peers.programs["chisel"])
        net["relay"].run([program, "server", "--keygen", "/run/key"])
        words = [program, "server", "--host", RELAY, "--port", str(CONTROL), "--reverse"]
        password = f"home:{secrets.token_hex()}"
        for host in ("relay", "home"):
            net[host].write("/run/auth", password)
        server = Daemon(net["relay"], [*KNOWN, *words, "--keyfile", "/run/key"])
        listening(lab, CONTROL)
        said = net["relay"].run("cat /run/said").split()
        trusted = ["--fingerprint", said[said.index("Fingerprint") + 1]]

        def client(*ports: Port) -> None:
            remotes = [f"R:0.0.0.0:{port}:{HERE}:{to}/{kind}" for _, kind, port, to in ports]
            to = [*trusted, f"http://{RELAY}:{CONTROL}"]
            net["home"].start([*KNOWN, program, "client", *to, *remotes])

        client(*BASE)
        yield arm(
            "chisel",
            lab,
            version=version(peers.programs["chisel"]),
            adds="a second client at home",
            add_port=lambda: client(ONE_MORE),
            restarts="`chisel` on the relay",
            restart=server.restart,
        )


def sshd(net: dict[str, Host], folder: Path) -> Daemon:
    """OpenSSH's server on the relay with keys of its own, and the client's files beside them."""
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    (folder / "known").write_text(f"{RELAY} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(
        f"HostKey {folder}/host\nPidFile none\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nGatewayPorts yes\n"
    )
    program = sshd_program(folder)[-1]
    net["relay"].run("mkdir -p /run/sshd")
    net["relay"].run(f"mount --bind {folder}/passwd /etc/passwd")  # with a user for its privileges
    return Daemon(net["relay"], [program, "-D", "-f", f"{folder}/config"])


@contextlib.contextmanager
def ssh(env: dict[str, str]) -> Iterator[Contender]:
    """``ssh -R``; UDP is not for it."""
    with tempfile.TemporaryDirectory() as made, way(env) as net:
        folder = Path(made)
        lab = make(net, forwards=FORWARDS)
        server = sshd(net, folder)
        listening(lab, 22)
        to = ["-F", "none", "-S", "/run/ssh", f"root@{RELAY}"]
        options = {
            "BatchMode": "yes",
            "ExitOnForwardFailure": "yes",
            "IdentityFile": str(folder / "user"),
            "ServerAliveInterval": "15",
            "UserKnownHostsFile": str(folder / "known"),
        }

        def remotes(*ports: Port) -> list[str]:
            return [
                word
                for _, kind, port, home in ports
                if kind == "tcp"
                for word in ("-R", f"0.0.0.0:{port}:{HERE}:{home}")
            ]

        said = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        net["home"].start(["ssh", "-T", "-M", *said, *remotes(*BASE), *to, *IDLE])
        add_port: Callable[[], object] = lambda: net["home"].run(  # noqa: E731
            ["ssh", "-O", "forward", *remotes(ONE_MORE), *to]
        )
        said_of = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
        yield arm(
            "ssh",
            lab,
            version=said_of.split(",")[0],
            adds="`ssh -O forward` at home",
            add_port=add_port,
            restarts="`sshd`, whose sessions live on",
            restart=server.restart,
            udp=False,
        )
