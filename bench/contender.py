"""The arms of the comparison that are tunnels: ours, the article's, and WireGuard alone.

Each arm has the hosts of ``line.py`` to itself, and the same services at home. A caller dials the
relay's public address; in ``bare`` it dials home's tunnel address, as nothing forwards there.

``wire`` is the floor: no relay and no tunnel. The caller dials home's own address, so that what is
seen is what the harness itself can do.

``article`` is what a widely read guide shows: DNAT to home and masquerade on the public interface,
in wg0's PostUp, and the tunnel's network as ``AllowedIPs`` at home. Taken literally it answers
nobody, as WireGuard drops a packet whose source is not in AllowedIPs. The smallest repair is one
rule more, masquerade on wg0; and UDP is forwarded by the same rules as TCP.
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from components.plan import STATIC, Part, relay_plan
from components.wireguard import interface, peer, relay_peers
from tests.netns.conftest import RELAY, Lab, make
from tests.unit import samples
from tests.waiting import eventually

from .arms import LOAD, PING, Arm, bare_up
from .line import HOME, way

MORE = 5400  # the port that is added while connections are open; home's PING is behind it
FORWARDS = [f"{LOAD}:{LOAD}", f"{PING}:{PING}/both"]
ONE_MORE = f"{MORE}:{PING}"
SERVICES = {"iperf3", "python3"}  # the names of the services at home, which are no arm's
SCRIPT = Path(__file__).with_name("service.py")
CALLER = Path(__file__).with_name("caller.py")
# The article's own lines, with this line's names; its "-p tcp" for UDP as well.
ARTICLE = """\
iptables -t nat -{verb} PREROUTING -i eth0 -p tcp -d {relay} --dport {load} -j DNAT --to-destination {home}:{load}
iptables -t nat -{verb} PREROUTING -i eth0 -p tcp -d {relay} --dport {ping} -j DNAT --to-destination {home}:{ping}
iptables -t nat -{verb} PREROUTING -i eth0 -p udp -d {relay} --dport {ping} -j DNAT --to-destination {home}:{ping}
iptables -t nat -{verb} POSTROUTING -o eth0 -s {home} -j MASQUERADE
"""  # noqa: E501
REPAIR = "iptables -t nat -{verb} POSTROUTING -o wg0 -j MASQUERADE\n"


@dataclass(frozen=True)
class Contender(Arm):
    """An arm, where its services are bound at home, and how its relay is changed."""

    at: str
    version: str
    adds: str  # how a port is added, in words
    add_port: Callable[[], object] | None
    restarts: str  # what is restarted, in words
    restart: Callable[[], object] | None
    udp: bool = True

    def daemons(self, host: str) -> list[int]:
        """The processes that carry this arm on a host: all but the services at home."""
        others = {*(SERVICES if host == "home" else ()), ""}
        return [pid for pid in self.net[host].inside() if name(pid) not in others]

    def call(self, verb: str, *words: object, port: int = PING, timeout: float = 60) -> Any:
        """What a caller measures."""
        client = self.net["client"]
        return json.loads(client.run(self.dialling(verb, *words, port=port), timeout=timeout))

    def dialling(self, verb: str, *words: object, port: int = PING) -> list[str]:
        """The caller's command."""
        return ["python3", str(CALLER), verb, self.to, str(port), *map(str, words)]


def name(pid: int) -> str:
    """A process's name; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def serve(arm: Contender) -> None:
    """Start what answers at home, and wait until it does."""
    home = arm.net["home"]
    home.start(["iperf3", "--server", "--bind", arm.at, "--port", str(LOAD)])
    home.start(["python3", str(SCRIPT), arm.at, str(PING)])
    for port in (LOAD, PING):
        arm.lab.listens("home", arm.at, port)
    eventually(lambda: arm.call("who"), f"{arm.name} answers", within=30)


def wireguard_version(env: dict[str, str]) -> str:
    """Whose WireGuard carries the tunnels."""
    return "userspace" if "WIREGUARD_GO" in env else f"kernel {platform.release()}"


def tunnel(name: str, lab: Lab, env: dict[str, str], **other: Any) -> Contender:
    """An arm that is a tunnel; what is not said is as in the relay's."""
    relay = lab.net["relay"]

    def restart() -> None:
        relay.run("wg-quick down wg0")
        relay.run("wg-quick up wg0")

    given: dict[str, Any] = {
        "to": RELAY,
        "at": str(lab.home().address),
        "version": f"WireGuard, {wireguard_version(env)}",
        "restarts": "the relay's tunnel (`wg-quick down`, `up`)",
        "restart": restart,
    }
    return Contender(name=name, lab=lab, **(given | other))


