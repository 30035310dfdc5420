"""A VM that plays the home server: behind a NAT with no way in, with WireGuard and two pages.

It is given the text of its ``wg0.conf`` and nothing else, as a home server's owner would be.
"""

import json
from pathlib import Path
from typing import Any

from lab import address, vm
from lab.errors import LabError

GUEST = Path(__file__).with_name("guest")  # files that go into the VM as they are
SERVER = "/usr/local/lib/lab/hello.py"
UNIT = "/etc/systemd/system/hello.service"


def start(
    name: str, config: str, network: str = address.HOME_NETWORK, memory: int = vm.MEMORY
) -> dict[str, Any]:
    """Start a home that dials out by this WireGuard configuration; gives its pid and network."""
    if "[Interface]" not in config:
        raise LabError("the home's configuration has no [Interface]: give the text of a wg0.conf")
    return vm.start_unreachable(name, user_data(config), "home", network, memory)


def user_data(config: str) -> bytes:
    """Write the home's cloud-config, as JSON, which is YAML too."""
    files = [
        {"path": "/etc/wireguard/wg0.conf", "permissions": "0600", "content": config},
        {"path": SERVER, "permissions": "0755", "content": (GUEST / "hello.py").read_text()},
        {"path": UNIT, "permissions": "0644", "content": (GUEST / "hello.service").read_text()},
    ]
    commands = [
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "--now", "hello.service"],
        ["systemctl", "enable", "--now", "wg-quick@wg0.service"],
    ]
    value = {"write_files": files, "runcmd": commands}
    return b"#cloud-config\n" + json.dumps(value, indent=1).encode() + b"\n"
