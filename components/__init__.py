"""The relay: a Pulumi component and the pure core under it."""

from .args import DeviceArgs, HomeArgs, RelayArgs, SshArgs, TunnelArgs
from .lab import Lab
from .machine import Machine, MachineKind, Order
from .relay import ConfigError, Relay
from .stack import relay_args

__all__ = [
    "ConfigError",
    "DeviceArgs",
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
