"""Kind ``digitalocean`` against its real SDK."""

from __future__ import annotations

from . import answers
from .conftest import Preview


def test_the_graph(preview: Preview) -> None:
    resources = preview("digitalocean").resources
    cloud = "digitalocean:index/"
    assert {n: r["type"] for n, r in resources.items() if r["type"].startswith(cloud)} == {
        "relay-address": "digitalocean:index/reservedIp:ReservedIp",
        "relay-attached": "digitalocean:index/reservedIpAssignment:ReservedIpAssignment",
        "relay-firewall": "digitalocean:index/firewall:Firewall",
        "relay-ssh": "digitalocean:index/sshKey:SshKey",
        "relay-server": "digitalocean:index/droplet:Droplet",
    }
    assert "relay-firewall" in resources["relay-attached"]["dependencies"]
    assert "relay-attached" in resources["relay-plan"]["dependencies"], "SSH goes by both"


def test_the_address_is_on_the_droplet_and_not_a_part_of_it(preview: Preview) -> None:
    run = preview("digitalocean")
    assert "dropletId" not in run.inputs("relay-address")
    attached = run.inputs("relay-attached")
    assert attached["ipAddress"] == answers.ADDRESS
    assert run.inputs("relay-firewall")["dropletIds"] == [attached["dropletId"]]
    assert run.inputs("relay-server")["ipv6"] is True


def test_the_firewall_lets_in_what_is_asked_and_everything_out(preview: Preview) -> None:
    firewall = preview("digitalocean").inputs("relay-firewall")
    assert {(rule["protocol"], rule.get("portRange")) for rule in firewall["inboundRules"]} == {
        ("icmp", None),
        ("tcp", "22"),
        ("tcp", "80"),
        ("udp", "27015-27020"),
        ("udp", "51820"),
    }
    assert {rule["protocol"] for rule in firewall["outboundRules"]} == {"icmp", "tcp", "udp"}
    for rule in firewall["inboundRules"]:
        assert rule["sourceAddresses"] == ["0.0.0.0/0", "::/0"]


def test_a_plan_that_the_region_has_not_is_named(preview: Preview) -> None:
    fault = preview("digitalocean", vps={"region": "ams3"}).fault
    assert "no plan 's-1vcpu-512mb-10gb' in ams3; did you mean s-1vcpu-1gb?" in fault
    assert "no region 'nyc2'" in preview("digitalocean", vps={"region": "nyc2"}).fault


def test_the_tunnel_may_not_overlap_the_provider_s_networks(preview: Preview) -> None:
    fault = preview("digitalocean", tunnel={"network": "10.9.0.0/24"}).fault
    assert "10.9.0.0/24 overlaps 10.0.0.0/8, which the machine is on" in fault
