"""``Relay``: a machine with a public address that hands ports into the homes' tunnels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, TypeVar, cast

import pulumi
import pulumi_random as random
from pulumi_command import remote

from . import config
from .faults import Collector, Faults
from .keys import KEY_BYTES, HomeKeys, RelayKeys, ssh_key, wireguard_key
from .machine import Machine, MachineKind, Order
from .model import Home, Settings
from .plan import STATIC, relay_plan
from .userdata import cloud_config
from .wireguard import Uplink, home_config

T = TypeVar("T")


class ConfigError(pulumi.RunError):
    """The config has faults. The engine shows the message, without a traceback."""


class HomeArgs(TypedDict):
    """A home server."""

    name: str
    """A DNS label; the home's address in the tunnel is derived from it."""
    forwards: NotRequired[Sequence[str | int | Mapping[str, Any]]]
    """Docker's short form, ``"80:8080"`` or ``"5353:5353/udp"``, or ``{port, to, protocol}``."""
    mode: NotRequired[str]
    """``transparent`` (default): callers keep their address. ``masquerade``: they do not."""
    address: NotRequired[str]
    """A pinned address in the tunnel's network."""
    publicKey: NotRequired[str]
    """The home's own WireGuard public key; its private key is then never seen here."""


class TunnelArgs(TypedDict):
    """The network inside WireGuard."""

    network: NotRequired[str]
    """A private IPv4 network, 172.16.0.0/24 by default; the relay has its first address."""
    port: NotRequired[int]
    """The UDP port that homes dial, 51820 by default."""
    mtu: NotRequired[int]
    """Bytes; 1420 by default, right for a path of 1500."""
    keepalive: NotRequired[int]
    """Seconds between a home's keepalives, 25 by default."""


class SshArgs(TypedDict):
    """SSH on the relay."""

    port: NotRequired[int]
    """22 by default."""


class RelayArgs(TypedDict):
    """What a ``Relay`` is made of."""

    machine: MachineKind
    """Where it runs, for example ``Lab()``."""
    homes: Sequence[HomeArgs]
    """At least one."""
    tunnel: NotRequired[TunnelArgs]
    """Defaults fit most."""
    ssh: NotRequired[SshArgs]
    """Defaults fit most."""


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

    def __init__(
        self, name: str, args: RelayArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        machine_kind = args["machine"]
        settings = validate(args, machine_kind)
        super().__init__("cgnat-relay:index:Relay", name, None, opts)

        keys = self._keys(name, settings)
        plan = keys.apply(lambda k: relay_plan(settings, k))
        order = Order(
            user_data=pulumi.Output.all(plan, keys).apply(lambda pk: cloud_config(*pk)),
            revision=_public(pulumi.Output.all(plan, keys), lambda pk: _digest(cloud_config(*pk))),
            summary=summary(settings),
            host_key=_public(keys, lambda k: k.host.public),
            management_key=keys.apply(lambda k: k.management.private),
            ssh_port=settings.ssh_port,
            tunnel_port=settings.tunnel.port,
            openings=settings.openings,
        )
        machine = machine_kind.provision(name, order, self)
        ready = self._ready(name, settings, machine, order)

        self.public_ip = machine.public_ip
        self.endpoint = machine.endpoint
        self.public_key = _public(keys, lambda k: k.wireguard.public)
        self.forwards = pulumi.Output.all(machine.public_ip, machine.reach).apply(
            lambda found: rows(settings, found[0], found[1])
        )
        configs = pulumi.Output.all(keys, machine.endpoint).apply(
            lambda found: _home_configs(settings, found[0], found[1])
        )
        # A config is of use once the relay answers, so it waits for that.
        self.home_configs = pulumi.Output.secret(
            pulumi.Output.all(configs, ready.id).apply(lambda found: found[0])
        )
        self.register_outputs(
            {
                "publicIp": self.public_ip,
                "endpoint": self.endpoint,
                "relayPublicKey": self.public_key,
                "forwards": self.forwards,
                "homeConfigs": self.home_configs,
            }
        )

    def _keys(self, name: str, settings: Settings) -> pulumi.Output[RelayKeys]:
        """Every key of the relay, from random bytes that live in the state, encrypted."""

        def seed(what: str) -> pulumi.Output[str]:
            made = random.RandomBytes(
                f"{name}-{what}",
                length=KEY_BYTES,
                opts=pulumi.ResourceOptions(
                    parent=self, additional_secret_outputs=["base64", "hex"]
                ),
            )
            return made.base64

        homes = {
            home.name: {
                "preshared": seed(f"home-{home.name}-preshared"),
                "private": None if home.public_key else seed(f"home-{home.name}-key"),
            }
            for home in settings.homes
        }
        seeds: dict[str, Any] = {
            "wireguard": seed("wireguard-key"),
            "host": seed("host-key"),
            "management": seed("management-key"),
            "homes": homes,
        }
        return pulumi.Output.secret(seeds).apply(
            lambda found: RelayKeys(
                wireguard=wireguard_key(found["wireguard"]),
                host=ssh_key(found["host"]),
                management=ssh_key(found["management"]),
                homes={home.name: _home_keys(home, found["homes"]) for home in settings.homes},
            )
        )

    def _ready(
        self, name: str, settings: Settings, machine: Machine, order: Order
    ) -> remote.Command:
        """Fails the update where interface, rules or sysctl are not there, and says why."""
        return remote.Command(
            f"{name}-ready",
            connection=machine.connection,
            create=f"sh -s -- {settings.tunnel.interface}",
            stdin=(STATIC / "check").read_text(),
            triggers=[machine.incarnation, order.revision],
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[machine.booted],
                custom_timeouts=pulumi.CustomTimeouts(create="20m"),
            ),
        )


