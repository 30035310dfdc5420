"""Kind ``hetzner`` against its real SDK."""

from __future__ import annotations

from .conftest import Preview


def test_the_graph(preview: Preview) -> None:
    resources = preview("hetzner").resources
    assert {n: r["type"] for n, r in resources.items() if r["type"].startswith("hcloud:")} == {
        "relay-address": "hcloud:index/primaryIp:PrimaryIp",
        "relay-address6": "hcloud:index/primaryIp:PrimaryIp",
        "relay-firewall": "hcloud:index/firewall:Firewall",
        "relay-ssh": "hcloud:index/sshKey:SshKey",
        "relay-server": "hcloud:index/server:Server",
    }
    for name in ("relay-address", "relay-address6", "relay-firewall", "relay-ssh"):
        assert name in resources["relay-server"]["dependencies"]


def test_the_addresses_outlive_the_server_and_are_on_it(preview: Preview) -> None:
    run = preview("hetzner")
    (net,) = run.inputs("relay-server")["publicNets"]
    assert net["ipv4Enabled"] and net["ipv6Enabled"]
    assert net["ipv4"] != net["ipv6"]
    for name, family in (("relay-address", "ipv4"), ("relay-address6", "ipv6")):
        address = run.inputs(name)
        assert (address["type"], address["autoDelete"]) == (family, False)
        assert address["location"] == run.inputs("relay-server")["location"] == "nbg1"


def test_the_firewall_lets_in_exactly_what_is_asked(preview: Preview) -> None:
    run = preview("hetzner", tunnel={"otherPorts": [4500]})
    rules = run.inputs("relay-firewall")["rules"]
    assert {(rule["protocol"], rule.get("port")) for rule in rules} == {
        ("icmp", None),
        ("tcp", "22"),
        ("tcp", "80"),
        ("udp", "4500"),
        ("udp", "27015-27020"),
        ("udp", "51820"),
    }
    assert {rule["direction"] for rule in rules} == {"in"}
    assert all(rule["sourceIps"] == ["0.0.0.0/0", "::/0"] for rule in rules)


def test_the_image_is_looked_up_for_the_plans_architecture(preview: Preview) -> None:
    run = preview("hetzner")
    assert run.inputs("relay-server")["image"] == "310557660"
    assert "hcloud:index/getImage:getImage" in run.found["calls"]


def test_protection_is_hetzners_too(preview: Preview) -> None:
    run = preview("hetzner", vps={"protect": True})
    for name in ("relay-server", "relay-address", "relay-address6"):
        assert run.inputs(name)["deleteProtection"] is True


def test_an_unknown_region_or_plan_is_named(preview: Preview) -> None:
    fault = preview("hetzner", vps={"region": "nbg2", "plan": "gigantic"}).fault
    assert "vps.region: hetzner has no region 'nbg2'; did you mean nbg1?" in fault
    assert "vps.plan: hetzner has no plan 'gigantic' in nbg2; it has cax11, cx23, cx33" in fault
