"""What the program is asked, as JSON on its standard input: nothing of it is an argument."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .doctor import Target
from .errors import OperateError

CONNECT, CONNECT_INSIDE = 10, 5
HERE = ("address", "user", "hostKey")


@dataclass(frozen=True)
class Host:
    """A machine and how it is entered.

    ``host_key`` is the one line to pin (``ssh-ed25519 AAAA…``). ``key`` is the text of a private
    key, ``key_file`` the path of one; without either, the user's agent is asked. ``password`` is
    for sudo, where the user is not root. ``patience``: seconds until SSH must answer at all.
    ``inside`` is its address in the tunnel, where it may let in nobody else, ``inside_first``
    whether to try that before the other. ``connect``: seconds for one try.
    """

    address: str
    user: str
    host_key: str
    port: int = 22
    key: str | None = field(default=None, repr=False)
    key_file: str | None = None
    password: str | None = field(default=None, repr=False)
    patience: float = 0
    inside: str | None = None
    inside_port: int = 22
    inside_first: bool = False
    connect: int = CONNECT

    def by_tunnel(self) -> Host | None:
        """The same, entered by the tunnel alone."""
        if self.inside is None:
            return None
        to = replace(self, address=self.inside, port=self.inside_port, inside=None)
        return replace(to, connect=CONNECT_INSIDE, patience=0)

    def ways(self) -> list[Host]:
        """Each way to enter it, in the order to be tried."""
        given = replace(self, inside=None)
        by_tunnel = self.by_tunnel()
        if by_tunnel is None:
            return [given]
        return [by_tunnel, given] if self.inside_first else [given, by_tunnel]

    @property
    def name(self) -> str:
        """For a message: ``root@203.0.113.7 port 22``."""
        return f"{self.user}@{self.address} port {self.port}"


@dataclass(frozen=True)
class Request:
    """The machine, the interface of its tunnel, and the plan as base64 of a tar.gz (secret).

    ``targets``: the forwards that a diagnosis asks.
    """

    host: Host
    interface: str
    bundle: str = field(default="", repr=False)
    targets: tuple[Target, ...] = ()


def read(text: str) -> Request:
    """A request from its JSON. Raises OperateError where it is none."""
    try:
        raw = json.loads(text)
        return Request(
            _host(raw["host"]),
            str(raw["interface"]),
            str(raw.get("bundle", "")),
            tuple(Target(**target) for target in raw.get("targets", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        # Not the text itself, which holds keys.
        raise OperateError(
            f"the request on standard input is not one: {type(error).__name__}"
        ) from None


def _host(raw: Mapping[str, Any]) -> Host:
    address, user, host_key = (str(raw[name]) for name in HERE)
    return Host(
        address=address,
        user=user,
        host_key=host_key,
        port=int(raw.get("port", 22)),
        key=raw.get("key"),
        key_file=raw.get("keyFile"),
        password=raw.get("password"),
        patience=float(raw.get("patience", 0)),
        inside=raw.get("inside"),
        inside_port=int(raw.get("insidePort", 22)),
        inside_first=bool(raw.get("insideFirst", False)),
    )
