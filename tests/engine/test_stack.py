"""The real engine runs the real program: what it says, what it keeps, and what it would change."""

from __future__ import annotations

import subprocess

import pytest

from ..conftest import HOMES, ROOT
from ..relay_stack import ProcessWatch, Stack


def test_up_ends_with_a_relay_that_forwards(relay: Stack) -> None:
    outputs = relay.outputs()
    assert outputs["publicIp"] == "198.51.100.15"
    assert outputs["homeConfig"] == outputs["homeConfigs"]["home"]
    assert [row["home"] for row in outputs["forwards"]] == ["home"] * 3 + ["plain"] * 2
    assert f"PublicKey = {outputs['relayPublicKey']}" in outputs["homeConfig"]
    assert relay.inside("test-relay", "wg show wg0 public-key").strip() == outputs["relayPublicKey"]


def test_no_key_is_said_or_kept_in_plain(first_update: tuple[Stack, ProcessWatch]) -> None:
    stack, watch = first_update
    keys = stack.keys()
    assert len(keys) >= 3 * 4 + 4  # four seeds in three forms, and two keys of each home
    said = "\n".join(stack.said)
    logs = "\n".join(
        f.read_text(errors="replace")
        for f in (stack.folder / "engine" / "home").rglob("*")
        if f.is_file() and f.suffix == ".log"
    )
    processes = b"\n".join(watch.seen).decode(errors="replace")
    assert "base64 -d | tar -xzf" in processes, "the watch has seen the update's own processes"
    for key in keys:
        assert key not in said
        assert key not in logs
        assert key not in stack.state
        assert key not in processes
    for text in (said, logs, stack.state, processes):
        assert "OPENSSH PRIVATE KEY" not in text


def test_files_with_secrets_are_the_users_alone(relay: Stack) -> None:
    passphrase = relay.folder / "engine" / "passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    vm = relay.folder / "lab" / "test-relay"
    assert vm.stat().st_mode & 0o777 == 0o700
    assert (vm / "seed.iso").stat().st_mode & 0o777 == 0o600


def test_what_homes_take_is_in_the_state_once(relay: Stack) -> None:
    """It is large, and the engine writes all of the state at each step."""
    for output in ("homeConfigs", "homeInstallers", "homeFormats", "deviceConfigs"):
        holders = [r["type"] for r in relay.resources() if output in r.get("outputs", {})]
        assert holders == ["pulumi:pulumi:Stack"], output


def test_an_unchanged_program_changes_nothing(relay: Stack) -> None:
    said = relay.up()
    assert "unchanged" in said
    assert all(word not in said for word in ("created", "updated", "replaced", "deleted"))


def test_up_fails_where_the_relay_does_not_forward(relay: Stack) -> None:
    """With the units' own log lines; once the cause is mended, the next update goes through.

    A tunnel that was only stopped would be started again: here it cannot.
    """
    urn = next(u for u in relay.urns() if u.endswith("::relay-plan"))
    ask_again = ["up", "--yes", "--skip-preview", "--replace", urn]
    relay.inside("test-relay", "chmod -x /usr/sbin/nft; systemctl stop wg-quick@wg0")
    try:
        said = relay.pulumi(*ask_again, check=False)
    finally:
        relay.inside("test-relay", "chmod +x /usr/sbin/nft")
    assert "exit status 0" not in said
    assert "relay not ready: interface wg0 is not up" in said
    assert "ip link delete dev wg0" in said, "wg-quick's own last words"
    assert "replaced" in relay.pulumi(*ask_again)


def test_a_changed_forward_is_named_by_the_preview_and_replaces_nothing(relay: Stack) -> None:
    homes = [{**HOMES[0], "forwards": ["80:9090", *HOMES[0]["forwards"][1:]]}, HOMES[1]]
    relay.configure(vps={"kind": "lab"}, homes=homes)
    try:
        said = relay.pulumi("preview", "--diff")
    finally:
        relay.configure(vps={"kind": "lab"}, homes=HOMES)
    assert "tcp/80 to home 172.16.0.19:9090" in said
    assert "relay-server" not in said
    assert "replace" not in said
    keys = relay.keys()
    assert not any(key in said for key in keys)


def test_what_was_changed_by_hand_is_named_and_mended(relay: Stack) -> None:
    relay.inside("test-relay", "nft flush map ip cgnat-relay ports")
    said = relay.pulumi("preview", "--diff")
    assert "rules ip-table-cgnat-relay" in said
    assert "replace" not in said
    assert "relay-plan updated" in relay.up()
    assert "tcp . 80 " in relay.inside("test-relay", "nft list map ip cgnat-relay ports")
    assert "unchanged" in relay.pulumi("preview")


def test_a_relay_that_does_not_answer_is_no_fault_of_the_preview(relay: Stack) -> None:
    relay.inside("test-relay", "systemctl stop ssh")
    try:
        said = relay.pulumi("preview")
    finally:
        relay.inside("test-relay", "systemctl start ssh")
    assert "relay: whether it is as it was left is not known: " in said
    assert "not known" not in relay.pulumi("preview"), "the off-case"


def test_faults_end_the_preview_without_a_traceback(relay: Stack) -> None:
    relay.configure(
        vps={"kind": "labb"},
        homes=[{"name": "Home", "forwards": ["22:22", "0:80"]}],
        tunel={"port": 1},
    )
    try:
        said = relay.pulumi("preview", check=False)
    finally:
        relay.configure(vps={"kind": "lab"}, homes=HOMES)
    assert "exit status 0" not in said
    assert "Traceback" not in said
    for fault in (
        "5 faults in the configuration, nothing was created:",
        "vps.kind: unknown kind 'labb'; did you mean lab?",
        "tunel: unknown key; did you mean tunnel?",
        "homes[0].name: 'Home' is not a DNS label",
        "homes[0].forwards[1]: port 0 does not exist",
        "homes[0].forwards[0].port: 22 is the relay's SSH port",
    ):
        assert fault in said


@pytest.mark.parametrize("homes", ["home", 7, True, {"name": "home"}])
def test_a_wrong_shape_is_told_by_its_key(relay: Stack, homes: object) -> None:
    relay.configure(homes=homes)
    try:
        said = relay.pulumi("preview", check=False)
    finally:
        relay.configure(vps={"kind": "lab"}, homes=HOMES)
    assert "exit status 0" not in said
    assert "homes" in said
    assert "Traceback" not in said


def test_the_checkout_stays_clean(relay: Stack) -> None:
    """The program was run from the checkout; nothing of it is tracked or left there."""
    relay.pulumi("preview")
    shown = subprocess.run(
        ["git", "status", "--porcelain", "Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.test.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == ""
