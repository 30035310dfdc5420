"""Why a forward does not answer, by name: from outside, and from the relay itself. Read-only."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)

PATIENCE = 5.0  # seconds for a caller to be answered
TRIES = 2  # datagrams, a second apart
STALE = 180  # seconds after which a session is dead (WireGuard's Reject-After-Time)

Network = IPv4Network | IPv6Network
Ports = tuple[int, str, int, int]  # 4 or 6, the protocol, the first port and the last


@dataclass(frozen=True)
class Target:
    """A forward: its protocol and port, ``host:port`` that reaches it from here, who answers.

    ``address`` is home's in the tunnel, ``to`` the port that answers, as its owner knows it.
    """

    protocol: str
    port: int
    reach: str
    home: str
    address: str
    to: str

    def __str__(self) -> str:
        return f"{self.protocol}/{self.port}"


class Answer(Enum):
    """What a caller from here meets."""

    OPEN = "open"  # something was said
    TAKEN = "taken"  # over TCP nothing was, and whoever stands before the relay may take all
    REFUSED = "refused"
    SILENT = "silent"
    UNHEARD = "unheard"  # over UDP silence alone tells nothing


@dataclass(frozen=True)
class Drop:
    """A chain of the owner's own on the relay, at a hook; whether it is ``certain`` to drop."""

    certain: bool
    hook: str
    chain: str
    fix: str


@dataclass(frozen=True)
class Relay:
    """What the relay says: see ``cloud-init/host/observe``."""

    missing: tuple[str, ...]
    handshakes: dict[str, int | None]
    ports: frozenset[tuple[str, int]]
    flows: dict[tuple[str, int], tuple[int, int]]
    dialled: tuple[int, int, int] | None = (
        None  # the tunnel's port; its flows, and those unanswered
    )
    drops: tuple[Drop, ...] = ()
    takes: dict[int, bool] = field(default_factory=dict)  # whether home does, from the relay
    lists: dict[Ports, list[Network]] = field(default_factory=dict)  # who alone may use a forward
    caller: IPv4Address | IPv6Address | None = None  # this computer, as the relay was entered

    def allowed(self, target: Target, version: int) -> list[Network] | None:
        """Who alone may use a forward, of one family; None where all may."""
        for (family, protocol, first, last), networks in self.lists.items():
            if (family, protocol) == (version, target.protocol) and first <= target.port <= last:
                return networks
        return None

    def drop(self, hook: str) -> Drop | None:
        """What may drop at a hook, the certain ones first."""
        found = sorted((d for d in self.drops if d.hook == hook), key=lambda d: not d.certain)
        return found[0] if found else None


def call(target: Target) -> Answer:
    """Dial a port as a caller would."""
    host, _, port = target.reach.rpartition(":")
    if target.protocol == "udp":
        return _datagram(host, int(port))
    try:
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            # In front of the relay there may be one who takes all connections and drops them.
            connection.settimeout(1)
            try:
                return Answer.OPEN if connection.recv(1) else Answer.REFUSED
            except TimeoutError:
                return _asked(connection)
    except ConnectionError:
        return Answer.REFUSED
    except OSError:
        return Answer.SILENT


def _asked(connection: socket.socket) -> Answer:
    """Whether one who says nothing by itself answers a question of the web's."""
    try:
        connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        return Answer.OPEN if connection.recv(1) else Answer.TAKEN
    except OSError:
        return Answer.TAKEN


def _datagram(host: str, port: int) -> Answer:
    """Send a byte, which leaves a flow on the relay whether the service minds it or not."""
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as caller:
            caller.connect(address)
            caller.settimeout(1)
            for _ in range(TRIES):
                caller.send(b"\0")
                try:
                    caller.recv(1)
                except TimeoutError:
                    continue
                return Answer.OPEN
    except ConnectionError:
        return Answer.REFUSED
    except OSError:
        pass
    return Answer.UNHEARD


def read(lines: Sequence[str]) -> Relay:
    """What ``observe`` printed."""
    missing: list[str] = []
    handshakes: dict[str, int | None] = {}
    ports: set[tuple[str, int]] = set()
    flows: dict[tuple[str, int], tuple[int, int]] = {}
    dialled: tuple[int, int, int] | None = None
    drops: list[Drop] = []
    takes: dict[int, bool] = {}
    lists: dict[Ports, list[Network]] = {}
    caller = None
    for line in lines:
        kind, *words = line.split()
        if kind == "drops":
            _, sure, hook, chain, fix = line.split("\t")
            drops.append(Drop(sure == "certain", hook, chain, fix))
        elif kind == "missing":
            missing.append(" ".join(words))
        elif kind == "peer":
            age = None if words[-1] == "never" else int(words[-1])
            for address in words[0].split(","):
                handshakes[address.partition("/")[0]] = age
        elif kind == "port":
            first, last = _ends(words[1])
            ports |= {(words[0], port) for port in range(first, last + 1)}
        elif kind in ("limited", "allowed"):
            version = 4 if words[0] == "ip" else 6
            given = lists.setdefault((version, words[1], *_ends(words[2])), [])
            given += _networks(words[3]) if kind == "allowed" else []
        elif kind == "caller":
            with contextlib.suppress(ValueError):  # of a connection without addresses sshd says so
                caller = ip_address(words[0])
        elif kind == "flow":
            flows[words[0], int(words[1])] = int(words[2]), int(words[3])
        elif kind == "home":
            takes[int(words[0])] = words[1] == "takes"
        elif kind == "dialled":
            dialled = int(words[0]), int(words[1]), int(words[2])
    return Relay(
        tuple(missing),
        handshakes,
        frozenset(ports),
        flows,
        dialled,
        tuple(drops),
        takes,
        lists,
        caller,
    )


