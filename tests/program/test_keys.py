"""Keys that change, in the graph: what is made, what stays, what the preview says."""

from __future__ import annotations

import re
from typing import Any

import pulumi
import pytest
import yaml

from components import ConfigError, adopt
from components.config import read
from components.faults import Collector
from components.summary import summary

from ..unit import samples
from .conftest import LOOK, ROOT, Program, Run, is_secret, plain

BYTES = "random:index/randomBytes:RandomBytes"
HOME = {"name": "home", "forwards": ["80:8080"]}
NEXT = HOME | {"next": {"key": 2}}
SECOND = HOME | {"key": 2}
OWN = "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="


def seeds(run: Run) -> set[str]:
    return set(run.recorder.of_type(BYTES))


def bundle_of(run: Run) -> str:
    return str(plain(run.recorder.resources["relay-plan"].inputs["stdin"]))


def private(run: Run, home: str = "home") -> str:
    (found,) = re.findall(r"PrivateKey = (\S+)", run.outputs["homeConfigs"][home])
    return str(found)


def test_a_generation_is_one_seed_for_all_that_have_it(program: Program) -> None:
    first, both, second = (program({"homes": [home]}) for home in (HOME, NEXT, SECOND))
    one, two = "relay-peers-seed", "relay-peers-seed-2"
    assert one in seeds(first)
    assert seeds(both) == seeds(first) | {two}
    assert seeds(second) == seeds(both) - {one}
    phone = {"name": "phone", "next": {"key": 2}}
    assert seeds(program({"homes": [NEXT], "devices": [phone]})) == seeds(both)
    made = both.recorder.states[two]["base64"]
    for resource, args in both.recorder.resources.items():
        for key, value in args.inputs.items():
            assert made not in str(value) or is_secret(value), f"{resource}.{key}"
    assert bundle_of(first) != bundle_of(both) != bundle_of(second)


def test_of_one_seed_each_peer_has_keys_of_its_own(program: Program) -> None:
    devices = [{"name": "phone"}, {"name": "laptop"}]
    config = {"homes": [HOME, {"name": "nas", "forwards": [443]}], "devices": devices}
    outputs = program(config).outputs
    texts = [*outputs["homeConfigs"].values(), *outputs["deviceConfigs"].values()]
    for what in ("PrivateKey", "PresharedKey"):
        assert len({re.search(rf"{what} = (\S+)", text)[1] for text in texts}) == 4


def test_only_the_plan_changes(program: Program) -> None:
    """A machine whose inputs change may be replaced; user-data is for the first boot alone."""
    first, both = (program({"homes": [home]}) for home in (HOME, NEXT))
    changed = {
        name
        for name, args in both.recorder.resources.items()
        if name in first.recorder.resources and args.inputs != first.recorder.resources[name].inputs
    }
    assert changed == {"relay-plan", "relay-server"}
    server = [run.recorder.resources["relay-server"].inputs for run in (first, both)]
    assert {k for k in server[0] if server[0][k] != server[1][k]} == {"stdin"}
    shown = both.recorder.resources["relay-plan"].inputs["create"]
    assert "# key home 1, next 2" in shown.splitlines()


def test_what_a_home_is_given_is_the_newest(program: Program) -> None:
    first, both, second = (program({"homes": [home]}) for home in (HOME, NEXT, SECOND))
    assert private(first) != private(both) == private(second)
    assert both.outputs["homeConfig"] == second.outputs["homeConfig"]
    assert both.outputs["homeInstaller"] == second.outputs["homeInstaller"]
    assert both.outputs["homeFormats"] == second.outputs["homeFormats"]
    assert both.secret["homeConfigs"]


def test_a_device_has_generations_too(program: Program) -> None:
    run = program({"homes": [HOME], "devices": [{"name": "phone", "key": 2, "next": {"key": 5}}]})
    assert {name for name in seeds(run) if "peers" in name} == {
        "relay-peers-seed",
        "relay-peers-seed-2",
        "relay-peers-seed-5",
    }


def test_a_key_of_ones_own_gets_a_preshared_key_alone(program: Program) -> None:
    home = HOME | {"next": {"key": 2, "publicKey": OWN}}
    run = program({"homes": [home]})
    assert "relay-peers-seed-2" in seeds(run)
    assert "PrivateKey = PUT-" in run.outputs["homeConfig"]


