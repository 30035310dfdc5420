"""The resource graph under Pulumi's mocks: of the real ``__main__.py``, and of a library user."""

from __future__ import annotations

import json
import re
from typing import Any

import pulumi
import pytest
import yaml

from components import ConfigError, Lab, Machine, Order, Relay, living
from components.config import KEYS as CONFIG_KEYS
from components.first_boot import Form
from components.kinds import KINDS
from components.lab import IMAGES, label
from components.model import Site
from components.summary import summary
from lab.image import variants

from ..unit import samples
from .conftest import LOOK, ROOT, Program, is_secret, plain

HOMES = [
    {"name": "home", "forwards": ["80:8080", "443:8081", "5353:5353/udp"]},
    {"name": "nas", "mode": "masquerade", "forwards": ["2049:2049"]},
]
BYTES = "random:index/randomBytes:RandomBytes"
LOCAL = "command:local:Command"


def test_resources(program: Program) -> None:
    recorder = program({"homes": HOMES}).recorder
    assert recorder.of_type(BYTES) == [
        "relay-host-key",
        "relay-ipv6-global-id",
        "relay-management-key",
        "relay-peers-seed",
        "relay-wireguard-key",
    ]
    assert recorder.of_type(LOCAL) == [
        "relay-address",
        "relay-booted",
        "relay-plan",
        "relay-ports",
        "relay-server",
    ]
    assert recorder.of_type("cgnat-relay:index:Relay") == ["relay"]


def test_every_key_is_secret_wherever_it_goes(program: Program) -> None:
    run = program({"homes": HOMES})
    keys = set()
    for name in run.recorder.of_type(BYTES):
        keys.add(run.recorder.states[name]["base64"])
        keys.add(run.recorder.states[name]["hex"])
    for line in str(run.outputs["homeConfigs"]).replace("\\n", "\n").splitlines():
        if line.startswith(("PrivateKey", "PresharedKey")):
            keys.add(line.split(" = ")[1])
    assert len(keys) > 12
    for name, args in run.recorder.resources.items():
        for key, value in args.inputs.items():
            if any(secret in str(value) for secret in keys):
                assert is_secret(value), f"{name}.{key} holds a key in plain"
    assert is_secret(run.recorder.resources["relay-server"].inputs["stdin"])
    assert is_secret(run.recorder.resources["relay-plan"].inputs["stdin"])
    assert not any(secret in str(call["command"]) for secret in keys for call in run.recorder.calls)


def test_the_key_of_tls_is_made_only_where_it_is_on_and_is_secret(program: Program) -> None:
    assert "relay-tls-key" not in program({"homes": HOMES}).recorder.resources
    homes = [{"name": "home", "forwards": [80]}]
    recorder = program({"homes": homes, "tunnel": {"tls": True}}).recorder
    assert "relay-tls-key" in recorder.of_type(BYTES)
    user_data = recorder.resources["relay-server"].inputs["stdin"]
    assert is_secret(user_data)
    assert "BEGIN PRIVATE KEY" in plain(user_data)
    again = program({"homes": homes, "tunnel": {"tls": True}}).recorder
    assert plain(again.resources["relay-server"].inputs["stdin"]) == plain(user_data)


def test_outputs(program: Program) -> None:
    run = program({"homes": HOMES})
    assert run.secret == {
        "homeConfig": True,
        "homeConfigs": True,
        "homeRules": False,
        "homeInstaller": True,
        "homeInstallers": True,
        "homeFormats": True,
        "deviceConfigs": True,
        "endpoint": False,
        "publicIp": False,
        "forwards": False,
        "relayPublicKey": False,
    }
    assert run.outputs["publicIp"] == "198.51.100.15"
    assert run.outputs["endpoint"] == "192.168.1.2:20000"
    assert run.outputs["homeConfig"] == run.outputs["homeConfigs"]["home"]
    assert "Endpoint = 192.168.1.2:20000" in run.outputs["homeConfig"]
    assert run.outputs["relayPublicKey"] in run.outputs["homeConfig"]
    assert run.outputs["forwards"][0] == {
        "home": "home",
        "listen": "198.51.100.15:80/tcp",
        "to": "172.16.0.19:8080",
        "reach": "127.70.1.2:80",
    }


def test_ssh_is_pinned_to_the_key_in_user_data(program: Program) -> None:
    recorder = program({"homes": HOMES}).recorder
    user_data = plain(recorder.resources["relay-server"].inputs["stdin"])
    document = yaml.safe_load(user_data)
    host = json.loads(plain(recorder.resources["relay-plan"].inputs["stdin"]))["host"]
    assert host["hostKey"] == document["ssh_keys"]["ed25519_public"]
    assert document["ssh_keys"]["ed25519_public"] in plain(
        recorder.resources["relay-booted"].inputs["create"]
    )


