"""What the clouds share: their options, what is looked at before anything is created, and SSH."""

from __future__ import annotations

import importlib.util
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, ClassVar, Self

import pulumi

from ..faults import Collector, nearest, shown
from ..first_boot import Form
from ..machine import Access, Facts, Machine, Order
from ..model import Opening, PortRange, Protocol, Settings, Site, merged
from ..reading import flag, integer, known

OPTIONS = ("kind", "region", "plan", "protect", "labels", "bootTimeout")
ANYWHERE = ("0.0.0.0/0", "::/0")
ANYWHERE_4, ANYWHERE_6 = ANYWHERE
ICMP_RULES = 2  # at the most, one for each address family
SHOWN = 12  # regions or plans that a fault lists
TESTED = "types and mocks"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,62}")
_NOTHING = re.compile(r"\bno\b.*\b(found|results?|match)|not found|could not find", re.IGNORECASE)
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Provider:
    """What is known of a provider without asking it.

    ``credentials`` are the ways to have some, each a tuple of names that are needed together: with
    a colon a key of Pulumi's config, with a slash a file, else a variable of the environment.
    ``user_data_limit`` in bytes; ``rule_limit`` is how many rules a firewall of its takes, with
    ``rules_each`` for a range of ports, and ``networks`` are those that a machine of its is on.
    """

    kind: str
    package: str
    module: str
    region: str
    plan: str
    prices: str
    credentials: tuple[tuple[str, ...], ...]
    facts: Facts
    user_data_form: Form
    user_data_limit: int
    rule_limit: int | None = None
    rules_each: int = 1
    networks: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True)
