"""Kind ``vultr``: an instance of Vultr with a reserved address that outlives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pulumi

from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import ANYWHERE, TESTED, Cloud, Provider, exists, let_in

IMAGE = "Debian 12 x64 (bookworm)"


class Vultr(Cloud):
    """Regions and plans are Vultr's identifiers."""

    provider: ClassVar[Provider] = Provider(
        kind="vultr",
        package="ediri-vultr",
        module="ediri_vultr",
        region="ewr",
        plan="vc2-1c-0.5gb",
        prices="https://www.vultr.com/pricing/",
        credentials=(("VULTR_API_KEY",), ("vultr:apiKey",)),
        facts=Facts(
            title="Vultr",
            address="yes, reserved IPv4",
            firewall="firewall group, 50 rules, two a port",
            ipv6="yes, free, not kept",
            tested=TESTED,
        ),
        user_data_form=Form.TEXT,  # the provider's plugin makes it base64 itself
        user_data_limit=16 * 1024,  # none is documented: the strictest of the others'
        rule_limit=50,
        rules_each=2,
    )

    def offered(self) -> dict[str, Sequence[str]]:
        """Its SDK lists nothing, but finds what has a name."""
        import ediri_vultr as vultr

        def region() -> object:
            return vultr.get_region(
                filters=[vultr.GetRegionFilterArgs(name="id", values=[self.region])]
            )

        sold_in: list[str] = []

        def plan() -> None:
            found = vultr.get_plan(filters=[vultr.GetPlanFilterArgs(name="id", values=[self.plan])])
            sold_in.extend(found.locations)

        return {
            "region": [self.region] if exists(region) else [],
            "plan": [self.plan] if exists(plan) and self.region in sold_in else [],
        }

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A reserved address, a firewall group with its rules, a key and the instance."""
        import ediri_vultr as vultr

        self.tell()
        inside = pulumi.ResourceOptions(parent=parent)
        address = vultr.ReservedIp(
            f"{name}-address",
            region=self.region,
            ip_type="v4",
            label=name,
            opts=self.kept(parent),
        )
        group = vultr.FirewallGroup(f"{name}-firewall", description=name, opts=inside)
        wanted = [
            ("icmp", ""),
            *((o.protocol.value, str(o.ports).replace("-", ":")) for o in let_in(order)),
        ]
        for family, network in zip(("v4", "v6"), ANYWHERE, strict=True):
            for protocol, ports in wanted:
                vultr.FirewallRule(
                    "-".join([f"{name}-firewall", family, protocol, *ports.split(":")]).rstrip("-"),
                    firewall_group_id=group.id,
                    protocol=protocol,
                    port=ports or None,
                    ip_type=family,
                    subnet=network.partition("/")[0],
                    subnet_size=0,
                    opts=inside,
                )
        key = vultr.SSHKey(f"{name}-ssh", ssh_key=order.management_public, opts=inside)
        system = vultr.get_os_output(
            filters=[vultr.GetOsFilterArgs(name="name", values=[IMAGE])],
            opts=pulumi.InvokeOutputOptions(parent=parent),
        )
        server = vultr.Instance(
            f"{name}-server",
            region=self.region,
            plan=self.plan,
            os_id=system.id.apply(int),
            label=name,
            reserved_ip_id=address.id,
            firewall_group_id=group.id,
            enable_ipv6=True,
            backups="disabled",
            activation_email=False,
            ssh_key_ids=[key.id],
            user_data=order.user_data,
            tags=self.tags(),
            opts=self.frozen(parent, order, ["userData", "osId", "sshKeyIds"]),
        )
        return self.ready(order, address.subnet, server.id, server)
