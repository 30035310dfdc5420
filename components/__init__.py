"""The relay: a Pulumi component and the pure core under it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

# Found when asked for (PEP 562), so that the core is imported where there is no pulumi.
_SHELL = ("args", "lab", "machine", "relay", "stack")


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _SHELL:
            found = vars(import_module(f".{module}", __name__)).get(name)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
