"""A machine that is adopted, under mocks: what is registered, and what is told before that.

The machine's own answer is a stand-in here; the real one is in the layers netns and vm.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from components import ConfigError, adopt
from components import owner as ownership
from components.faults import Collector
from components.keys import wireguard_key
from operate import verbs

from ..unit.samples import PRIVATE
from .conftest import LOOK, Program, is_secret, plain

HOMES = [{"name": "home", "forwards": ["80:8080"]}]
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICDYPeUrQ2sn4yzMxlY7fcAmCdXIdeG7RTXMNHrzHOvX"
VPS = {"kind": "adopt", "host": "203.0.113.7", "hostKey": HOST_KEY}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the machine was asked."""
    found: list[dict[str, Any]] = []

    def answer(text: str) -> dict[str, Any]:
        found.append(json.loads(text))
        return dict(LOOK)

    monkeypatch.setattr(adopt, "ask", answer)
    return found


def test_nothing_is_made_but_keys_and_the_plan(
    program: Program, asked: list[dict[str, Any]]
) -> None:
    run = program({"homes": HOMES, "vps": VPS})
    assert sorted(run.recorder.resources) == [
        "relay",
        "relay-ipv6-global-id",
        "relay-peers-seed",
        "relay-plan",
        "relay-wireguard-key",
    ]
    plan = run.recorder.resources["relay-plan"].inputs
    assert plan["delete"] == "python3 -m operate undo"
    assert run.outputs["endpoint"] == "203.0.113.7:51820"
    assert run.outputs["publicIp"] == "203.0.113.7"
    assert run.outputs["forwards"][0]["reach"] == "203.0.113.7:80"
    assert len(asked) == 1
    assert run.recorder.calls == [], "what it has said once it is not asked again"


def test_what_was_changed_by_hand_is_an_input(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"changed": ["rules x"]})
    for drift, said in ((True, "1: rules x"), (False, "")):
        run = program({"homes": HOMES, "vps": VPS, "drift": drift})
        inputs = run.recorder.resources["relay-plan"].inputs
        assert inputs["environment"] == {"CGNAT_RELAY_DRIFT": said}


def test_a_machine_that_was_made_is_not_undone(program: Program) -> None:
    plan = program({"homes": HOMES}).recorder.resources["relay-plan"].inputs
    assert not plan.get("delete")


def test_how_it_is_entered_is_secret(program: Program, asked: list[dict[str, Any]]) -> None:
    vps = {**VPS, "user": "op", "port": 2222, "key": PRIVATE, "password": "correct horse"}
    run = program({"homes": HOMES, "vps": vps})
    stdin = run.recorder.resources["relay-plan"].inputs["stdin"]
    assert is_secret(stdin)
    host = json.loads(plain(stdin))["host"]
    expected = {
        "address": "203.0.113.7",
        "user": "op",
        "port": 2222,
        "hostKey": HOST_KEY,
        "key": PRIVATE,
        "password": "correct horse",
    }
    assert host == expected | {"patience": 0}
    assert asked[0]["host"] == host
    for name, args in run.recorder.resources.items():
        for key, value in args.inputs.items():
            if "correct horse" in str(value) or "no key at all" in str(value):
                assert is_secret(value), f"{name}.{key}"


def test_by_the_tunnel_alone(program: Program, asked: list[dict[str, Any]]) -> None:
    """It is entered there first, and closes only where the relay says what may reach it."""
    config = {"homes": HOMES, "devices": ["laptop"], "ssh": {"tunnelOnly": True}}
    vps = {**VPS, "port": 2222}
    run = program({**config, "vps": {**vps, "firewall": "managed"}})
    host = json.loads(plain(run.recorder.resources["relay-plan"].inputs["stdin"]))["host"]
    assert (host["inside"], host["insidePort"]) == ("172.16.0.1", 2222)
    assert (host["address"], host["port"]) == ("203.0.113.7", 2222)
    assert asked[0]["host"] == host
    with pytest.raises(ConfigError, match=r"ssh\.tunnelOnly: the machine's own firewall stays"):
        program({**config, "vps": vps})


