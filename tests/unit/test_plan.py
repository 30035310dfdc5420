"""The plan of a host: modes, parts that change alone, and its way into user-data."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.model import Site
from components.plan import HostPlan, relay_plan
from components.userdata import cloud_config

from . import samples

SETTINGS = samples.settings()
KEYS = samples.keys(SETTINGS)
PLAN = relay_plan(SETTINGS, KEYS)


def changed(other: HostPlan) -> set[str]:
    pairs = zip(PLAN.parts, other.parts, strict=True)
    return {mine.name for mine, theirs in pairs if mine != theirs}


def test_a_forward_is_in_rules_alone() -> None:
    homes = [{**samples.HOMES[0], "forwards": ["80:9090"]}, *samples.HOMES[1:]]
    assert changed(relay_plan(samples.settings(homes=homes), KEYS)) == {"rules"}


def test_a_peers_key_is_in_peers_alone() -> None:
    other = samples.keys(SETTINGS)
    assert changed(
        relay_plan(
            SETTINGS,
            replace(KEYS, peers=other.peers),
        )
    ) == {"peers"}


def test_files_with_keys_are_roots_alone() -> None:
    secrets = [KEYS.wireguard.private, *(h.preshared for h in KEYS.peers.values())]
    holding = [f for f in PLAN.files if any(secret in f.content for secret in secrets)]
    assert {f.path for f in holding} == {"/etc/wireguard/wg0.conf", "/etc/wireguard/wg0.peers"}
    assert {f.mode for f in holding} == {"0600"}


def test_repr_of_a_plan_shows_no_content() -> None:
    assert KEYS.wireguard.private not in repr(PLAN)
    assert "[Interface]" not in repr(PLAN)


def test_user_data_carries_the_plan_unchanged() -> None:
    text = cloud_config(PLAN, KEYS)
    assert text.splitlines()[0] == "#cloud-config"
    document = yaml.safe_load(text)
    written = {f["path"]: (f["content"], f["permissions"]) for f in document["write_files"]}
    assert written == {f.path: (f.content, f.mode) for f in PLAN.files}
    assert all(isinstance(f["permissions"], str) for f in document["write_files"])
    assert all(isinstance(command, list) for command in document["runcmd"])
    assert "packages" not in document  # cloud-init would bring those that they recommend


def test_user_data_lets_no_password_in_and_one_key() -> None:
    assert KEYS.management
    document = yaml.safe_load(cloud_config(PLAN, KEYS))
    assert document["ssh_pwauth"] is False
    assert document["ssh_authorized_keys"] == [KEYS.management.public]
    assert KEYS.management.private not in cloud_config(PLAN, KEYS)


def test_user_data_is_the_same_at_every_call() -> None:
    assert cloud_config(PLAN, KEYS) == cloud_config(relay_plan(SETTINGS, KEYS), KEYS)


SCRIPTS = sorted((Path(__file__).parents[2] / "cloud-init").glob("h*/*"))


@pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s.read_text().startswith("#!")], ids=lambda s: s.name
)
def test_shellcheck(script: Path) -> None:
    checked = subprocess.run(["shellcheck", "-x", str(script)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_tls_is_a_part_of_its_own_where_it_is_on() -> None:
    settings = samples.settings(
        homes=[{"name": "home"}], tunnel={"port": 4500, "tls": {"port": 8443}}
    )
    keys = samples.keys(settings)
    plan = relay_plan(settings, keys)
    (part,) = [part for part in plan.parts if part.name == "tls"]
    files = {file.path: file for file in part.files}
    assert keys.tls is not None
    assert files["/etc/cgnat-relay/tls.pem"].content.startswith(keys.tls.private)
    assert files["/etc/cgnat-relay/tls.pem"].mode == "0600"
    assert files["/etc/cgnat-relay/tls.env"].content == "PORT=8443\nTUNNEL=4500\n"
    assert plan.units[-1] == "cgnat-relay-tls.service"
    assert "socat" in plan.packages
    assert "socat" not in PLAN.packages
    assert "tcp/8443" in [str(opening) for opening in settings.openings]
    firewall = next(f.content for f in plan.files if f.path.endswith("firewall.v4"))
    assert "-p tcp --dport 8443 -j ACCEPT" in firewall


def adopted(**site: Any) -> HostPlan:
    """The same settings on a machine of somebody's."""
    settings = replace(SETTINGS, site=Site(adopted=True, ssh_port=22, **site))
    return relay_plan(settings, replace(KEYS, host=None, management=None))


def part(plan: HostPlan, name: str) -> dict[str, str]:
    """A part's files: their content by path."""
    (found,) = (part for part in plan.parts if part.name == name)
    return {file.path: file.content for file in found.files}


def test_an_adopted_machine_keeps_its_ssh_and_its_updates() -> None:
    paths = set(part(adopted(), "base"))
    assert part(PLAN, "base").keys() - paths == {
        "/etc/ssh/sshd_config.d/10-cgnat-relay.conf",
        "/etc/apt/apt.conf.d/52cgnat-relay",
    }
    assert set(PLAN.packages) - set(adopted().packages) == {"unattended-upgrades"}


