"""The relay: a Pulumi component and the pure core under it."""

from .lab import Lab
from .machine import Machine, MachineKind, Order
from .relay import ConfigError, HomeArgs, Relay, RelayArgs, SshArgs, TunnelArgs
from .stack import relay_args

__all__ = [
    "ConfigError",
    "HomeArgs",
    "Lab",
    "Machine",
    "MachineKind",
    "Order",
    "Relay",
    "RelayArgs",
    "SshArgs",
    "TunnelArgs",
    "relay_args",
]