def test_nothing_that_may_echo_a_key_is_logged(program: Program) -> None:
    for name, args in program({"homes": HOMES}).recorder.resources.items():
        if args.typ == LOCAL:
            assert args.inputs["addPreviousOutputInEnv"] is False, name
            assert args.inputs["logging"] in ("none", "stderr"), name
        if "stdin" in args.inputs and is_secret(args.inputs["stdin"]):
            # What operate says on stderr is for people, and names no key.
            wanted = "stderr" if name == "relay-plan" else "none"
            assert args.inputs["logging"] == wanted, name


def test_a_changed_forward_goes_to_the_running_machine(program: Program) -> None:
    before = program({"homes": HOMES}).recorder.resources
    after = program({"homes": [{**HOMES[0], "forwards": ["80:9090"]}, HOMES[1]]}).recorder.resources
    for name in ("relay-address", "relay-server"):
        for key in ("create", "triggers"):
            assert before[name].inputs.get(key) == after[name].inputs.get(key), name
    assert before["relay-ports"].inputs["create"] != after["relay-ports"].inputs["create"]
    assert before["relay-plan"].inputs["triggers"] == after["relay-plan"].inputs["triggers"]
    assert before["relay-plan"].inputs["stdin"] != after["relay-plan"].inputs["stdin"]


def test_another_machine_gets_the_plan_anew(program: Program) -> None:
    """In the lab, SSH or the tunnel at another port is another machine."""
    before = program({"homes": HOMES}).recorder.resources
    assert before["relay-plan"].inputs["triggers"] == ["relay-server-id"]
    for moved in ({"ssh": {"port": 2222}}, {"tunnel": {"port": 4500}}):
        after = program({"homes": HOMES, **moved}).recorder.resources
        assert before["relay-server"].inputs["triggers"] != after["relay-server"].inputs["triggers"]


def test_homes_dial_the_relays_name_where_it_has_one(program: Program) -> None:
    run = program({"homes": HOMES, "tunnel": {"host": "relay.example.org"}})
    assert run.outputs["endpoint"] == "relay.example.org:20000"
    assert "Endpoint = relay.example.org:20000" in run.outputs["homeConfig"].splitlines()


def test_a_preview_names_forwards_and_peers(program: Program) -> None:
    resources = program({"homes": HOMES, "devices": ["phone"]}).recorder.resources
    shown = resources["relay-plan"].inputs["create"].splitlines()
    assert "# home home 172.16.0.19 transparent" in shown
    assert "# tcp/80 to home 172.16.0.19:8080" in shown
    assert any(line.startswith("# device phone 172.16.0.") for line in shown)
    assert all(line[0] == "#" for line in shown[1:]), "data never meets a shell"


def test_homes_in_another_order_change_no_key_and_no_address(program: Program) -> None:
    there = program({"homes": HOMES}).outputs["homeConfigs"]
    back = program({"homes": HOMES[::-1]}).outputs["homeConfigs"]
    assert there == back


def test_a_homes_own_key_is_used_and_none_is_given(program: Program) -> None:
    own = "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="
    run = program({"homes": [{**HOMES[0], "publicKey": own}]})
    assert "PrivateKey = PUT-THE-PRIVATE-KEY-OF-THIS-PEER-HERE" in run.outputs["homeConfig"]
    assert own in plain(run.recorder.resources["relay-server"].inputs["stdin"])


def test_all_faults_come_before_any_resource(program: Program) -> None:
    with pytest.raises(ConfigError) as caught:
        program({"vps": {"kind": "labb"}, "homes": [{"name": "X", "forwards": ["0:1"]}], "ss": 1})
    assert str(caught.value).splitlines() == [
        "4 faults in the configuration, nothing was created:",
        "  vps.kind: unknown kind 'labb'; did you mean lab?",
        "  ss: unknown key; did you mean ssh?",
        "  homes[0].name: 'X' is not a DNS label; use a-z, 0-9 and inner hyphens, up to 63 letters",
        "  homes[0].forwards[0]: port 0 does not exist; choose one from 1 to 65535",
    ]


