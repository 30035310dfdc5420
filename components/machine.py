"""The contract between a relay and the machine it runs on, whoever provides that machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pulumi

from .faults import Collector
from .first_boot import Form
from .model import Opening, Settings, Site


@dataclass(frozen=True)
class Order:
    """What a relay asks of a machine.

    ``user_data`` holds private keys and is secret; it is in the kind's form and within its limit.
    It is for the first boot: what changes later comes over SSH, so a kind leaves a running machine
    alone when it changes. ``management_key`` is the private half of the key that ``user_data`` lets
    in (secret), ``management_public`` its public line, ``host_key`` the public line to pin; all are
    empty for a machine that is adopted.
    ``openings`` must reach the machine from outside, besides SSH, the tunnel's UDP port and ICMP.
    """

    user_data: pulumi.Output[str]
    host_key: pulumi.Output[str]
    management_key: pulumi.Output[str]
    management_public: pulumi.Output[str]
    ssh_port: int
    tunnel_port: int
    openings: tuple[Opening, ...]


@dataclass(frozen=True)
class Access:
    """How a machine is entered over SSH, from where Pulumi runs.

    ``host_key`` is the public line to pin. ``key`` is the text of a private key and ``password``
    is for sudo where the user is not root, both secret; ``key_file`` is a path here. Without a key
    the user's agent is asked. ``patience``: seconds until SSH must answer, from when it is tried.
    """

    address: pulumi.Input[str]
    user: pulumi.Input[str]
    host_key: pulumi.Input[str]
    port: pulumi.Input[int] = 22
    key: pulumi.Input[str] | None = field(default=None, repr=False)
    key_file: str | None = None
    password: pulumi.Input[str] | None = field(default=None, repr=False)
    patience: int = 0

    def fields(self, settings: Settings) -> dict[str, pulumi.Input[object]]:
        """What there is of it, with the way by the tunnel, as ``operate.request`` reads it."""
        found = {
            "address": self.address,
            "user": self.user,
            "port": self.port,
            "hostKey": self.host_key,
            "key": self.key,
            "keyFile": self.key_file,
            "password": self.password,
            "patience": self.patience,
            **inside(settings),
        }
        return {name: value for name, value in found.items() if value is not None}


def inside(settings: Settings) -> dict[str, object]:
    """How a machine is entered by the tunnel: a device may be the one who does.

    Where SSH closes to the public that is tried first. Else last: it may be closed still.
    """
    if not settings.devices:
        return {}
    return {
        "inside": str(settings.tunnel.relay),
        "insidePort": settings.ssh_port,
        "insideFirst": settings.ssh_by_tunnel,
    }


@dataclass(frozen=True)
class Machine:
    """What a relay gets back.

    ``public_ip`` is where callers come; ``endpoint`` is ``host:port`` of the tunnel as homes dial
    it; ``reach`` maps each opening (``tcp/80``) to the ``host:port`` that reaches it from here.
    The three differ in the lab and behind 1:1 NAT. ``incarnation`` changes when the machine is
    another one. ``booted`` is what to wait for before SSH is tried, if anything.
    """

    public_ip: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    reach: pulumi.Output[dict[str, str]]
    access: Access
    incarnation: pulumi.Output[str]
    booted: pulumi.Resource | None = None


@dataclass(frozen=True)
class Facts:
    """What a user compares kinds by: a row of the README's table, with the user-data's limit."""

    title: str
    address: str
    firewall: str
    ipv6: str
    tested: str


class MachineKind(Protocol):
    """A way to have a machine. What it tells before anything exists is plain data."""

    @property
    def site(self) -> Site:
        """Where the relay will stand."""

    @property
    def user_data_form(self) -> Form:
        """What the provider takes as user-data."""

    @property
    def user_data_limit(self) -> int | None:
        """The largest user-data in bytes, in that form; None where there is no limit."""

    @property
    def port_limit(self) -> int | None:
        """How many ports can be opened outside the machine; None where there is no limit."""

    def survey(self, settings: Settings, faults: Collector) -> Mapping[str, Any] | None:
        """Note what stands in the way of these settings, before anything is created.

        What ``operate look`` said of the machine, if it had to be asked.
        """

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """Declare the machine's resources as children of ``parent``, named from ``name``."""
