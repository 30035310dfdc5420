"""Kind ``oracle``: an instance of Oracle Cloud, by default of the shape that is Always Free.

Oracle's images come with an iptables of their own that refuses in INPUT and FORWARD; the relay's
chains stand before those. The other firewall is the subnet's security list, made here, which takes
the place of the network's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi

from ..faults import Collector, shown
from ..first_boot import Form
from ..machine import Facts, Machine, Order
from .cloud import OPTIONS, TESTED, Cloud, Provider, first
from .oracle_account import account, domain
from .oracle_network import NETWORK, subnet

SYSTEM, VERSION = "Canonical Ubuntu", "24.04"
# Of a shape that has no size of its own: within what is Always Free.
OCPUS, GIBIBYTES = 1.0, 6.0
_OCID = re.compile(r"ocid1\.(compartment|tenancy)\.[a-z0-9.-]+")


@dataclass(frozen=True)
class Oracle(Cloud):
    """``region`` is the account's own where it is empty; ``compartment`` is an OCID."""

    compartment: str = ""

    provider: ClassVar[Provider] = Provider(
        kind="oracle",
        package="pulumi-oci",
        module="pulumi_oci",
        region="",
        plan="VM.Standard.E2.1.Micro",
        prices="https://www.oracle.com/cloud/free/",
        credentials=(
            ("~/.oci/config",),
            ("TF_VAR_tenancy_ocid", "TF_VAR_user_ocid", "TF_VAR_fingerprint"),
            ("oci:tenancyOcid", "oci:userOcid", "oci:fingerprint", "oci:privateKey"),
            ("oci:tenancyOcid", "oci:userOcid", "oci:fingerprint", "oci:privateKeyPath"),
        ),
        facts=Facts(
            title="Oracle Cloud, Always Free",
            address="yes, reserved IPv4, mapped 1:1",
            firewall="security list, 200 rules, two a port",
            ipv6="yes, free, not kept",
            tested=TESTED,
        ),
        user_data_form=Form.BASE64,
        user_data_limit=32_000 - 1_000,  # all metadata has 32,000 bytes, and the SSH key is in it
        rule_limit=200,
        rules_each=2,
        networks=(NETWORK,),
    )

    @classmethod
    def options(cls) -> tuple[str, ...]:
        """The same, and where in the account it is."""
        return (*OPTIONS, "compartment")

    @classmethod
    def values(cls, options: Mapping[str, object], path: str, faults: Collector) -> dict[str, Any]:
        """The fields from their options."""
        found = super().values(options, path, faults)
        ocid = options.get("compartment")
        if not isinstance(ocid, str) or not _OCID.fullmatch(ocid):
            reason = "is missing" if ocid is None else f"{shown(ocid)} is no compartment's OCID"
            fix = "write the compartment's OCID, or the tenancy's for its root"
            faults.add(f"{path}.compartment", reason, fix)
            return found
        return found | {"compartment": ocid}

    def offered(self) -> dict[str, Sequence[str]]:
        """Regions; and shapes, where the region is the account's own."""
        import pulumi_oci.core as core
        import pulumi_oci.identity as identity

        if self.region:
            return {"region": [region.name for region in identity.get_regions().regions]}
        shapes = core.get_shapes(compartment_id=self.compartment).shapes
        return {"plan": sorted({shape.name for shape in shapes})}

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        """A network with its security list, the instance, and a reserved address on it."""
        import pulumi_oci.core as core

        self.tell()
        by = account(name, self.region, parent)
        by_account = pulumi.ResourceOptions(provider=by)
        inside = pulumi.ResourceOptions(parent=parent, provider=by)
        asked = pulumi.InvokeOutputOptions(parent=parent, provider=by)
        net = subnet(name, order, self.compartment, inside)
        image = core.get_images_output(
            compartment_id=self.compartment,
            operating_system=SYSTEM,
            operating_system_version=VERSION,
            shape=self.plan,
            sort_by="TIMECREATED",
            sort_order="DESC",
            opts=asked,
        )
        server = core.Instance(
            f"{name}-server",
            compartment_id=self.compartment,
            availability_domain=domain(self.compartment, self.plan, asked),
            display_name=name,
            shape=self.plan,
            shape_config=core.InstanceShapeConfigArgs(ocpus=OCPUS, memory_in_gbs=GIBIBYTES)
            if self.plan.endswith(".Flex")
            else None,
            source_details=core.InstanceSourceDetailsArgs(
                source_type="image",
                source_id=image.images.apply(
                    lambda found: first([i.id for i in found], f"image of {SYSTEM} {VERSION}")
                ),
            ),
            create_vnic_details=core.InstanceCreateVnicDetailsArgs(
                subnet_id=net.id, assign_public_ip="false", assign_ipv6ip=True
            ),
            metadata={
                "user_data": order.user_data,
                "ssh_authorized_keys": order.management_public,
            },
            freeform_tags=self.labels,
            opts=pulumi.ResourceOptions.merge(
                self.frozen(parent, order, ["metadata", "sourceDetails", "availabilityDomain"]),
                by_account,
            ),
        )
        inner = core.get_private_ips_output(
            subnet_id=net.id, ip_address=server.private_ip, opts=asked
        )
        address = core.PublicIp(
            f"{name}-address",
            compartment_id=self.compartment,
            display_name=name,
            lifetime="RESERVED",
            private_ip_id=inner.private_ips.apply(
                lambda found: first([ip.id for ip in found], "private address of the instance")
            ),
            freeform_tags=self.labels,
            opts=pulumi.ResourceOptions.merge(self.kept(parent), by_account),
        )
        return self.ready(order, address.ip_address, server.id, address)
