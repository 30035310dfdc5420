"""``Relay``: a machine with a public address that hands ports into the homes' tunnels."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import pulumi
import pulumi_random as random

from . import config
from .args import RelayArgs
from .device import device_config
from .faults import Collector, Faults
from .first_boot import TooLarge, first_boot
from .formats import home_formats
from .home import home_config
from .home_rules import home_rules
from .installer import home_installer
from .keys import (
    GLOBAL_ID_BYTES,
    KEY_BYTES,
    PeerKeys,
    RelayKeys,
    SshKey,
    derived_keys,
    ssh_key,
    tls_key,
    unique_local,
    wireguard_key,
)
from .living import carry, probe
from .machine import Machine, MachineKind, Order
from .model import Device, Home, Peer, Settings, Tunnel
from .owner import obstacle
from .plan import relay_plan
from .summary import destination
from .wireguard import Uplink

T = TypeVar("T")
P = TypeVar("P", Home, Device)


class ConfigError(pulumi.RunError):
    """The config has faults. The engine shows the message, without a traceback."""


class Relay(pulumi.ComponentResource):
    """A relay, ready: when it is created, WireGuard is up and the forwards are loaded.

    Raises ``ConfigError`` with every fault of ``args`` before any resource exists.
    """

    public_ip: pulumi.Output[str]
    """Where callers come."""
    endpoint: pulumi.Output[str]
    """``host:port`` that homes dial."""
    public_key: pulumi.Output[str]
    """The relay's WireGuard public key."""
    forwards: pulumi.Output[list[dict[str, str]]]
    """A row for each forward: home, listen, to, and how it is reached from here."""
    home_configs: pulumi.Output[dict[str, str]]
    """wg-quick's file for each home, by name; secret."""
    home_rules: pulumi.Output[dict[str, str]]
    """nft's file for each home that needs one beside its config, by name."""
    home_installers: pulumi.Output[dict[str, str]]
    """A script for each home that brings its tunnel up and keeps it up, by name; secret."""
    home_formats: pulumi.Output[dict[str, dict[str, dict[str, str]]]]
    """Other forms of each home's config: home, form, file, text; secret."""
    device_configs: pulumi.Output[dict[str, str]]
    """A WireGuard file for each device, by name; secret."""

    def __init__(
        self, name: str, args: RelayArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        machine_kind = args["machine"]
        settings, looked = validate(args, machine_kind)
        super().__init__("cgnat-relay:index:Relay", name, None, opts)

        seeds = self._seeds(name, settings)
        keys = _keys(settings, seeds)
        # Of its own seed each, so that a preview knows them while it does not know another's.
        host, management = (_ssh(seeds[which]) for which in ("host", "management"))
        plan = keys.apply(lambda k: relay_plan(settings, k))
        order = Order(
            user_data=pulumi.Output.all(plan, keys).apply(
                lambda pk: (
                    first_boot(
                        pk[0], pk[1], machine_kind.user_data_form, machine_kind.user_data_limit
                    )
                    if pk[1].host
                    else ""
                )
            ),
            host_key=_public(host, lambda key: key.public if key else ""),
            management_key=management.apply(lambda key: key.private if key else ""),
            management_public=_public(management, lambda key: key.public if key else ""),
            ssh_port=settings.ssh_port,
            tunnel_port=settings.tunnel.port,
            openings=settings.openings,
        )
        machine = machine_kind.provision(name, order, self)
        identity = _wireguard_public(seeds["identity"])
        owner = _owner(identity, looked, machine)
        carried = carry(name, settings, machine, plan, owner, self, looked)
        if settings.probe:
            probe(name, settings, machine, carried, self)

        self.public_ip = machine.public_ip
        self.endpoint = machine.endpoint.apply(lambda found: dialled(settings, found))
        self.public_key = _wireguard_public(seeds["wireguard"][-1])
        self.forwards = pulumi.Output.all(machine.public_ip, machine.reach).apply(
            lambda found: rows(settings, found[0], found[1])
        )
        self.home_rules = identity.apply(
            lambda known_by: _rules(settings, Uplink("", "", known_by))
        )

        def handed_out(
            peers: Sequence[P], write: Callable[[P, Tunnel, RelayKeys, Uplink], T]
        ) -> pulumi.Output[dict[str, T]]:
            """What each peer must take, by name, as a secret."""

            def each(known: Sequence[Any]) -> dict[str, T]:
                tunnel = settings.drawn(known[0].prefix).tunnel
                uplink = Uplink(known[0].newest.public, known[1], known[0].identity)
                return {peer.name: write(peer, tunnel, known[0], uplink) for peer in peers}

            # It is of use once the relay answers, so it waits for that.
            waited = pulumi.Output.all(keys, self.endpoint, carried.command.id)
            return pulumi.Output.secret(waited.apply(each))

        def for_one(write: Callable[[P, Tunnel, PeerKeys, Uplink], T]) -> Callable[..., T]:
            return lambda peer, tunnel, keys, up: write(
                peer, tunnel, keys.peers[peer.name].newest, up
            )

        self.home_configs = handed_out(settings.homes, for_one(home_config))
        self.home_installers = handed_out(settings.homes, home_installer)
        self.home_formats = handed_out(settings.homes, for_one(home_formats))
        self.device_configs = handed_out(settings.devices, for_one(device_config))
        # What each peer must take is in the state once, as the program's own outputs: of 250 homes
        # that is 16 MB, and the engine writes the whole state at each step.
        self.register_outputs(
            {
                "publicIp": self.public_ip,
                "endpoint": self.endpoint,
                "relayPublicKey": self.public_key,
                "forwards": self.forwards,
                "homeRules": self.home_rules,
            }
        )

    def _seeds(self, name: str, settings: Settings) -> dict[str, Any]:
        """What every key of the relay is made of: random bytes in the state, encrypted."""

        def seed(what: str, length: int = KEY_BYTES, secret: bool = True) -> pulumi.Output[str]:
            made = random.RandomBytes(
                f"{name}-{what}",
                length=length,
                opts=pulumi.ResourceOptions(
                    parent=self, additional_secret_outputs=["base64", "hex"] if secret else []
                ),
            )
            return made.base64

        tunnel = settings.tunnel
        own = [tunnel.key, *([tunnel.next_way.key] if tunnel.next_way else [])]
        # The first stays for ever: it is what homes derive their marks from.
        made = {key: seed(of_generation("wireguard-key", key)) for key in {1, *own}}
        return {
            "identity": made[1],
            "wireguard": [made[key] for key in own],
            "host": None if settings.site.adopted else seed("host-key"),
            "management": None if settings.site.adopted else seed("management-key"),
            "peers": {
                str(key): seed(of_generation("peers-seed", key)) for key in generations(settings)
            },
            "prefix": seed("ipv6-global-id", GLOBAL_ID_BYTES, secret=False),
            "tls": None if settings.tunnel.tls is None else seed("tls-key"),
        }


def validate(args: RelayArgs, machine: MachineKind) -> tuple[Settings, Mapping[str, Any] | None]:
    """``Settings`` from a caller's args, or ``ConfigError`` with all faults.

    With them what the machine said, where it is there to be asked.
    """
    faults = Collector()
    raw = {key: value for key, value in args.items() if key != "machine"}
    settings = config.read(raw, faults, machine.site)
    ports = sum(len(opening.ports) for opening in settings.openings) if settings else 0
    if machine.port_limit is not None and ports > machine.port_limit:
        faults.add(
            "homes",
            f"{ports} ports are forwarded, this machine can open {machine.port_limit}",
            "use smaller ranges",
        )
    if settings and machine.user_data_limit is not None:
        try:
            _fits(settings, machine)
        except TooLarge as found:
            faults.add(
                "homes",
                f"the machine's user-data would be {found.size} bytes at the least, "
                f"it takes {machine.user_data_limit}",
                "choose another kind of machine",
            )
    finish(faults)
    checked = cast(Settings, settings)
    looked = machine.survey(checked, faults)
    finish(faults)
    return checked, looked


def _fits(settings: Settings, machine: MachineKind) -> None:
    """Raises ``TooLarge`` where no user-data would do. Any keys serve: they are of one length."""

    def seed(what: str) -> str:  # as hard to compress as a key
        return base64.b64encode(hashlib.sha256(what.encode()).digest()).decode()

    def peer(who: Peer, key: int) -> PeerKeys:
        following = peer(who, who.next_key.key) if who.next_key and key == who.key else None
        what = f"{who.name}-{key}"
        return PeerKeys(seed(what), seed(f"{what}-preshared"), following=following)

    peers = {who.name: peer(who, who.key) for who in settings.peers}
    keys = RelayKeys(
        wireguard_key(seed("wireguard")),
        ssh_key(seed("host")),
        ssh_key(seed("management")),
        peers,
        unique_local("AAAAAAA="),
        None if settings.tunnel.tls is None else tls_key(seed("tls")),
        wireguard_key(seed("next")) if settings.tunnel.next_way else None,
    )
    plan = relay_plan(settings, keys)
    first_boot(plan, keys, machine.user_data_form, machine.user_data_limit)


def finish(faults: Collector) -> None:
    """Raise ``ConfigError`` if any fault was noted."""
    try:
        faults.done()
    except Faults as found:
        raise ConfigError(str(found)) from None


def rows(settings: Settings, public_ip: str, reach: Mapping[str, str]) -> list[dict[str, str]]:
    """The ``forwards`` output."""
    return [
        {
            "home": home.name,
            "listen": f"{public_ip}:{forward.ports}/{forward.protocol.value}",
            "to": destination(home, forward),
            "reach": reach.get(str(forward.opening), ""),
        }
        for home in settings.homes
        for forward in home.forwards
    ]


def dialled(settings: Settings, endpoint: str) -> str:
    """``host:port`` that homes dial: by the relay's name, where it has one."""
    host, _, port = endpoint.rpartition(":")
    if settings.tunnel.next_way:
        port = str(settings.tunnel.newest_port)
    return f"{settings.tunnel.host or host}:{port}"


def _owner(
    identity: pulumi.Output[str], looked: Mapping[str, Any] | None, machine: Machine
) -> pulumi.Output[str]:
    """What this stack is known by; ``ConfigError`` where the machine has another's relay.

    Told at each preview, for one whose seeds do not exist yet is no machine's owner.
    """
    if looked is None:
        return identity

    def checked(found: Sequence[Any]) -> str:
        if words := obstacle(found[1], looked, found[0]):
            raise ConfigError(words)
        return found[0] or ""

    return pulumi.Output.all(identity.future(), machine.access.address).apply(checked)


def _keys(settings: Settings, seeds: Mapping[str, Any]) -> pulumi.Output[RelayKeys]:
    """Every key of the relay, secret."""
    return pulumi.Output.secret(seeds).apply(
        lambda found: RelayKeys(
            wireguard=wireguard_key(found["wireguard"][0]),
            following=wireguard_key(found["wireguard"][1]) if settings.tunnel.next_way else None,
            identity=wireguard_key(found["identity"]).public,
            host=ssh_key(found["host"]) if found["host"] else None,
            management=ssh_key(found["management"]) if found["management"] else None,
            peers={peer.name: peer_keys(peer, found["peers"]) for peer in settings.peers},
            prefix=unique_local(found["prefix"]),
            tls=tls_key(found["tls"]) if found["tls"] else None,
        )
    )


def _ssh(seed: pulumi.Output[str] | None) -> pulumi.Output[SshKey | None]:
    secret: pulumi.Output[str | None] = pulumi.Output.secret(seed)
    return secret.apply(lambda text: ssh_key(text) if text else None)


def _wireguard_public(seed: pulumi.Output[str]) -> pulumi.Output[str]:
    secret: pulumi.Output[str] = pulumi.Output.secret(seed)
    return _public(secret, lambda text: wireguard_key(text).public)


def of_generation(name: str, key: int) -> str:
    """The name of a seed; the first generation's is as it was before there were others."""
    return name if key == 1 else f"{name}-{key}"


def generations(settings: Settings) -> list[int]:
    """Of the peers' keys, each that is accepted from somebody."""
    following = {peer.next_key.key for peer in settings.peers if peer.next_key}
    return sorted({peer.key for peer in settings.peers} | following)


def peer_keys(peer: Peer, seeds: Mapping[str, str]) -> PeerKeys:
    """A peer's keys of its present generation and, if there is one, the next."""
    who = f"{'home' if isinstance(peer, Home) else 'device'}-{peer.name}"
    ahead = peer.next_key
    following = derived_keys(seeds[str(ahead.key)], who, ahead.public_key) if ahead else None
    return derived_keys(seeds[str(peer.key)], who, peer.public_key, following)


def _rules(settings: Settings, uplink: Uplink) -> dict[str, str]:
    found = {home.name: home_rules(home, uplink) for home in settings.homes}
    return {name: text for name, text in found.items() if text is not None}


def _public(secret: pulumi.Output[T], pick: Callable[[T], str]) -> pulumi.Output[str]:
    """A public value of something secret: a public key, or a digest over random keys."""
    return pulumi.Output.unsecret(secret.apply(pick))