def test_its_ssh_port_is_taken(program: Program, asked: list[dict[str, Any]]) -> None:
    homes = [{"name": "home", "forwards": ["2222:22"]}]
    with pytest.raises(ConfigError, match="2222 is the relay's SSH port"):
        program({"homes": homes, "vps": {**VPS, "port": 2222}})
    with pytest.raises(ConfigError, match=r"ssh\.port: an adopted machine's SSH stays where it is"):
        program({"homes": HOMES, "vps": VPS, "ssh": {"port": 2222}})
    assert asked == [], "a config with faults asks nobody"


def test_it_is_asked_for_what_the_plan_wants(program: Program, asked: list[dict[str, Any]]) -> None:
    """Packages are those of the bundle that is brought, and no others."""
    run = program({"homes": HOMES, "vps": VPS, "tunnel": {"tls": True}})
    brought = json.loads(plain(run.recorder.resources["relay-plan"].inputs["stdin"]))["bundle"]
    wanted = [f"package {name}" for name in member(brought, "packages")]
    assert "package socat" in wanted
    terms = member(asked[0]["bundle"], "terms")
    assert [term for term in terms if term.startswith("package ")] == wanted
    assert "ipv6" in terms
    # What is on loopback is in its way too, so it is none of the forwarded ones.
    assert "tls 443" in terms
    assert "port tcp/443" not in terms
    assert any(term.startswith("port tcp/") for term in terms)
    assert "crosses" not in terms
    program({"homes": HOMES, "vps": VPS, "tunnel": {"ipv6": False}, "devices": ["phone"]})
    terms = member(asked[1]["bundle"], "terms")
    assert "crosses" in terms
    assert not [term for term in terms if term == "ipv6" or term.startswith("tls")]


def member(bundle: str, name: str) -> list[str]:
    """The lines of a file in a bundle."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(bundle))) as tar:
        file = tar.extractfile(name)
        assert file
        return file.read().decode().splitlines()


def test_what_the_machine_says_is_a_fault(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [["the disk is full", "make room"], ["apt is locked", "wait"]]
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"faults": faults})
    with pytest.raises(ConfigError, match="2 faults") as found:
        program({"homes": HOMES, "vps": VPS})
    assert "vps: the disk is full; make room" in str(found.value)


@pytest.mark.parametrize("preview", [True, False])
def test_a_look_that_breaks_is_told_in_a_sentence(
    program: Program, monkeypatch: pytest.MonkeyPatch, preview: bool
) -> None:
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: preview)
    broken = "import sys; sys.exit('Traceback:\\n  File x\\nOSError: no more memory')"
    real = subprocess.run

    def run(words: list[str], **how: Any) -> subprocess.CompletedProcess[Any]:
        return real([*words[:1], "-c", broken] if "operate" in words else words, **how)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(ConfigError) as found:
        program({"homes": HOMES, "vps": VPS})
    told = "vps: the machine could not be looked at: operate ended with 1: OSError: no more memory;"
    assert told in str(found.value)
    assert "Traceback" not in str(found.value)


def test_an_answer_that_lacks_a_word_is_no_traceback(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: True)
    monkeypatch.setattr(adopt, "ask", lambda _: {"reached": False, "why": "it is off; start it"})
    with pytest.raises(ConfigError, match="vps: it is off; start it"):
        program({"homes": HOMES, "vps": VPS})


def test_a_banner_of_any_bytes_does_not_keep_a_host_key_from_being_shown(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "ssh-keyscan"
    banner = r"# 203.0.113.7:22 SSH-2.0-d\303\n"
    stand_in.write_text(f"#!/bin/sh\nprintf '{banner}'\necho '203.0.113.7 {HOST_KEY}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(
        ConfigError, match=r"vps\.hostKey: missing; 203\.0\.113\.7 shows ssh-ed25519"
    ) as found:
        program({"homes": HOMES, "vps": {"kind": "adopt", "host": "203.0.113.7"}})
    assert adopt.fingerprint(HOST_KEY) in str(found.value)


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_name_that_has_two_addresses_is_asked_at_both(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """ssh-keyscan takes the first, and where that is silent goes to no other."""
    stand_in = tmp_path / "ssh-keyscan"
    stand_in.write_text(f"#!/bin/sh\n[ \"$1\" != {family} ] || echo 'relay {HOST_KEY}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ConfigError, match=r"relay\.example shows ssh-ed25519"):
        program({"homes": HOMES, "vps": {"kind": "adopt", "host": "relay.example"}})


def test_an_address_that_is_silent_is_asked_once(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time takes ten seconds."""
    stand_in = tmp_path / "ssh-keyscan"
    stand_in.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ConfigError, match=r"no SSH server answers at 203\.0\.113\.7"):
        program({"homes": HOMES, "vps": {"kind": "adopt", "host": "203.0.113.7"}})
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_its_own_sshd_is_not_ours_to_move(program: Program) -> None:
    """Of a machine that we make it is (``tests/unit/cases/faults.yaml``)."""
    homes = [{"name": "home", "forwards": [22]}]
    with pytest.raises(ConfigError) as found:
        program({"homes": homes, "vps": VPS, "tunnel": {"tls": {"port": 22}}})
    fix = "choose another or move sshd on the machine, and set vps.port"
    assert f"forwards[0].port: 22 is the relay's SSH port; {fix}" in str(found.value)
    assert f"tunnel.tls.port: 22 is the relay's SSH port; {fix}" in str(found.value)