def one_more(lab: Lab, **home: Any) -> Part:
    """The relay's rules with one forward more."""
    homes = [{"name": "home", "forwards": [*FORWARDS, ONE_MORE], **home}]
    plan = relay_plan(samples.settings(homes=homes).drawn(lab.keys.prefix), lab.keys)
    (part,) = (part for part in plan.parts if part.name == "rules")
    return part


def bring(lab: Lab, rules: Part) -> None:
    """By the script that the carrier runs."""
    relay = lab.net["relay"]
    for file in rules.files:
        relay.write(file.path, file.content)
    relay.run(["sh", "-c", (STATIC / "restore").read_text(), "restore", "rules", "wg0"])


@contextlib.contextmanager
def relay(env: dict[str, str], **home: Any) -> Iterator[Contender]:
    """All that is generated, as a user has it by default; or with more keys of the home."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS, **home)
        lab.firewall_up()
        lab.relay_up()
        lab.home_up()
        yield tunnel(
            home.get("mode", "relay"),
            lab,
            env,
            adds="the rules are swapped in one transaction",
            add_port=partial(bring, lab, one_more(lab, **home)),
        )


@contextlib.contextmanager
def wire(env: dict[str, str]) -> Iterator[Contender]:
    """The floor: hosts and routes alone."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS)
        yield Contender(
            name="wire",
            lab=lab,
            to=HOME,
            at=HOME,
            version="",
            adds="",
            add_port=None,
            restarts="",
            restart=None,
        )


@contextlib.contextmanager
def bare(env: dict[str, str]) -> Iterator[Contender]:
    """The limit: WireGuard and routes, and no rule at all."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS)
        bare_up(lab)
        at = str(lab.home().address)
        yield tunnel("bare", lab, env, to=at, adds="nothing is forwarded", add_port=None)


@contextlib.contextmanager
def article(env: dict[str, str]) -> Iterator[Contender]:
    """The guide's rules, and the one that makes them answer."""
    with way(env) as net:
        lab = make(net, forwards=FORWARDS)
        ours, keys, home = lab.settings.tunnel, lab.keys, lab.home()
        mine = keys.peers[home.name]
        words = {"relay": RELAY, "home": home.address, "load": LOAD, "ping": PING}
        hooks = [
            f"{hook} = {line}"
            for hook, verb in (("PostUp", "A"), ("PreDown", "D"))
            for line in (ARTICLE + REPAIR).format(verb=verb, **words).splitlines()
        ]
        at = f"{ours.relay}/{ours.network.prefixlen}"
        lines = [f"ListenPort = {ours.port}", *hooks]
        text = interface(ours, at, keys.wireguard.private, lines) + relay_peers(lab.settings, keys)
        net["relay"].write("/etc/wireguard/wg0.conf", text)
        text = interface(ours, f"{home.address}/{ours.network.prefixlen}", mine.private, [])
        text += peer(lab.uplink, mine.preshared, [str(ours.network)], ours.keepalive)
        net["home"].write("/etc/wireguard/wg0.conf", text)
        for host in ("relay", "home"):
            net[host].run("wg-quick up wg0")
        rule = f"-i eth0 -p tcp -d {RELAY} --dport {MORE} -j DNAT --to-destination"
        yield tunnel(
            "article",
            lab,
            env,
            adds="one more rule by `iptables -A`",
            add_port=lambda: net["relay"].run(
                f"iptables -t nat -A PREROUTING {rule} {home.address}:{PING}"
            ),
        )