@pytest.mark.parametrize(
    ("home", "which", "warned", "told"),
    [
        (
            SECOND,
            "present",
            "home comes with its present key, which this leaves out",
            "key 2 alone",
        ),
        (SECOND, "next", "", "home: key 2 alone, key 1 is refused"),
        (NEXT, "present", "", "home comes with its present key"),
        (NEXT, "next", "", "home comes with its next key"),
    ],
)
def test_a_preview_says_who_comes_with_which_key(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    home: dict[str, Any],
    which: str,
    warned: str,
    told: str,
) -> None:
    said: dict[str, list[str]] = {"info": [], "warn": []}
    for level, lines in said.items():
        monkeypatch.setattr(pulumi.log, level, lambda text, *_, lines=lines: lines.append(text))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    before = summary(samples.settings(homes=[NEXT]))
    monkeypatch.setitem(LOOK, "summary", list(before))
    monkeypatch.setitem(LOOK, "pairs", {"home": which})
    program({"homes": [home]})
    assert any(told in line for line in said["info"]), said
    assert bool(said["warn"]) == bool(warned), said
    assert all(warned in line for line in said["warn"])


ADOPTED = {
    "kind": "adopt",
    "host": "203.0.113.7",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICDYPeUrQ2sn4yzMxlY7fcAmCdXIdeG7RTXMNHrzHOvX",
}
BESIDE = {"next": {"key": 2, "port": 51822}}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an adopted one answers, as one of another kind does."""
    monkeypatch.setattr(adopt, "ask", lambda _: dict(LOOK))


AFTER = {"key": 2, "port": 51822}


def test_the_relays_first_seed_stays_and_homes_keep_their_marks(program: Program) -> None:
    first, both, second = (
        program({"homes": [HOME], "vps": ADOPTED, "tunnel": tunnel})
        for tunnel in ({}, BESIDE, AFTER)
    )
    assert seeds(both) == seeds(first) | {"relay-wireguard-key-2"} == seeds(second)
    assert both.outputs["homeConfig"] == second.outputs["homeConfig"] != first.outputs["homeConfig"]
    assert both.outputs["homeInstaller"] == second.outputs["homeInstaller"]
    assert first.outputs["relayPublicKey"] != both.outputs["relayPublicKey"]
    assert both.outputs["relayPublicKey"] in both.outputs["homeConfig"]
    assert both.outputs["endpoint"] == "203.0.113.7:51822"

    def tables(run: Run) -> set[str]:
        return set(re.findall(r"cgnat-relay-\d+|fwmark \S+|pref \d+", run.outputs["homeConfig"]))

    assert len(tables(first)) > 4
    assert tables(first) == tables(both)


def test_the_lab_has_one_port_for_the_tunnel(program: Program) -> None:
    with pytest.raises(
        ConfigError, match=r"tunnel\.next: home's VM reaches the relay's by one port"
    ):
        program({"homes": [HOME], "tunnel": BESIDE})


@pytest.mark.parametrize(
    ("tunnel", "which", "warned"),
    [(AFTER, "present", True), (AFTER, "next", False), ({}, "next", True), (BESIDE, "next", False)],
)
def test_a_preview_says_whom_the_relays_key_would_leave_out(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    tunnel: dict[str, Any],
    which: str,
    warned: bool,
) -> None:
    said: dict[str, list[str]] = {"info": [], "warn": []}
    for level, lines in said.items():
        monkeypatch.setattr(pulumi.log, level, lambda text, *_, lines=lines: lines.append(text))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    before = summary(samples.settings(homes=[HOME], tunnel=BESIDE))
    monkeypatch.setitem(LOOK, "summary", list(before))
    monkeypatch.setitem(LOOK, "ways", {"home": which})
    program({"homes": [HOME], "vps": ADOPTED, "tunnel": tunnel})
    text = f"home comes by the relay's {which} key"
    assert any(text in line for line in said["warn"]) == warned, said
    assert any(text in line for line in said["info"]) == (tunnel == BESIDE), said


def test_every_config_in_the_docs_is_one() -> None:
    page = (ROOT / "docs" / "keys.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        config = yaml.safe_load(block)["config"]
        faults = Collector()
        read({key.partition(":")[2]: value for key, value in config.items()}, faults)
        assert not faults.faults