def test_a_name_that_is_none_is_told(program: Program) -> None:
    """As one of ~/.ssh/config alone; by the real ssh-keyscan."""
    with pytest.raises(ConfigError, match=r"missing, and no\.invalid is no name that can be"):
        program({"homes": HOMES, "vps": {"kind": "adopt", "host": "no.invalid"}})


def test_the_file_to_compare_with_is_of_the_kind_that_was_shown(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "ssh-keyscan"
    point = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY="
    stand_in.write_text(f"#!/bin/sh\necho '203.0.113.7 ecdsa-sha2-nistp256 {point}'\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ConfigError, match=r"-lf /etc/ssh/ssh_host_ecdsa_key\.pub`"):
        program({"homes": HOMES, "vps": {"kind": "adopt", "host": "203.0.113.7"}})


@pytest.mark.parametrize("user", ["root", "john.doe", "Admin", "_svc-1"])
def test_logins_are_what_machines_have(
    program: Program, asked: list[dict[str, Any]], user: str
) -> None:
    program({"homes": HOMES, "vps": VPS | {"user": user}})
    assert [request["host"]["user"] for request in asked] == [user]


@pytest.mark.parametrize("away", [True, False])
def test_a_preview_goes_on_without_a_machine_that_does_not_answer(
    program: Program, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """An update does not, nor does a preview where it answers and lets nobody in."""
    answer = {"reached": False, "why": "it is off; start it", "away": away}
    monkeypatch.setattr(adopt, "ask", lambda _: answer)
    for preview in (True, False):
        monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda preview=preview: preview)
        if away and preview:
            assert "relay-plan" in program({"homes": HOMES, "vps": VPS}).recorder.resources
            continue
        with pytest.raises(ConfigError, match="vps: it is off; start it"):
            program({"homes": HOMES, "vps": VPS})


def test_a_preview_without_drift_asks_nothing(
    program: Program, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: True)
    program({"homes": HOMES, "vps": VPS, "drift": False})
    assert asked == []
    monkeypatch.setattr("pulumi.runtime.is_dry_run", lambda: False)
    program({"homes": HOMES, "vps": VPS, "drift": False})
    assert len(asked) == 1, "before anything is made the machine is looked at"


@pytest.mark.parametrize("drift", [True, False])
def test_an_update_tells_what_it_cuts(
    program: Program, monkeypatch: pytest.MonkeyPatch, drift: bool
) -> None:
    before = ["tunnel 172.16.0.0/24 udp/51820 mtu 1420", "home home 172.16.0.19 transparent"]
    before += ["tcp/81 to home 172.16.0.19:81"]
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"is": "here", "summary": before})
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.info", lambda text, *_: said.append(text))
    program({"homes": HOMES, "vps": VPS, "drift": drift})
    removed = "removes tcp/81 to home 172.16.0.19:81 (what is connected through it ends)"
    assert f"relay: {removed}" in said
    assert not any("adds tcp/80" in line for line in said), "a preview has said that"


@pytest.mark.parametrize("plan", [[], ["tunnel 172.16.0.0/24 udp/51820 mtu 1420"]])
def test_the_first_plan_tells_what_it_shuts(
    program: Program, monkeypatch: pytest.MonkeyPatch, plan: list[str]
) -> None:
    """And nothing of what comes with it: all of it does. So tells one that comes to it later."""
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"summary": plan})
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.info", lambda text, *_: said.append(text))
    shuts = "adds firewall managed: what is not declared is dropped (who calls another service of"
    for firewall in ("managed", "own"):
        program({"homes": HOMES, "vps": VPS | {"firewall": firewall}})
        told = [line for line in said if line.startswith(f"relay: {shuts}")]
        assert len(told) == (firewall == "managed")
        if not plan:
            assert told == [line for line in said if line.startswith("relay: ")]
        said.clear()


def test_another_machine_gets_the_same_keys(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK)
    one, other = (
        program({"homes": HOMES, "vps": VPS | {"host": host}}).recorder.resources
        for host in ("203.0.113.7", "203.0.113.8")
    )
    plans = [found["relay-plan"] for found in (one, other)]
    assert plans[0].inputs["triggers"] != plans[1].inputs["triggers"]
    keys = [{n: r.inputs for n, r in found.items() if "key" in n} for found in (one, other)]
    assert keys[0] == keys[1]
    assert keys[0]


MINE = wireguard_key(base64.b64encode(hashlib.sha256(b"relay-wireguard-key").digest()).decode())
ANOTHERS = (
    "1 fault, and nothing was changed on the machine:\n"
    "  vps: the relay on 203.0.113.7 is another stack's; run pulumi from that one, or if its state"
    " is lost set CGNAT_RELAY_TAKE_OVER=203.0.113.7 before the command"
)


@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("owner", ["", MINE.public, "another"])
def test_another_stacks_relay_is_a_fault(
    program: Program, monkeypatch: pytest.MonkeyPatch, owner: str, drift: bool
) -> None:
    """Before the plan is registered: a machine before it would be undone for it."""
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"owner": owner})
    config = {"homes": HOMES, "vps": VPS, "drift": drift}
    if owner == "another":
        with pytest.raises(ConfigError) as found:
            program(config)
        assert str(found.value).startswith(ANOTHERS)
        monkeypatch.setenv(ownership.TAKE_OVER, "203.0.113.8")
        with pytest.raises(ConfigError, match="is another stack's"):
            program(config)
        return
    plan = program(config).recorder.resources["relay-plan"].inputs
    assert plan["environment"] == {"CGNAT_RELAY_DRIFT": ""}
    assert member(json.loads(plain(plan["stdin"]))["bundle"], "owner") == [MINE.public]


@pytest.mark.parametrize("owner", ["", "another"])
def test_a_stack_whose_keys_are_still_to_be_made_owns_none(
    program: Program, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    """The first preview of a new stack: no key is known."""
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"owner": owner})
    config = {"homes": HOMES, "vps": VPS}
    if owner:
        with pytest.raises(ConfigError, match="is another stack's; run pulumi"):
            program(config, preview=True)
        return
    plan = program(config, preview=True).recorder.resources["relay-plan"].inputs
    assert plan["environment"] == {"CGNAT_RELAY_DRIFT": ""}
    assert not isinstance(plain(plan["stdin"]), str), "the off-case: its keys are not known"


@pytest.mark.parametrize(("preview", "drift"), [(True, True), (False, True), (False, False)])
def test_one_that_is_named_is_taken_over(
    program: Program, monkeypatch: pytest.MonkeyPatch, preview: bool, drift: bool
) -> None:
    """Loudly; a plan that was here before is brought anew."""
    said: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", lambda text, *_: said.append(text))
    monkeypatch.setattr(adopt, "ask", lambda _: LOOK | {"owner": "another"})
    config = {"homes": HOMES, "vps": VPS, "drift": drift}
    monkeypatch.setenv(ownership.TAKE_OVER, "203.0.113.7")
    plan = program(config, preview=preview).recorder.resources["relay-plan"].inputs
    assert [line.partition(": its homes")[0] for line in said] == [
        "203.0.113.7: the relay of another stack is taken over"
    ]
    (told,) = plan["environment"].values()
    assert told.endswith("another stack's relay")
    assert ownership.TAKE_OVER == verbs.TAKE_OVER


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"host": None}, "vps.host: missing; write one like 203.0.113.7"),
        ({"host": "-oProxyCommand=x"}, "vps.host: '-oProxyCommand=x' is none"),
        ({"user": "a b"}, "vps.user: 'a b' is none; write one like root"),
        ({"port": 0}, "vps.port: 0 is not a whole number from 1 to 65535"),
        ({"hostKey": "ssh-ed25519 AAAA"}, "vps.hostKey: 'ssh-ed25519 AAAA' is no SSH host key"),
        ({"hostKey": "ssh-rsa " + HOST_KEY.split()[1]}, "is no SSH host key"),
        ({"key": "/no/such/file"}, "vps.key: there is no file '/no/such/file'"),
        ({"key": 7}, "vps.key: is neither a path nor a private key"),
        ({"password": "a\nb"}, "vps.password: is not a line of text"),
        ({"firewall": "mine"}, "vps.firewall: unknown firewall 'mine'"),
        ({"pasword": "x"}, "vps.pasword: unknown key; did you mean password?"),
    ],
)
def test_faults_of_the_kind(
    program: Program, asked: list[dict[str, Any]], wrong: dict[str, Any], fault: str
) -> None:
    vps = {key: value for key, value in (VPS | wrong).items() if value is not None}
    with pytest.raises(ConfigError) as found:
        program({"homes": HOMES, "vps": vps})
    assert fault in str(found.value)
    assert asked == []


@pytest.mark.parametrize("lead", ["", "\n", " \t", "\ufeff"])
def test_a_key_may_come_as_editors_leave_it(lead: str) -> None:
    text = lead + PRIVATE.replace("\n", "\r\n").rstrip()
    assert adopt._key(text, "vps.key", Collector()) == PRIVATE


@pytest.mark.parametrize(
    "key",
    [
        "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n" + "c2VjcmV0" * 40,
        base64.b64encode(b"secret" * 200).decode(),
        "MC4CAQAwBQYDK2VwBCIEIHNlY3JldHNlY3JldHNlY3JldA==",
        "/home/me\n" + PRIVATE,
        "~nosuchuser/.ssh/id_ed25519",
        "\0",
    ],
    ids=["PuTTY's", "base64", "DER", "two lines", "no such user", "null"],
)
def test_what_might_be_a_key_is_never_shown(key: str) -> None:
    faults = Collector()
    assert adopt._key(key, "vps.key", faults) is None
    (fault,) = faults.faults
    shown = str(fault)
    if key.startswith("~"):
        assert shown.startswith("vps.key: there is no file '~nosuchuser/.ssh/id_ed25519'; ")
    else:
        assert shown.startswith("vps.key: is neither the path of a file nor a private key in ")
        assert not any(part in shown for part in ("no key at all", "c2VjcmV0", "IHNlY3JldH"))


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    machine = adopt.Adopt("203.0.113.7", HOST_KEY, key=PRIVATE, password="correct horse")  # noqa: S106
    assert "correct horse" not in repr(machine)
    assert "no key" not in repr(machine)
    file = tmp_path / "key"
    file.touch()
    assert adopt.Adopt("203.0.113.7", HOST_KEY, key=str(file)).site.adopted


def test_a_fingerprint_is_ssh_keygens(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(HOST_KEY)
    said = subprocess.run(
        ["ssh-keygen", "-lf", str(file)], capture_output=True, text=True, check=True
    ).stdout
    assert adopt.fingerprint(HOST_KEY) == said.split()[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ssh-ed25519 AAAA op@h\n", "is the public half"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\r\nb3Bl\r\n", "has Windows line ends"),
        ("# mine\n-----BEGIN OPENSSH PRIVATE KEY-----\n", "is no private key in OpenSSH's"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "KEY.ppk -O private-openssh"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", ""),
    ],
)
def test_a_file_that_ssh_would_not_use_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    """And what it is: ssh says of most that they are under a passphrase, or open to others."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "id").write_bytes(text.encode())
    faults = Collector()
    found = adopt.read(VPS | {"key": "~/id"}, "vps", faults)
    assert found.key == "~/id", "each operator has another home"
    assert told in str(ConfigError(faults.faults) if faults else "")
    if told == "is the public half":
        monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")  # it holds the other one
        faults = Collector()
        adopt.read(VPS | {"key": "~/id"}, "vps", faults)
    assert bool(faults) is (bool(told) and told != "is the public half")
