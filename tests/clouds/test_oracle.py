"""Kind ``oracle`` against its real SDK."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Preview


def test_the_graph(preview: Preview) -> None:
    resources = preview("oracle").resources
    assert {n: r["type"] for n, r in resources.items() if "oci" in r["type"]} == {
        "relay-account": "pulumi:providers:oci",
        "relay-address": "oci:Core/publicIp:PublicIp",
        "relay-firewall": "oci:Core/securityList:SecurityList",
        "relay-gateway": "oci:Core/internetGateway:InternetGateway",
        "relay-network": "oci:Core/vcn:Vcn",
        "relay-routes": "oci:Core/routeTable:RouteTable",
        "relay-server": "oci:Core/instance:Instance",
        "relay-subnet": "oci:Core/subnet:Subnet",
    }
    assert "relay-firewall" in resources["relay-subnet"]["dependencies"]
    assert "relay-subnet" in resources["relay-server"]["dependencies"]


def test_the_instance_is_where_the_free_shape_is(preview: Preview) -> None:
    server = preview("oracle").inputs("relay-server")
    assert server["availabilityDomain"] == "AD-2"
    assert server["sourceDetails"] == {
        "sourceType": "image",
        "sourceId": "ocid1.image.oc1..a",
    }
    assert "shapeConfig" not in server


def test_a_shape_without_a_size_gets_one_that_is_free(preview: Preview) -> None:
    server = preview("oracle", vps={"plan": "VM.Standard.A1.Flex"}).inputs("relay-server")
    assert server["availabilityDomain"] == "AD-1"
    assert server["shapeConfig"] == {"ocpus": 1, "memoryInGbs": 6}


def test_the_address_is_reserved_and_mapped_to_the_instance(preview: Preview) -> None:
    run = preview("oracle")
    assert run.inputs("relay-server")["createVnicDetails"]["assignPublicIp"] == "false"
    assert run.inputs("relay-address")["lifetime"] == "RESERVED"
    assert run.inputs("relay-address")["privateIpId"] == "ocid1.privateip.oc1..a"
    assert "relay-address" in run.resources["relay-plan"]["dependencies"]


def test_the_subnet_s_only_security_list_is_exactly_what_is_asked(preview: Preview) -> None:
    run = preview("oracle")
    assert len(run.inputs("relay-subnet")["securityListIds"]) == 1
    assert run.inputs("relay-subnet")["ipv6cidrBlock"] == "2001:db8:7:100::/64"
    firewall = run.inputs("relay-firewall")

    def ports(rule: dict[str, Any]) -> tuple[Any, ...]:
        found = rule.get("tcpOptions") or rule.get("udpOptions") or {}
        return rule["protocol"], rule["source"], found.get("min"), found.get("max")

    both = ("0.0.0.0/0", "::/0")
    assert {ports(rule) for rule in firewall["ingressSecurityRules"]} == {
        ("1", "0.0.0.0/0", None, None),
        ("58", "::/0", None, None),
        *(("6", network, port, port) for network in both for port in (22, 80)),
        *(("17", network, 51820, 51820) for network in both),
        *(("17", network, 27015, 27020) for network in both),
    }
    assert {rule["protocol"] for rule in firewall["egressSecurityRules"]} == {"all"}


def test_the_region_and_the_credentials_reach_the_account(preview: Preview) -> None:
    run = preview("oracle", vps={"region": "uk-london-1"})
    account = run.resources["relay-account"]
    assert account["inputs"]["region"] == "uk-london-1"
    assert account["inputs"]["tenancyOcid"] == "ocid1.tenancy.oc1..a"
    assert "privateKey" in account["secrets"]
    assert "region" not in preview("oracle").inputs("relay-account")


@pytest.mark.parametrize(
    ("vps", "fault"),
    [
        ({"compartment": "root"}, "vps.compartment: 'root' is no compartment's OCID; write"),
        ({"region": "eu-frankfurt-2"}, "no region 'eu-frankfurt-2'; did you mean eu-frankfurt-1?"),
        (
            {"plan": "VM.Standard.A2.Flex"},
            "no plan 'VM.Standard.A2.Flex'; did you mean VM.Standard.A1.Flex?",
        ),
    ],
)
def test_faults(vps: dict[str, str], fault: str, preview: Preview) -> None:
    assert fault in preview("oracle", vps=vps).fault