def validate(args: RelayArgs, machine: MachineKind) -> Settings:
    """``Settings`` from a caller's args, or ``ConfigError`` with all faults."""
    faults = Collector()
    raw = {key: value for key, value in args.items() if key != "machine"}
    settings = config.read(raw, faults, machine.networks)
    ports = sum(len(opening.ports) for opening in settings.openings) if settings else 0
    if machine.port_limit is not None and ports > machine.port_limit:
        faults.add(
            "homes",
            f"{ports} ports are forwarded, this machine can open {machine.port_limit}",
            "use smaller ranges",
        )
    limit = machine.user_data_limit
    if settings and limit is not None and (size := _size(settings)) > limit:
        faults.add(
            "homes",
            f"the machine's user-data would be {size} bytes, it takes {limit}",
            "use fewer forwards, or ranges that keep their ports",
        )
    finish(faults)
    return cast(Settings, settings)


def _size(settings: Settings) -> int:
    """Bytes of user-data; keys are of one length, so any will do."""
    zeros = "A" * 43 + "="
    homes = {home.name: HomeKeys(public=zeros, preshared=zeros) for home in settings.homes}
    keys = RelayKeys(wireguard_key(zeros), ssh_key(zeros), ssh_key(zeros), homes)
    return len(cloud_config(relay_plan(settings, keys), keys).encode())


def finish(faults: Collector) -> None:
    """Raise ``ConfigError`` if any fault was noted."""
    try:
        faults.done()
    except Faults as found:
        raise ConfigError(str(found)) from None


def summary(settings: Settings) -> tuple[str, ...]:
    """A line for each home and forward, public: what a preview shows to a reader."""
    lines: list[str] = []
    for home in settings.homes:
        lines.append(f"home {home.name} {home.address} {home.mode.value}")
        lines += [f"{f.opening} to {home.name} {home.address}:{f.to}" for f in home.forwards]
    return tuple(lines)


def rows(settings: Settings, public_ip: str, reach: Mapping[str, str]) -> list[dict[str, str]]:
    """The ``forwards`` output."""
    return [
        {
            "home": home.name,
            "listen": f"{public_ip}:{forward.ports}/{forward.protocol.value}",
            "to": f"{home.address}:{forward.to}",
            "reach": reach.get(str(forward.opening), ""),
        }
        for home in settings.homes
        for forward in home.forwards
    ]


def _home_keys(home: Home, seeds: Mapping[str, Any]) -> HomeKeys:
    seed = seeds[home.name]
    preshared = str(seed["preshared"])
    if home.public_key:
        return HomeKeys(public=home.public_key, preshared=preshared)
    pair = wireguard_key(seed["private"])
    return HomeKeys(public=pair.public, private=pair.private, preshared=preshared)


def _home_configs(settings: Settings, keys: RelayKeys, endpoint: str) -> dict[str, str]:
    uplink = Uplink(keys.wireguard.public, endpoint)
    return {
        home.name: home_config(home, settings.tunnel, keys.homes[home.name], uplink)
        for home in settings.homes
    }


def _public(secret: pulumi.Output[T], pick: Callable[[T], str]) -> pulumi.Output[str]:
    """A public value of something secret: a public key, or a digest over random keys."""
    return pulumi.Output.unsecret(secret.apply(pick))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
