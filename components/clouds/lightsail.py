"""Kind ``lightsail``: an instance of AWS Lightsail with a static address that outlives it.

The address is mapped 1:1 to a private one: the machine never sees it on an interface, which the
relay's rules do not ask for. Lightsail puts a shell script of its own before user-data, so what the
machine is given is a script too.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, ClassVar

import pulumi

from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import ANYWHERE_4, ANYWHERE_6, TESTED, Cloud, Provider, let_in

if TYPE_CHECKING:
    import pulumi_aws.lightsail as lightsail

IMAGE = "debian_12"  # a blueprint: Lightsail's own name for the newest image, which no SDK looks up
ANY_ICMP = -1


class Lightsail(Cloud):
    """Regions are those of AWS, plans Lightsail's bundles; the machine is in the first zone."""

    provider: ClassVar[Provider] = Provider(
        kind="lightsail",
        package="pulumi-aws",
        module="pulumi_aws",
        region="eu-central-1",
        plan="nano_3_0",
        prices="https://aws.amazon.com/lightsail/pricing/",
        credentials=(
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            ("AWS_PROFILE",),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
            ("~/.aws/credentials",),
            ("~/.aws/config",),
            ("aws:accessKey", "aws:secretKey"),
            ("aws:profile",),
        ),
        facts=Facts(
            title="AWS Lightsail",
            address="yes, static IPv4, mapped 1:1",
            firewall="the instance's ports",
            ipv6="yes, free, not kept",
            tested=TESTED,
        ),
        user_data_form=Form.SCRIPT,
        user_data_limit=16 * 1024,
        networks=(IPv4Network("172.26.0.0/16"),),  # Lightsail's own VPC
    )

    def offered(self) -> dict[str, Sequence[str]]:
        """Nothing: its SDK lists neither bundles nor Lightsail's regions."""
        return {}

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A static address, the instance, its ports, and the address put on it."""
        import pulumi_aws.lightsail as lightsail

        self.tell()
        region = self.region
        address = lightsail.StaticIp(f"{name}-address", region=region, opts=self.kept(parent))
        server = lightsail.Instance(
            f"{name}-server",
            region=region,
            availability_zone=f"{region}a",
            blueprint_id=IMAGE,
            bundle_id=self.plan,
            ip_address_type="dualstack",
            user_data=order.user_data,
            tags=self.labels,
            opts=self.frozen(parent, order, ["userData", "blueprintId"]),
        )
        # The old ports are closed one by one when they go, also those that the new ones keep open:
        # so they go first.
        firewall = lightsail.InstancePublicPorts(
            f"{name}-firewall",
            region=region,
            instance_name=server.name,
            port_infos=[
                _ports("icmp", ANY_ICMP, ANY_ICMP, v4=True),
                _ports("icmpv6", ANY_ICMP, ANY_ICMP, v6=True),
                *(
                    _ports(o.protocol.value, o.ports.first, o.ports.last, v4=True, v6=True)
                    for o in let_in(order)
                ),
            ],
            opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),
        )
        attached = lightsail.StaticIpAttachment(
            f"{name}-attached",
            region=region,
            static_ip_name=address.name,
            instance_name=server.name,
            opts=pulumi.ResourceOptions(
                parent=parent, depends_on=[firewall], delete_before_replace=True
            ),
        )
        return self.ready(order, address.ip_address, server.id, attached)


def _ports(
    protocol: str, first: int, last: int, *, v4: bool = False, v6: bool = False
) -> lightsail.InstancePublicPortsPortInfoArgs:
    import pulumi_aws.lightsail as lightsail

    return lightsail.InstancePublicPortsPortInfoArgs(
        protocol=protocol,
        from_port=first,
        to_port=last,
        cidrs=[ANYWHERE_4] if v4 else None,
        ipv6_cidrs=[ANYWHERE_6] if v6 else None,
    )
