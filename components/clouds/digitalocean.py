"""Kind ``digitalocean``: a Droplet with a reserved address that outlives it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import ClassVar

import pulumi

from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import ANYWHERE, TESTED, Cloud, Provider, let_in

IMAGE = "debian-13-x64"
OUTBOUND_RULES = 3  # a firewall without any lets nothing out


class DigitalOcean(Cloud):
    """Regions and plans are DigitalOcean's slugs."""

    provider: ClassVar[Provider] = Provider(
        kind="digitalocean",
        package="pulumi-digitalocean",
        module="pulumi_digitalocean",
        region="fra1",
        plan="s-1vcpu-512mb-10gb",
        prices="https://www.digitalocean.com/pricing/droplets",
        credentials=(
            ("DIGITALOCEAN_TOKEN",),
            ("DIGITALOCEAN_ACCESS_TOKEN",),
            ("digitalocean:token",),
        ),
        facts=Facts(
            title="DigitalOcean",
            address="yes, reserved IPv4",
            firewall="Cloud Firewall, 47 rules",
            ipv6="yes, free, not kept",
            tested=TESTED,
        ),
        user_data_form=Form.TEXT,
        user_data_limit=64 * 1024,
        rule_limit=50 - OUTBOUND_RULES,
        # The anchor of the reserved address and the region's VPC, wherever in it they are.
        networks=(IPv4Network("10.0.0.0/8"),),
    )

    def offered(self) -> dict[str, Sequence[str]]:
        """Regions that are open, and the sizes that this one has."""
        import pulumi_digitalocean as digitalocean

        regions = digitalocean.get_regions().regions
        sizes = digitalocean.get_sizes().sizes
        return {
            "region": [region.slug for region in regions if region.available],
            "plan": [s.slug for s in sizes if s.available and self.region in s.regions],
        }

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A reserved address, a key, the Droplet, and its firewall."""
        import pulumi_digitalocean as digitalocean

        self.tell()
        inside = pulumi.ResourceOptions(parent=parent)
        address = digitalocean.ReservedIp(
            f"{name}-address", region=self.region, opts=self.kept(parent)
        )
        # Without a key DigitalOcean mails a password that must be changed at the first login.
        key = digitalocean.SshKey(f"{name}-ssh", public_key=order.management_public, opts=inside)
        image = digitalocean.get_image_output(
            slug=IMAGE, opts=pulumi.InvokeOutputOptions(parent=parent)
        )
        server = digitalocean.Droplet(
            f"{name}-server",
            region=self.region,
            size=self.plan,
            image=image.id.apply(str),
            ipv6=True,
            ssh_keys=[key.id],
            user_data=order.user_data,
            tags=self.tags(),
            opts=self.frozen(parent, order, ["userData", "image", "sshKeys"]),
        )
        number = server.id.apply(int)
        firewall = digitalocean.Firewall(
            f"{name}-firewall",
            droplet_ids=[number],
            inbound_rules=[
                digitalocean.FirewallInboundRuleArgs(protocol="icmp", source_addresses=[*ANYWHERE]),
                *(
                    digitalocean.FirewallInboundRuleArgs(
                        protocol=opening.protocol.value,
                        port_range=str(opening.ports),
                        source_addresses=[*ANYWHERE],
                    )
                    for opening in let_in(order)
                ),
            ],
            outbound_rules=[
                digitalocean.FirewallOutboundRuleArgs(
                    protocol=protocol,
                    port_range=None if protocol == "icmp" else "1-65535",
                    destination_addresses=[*ANYWHERE],
                )
                for protocol in ("icmp", "tcp", "udp")
            ],
            opts=inside,
        )
        attached = digitalocean.ReservedIpAssignment(
            f"{name}-attached",
            ip_address=address.ip_address,
            droplet_id=number,
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[firewall]),
        )
        return self.ready(order, address.ip_address, server.id, attached)
