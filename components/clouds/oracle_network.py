"""What an instance of Oracle Cloud needs around it: a network of its own, and its security list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import pulumi

from ..machine import Order
from ..model import Opening, Protocol
from .cloud import ANYWHERE, ANYWHERE_4, ANYWHERE_6, let_in

if TYPE_CHECKING:
    import pulumi_oci.core as core

NETWORK = IPv4Network("10.255.254.0/24")
# Protocols as IANA numbers them.
TCP, UDP, ICMP, ICMP6 = "6", "17", "1", "58"


def subnet(name: str, order: Order, compartment: str, opts: pulumi.ResourceOptions) -> core.Subnet:
    """A public subnet of both address families, with its own security list and no other."""
    import pulumi_oci.core as core

    vcn = core.Vcn(
        f"{name}-network",
        compartment_id=compartment,
        display_name=name,
        cidr_blocks=[str(NETWORK)],
        is_ipv6enabled=True,
        opts=opts,
    )
    gateway = core.InternetGateway(
        f"{name}-gateway", compartment_id=compartment, vcn_id=vcn.id, opts=opts
    )
    routes = core.RouteTable(
        f"{name}-routes",
        compartment_id=compartment,
        vcn_id=vcn.id,
        route_rules=[
            core.RouteTableRouteRuleArgs(
                destination=network, destination_type="CIDR_BLOCK", network_entity_id=gateway.id
            )
            for network in ANYWHERE
        ],
        opts=opts,
    )
    firewall = core.SecurityList(
        f"{name}-firewall",
        compartment_id=compartment,
        vcn_id=vcn.id,
        display_name=name,
        ingress_security_rules=[*_ingress(order)],
        egress_security_rules=[
            core.SecurityListEgressSecurityRuleArgs(protocol="all", destination=network)
            for network in ANYWHERE
        ],
        opts=opts,
    )
    return core.Subnet(
        f"{name}-subnet",
        compartment_id=compartment,
        vcn_id=vcn.id,
        display_name=name,
        cidr_block=str(NETWORK),
        ipv6cidr_block=vcn.ipv6cidr_blocks.apply(_first_64),
        route_table_id=routes.id,
        security_list_ids=[firewall.id],
        opts=opts,
    )


def _ingress(order: Order) -> Iterator[core.SecurityListIngressSecurityRuleArgs]:
    import pulumi_oci.core as core

    for protocol, network in ((ICMP, ANYWHERE_4), (ICMP6, ANYWHERE_6)):
        yield core.SecurityListIngressSecurityRuleArgs(protocol=protocol, source=network)
    for opening in let_in(order):
        for network in ANYWHERE:
            yield _rule(opening, network)


def _rule(opening: Opening, network: str) -> core.SecurityListIngressSecurityRuleArgs:
    import pulumi_oci.core as core

    first, last = opening.ports.first, opening.ports.last
    if opening.protocol is Protocol.TCP:
        return core.SecurityListIngressSecurityRuleArgs(
            protocol=TCP,
            source=network,
            tcp_options=core.SecurityListIngressSecurityRuleTcpOptionsArgs(min=first, max=last),
        )
    return core.SecurityListIngressSecurityRuleArgs(
        protocol=UDP,
        source=network,
        udp_options=core.SecurityListIngressSecurityRuleUdpOptionsArgs(min=first, max=last),
    )


def _first_64(blocks: Sequence[str]) -> str:
    """Oracle gives the network a /56, and a subnet takes a /64 of it."""
    return str(next(IPv6Network(blocks[0]).subnets(new_prefix=64)))