class Cloud(ABC):
    """A machine that a provider rents out, of the provider's ``plan`` in its ``region``.

    ``protect`` keeps machine and address from being destroyed; ``labels`` are put on what can have
    some; ``boot_timeout`` is in seconds from power-on until SSH must answer.
    """

    provider: ClassVar[Provider]

    region: str = ""
    plan: str = ""
    protect: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    boot_timeout: int = 600

    def __post_init__(self) -> None:
        for name in ("region", "plan"):
            if not getattr(self, name):
                object.__setattr__(self, name, getattr(self.provider, name))

    @property
    def site(self) -> Site:
        """A machine made for the relay, on the provider's networks."""
        return Site(networks=self.provider.networks)

    @property
    def user_data_form(self) -> Form:
        """What the provider takes as user-data."""
        return self.provider.user_data_form

    @property
    def user_data_limit(self) -> int | None:
        """The largest user-data in bytes, in that form."""
        return self.provider.user_data_limit

    @property
    def port_limit(self) -> int | None:
        """None: a provider's limit is on rules, and a range is one."""
        return None

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """The keys that the config may have."""
        return OPTIONS

    @classmethod
    def read(cls, options: Mapping[str, object], path: str, faults: Collector) -> Self:
        """The machine from its options in the config."""
        known(options, cls.options(), f"{path}.", faults)
        found = cls(**cls.values(options, path, faults))
        found.missing(faults)
        return found

    @classmethod
    def values(cls, options: Mapping[str, object], path: str, faults: Collector) -> dict[str, Any]:
        """The fields from their options, each with its fault noted where it has one."""
        return {
            **{
                name: word(options[name], f"{path}.{name}", faults)
                for name in ("region", "plan")
                if name in options
            },
            "protect": flag(options.get("protect", False), f"{path}.protect", faults),
            "labels": _labels(options.get("labels", {}), f"{path}.labels", faults),
            "boot_timeout": integer(
                options.get("bootTimeout", 600), f"{path}.bootTimeout", 30, 3600, faults
            ),
        }

    def missing(self, faults: Collector) -> None:
        """Note an SDK or credentials that are not here. Nobody is asked."""
        if not installed(self.provider.module):
            faults.add(
                "vps.kind",
                f"{self.provider.kind} needs the package {self.provider.package}",
                f"run: .venv/bin/pip install '.[{self.provider.kind}]'",
            )
        elif not any(all(map(_there, way)) for way in self.provider.credentials):
            faults.add(
                "vps.kind",
                f"{self.provider.kind} needs credentials and none were found",
                f"give {' or '.join(' and '.join(way) for way in self.provider.credentials)}",
            )

    def survey(self, settings: Settings, faults: Collector) -> None:
        """Note what is missing here; else what the provider does not have, by asking it."""
        self._count(settings, faults)
        before = len(faults)
        self.missing(faults)
        if len(faults) == before:
            self._ask(faults)

    def _count(self, settings: Settings, faults: Collector) -> None:
        limit = self.provider.rule_limit
        ports = rules(settings.ssh_port, settings.tunnel.port, settings.openings)
        needed = len(ports) * self.provider.rules_each + ICMP_RULES
        if limit is not None and needed > limit:
            faults.add(
                "homes",
                f"they need {needed} rules of the provider's firewall, it takes {limit}",
                "forward ranges, or ports that are neighbours",
            )

    def _ask(self, faults: Collector) -> None:
        try:
            offered = self.offered()
        except Exception as error:  # whatever the provider's plugin says, told as a fault
            faults.add(
                "vps.kind",
                f"{self.provider.kind} was asked for its regions and plans: {_last_line(error)}",
                "look at the credentials and at the network",
            )
            return
        for option, words in offered.items():
            value = getattr(self, option)
            if value not in words:
                where = f" in {self.region}" if option == "plan" and self.region else ""
                reason = f"{self.provider.kind} has no {option} {shown(value)}{where}"
                near = nearest(value, words)
                few = ", ".join(sorted(words)[:SHOWN])
                more = ", ..." if len(words) > SHOWN else ""
                if not words:
                    fix = f"look at {self.provider.prices}"
                else:
                    fix = near if near.startswith("did") else f"it has {few}{more}"
                faults.add(f"vps.{option}", reason, fix)

    @abstractmethod
    def offered(self) -> dict[str, Sequence[str]]:
        """What the provider has for ``region`` and ``plan``, as far as its SDK can list it."""

    @abstractmethod
    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """Declare the machine's resources as children of ``parent``, named from ``name``."""

    def tell(self) -> None:
        """Say in a preview what is rented, and where its price is to be read."""
        where = f" in {self.region}" if self.region else ""
        pulumi.log.info(
            f"{self.provider.kind}: plan {self.plan}{where}; "
            f"what it costs is listed at {self.provider.prices}"
        )

    def tags(self) -> list[str]:
        """The labels where a provider knows words only."""
        return [f"{key}:{value}" for key, value in sorted(self.labels.items())]

    def kept(self, parent: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of what outlives the machine."""
        return pulumi.ResourceOptions(parent=parent, protect=self.protect)

    def frozen(
        self,
        parent: pulumi.Resource,
        order: Order,
        ignore: list[str],
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> pulumi.ResourceOptions:
        """Options of the machine: nothing of its first boot replaces it once it lives.

        Another SSH port does: nobody could reach the machine to tell it. The old machine goes
        first, since the address can be at one only.
        """
        return pulumi.ResourceOptions(
            parent=parent,
            depends_on=list(depends_on),
            protect=self.protect,
            ignore_changes=ignore,
            delete_before_replace=True,
            replacement_trigger=order.ssh_port,
        )

    def ready(
        self,
        order: Order,
        address: pulumi.Output[str],
        incarnation: pulumi.Output[str],
        booted: pulumi.Resource,
    ) -> Machine:
        """The machine, entered at ``address`` once ``booted`` is there and SSH answers."""
        return Machine(
            public_ip=address,
            endpoint=address.apply(lambda ip: f"{ip}:{order.tunnel_port}"),
            reach=address.apply(
                lambda ip: {str(o): f"{ip}:{o.ports.first}" for o in order.openings}
            ),
            access=Access(
                address=address,
                port=order.ssh_port,
                user="root",
                key=order.management_key,
                host_key=order.host_key,
                patience=self.boot_timeout,
            ),
            incarnation=incarnation,
            booted=booted,
        )


def rules(ssh_port: int, tunnel_port: int, openings: Sequence[Opening]) -> tuple[Opening, ...]:
    """The ports that a provider's firewall lets in, in as few ranges as cover exactly these."""
    ours = ((Protocol.TCP, ssh_port), (Protocol.UDP, tunnel_port))
    return merged([*(Opening(p, PortRange(port, port)) for p, port in ours), *openings])


def let_in(order: Order) -> tuple[Opening, ...]:
    """The same for an order."""
    return rules(order.ssh_port, order.tunnel_port, order.openings)


def installed(module: str) -> bool:
    """Whether the provider's SDK can be imported here."""
    return importlib.util.find_spec(module) is not None


def first(found: Sequence[str], what: str) -> str:
    """The first of what a provider has found; raises ``pulumi.RunError`` where that is nothing."""
    if not found:
        raise pulumi.RunError(f"the provider has no {what}; choose another region or plan")
    return found[0]


def exists(lookup: Callable[[], object]) -> bool:
    """Whether a provider finds what is looked up by name; another trouble is raised as it is."""
    try:
        lookup()
    except Exception as error:  # a plugin's answer has no type
        if _NOTHING.search(str(error)):
            return False
        raise
    return True


def word(value: object, path: str, faults: Collector) -> str:
    """A region's or plan's name, or another word that only the provider can know."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    faults.add(path, f"{shown(value)} is no name", "write it as the provider does")
    return ""


def _labels(value: object, path: str, faults: Collector) -> dict[str, str]:
    if not isinstance(value, Mapping):
        faults.add(path, "is a mapping", "write {project: home}")
        return {}
    found: dict[str, str] = {}
    for key, text in value.items():
        for part in (key, text):
            if not isinstance(part, str) or not _LABEL.fullmatch(part):
                reason = f"{shown(part)} is not made of letters, digits and inner . _ -"
                faults.add(f"{path}.{key}", reason, "use up to 63 of them, in quotes")
                break
        else:
            found[key] = text
    return found


def _there(name: str) -> bool:
    """Whether one of a provider's credentials is to be found; it is not looked at."""
    if ":" in name:
        namespace, _, key = name.partition(":")
        return bool(pulumi.Config(namespace).get(key))
    if "/" in name:
        return Path(name).expanduser().exists()
    return bool(os.environ.get(name))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
