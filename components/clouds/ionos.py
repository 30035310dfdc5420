"""Kind ``ionos``: a Cube of IONOS Cloud with an address from a reserved block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pulumi
import pulumi_random as random

from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import TESTED, Cloud, Provider, exists, let_in

IMAGE = "ubuntu:24.04"
PASSWORD_BYTES = 16


class Ionos(Cloud):
    """Regions are IONOS Cloud's locations, plans the templates of its Cubes."""

    provider: ClassVar[Provider] = Provider(
        kind="ionos",
        package="pulumi-ionoscloud",
        module="pulumi_ionoscloud",
        region="de/fra",
        plan="Basic Cube XS",
        prices="https://cloud.ionos.com/prices",
        credentials=(
            ("IONOS_TOKEN",),
            ("IONOS_USERNAME", "IONOS_PASSWORD"),
            ("ionoscloud:token",),
            ("ionoscloud:username", "ionoscloud:password"),
        ),
        facts=Facts(
            title="IONOS Cloud",
            address="yes, from an IPv4 block",
            firewall="the interface's",
            ipv6="no: the SDK's firewall knows IPv4 alone",
            tested=TESTED,
        ),
        user_data_form=Form.BASE64,
        user_data_limit=16 * 1024,  # none is documented: the strictest of the others'
    )

    def offered(self) -> dict[str, Sequence[str]]:
        """Its SDK lists nothing, but finds what has a name."""
        import pulumi_ionoscloud.compute as compute

        return {
            "region": [self.region]
            if exists(lambda: compute.get_location(name=self.region))
            else [],
            "plan": [self.plan] if exists(lambda: compute.get_template(name=self.plan)) else [],
        }

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A data centre with a public LAN, an address, the Cube, and its interface's firewall."""
        import pulumi_ionoscloud.compute as compute

        self.tell()
        inside = pulumi.ResourceOptions(parent=parent)
        asked = pulumi.InvokeOutputOptions(parent=parent)
        centre = compute.Datacenter(
            f"{name}-datacenter",
            location=self.region,
            description=" ".join(self.tags()),
            opts=self.kept(parent),
        )
        block = compute.IPBlock(
            f"{name}-address", location=self.region, size=1, opts=self.kept(parent)
        )
        address = block.ips.apply(lambda ips: ips[0])
        lan = compute.Lan(f"{name}-lan", datacenter_id=centre.id, public=True, opts=inside)
        # An image wants a password; cloud-init takes it away again, and nobody may log in by one.
        password = random.RandomBytes(
            f"{name}-password",
            length=PASSWORD_BYTES,
            opts=pulumi.ResourceOptions(parent=parent, additional_secret_outputs=["base64", "hex"]),
        )
        hidden: pulumi.Output[str] = pulumi.Output.secret(password.hex)
        image = compute.get_image_output(
            image_alias=IMAGE, location=self.region, type="HDD", cloud_init="V1", opts=asked
        )
        server = compute.CubeServer(
            f"{name}-server",
            datacenter_id=centre.id,
            template_uuid=compute.get_template_output(name=self.plan, opts=asked).id,
            image_name=image.id,
            image_password=hidden,
            volume=compute.CubeServerVolumeArgs(
                disk_type="DAS", licence_type="LINUX", user_data=order.user_data
            ),
            nic=compute.CubeServerNicArgs(
                lan=lan.id.apply(int),
                dhcp=True,
                ips=[address],
                firewall_active=True,
                firewall_type="INGRESS",
            ),
            opts=self.frozen(parent, order, ["volume.userData", "imageName", "imagePassword"]),
        )
        wanted: list[tuple[str, int | None, int | None]] = [
            ("icmp", None, None),
            *((o.protocol.value, o.ports.first, o.ports.last) for o in let_in(order)),
        ]
        for protocol, start, end in wanted:
            compute.Firewall(
                f"{name}-firewall-{protocol}" + (f"-{start}-{end}" if start else ""),
                datacenter_id=centre.id,
                server_id=server.id,
                nic_id=server.primary_nic,
                protocol=protocol.upper(),
                port_range_start=start,
                port_range_end=end,
                type="INGRESS",
                opts=inside,
            )
        return self.ready(order, address, server.id, server)
