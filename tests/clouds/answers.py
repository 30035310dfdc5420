"""What the providers would answer: stand-ins for their APIs, as far as the program asks.

Addresses are of RFC 5737 and RFC 3849; a region or plan that is not here is one they do not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADDRESS, ADDRESS6 = "203.0.113.7", "2001:db8:7::1"

RESOURCES: dict[str, dict[str, Any]] = {
    "hcloud:index/primaryIp:PrimaryIp": {"ipAddress": ADDRESS},
    "digitalocean:index/reservedIp:ReservedIp": {"ipAddress": ADDRESS},
    "linode:index/reservedIp:ReservedIp": {"address": ADDRESS},
    "vultr:index/reservedIp:ReservedIp": {"subnet": ADDRESS},
    "aws:lightsail/staticIp:StaticIp": {"ipAddress": ADDRESS, "name": "relay-address-0"},
    "aws:lightsail/instance:Instance": {"name": "relay-server-0"},
    "oci:Core/vcn:Vcn": {"ipv6cidrBlocks": ["2001:db8:7:100::/56"]},
    "oci:Core/instance:Instance": {"privateIp": "10.255.254.2"},
    "oci:Core/publicIp:PublicIp": {"ipAddress": ADDRESS},
    "ionoscloud:compute/iPBlock:IPBlock": {"ips": [ADDRESS]},
    "ionoscloud:compute/cubeServer:CubeServer": {"primaryNic": "nic-0"},
}
CALLS: dict[str, dict[str, Any]] = {
    "hcloud:index/getLocations:getLocations": {
        "id": "0",
        "locations": [{"name": name} for name in ("fsn1", "hel1", "nbg1")],
    },
    "hcloud:index/getServerTypes:getServerTypes": {
        "id": "0",
        "serverTypes": [{"name": name} for name in ("cax11", "cx23", "cx33")],
    },
    "hcloud:index/getServerType:getServerType": {"id": 114, "architecture": "x86"},
    "hcloud:index/getImage:getImage": {"id": 310557660, "name": "debian-13"},
    "digitalocean:index/getRegions:getRegions": {
        "id": "0",
        "regions": [
            {"slug": "fra1", "available": True},
            {"slug": "ams3", "available": True},
            {"slug": "nyc2", "available": False},
        ],
    },
    "digitalocean:index/getSizes:getSizes": {
        "id": "0",
        "sizes": [
            {"slug": "s-1vcpu-512mb-10gb", "available": True, "regions": ["fra1"]},
            {"slug": "s-1vcpu-1gb", "available": True, "regions": ["ams3", "fra1"]},
        ],
    },
    "digitalocean:index/getImage:getImage": {"id": 195932981},
    "linode:index/getRegions:getRegions": {
        "id": "0",
        "regions": [{"id": "eu-central"}, {"id": "us-east"}],
    },
    "linode:index/getInstanceTypes:getInstanceTypes": {
        "id": "0",
        "types": [{"id": "g6-nanode-1"}, {"id": "g6-standard-1"}],
    },
    "linode:index/getImages:getImages": {"id": "0", "images": [{"id": "linode/debian13"}]},
    "vultr:index/getOs:getOs": {"id": "2136"},
    "vultr:index/getRegion:getRegion": {"id": "ewr"},
    "vultr:index/getPlan:getPlan": {"id": "vc2-1c-0.5gb", "locations": ["ewr"]},
    "oci:Identity/getRegions:getRegions": {
        "id": "0",
        "regions": [{"name": "eu-frankfurt-1"}, {"name": "uk-london-1"}],
    },
    "oci:Identity/getAvailabilityDomains:getAvailabilityDomains": {
        "id": "0",
        "availabilityDomains": [{"name": f"AD-{n}"} for n in (1, 2, 3)],
    },
    "oci:Core/getImages:getImages": {"id": "0", "images": [{"id": "ocid1.image.oc1..a"}]},
    "oci:Core/getPrivateIps:getPrivateIps": {
        "id": "0",
        "privateIps": [{"id": "ocid1.privateip.oc1..a"}],
    },
    "ionoscloud:compute/getLocation:getLocation": {"id": "de/fra"},
    "ionoscloud:compute/getTemplate:getTemplate": {"id": "template-0"},
    "ionoscloud:compute/getImage:getImage": {"id": "image-0"},
}
NOT_REACHED = {"reached": False, "why": "this is a mock; nothing to do"}
SHAPES = ("oci:Core/getShapes:getShapes",)
# Lookups that find one thing or fail, with its name.
BY_NAME = {
    "vultr:index/getRegion:getRegion": "ams",
    "vultr:index/getPlan:getPlan": "vc2-1c-0.5gb",
    "ionoscloud:compute/getLocation:getLocation": "de/fra",
    "ionoscloud:compute/getTemplate:getTemplate": "Basic Cube XS",
}
Failed = tuple[dict[str, Any], list[tuple[str, str]]]


def resource(token: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a provider adds to a resource that it has made."""
    return RESOURCES.get(token, {})


def call(token: str, args: Mapping[str, Any]) -> dict[str, Any] | Failed:
    """A provider's answer to a lookup, or its failure."""
    if token in SHAPES:
        # The free shape is in the second availability domain alone.
        domain = args.get("availabilityDomain")
        names = ["VM.Standard.A1.Flex"] + ["VM.Standard.E2.1.Micro"] * (domain in (None, "AD-2"))
        return {**args, "id": "0", "shapes": [{"name": name} for name in names]}
    if token not in CALLS:
        raise AssertionError(f"the program calls {token}")
    sought = {value for filter_ in args.get("filters") or () for value in filter_["values"]}
    sought.add(args.get("name"))
    if token in BY_NAME and CALLS[token]["id"] not in sought and BY_NAME[token] not in sought:
        return {}, [("name", "no results were found")]
    return {**args, **CALLS[token]}