def _ends(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _networks(text: str) -> list[Network]:
    first, _, last = text.partition("-")
    if not last:
        return [ip_network(first, strict=False)]
    return [*summarize_address_range(ip_address(first), ip_address(last))]


def excluded(target: Target, relay: Relay) -> str | None:
    """What tells that the forward's list of callers may leave this computer out, if it may.

    The relay knows it by the address that entered it; over the other family, or entered by the
    tunnel, by none.
    """
    versions = _versions(target)
    lists = {version: relay.allowed(target, version) for version in versions}
    caller = relay.caller if relay.caller and relay.caller.version in versions else None
    unsure = False
    for version, networks in lists.items():
        known = caller if caller and caller.version == version else None
        if networks is None or (known and any(known in network for network in networks)):
            return None
        unsure |= bool(networks and not known)
    if not versions:
        return None
    if unsure:
        return (
            "perhaps not for this computer: `from` lets in some alone, and by which address it"
            " calls the relay cannot tell"
        )
    if caller:
        return f"not for this computer: `from` leaves {caller} out"
    return f"not for this computer: `from` lets in nobody over IPv{versions[0]}"


def _versions(target: Target) -> list[int]:
    """The families that a call tries, as ``call`` does: of a name over UDP the first alone."""
    host = target.reach.rpartition(":")[0]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    versions = [6 if family is socket.AF_INET6 else 4 for family, *_ in found]
    return [*dict.fromkeys(versions[:1] if target.protocol == "udp" else versions)]


def diagnose(target: Target, answer: Answer, relay: Relay) -> str | None:
    """Why it does not answer, and what to do; None where it does, or nothing tells otherwise."""
    if answer is Answer.OPEN:
        return None
    if (target.protocol, target.port) not in relay.ports:
        return "rule missing: the relay does not forward it; run pulumi up"
    age = relay.handshakes.get(target.address)
    if age is None or age > STALE:
        since = "has never been seen" if age is None else f"was last seen {age} s ago"
        return f"no handshake: {target.home} {since}; {unheard(relay)}"
    takes = relay.takes.get(target.port) if target.protocol == "tcp" else None
    seen, unanswered = relay.flows.get((target.protocol, target.port), (0, 0))
    # Whom the relay drops meets nothing that tells: what the relay sees itself is all there is.
    barred = excluded(target, relay)
    if (takes is False) if barred else (answer is Answer.REFUSED and not takes):
        return f"service down: {target.home} refuses port {target.to}; is it started?"
    if barred:
        return None if seen else _certain(relay)
    if answer is Answer.REFUSED or not seen:
        return stopped(target, answer, relay)
    if answer is Answer.UNHEARD:
        return None
    if unanswered:
        return (
            f"return path: {target.home} was asked and did not answer; does it have today's"
            " homeConfig, and does a firewall there let the port in?"
        )
    if answer is Answer.TAKEN:
        return None
    return f"silent: {target.home} has answered before; try again"


def stopped(target: Target, answer: Answer, relay: Relay) -> str:
    """Who stops it before home is asked: what is dropped or refused on its way leaves no flow."""
    certain = _certain(relay)
    if certain:
        return certain
    drop = relay.drop("forward")
    told = "outer firewall: no packet reached the relay"
    if answer is Answer.REFUSED:
        told = (
            f"outer firewall: the relay reaches {target.home}'s port {target.to}, callers are"
            " refused before it"
        )
    told += "; open the port at the provider"
    caller = relay.caller
    if answer is not Answer.REFUSED and caller and relay.allowed(target, caller.version):
        told += f"; or its calls come by another address than {caller}, which `from` lets in"
    return f"{told}; or on the relay {drop.chain} drops it: {drop.fix}" if drop else told


def _certain(relay: Relay) -> str | None:
    """A firewall of the owner's own on the relay that is certain to drop what is forwarded."""
    drop = relay.drop("forward")
    if drop and drop.certain:
        return f"own firewall: on the relay {drop.chain} drops it; {drop.fix}"
    return None


def unheard(relay: Relay) -> str:
    """What tells from the tunnel's own port why a home is not there."""
    if relay.dialled is None:
        return "is its tunnel up, and does it have this relay's config?"
    port, seen, unanswered = relay.dialled
    if not seen:
        drop = relay.drop("input")
        if drop and drop.certain:
            return f"on the relay {drop.chain} drops what comes to udp/{port}: {drop.fix}"
        own = f"; or on the relay {drop.chain} drops it: {drop.fix}" if drop else ""
        return (
            f"nothing at all comes to udp/{port}: an outer firewall eats it (open it at the"
            f" provider, and where home is), or home's tunnel is not up{own}"
        )
    if unanswered:
        return (
            f"someone dials udp/{port} with keys that are not known; does it have today's config?"
        )
    return f"udp/{port} is open, others come by it; is home's tunnel up?"


def report(found: Sequence[tuple[Target, Answer, str | None]], relay: Relay) -> Iterator[str]:
    """A line for each fault of the relay and for each forward."""
    for what in relay.missing:
        yield f"relay: {what}"
    for target, answer, cause in found:
        fine = "answers"
        if answer is not Answer.OPEN and not cause:
            silent = "is forwarded, and home is silent: UDP may be"
            fine = excluded(target, relay) or (silent if answer is Answer.UNHEARD else fine)
        yield f"{target} to {target.home}: {cause or fine}"
