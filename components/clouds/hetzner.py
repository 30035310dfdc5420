"""Kind ``hetzner``: a server of Hetzner Cloud, with primary addresses that outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import ClassVar

import pulumi

from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import ANYWHERE, TESTED, Cloud, Provider, let_in

IMAGE = "debian-13"


class Hetzner(Cloud):
    """Regions are Hetzner's locations, plans its server types."""

    provider: ClassVar[Provider] = Provider(
        kind="hetzner",
        package="pulumi-hcloud",
        module="pulumi_hcloud",
        region="nbg1",
        plan="cx23",
        prices="https://www.hetzner.com/cloud",
        credentials=(("HCLOUD_TOKEN",), ("hcloud:token",)),
        facts=Facts(
            title="Hetzner Cloud",
            address="yes, primary IPv4 and IPv6",
            firewall="Cloud Firewall, 500 rules",
            ipv6="yes, free",
            tested=TESTED,
        ),
        user_data_form=Form.TEXT,
        user_data_limit=32 * 1024,
        rule_limit=500,
        networks=(IPv4Network("172.31.1.1/32"),),  # every server's gateway
    )

    def offered(self) -> dict[str, Sequence[str]]:
        """Locations, and server types by name."""
        import pulumi_hcloud as hcloud

        return {
            "region": [location.name for location in hcloud.get_locations().locations],
            "plan": [type_.name for type_ in hcloud.get_server_types().server_types],
        }

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """Two primary addresses, a firewall, a key and the server."""
        import pulumi_hcloud as hcloud

        self.tell()
        inside = pulumi.ResourceOptions(parent=parent)
        v4, v6 = (
            hcloud.PrimaryIp(
                f"{name}-{suffix}",
                type=family,
                assignee_type="server",
                auto_delete=False,
                delete_protection=self.protect,
                location=self.region,
                labels=self.labels,
                opts=self.kept(parent),
            )
            for suffix, family in (("address", "ipv4"), ("address6", "ipv6"))
        )
        firewall = hcloud.Firewall(
            f"{name}-firewall",
            labels=self.labels,
            rules=[
                hcloud.FirewallRuleArgs(
                    direction="in", protocol="icmp", source_ips=[*ANYWHERE], description="ICMP"
                ),
                *(
                    hcloud.FirewallRuleArgs(
                        direction="in",
                        protocol=opening.protocol.value,
                        port=str(opening.ports),
                        source_ips=[*ANYWHERE],
                    )
                    for opening in let_in(order)
                ),
            ],
            opts=inside,
        )
        # Without a key Hetzner sets a password for root that must be changed at the first login.
        key = hcloud.SshKey(
            f"{name}-ssh", public_key=order.management_public, labels=self.labels, opts=inside
        )
        type_ = hcloud.get_server_type_output(name=self.plan, opts=_asked(parent))
        image = hcloud.get_image_output(
            name=IMAGE, with_architecture=type_.architecture, opts=_asked(parent)
        )
        server = hcloud.Server(
            f"{name}-server",
            server_type=self.plan,
            location=self.region,
            image=image.id.apply(str),
            user_data=order.user_data,
            ssh_keys=[key.id],
            firewall_ids=[firewall.id.apply(int)],
            public_nets=[
                hcloud.ServerPublicNetArgs(
                    ipv4_enabled=True,
                    ipv4=v4.id.apply(int),
                    ipv6_enabled=True,
                    ipv6=v6.id.apply(int),
                )
            ],
            labels=self.labels,
            delete_protection=self.protect,
            rebuild_protection=self.protect,
            opts=self.frozen(parent, order, ["userData", "image", "sshKeys"]),
        )
        return self.ready(order, v4.ip_address, server.id, server)


def _asked(parent: pulumi.Resource) -> pulumi.InvokeOutputOptions:
    return pulumi.InvokeOutputOptions(parent=parent)
