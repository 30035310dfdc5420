"""Kind ``vultr`` against its real SDK."""

from __future__ import annotations

from components.clouds.cloud import ANYWHERE_4, ANYWHERE_6

from .conftest import Preview

RULE = "vultr:index/firewallRule:FirewallRule"


def test_the_graph(preview: Preview) -> None:
    resources = preview("vultr").resources
    made = {n: r["type"] for n, r in resources.items() if r["type"].startswith("vultr:")}
    rules = {name for name, type_ in made.items() if type_ == RULE}
    assert {name: made[name] for name in made.keys() - rules} == {
        "relay-address": "vultr:index/reservedIp:ReservedIp",
        "relay-firewall": "vultr:index/firewallGroup:FirewallGroup",
        "relay-ssh": "vultr:index/sSHKey:SSHKey",
        "relay-server": "vultr:index/instance:Instance",
    }
    assert len(rules) == 10


def test_the_instance_has_address_firewall_and_image(preview: Preview) -> None:
    resources = preview("vultr").resources
    server = resources["relay-server"]
    assert {"relay-address", "relay-firewall", "relay-ssh"} <= {*server["dependencies"]}
    assert server["inputs"]["osId"] == 2136
    assert server["inputs"]["enableIpv6"] is True
    assert server["inputs"]["firewallGroupId"] and server["inputs"]["reservedIpId"]
    assert server["inputs"]["userData"].startswith("Content-Type: application/gzip\n")


def test_each_port_has_a_rule_for_each_address_family(preview: Preview) -> None:
    resources = preview("vultr").resources
    rules = [r["inputs"] for r in resources.values() if r["type"] == RULE]
    found = {(r["ipType"], r["subnet"], r["protocol"], r.get("port")) for r in rules}
    assert found == {
        (family, subnet, protocol, port)
        for family, subnet in (("v4", ANYWHERE_4[:-2]), ("v6", ANYWHERE_6[:-2]))
        for protocol, port in (
            ("icmp", None),
            ("tcp", "22"),
            ("tcp", "80"),
            ("udp", "27015:27020"),
            ("udp", "51820"),
        )
    }
    assert all(rule["subnetSize"] == 0 for rule in rules)


def test_an_unknown_region_or_plan_is_named(preview: Preview) -> None:
    fault = preview("vultr", vps={"region": "xyz", "plan": "huge"}).fault
    assert "vps.region: vultr has no region 'xyz'; look at https://www.vultr.com/pricing/" in fault
    assert "vps.plan: vultr has no plan 'huge' in xyz; look at" in fault


def test_a_plan_that_is_not_sold_in_the_region_is_named(preview: Preview) -> None:
    fault = preview("vultr", vps={"region": "ams"}).fault
    assert "vps.plan: vultr has no plan 'vc2-1c-0.5gb' in ams; look at" in fault


def test_a_port_takes_two_of_the_firewalls_rules(preview: Preview) -> None:
    homes = [{"name": "home", "forwards": list(range(1000, 1046, 2))}]
    fault = preview("vultr", homes=homes).fault
    assert "homes: they need 52 rules of the provider's firewall, it takes 50; forward" in fault
