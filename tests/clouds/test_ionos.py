"""Kind ``ionos`` against its real SDK."""

from __future__ import annotations

from . import answers
from .conftest import Preview

RULE = "ionoscloud:compute/firewall:Firewall"


def test_the_graph(preview: Preview) -> None:
    resources = preview("ionos").resources
    assert {
        n: r["type"]
        for n, r in resources.items()
        if r["type"].startswith("ionoscloud:") and r["type"] != RULE
    } == {
        "relay-address": "ionoscloud:compute/iPBlock:IPBlock",
        "relay-datacenter": "ionoscloud:compute/datacenter:Datacenter",
        "relay-lan": "ionoscloud:compute/lan:Lan",
        "relay-server": "ionoscloud:compute/cubeServer:CubeServer",
    }
    assert {"relay-address", "relay-lan"} <= {*resources["relay-server"]["dependencies"]}


def test_the_cube_has_the_address_behind_its_firewall(preview: Preview) -> None:
    server = preview("ionos").inputs("relay-server")
    nic = server["nic"]
    assert nic["ips"] == [answers.ADDRESS]
    assert (nic["firewallActive"], nic["firewallType"]) == (True, "INGRESS")
    assert (server["templateUuid"], server["imageName"]) == ("template-0", "image-0")
    assert "imagePassword" in preview("ionos").resources["relay-server"]["secrets"]


def test_the_firewall_lets_in_exactly_what_is_asked(preview: Preview) -> None:
    resources = preview("ionos").resources
    rules = [r["inputs"] for r in resources.values() if r["type"] == RULE]
    assert {
        (rule["protocol"], rule.get("portRangeStart"), rule.get("portRangeEnd")) for rule in rules
    } == {
        ("ICMP", None, None),
        ("TCP", 22, 22),
        ("TCP", 80, 80),
        ("UDP", 27015, 27020),
        ("UDP", 51820, 51820),
    }
    assert {(rule["type"], rule["nicId"]) for rule in rules} == {("INGRESS", "nic-0")}


def test_what_holds_the_address_is_protected_too(preview: Preview) -> None:
    resources = preview("ionos", vps={"protect": True}).resources
    assert resources["relay-datacenter"]["protect"] is True


def test_an_unknown_region_or_plan_is_named(preview: Preview) -> None:
    fault = preview("ionos", vps={"region": "de/xyz", "plan": "Cube XXS"}).fault
    assert "vps.region: ionos has no region 'de/xyz'; look at" in fault
    assert "vps.plan: ionos has no plan 'Cube XXS' in de/xyz; look at" in fault
