"""What every cloud must do, whoever rents it out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from components.kinds import CLOUDS

from . import answers
from .conftest import HOMES, KINDS, Preview, example

PROVIDERS = {cloud.provider.kind: cloud.provider for cloud in CLOUDS}
every_kind = pytest.mark.parametrize("kind", KINDS)


def of_cloud(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that the provider makes."""
    ours = ("command:", "random:", "cgnat-relay:", "pulumi:")
    return {n: r for n, r in resources.items() if not r["type"].startswith(ours)}


def server(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return resources["relay-server"]


@every_kind
def test_the_example_is_previewed(kind: str, preview: Preview) -> None:
    raw = {k.removeprefix("cgnat-relay:"): v for k, v in example(kind).items() if "relay:" in k}
    run = preview(kind, **raw)
    assert run.outputs["publicIp"] == answers.ADDRESS
    assert run.outputs["endpoint"] == f"{answers.ADDRESS}:51820"
    assert {row["reach"].partition(":")[0] for row in run.outputs["forwards"]} == {answers.ADDRESS}


@every_kind
def test_everything_is_the_relays_child_and_named_from_it(kind: str, preview: Preview) -> None:
    for name, resource in preview(kind).resources.items():
        if resource["type"] not in ("cgnat-relay:index:Relay", "pulumi:pulumi:Stack"):
            assert resource["parent"] == "relay", name
            assert name.startswith("relay-"), name


@every_kind
def test_user_data_is_secret_and_no_key_is_in_plain(kind: str, preview: Preview) -> None:
    resources = preview(kind).resources
    assert user_data(server(resources))
    for name, resource in of_cloud(resources).items():
        if not resource["secrets"]:
            assert "PRIVATE" not in json.dumps(resource["inputs"]), name


@every_kind
def test_nothing_of_the_first_boot_replaces_a_machine(kind: str, preview: Preview) -> None:
    found = server(preview(kind).resources)
    frozen = {path.partition(".")[0].partition("[")[0] for path in found["secrets"]}
    assert frozen <= {path.partition(".")[0] for path in found["ignore"]}
    assert found["deleteBeforeReplace"], "one address, one machine"
    assert found["replacementTrigger"] == 22


@every_kind
def test_a_changed_forward_changes_the_firewall_and_not_the_machine(
    kind: str, preview: Preview
) -> None:
    before = of_cloud(preview(kind).resources)
    homes = [{**HOMES[0], "forwards": ["81:8080", "27015-27020:27015/udp"]}]
    after = of_cloud(preview(kind, homes=homes).resources)
    changed = {
        name for name in before.keys() | after.keys() if seen(before, name) != seen(after, name)
    }
    assert changed
    assert all("firewall" in name for name in changed), changed


def seen(resources: dict[str, dict[str, Any]], name: str) -> Any:
    """A resource's inputs without those that the engine is told to leave alone."""
    if name not in resources:
        return None
    ignored = resources[name]["ignore"]
    return {
        key: value
        for key, value in resources[name]["inputs"].items()
        if not any(path == key or path.startswith(f"{key}.") for path in ignored)
    }


@every_kind
def test_another_ssh_port_is_another_machine(kind: str, preview: Preview) -> None:
    found = preview(kind, ssh={"port": 2222}).resources
    assert server(found)["replacementTrigger"] == 2222
    assert json.loads(found["relay-plan"]["inputs"]["stdin"])["host"]["port"] == 2222


@every_kind
def test_protection_is_an_option_of_machine_and_address(kind: str, preview: Preview) -> None:
    off = {name for name, r in preview(kind).resources.items() if r["protect"]}
    on = {
        name for name, r in preview(kind, vps={"protect": True}).resources.items() if r["protect"]
    }
    assert off == set()
    assert {"relay-server", "relay-address"} <= on


@every_kind
def test_labels_are_put_on_the_machine(kind: str, preview: Preview) -> None:
    """At IONOS a Cube has none in the SDK: there they are on its data centre."""
    found = preview(kind, vps={"labels": {"project": "home-7"}}).resources
    assert "home-7" not in json.dumps(of_cloud(preview(kind).resources))
    assert "home-7" in json.dumps(found["relay-datacenter" if kind == "ionos" else "relay-server"])


@every_kind
def test_a_preview_names_the_plan_and_where_its_price_is(kind: str, preview: Preview) -> None:
    (line,) = [line for line in preview(kind).log if "listed at" in line]
    provider = PROVIDERS[kind]
    assert f"plan {provider.plan}{f' in {provider.region}' if provider.region else ''};" in line
    assert provider.prices in line


@every_kind
def test_the_plan_is_brought_over_ssh_to_the_address(kind: str, preview: Preview) -> None:
    plan = preview(kind).resources["relay-plan"]
    host = json.loads(plan["inputs"]["stdin"])["host"]
    assert (host["address"], host["user"], host["port"]) == (answers.ADDRESS, "root", 22)
    assert host["hostKey"].startswith("ssh-ed25519 ")
    assert host["patience"] == 600
    assert "stdin" in plan["secrets"]
    assert any(made in plan["dependencies"] for made in of_cloud(preview(kind).resources))
    waiting = preview(kind, vps={"bootTimeout": 90}).inputs("relay-plan")
    assert json.loads(waiting["stdin"])["host"]["patience"] == 90


@every_kind
def test_missing_credentials_are_named_before_anything_is_created(
    kind: str, preview: Preview
) -> None:
    fault = preview(kind, credentials={}).fault
    assert f"vps.kind: {kind} needs credentials and none were found; give " in fault
    assert all(name in fault for way in PROVIDERS[kind].credentials for name in way)


@every_kind
def test_credentials_and_config_are_at_fault_at_once(kind: str, preview: Preview) -> None:
    fault = preview(kind, credentials={}, homes=[{"name": "X"}]).fault
    assert fault.startswith("2 faults in the configuration, nothing was created:")


@every_kind
def test_the_kinds_user_data_fits_whatever_is_forwarded(kind: str, preview: Preview) -> None:
    many = [{"name": "home", "forwards": ["1000-1999:1000", "3000-3999:3000/udp"]}]
    devices = [f"device-{i}" for i in range(200)]
    big = preview(kind, homes=many, devices=devices, tunnel={"network": "172.20.0.0/16"})
    text = user_data(server(big.resources))
    assert len(text.encode()) <= PROVIDERS[kind].user_data_limit


def user_data(found: dict[str, Any]) -> str:
    """What the machine is made with, and a secret, wherever in its inputs it is."""

    def sought(value: Any, top: str) -> list[tuple[str, str]]:
        if isinstance(value, list):
            return [hit for item in value for hit in sought(item, top)]
        if not isinstance(value, dict):
            return []
        here = [(top, v) for k, v in value.items() if k in ("userData", "user_data")]
        return here + [hit for item in value.values() for hit in sought(item, top)]

    whole = found["inputs"]
    ((top, text),) = [hit for key, value in whole.items() for hit in sought({key: value}, key)]
    assert top in {path.partition(".")[0] for path in found["secrets"]}
    return str(text)


def test_every_kind_has_an_extra_of_pinned_packages() -> None:
    from . import sdks

    found = sdks.extras()
    assert set(found) == set(KINDS)
    for kind, requirements in found.items():
        assert all("==" in requirement for requirement in requirements)
        assert requirements[0].partition("==")[0] == PROVIDERS[kind].package


def test_every_kind_has_an_example_and_a_test() -> None:
    from .conftest import EXAMPLES

    assert {p.name for p in EXAMPLES.glob("*.yaml")} == {f"Pulumi.{kind}.yaml" for kind in KINDS}
    for kind in KINDS:
        assert yaml.safe_load((EXAMPLES / f"Pulumi.{kind}.yaml").read_text())