@pytest.mark.parametrize(
    ("vps", "fault"),
    [
        ("lab", "vps: is a mapping with a kind; write {kind: lab}"),
        ({}, f"vps.kind: missing; known here: {', '.join(sorted(KINDS))}"),
        ({"kind": "hetzer"}, "vps.kind: unknown kind 'hetzer'; did you mean hetzner?"),
        (
            {"kind": ["hetzner", "lab"]},
            "vps.kind: ['hetzner', 'lab'] are several, and a relay is one machine; name one",
        ),
        (
            {"kind": "lab", "hetzner": {}},
            "vps.hetzner: is another kind, and a relay is one machine of kind lab; take it out",
        ),
        (
            {"kind": "lab", "protect": True},
            "vps.protect: is an option of hetzner, digitalocean, linode, vultr, lightsail, oracle, "
            "ionos, and this is lab; take it out",
        ),
        (
            {"kind": "lab", "plan": "cx23"},
            "and this is lab; take it out",
        ),
        (
            {"kind": "hetzner"},
            "vps.kind: hetzner needs the package pulumi-hcloud; "
            "run: .venv/bin/pip install '.[hetzner]'",
        ),
        ({"kind": "lab", "memry": 1}, "vps.memry: unknown key; did you mean memory?"),
        ({"kind": "lab", "memory": 1}, "vps.memory: 1 is not a whole number from 384 to 65536"),
        (
            {"kind": "lab", "bootTimeout": "1"},
            "vps.bootTimeout: '1' is not a whole number from 30 to 3600",
        ),
        ({"kind": "lab", "image": "debian-31"}, "vps.image: unknown image 'debian-31'; did you"),
    ],
)
def test_faults_of_the_machine(program: Program, vps: object, fault: str) -> None:
    with pytest.raises(ConfigError, match=r"1 fault in the configuration") as caught:
        program({"vps": vps, "homes": HOMES})
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("image", "words"), [("debian-12", []), ("ubuntu-24", ["--variant", "ubuntu-24"])]
)
def test_a_lab_may_have_another_image(program: Program, image: str, words: list[str]) -> None:
    assert set(IMAGES.values()) <= set(variants())
    run = program({"vps": {"kind": "lab", "image": image}, "homes": HOMES})
    start = run.recorder.resources["relay-server"].inputs["create"]
    assert start.split()[5:][: len(words) + 1] == [*words, "--memory"]


def test_every_fault_of_a_clouds_options_is_told_at_once(program: Program) -> None:
    wrong = {"kind": "hetzner", "region": 7, "plan": "", "protect": "yes", "labels": {"a b": "c"}}
    with pytest.raises(ConfigError) as caught:
        program({"vps": {**wrong, "memory": 1, "bootTimeout": 0}, "homes": HOMES})
    assert [line.strip().partition(";")[0] for line in str(caught.value).splitlines()] == [
        "7 faults in the configuration, nothing was created:",
        "vps.memory: is an option of lab, and this is hetzner",
        "vps.region: 7 is no name",
        "vps.plan: '' is no name",
        "vps.protect: 'yes' is neither true nor false",
        "vps.labels.a b: 'a b' is not made of letters, digits and inner . _ -",
        "vps.bootTimeout: 0 is not a whole number from 30 to 3600",
        "vps.kind: hetzner needs the package pulumi-hcloud",
    ]


def test_two_relays_in_one_stack(program: Program) -> None:
    def body() -> None:
        for name in ("paris", "berlin"):
            relay = Relay(name, {"machine": Lab(), "homes": [{"name": "home", "forwards": [80]}]})
            pulumi.export(name, relay.public_key)

    run = program(body=body)
    assert run.recorder.of_type("cgnat-relay:index:Relay") == ["berlin", "paris"]
    assert run.outputs["paris"] != run.outputs["berlin"]
    vms = {args.inputs["delete"] for n, args in run.recorder.resources.items() if "-server" in n}
    assert vms == {"python3 -m lab stop test-paris", "python3 -m lab stop test-berlin"}


class Tiny:
    """A kind of machine that takes almost no user-data."""

    site = Site()
    user_data_form: Form = Form.TEXT
    user_data_limit: int | None = 100
    port_limit: int | None = 1

    def provision(self, name: str, order: Order, parent: pulumi.Resource) -> Machine:
        raise AssertionError("nothing may be created")


def test_more_ports_than_the_machine_can_open_is_a_fault(program: Program) -> None:
    homes = [{"name": "h", "forwards": ["1-4:1/udp"]}]
    with pytest.raises(ConfigError, match=r"homes: 4 ports are forwarded, this machine can open 1"):
        program(body=lambda: Relay("r", {"machine": Tiny(), "homes": homes}) and None)