def test_an_adopted_machine_keeps_its_firewall_unless_asked() -> None:
    own = part(adopted(guarded=False), "firewall")
    for version in "46":
        rules = own[f"/etc/cgnat-relay/firewall.v{version}"].splitlines()
        assert [rule for rule in rules if rule.startswith("-A")] == [
            "-A RELAY-INPUT -p udp --dport 51820 -j ACCEPT"
        ]
    managed = part(adopted(), "firewall")
    for version in "46":  # its own rules have the last word of SSH
        path = f"/etc/cgnat-relay/firewall.v{version}"
        managed[path] = managed[path].replace("--dport 22 -j RETURN", "--dport 22 -j ACCEPT")
    assert managed == part(PLAN, "firewall"), "firewall: managed"


def test_what_others_flush_comes_back_with_their_units() -> None:
    """By drop-ins, whose command is a file of the same plan."""
    files = part(PLAN, "firewall")
    for name in ("docker", "firewalld", "netfilter-persistent", "nftables", "ufw"):
        dropin = files[f"/etc/systemd/system/{name}.service.d/50-cgnat-relay.conf"]
        for line in ("ExecStartPost", "ExecStopPost"):
            assert f"\n{line}=+-/usr/local/lib/cgnat-relay/restore all\n" in dropin
    reload = files["/etc/systemd/system/nftables.service.d/51-cgnat-relay-reload.conf"]
    assert "\nExecReload=+-/usr/local/lib/cgnat-relay/restore all\n" in reload
    assert "/usr/local/lib/cgnat-relay/restore" in files
    assert files["/etc/cgnat-relay/interface"] == "wg0\n"
    assert files["/etc/cgnat-relay/ports"] == "51820/udp\n"


def test_what_flushes_before_the_tunnel_does_not_keep_it_out() -> None:
    """By files of the firewall's part: a tunnel that is there is not touched for them."""
    files = part(PLAN, "firewall")
    dropin = files["/etc/systemd/system/wg-quick@wg0.service.d/50-cgnat-relay.conf"]
    assert "\nExecStartPost=+-/usr/local/lib/cgnat-relay/firewall stands\n" in dropin
    assert "\nExecStopPost=+-/usr/local/lib/cgnat-relay/firewall stopped\n" in dropin
    place = files["/etc/systemd/system/wg-quick@wg0.service.d/51-cgnat-relay-place.conf"]
    assert "\nExecStartPost=+-/usr/local/lib/cgnat-relay/restore place\n" in place
    assert "\nExecReload=\nExecReload=/bin/echo " in place, "wg syncconf would take all peers away"
    modes = {file.path: file.mode for file in PLAN.files}
    assert modes["/etc/network/if-up.d/zz-cgnat-relay"] == "0755"
    # Or run-parts leaves it out.
    assert re.fullmatch("[a-zA-Z0-9_-]+", "zz-cgnat-relay")
    assert files["/etc/network/if-up.d/zz-cgnat-relay"].endswith("|| :\n")


def test_a_reboot_in_the_middle_is_taken_back_before_anything_starts() -> None:
    assert PLAN.units[0] == adopted().units[0] == "cgnat-relay-recover.service"
    unit = part(PLAN, "base")["/etc/systemd/system/cgnat-relay-recover.service"]
    before = next(line for line in unit.splitlines() if line.startswith("Before="))
    assert {"systemd-sysctl.service", "cgnat-relay-firewall.service", "network-pre.target"} <= {
        *before.removeprefix("Before=").split()
    }


def test_a_boot_goes_on_taking_advertisements_by_what_the_owner_wrote() -> None:
    """And none where IPv6 is not forwarded, or nobody took any: no line of sysctl.d could tell."""
    assert "accept_ra" not in part(PLAN, "base")["/etc/sysctl.d/60-cgnat-relay.conf"]
    unit = part(PLAN, "firewall")["/etc/systemd/system/cgnat-relay-firewall.service"]
    assert "ExecStartPre=-/usr/local/lib/cgnat-relay/setup advertisements" in unit.splitlines()
    after = [line for line in unit.splitlines() if line.startswith("After=")]
    assert any("systemd-sysctl.service" in line for line in after)


def test_an_owners_own_iptables_unit_makes_no_circle_with_the_firewalls() -> None:
    """It is written by hand, and may come after the network, before which the relay's is."""
    unit = part(PLAN, "firewall")["/etc/systemd/system/cgnat-relay-firewall.service"]
    order = [line for line in unit.splitlines() if line.startswith(("After=", "Before="))]
    assert any("network-pre.target" in line for line in order)
    assert not any("iptables.service" in line for line in order)
    paths = part(PLAN, "firewall")
    assert "/etc/systemd/system/iptables.service.d/50-cgnat-relay.conf" in paths
