"""Kind ``linode`` against its real SDK."""

from __future__ import annotations

import base64

from . import answers
from .conftest import Preview


def test_the_graph(preview: Preview) -> None:
    resources = preview("linode").resources
    assert {n: r["type"] for n, r in resources.items() if r["type"].startswith("linode:")} == {
        "relay-address": "linode:index/reservedIp:ReservedIp",
        "relay-firewall": "linode:index/firewall:Firewall",
        "relay-server": "linode:index/instance:Instance",
    }
    assert {"relay-address", "relay-firewall"} <= {*resources["relay-server"]["dependencies"]}


def test_the_instance_has_the_address_the_image_and_the_key(preview: Preview) -> None:
    server = preview("linode").inputs("relay-server")
    assert server["ipv4s"] == [answers.ADDRESS]
    assert server["image"] == "linode/debian13"
    assert server["authorizedKeys"][0].startswith("ssh-ed25519 ")
    (metadata,) = server["metadatas"]
    assert base64.b64decode(metadata["userData"], validate=True)[:2] == b"\x1f\x8b"


def test_the_firewall_drops_all_but_what_is_asked(preview: Preview) -> None:
    firewall = preview("linode").inputs("relay-firewall")
    assert (firewall["inboundPolicy"], firewall["outboundPolicy"]) == ("DROP", "ACCEPT")
    assert {(rule["protocol"], rule.get("ports")) for rule in firewall["inbounds"]} == {
        ("ICMP", None),
        ("TCP", "22"),
        ("TCP", "80"),
        ("UDP", "27015-27020"),
        ("UDP", "51820"),
    }
    for rule in firewall["inbounds"]:
        assert (rule["ipv4s"], rule["ipv6s"]) == (["0.0.0.0/0"], ["::/0"])
        assert 3 <= len(rule["label"]) <= 32
    assert len(firewall["label"]) <= 32


def test_more_forwards_than_the_firewall_has_rules_is_a_fault(preview: Preview) -> None:
    homes = [{"name": "home", "forwards": list(range(1000, 1048, 2))}]
    fault = preview("linode", homes=homes).fault
    assert "homes: they need 28 rules of the provider's firewall, it takes 25; forward" in fault
    ranges = [{"name": "home", "forwards": list(range(1000, 1048))}]
    assert preview("linode", homes=ranges).outputs["publicIp"], "neighbours are one rule"


def test_an_unknown_region_or_plan_is_named(preview: Preview) -> None:
    fault = preview("linode", vps={"region": "eu-centrale", "plan": "g6-nanode-2"}).fault
    assert "no region 'eu-centrale'; did you mean eu-central?" in fault
    assert "no plan 'g6-nanode-2' in eu-centrale; did you mean g6-nanode-1?" in fault