@pytest.mark.parametrize("name", ["dev-relay", "My_stack-relay", "a" * 80, "-", "ä"])
def test_any_name_makes_a_vm(name: str) -> None:
    made = label(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", made)
    assert (made == name) == (name == "dev-relay")


def test_user_data_over_the_machines_limit_is_a_fault(program: Program) -> None:
    with pytest.raises(ConfigError, match=r"homes: the machine's user-data would be \d+ bytes"):
        program(body=lambda: Relay("r", {"machine": Tiny(), "homes": [{"name": "h"}]}) and None)


def test_pulumi_yaml_declares_every_key_with_its_type_and_description() -> None:
    declared: dict[str, Any] = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert set(declared) == set(CONFIG_KEYS)
    assert all("description" in entry for entry in declared.values())
    # The engine knows one type of item for a list; devices are names or mappings.
    assert {key for key, entry in declared.items() if "type" not in entry} == {"devices"}


def test_the_articles_setup_is_at_most_ten_lines() -> None:
    text = (ROOT / "Pulumi.dev.yaml").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
    config = yaml.safe_load(text)["config"]
    assert {"80:8080", "443:8081"} <= set(config["cgnat-relay:homes"][0]["forwards"])


def test_dev_stack_runs(program: Program) -> None:
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    run = program({key.split(":")[1]: value for key, value in config.items()})
    assert json.dumps(run.outputs["forwards"])


def test_an_update_dials_each_forward_where_it_is_asked_to(program: Program) -> None:
    assert "relay-probe" not in program({"homes": HOMES}).recorder.resources
    probe = program({"homes": HOMES, "probe": True}).recorder.resources["relay-probe"]
    assert is_secret(probe.inputs["stdin"])
    asked = json.loads(plain(probe.inputs["stdin"]))
    assert [(t["protocol"], t["port"], t["to"]) for t in asked["targets"]] == [
        ("tcp", 80, "8080"),
        ("tcp", 443, "8081"),
        ("udp", 5353, "5353"),
        ("tcp", 2049, "2049"),
    ]
    assert asked["targets"][0]["reach"] == "127.70.1.2:80"
    assert probe.inputs["create"].startswith("python3 -m operate diagnose\n# ")


def test_whatever_is_brought_is_dialled_anew(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that was taken away by hand, and a key: nothing of what is dialled is another."""

    def told(*, drift: str = "", **home: Any) -> str:
        homes = [HOMES[0] | home]
        monkeypatch.setitem(LOOK, "is", "here")
        monkeypatch.setitem(LOOK, "drift", drift)
        probe = program({"homes": homes, "probe": True}).recorder.resources["relay-probe"].inputs
        assert not is_secret(probe["environment"])
        (digest,) = probe["environment"].values()
        assert len(digest) == 64
        return str(digest)

    assert told() == told()
    assert len({told(), told(drift="1: rules x"), told(key=2)}) == 3


@pytest.mark.parametrize(
    ("look", "drift"),
    [
        ({}, ""),
        ({"drift": "1: rules x"}, "1: rules x"),
        ({"changed": ["rules x", "peers y"]}, "1: rules x, peers y"),
        ({"changed": ["rules x"], "drift": "1: rules x"}, "2: rules x"),
        ({"is": "between", "drift": "9: a"}, "10: a change that was not confirmed"),
        ({"summary": ["tunnel another"], "drift": "1: a"}, "2: another plan"),
        ({"summary": [*summary(samples.settings(homes=HOMES))]}, ""),
        ({"is": "new"}, "2026-01-02T03:04:05Z: no relay is there"),
        ({"reached": False, "why": "it cannot be reached"}, ""),
    ],
)
def test_drift_is_an_input_that_names_it(
    program: Program, monkeypatch: pytest.MonkeyPatch, look: dict[str, Any], drift: str
) -> None:
    """The same twice is another text; what was mended stays until something else is."""
    monkeypatch.setattr(living.time, "strftime", lambda *_: "2026-01-02T03:04:05Z")
    monkeypatch.setitem(LOOK, "is", "here")
    for key, value in look.items():
        monkeypatch.setitem(LOOK, key, value)
    run = program({"homes": HOMES})
    inputs = run.recorder.resources["relay-plan"].inputs
    assert inputs["environment"] == {"CGNAT_RELAY_DRIFT": drift}
    assert not is_secret(inputs["environment"]["CGNAT_RELAY_DRIFT"])
    assert len(run.recorder.calls) == 1
    assert program({"homes": HOMES, "drift": False}).recorder.calls == []
