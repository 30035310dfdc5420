"""Kind ``lab``: a virtual machine on this computer plays the VPS; no account, no cloud."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pulumi
from pulumi_command import local

from .faults import Collector
from .first_boot import Form
from .machine import Access, Facts, Machine, Order
from .model import Settings, Site
from .reading import integer, known, word

PROJECT = Path(__file__).resolve().parents[1]
KEYS = ("kind", "image", "memory", "bootTimeout")
# As a user says it, and the lab's word for it.
IMAGES = {
    "debian-12": "vps",
    **{name: name for name in ("debian-11", "debian-13", "ubuntu-22", "ubuntu-24")},
}
RELAY_NETWORK = IPv4Network("198.51.100.0/24")
HOME_NETWORK = IPv4Network("192.168.1.0/24")

SITE = Site(networks=(RELAY_NETWORK, HOME_NETWORK))
FACTS = Facts(
    title="a virtual machine on this computer",
    address="yes, a reservation",
    firewall="QEMU's forwarded ports",
    ipv6="no",
    tested="from power-on, under the real engine",
)


@dataclass(frozen=True)
class Lab:
    """``memory`` in MiB; ``boot_timeout`` in seconds from power-on until SSH must answer.

    ``image`` is one of ``IMAGES``, for the next machine.
    """

    memory: int = 768
    boot_timeout: int = 600
    image: str = "debian-12"

    site: Site = SITE
    user_data_form: Form = Form.TEXT
    user_data_limit: int | None = None
    port_limit: int | None = 3000  # each is words on QEMU's command line

    def survey(self, settings: Settings, faults: Collector) -> None:
        """A new VM has nothing that could stand in the way, and is not there to be asked."""
        if settings.tunnel.next_way:
            reason = "home's VM reaches the relay's by one port, which is the present key's"
            faults.add("tunnel.next", reason, "change the relay's key on a machine of another kind")

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A reservation, the VM, its forwarded ports, and the wait until SSH answers."""
        vm = label(f"{pulumi.get_stack()}-{name}")
        address = local.Command(
            f"{name}-address",
            create=_lab("reserve", vm, "--udp", order.tunnel_port, "--ssh", order.ssh_port),
            delete=_lab("release", vm),
            logging=local.Logging.STDERR,
            add_previous_output_in_env=False,
            dir=_folder(),
            opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),
        )
        reserved = address.stdout.apply(json.loads)
        # Another image is another machine; those of before have no such words.
        variant = [] if self.image == Lab.image else ["--variant", IMAGES[self.image]]
        server = local.Command(
            f"{name}-server",
            create=_lab("start", vm, *variant, "--memory", self.memory, "--network", RELAY_NETWORK),
            delete=_lab("stop", vm),
            stdin=order.user_data,
            triggers=[self.memory, order.ssh_port, order.tunnel_port, *variant],
            logging=local.Logging.NONE,
            add_previous_output_in_env=False,
            dir=_folder(),
            opts=pulumi.ResourceOptions(
                parent=parent,
                depends_on=[address],
                # One name, one VM: the old one must be gone before the new one starts.
                delete_before_replace=True,
                # It is read at the first boot alone.
                ignore_changes=["stdin"],
                additional_secret_outputs=["stdout", "stderr"],
            ),
        )
        booted = local.Command(
            f"{name}-booted",
            create=order.host_key.apply(
                lambda key: _lab("wait", vm, "--host-key", key, "--timeout", self.boot_timeout)
            ),
            triggers=[server.id],
            logging=local.Logging.STDERR,
            add_previous_output_in_env=False,
            dir=_folder(),
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[server]),
        )
        ports = local.Command(
            f"{name}-ports",
            create=_lab("open", vm, *map(str, order.openings)),
            delete=_lab("close", vm),
            triggers=[server.id],
            logging=local.Logging.STDERR,
            add_previous_output_in_env=False,
            dir=_folder(),
            opts=pulumi.ResourceOptions(
                parent=parent, depends_on=[server], delete_before_replace=True
            ),
        )
        return Machine(
            public_ip=reserved.apply(lambda r: str(r["publicIp"])),
            endpoint=reserved.apply(lambda r: f"{r['endpointHost']}:{r['endpointPort']}"),
            reach=ports.stdout.apply(json.loads),
            access=Access(
                address=reserved.apply(lambda r: str(r["sshHost"])),
                port=reserved.apply(lambda r: int(r["sshPort"])),
                user="root",
                key=order.management_key,
                host_key=order.host_key,
                patience=60,
            ),
            incarnation=server.id,
            booted=booted,
        )


def read(options: Mapping[str, object], path: str, faults: Collector) -> Lab:
    """A lab from its options in the config."""
    known(options, KEYS, f"{path}.", faults)
    default = Lab()
    return Lab(
        memory=integer(options.get("memory", default.memory), f"{path}.memory", 384, 65536, faults),
        boot_timeout=integer(
            options.get("bootTimeout", default.boot_timeout),
            f"{path}.bootTimeout",
            30,
            3600,
            faults,
        ),
        image=word(
            options.get("image", default.image), f"{path}.image", tuple(IMAGES), "image", faults
        ),
    )


def label(name: str) -> str:
    """A VM's name, a DNS label; stacks and components may have names that are none."""
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{plain[:50] or 'vm'}-{digest}"


def _folder() -> str | None:
    """Where ``lab`` can be found; nothing for the project itself, so that it may be moved."""
    return None if Path.cwd() == PROJECT else str(PROJECT)


def _lab(*words: object) -> str:
    """A call of the lab program. Words are checked names and numbers; they are quoted anyway."""
    return shlex.join(["python3", "-m", "lab", *map(str, words)])
