"""Kind ``linode``: an instance of Linode (Akamai) with a reserved address that outlives it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import pulumi

from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import ANYWHERE_4, ANYWHERE_6, TESTED, Cloud, Provider, first, let_in

IMAGE = "Debian 13"


class Linode(Cloud):
    """Regions and plans are Linode's identifiers."""

    provider: ClassVar[Provider] = Provider(
        kind="linode",
        package="pulumi-linode",
        module="pulumi_linode",
        region="eu-central",
        plan="g6-nanode-1",
        prices="https://www.linode.com/pricing/",
        credentials=(("LINODE_TOKEN",), ("linode:token",)),
        facts=Facts(
            title="Linode",
            address="yes, reserved IPv4",
            firewall="Cloud Firewall, 25 rules",
            ipv6="yes, free, not kept",
            tested=TESTED,
        ),
        user_data_form=Form.BASE64,
        # The API's reference says 65,535 bytes «or about 16kb encoded»: the smaller is kept to.
        user_data_limit=16 * 1024,
        rule_limit=25,
    )

    def offered(self) -> dict[str, Sequence[str]]:
        """Regions and types by their identifiers."""
        import pulumi_linode as linode

        return {
            "region": [region.id for region in linode.get_regions().regions or ()],
            "plan": [type_.id for type_ in linode.get_instance_types().types or ()],
        }

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A reserved address, a firewall, and the instance behind both."""
        import pulumi_linode as linode

        self.tell()
        address = linode.ReservedIp(
            f"{name}-address", region=self.region, tags=self.tags(), opts=self.kept(parent)
        )
        firewall = linode.Firewall(
            f"{name}-firewall",
            label=_label(name),
            inbound_policy="DROP",
            outbound_policy="ACCEPT",
            inbounds=[
                linode.FirewallInboundArgs(
                    label="icmp",
                    action="ACCEPT",
                    protocol="ICMP",
                    ipv4s=[ANYWHERE_4],
                    ipv6s=[ANYWHERE_6],
                ),
                *(
                    linode.FirewallInboundArgs(
                        label=f"{opening.protocol.value}-{opening.ports}",
                        action="ACCEPT",
                        protocol=opening.protocol.value.upper(),
                        ports=str(opening.ports),
                        ipv4s=[ANYWHERE_4],
                        ipv6s=[ANYWHERE_6],
                    )
                    for opening in let_in(order)
                ),
            ],
            tags=self.tags(),
            opts=pulumi.ResourceOptions(parent=parent),
        )
        images = linode.get_images_output(
            latest=True,
            filters=[
                linode.GetImagesFilterArgs(name="label", values=[IMAGE]),
                linode.GetImagesFilterArgs(name="is_public", values=["true"]),
            ],
            opts=pulumi.InvokeOutputOptions(parent=parent),
        )
        server = linode.Instance(
            f"{name}-server",
            region=self.region,
            type=self.plan,
            image=images.apply(
                lambda found: first([image.id for image in found.images or ()], f"image {IMAGE}")
            ),
            ipv4s=[address.address],
            firewall_id=firewall.id.apply(int),
            authorized_keys=[order.management_public],
            metadatas=[linode.InstanceMetadataArgs(user_data=order.user_data)],
            tags=self.tags(),
            opts=self.frozen(parent, order, ["metadatas", "image", "authorizedKeys"]),
        )
        return self.ready(order, address.address, server.id, server)


def _label(name: str) -> str:
    """A firewall's, which it must have: one of its own in the account, of at most 32 letters."""
    stack = f"{pulumi.get_project()}/{pulumi.get_stack()}/{name}"
    return f"relay-{hashlib.sha256(stack.encode()).hexdigest()[:16]}"
