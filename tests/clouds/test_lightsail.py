"""Kind ``lightsail`` against its real SDK."""

from __future__ import annotations

from .conftest import Preview


def test_the_graph(preview: Preview) -> None:
    resources = preview("lightsail").resources
    assert {n: r["type"] for n, r in resources.items() if r["type"].startswith("aws:")} == {
        "relay-address": "aws:lightsail/staticIp:StaticIp",
        "relay-attached": "aws:lightsail/staticIpAttachment:StaticIpAttachment",
        "relay-firewall": "aws:lightsail/instancePublicPorts:InstancePublicPorts",
        "relay-server": "aws:lightsail/instance:Instance",
    }
    assert "relay-firewall" in resources["relay-attached"]["dependencies"]
    assert "relay-attached" in resources["relay-plan"]["dependencies"], "SSH goes by both"


def test_all_is_in_the_region_and_the_address_on_the_instance(preview: Preview) -> None:
    run = preview("lightsail", vps={"region": "eu-west-3", "plan": "micro_3_0"})
    for name in ("relay-address", "relay-attached", "relay-firewall", "relay-server"):
        assert run.inputs(name)["region"] == "eu-west-3"
    assert run.inputs("relay-server")["availabilityZone"] == "eu-west-3a"
    assert run.inputs("relay-server")["bundleId"] == "micro_3_0"
    attached = run.inputs("relay-attached")
    assert attached["staticIpName"] == "relay-address-0"
    assert attached["instanceName"] == run.inputs("relay-firewall")["instanceName"]


def test_the_machine_is_given_a_script(preview: Preview) -> None:
    script = preview("lightsail").inputs("relay-server")["userData"]
    assert script.startswith("#!/bin/sh\n")
    assert "#cloud-config" not in script


def test_the_ports_are_exactly_what_is_asked_and_the_old_go_first(preview: Preview) -> None:
    run = preview("lightsail")
    found = {
        (p["protocol"], p["fromPort"], p["toPort"], *p.get("cidrs", ()), *p.get("ipv6Cidrs", ()))
        for p in run.inputs("relay-firewall")["portInfos"]
    }
    assert found == {
        ("icmp", -1, -1, "0.0.0.0/0"),
        ("icmpv6", -1, -1, "::/0"),
        ("tcp", 22, 22, "0.0.0.0/0", "::/0"),
        ("tcp", 80, 80, "0.0.0.0/0", "::/0"),
        ("udp", 27015, 27020, "0.0.0.0/0", "::/0"),
        ("udp", 51820, 51820, "0.0.0.0/0", "::/0"),
    }
    assert run.resources["relay-firewall"]["deleteBeforeReplace"] is True
