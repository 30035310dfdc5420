"""User-data in each form: read as cloud-init reads it, and within its limit."""

from __future__ import annotations

import base64
import email
import gzip
import io
import subprocess
import tarfile

import pytest
import yaml

from components.first_boot import Form, TooLarge, bootstrap, first_boot
from components.plan import STATIC, relay_plan

from . import samples

SETTINGS = samples.settings()
KEYS = samples.keys(SETTINGS)
PLAN = relay_plan(SETTINGS, KEYS)
WHOLE = first_boot(PLAN, KEYS, Form.TEXT, None)


def unpacked(text: str, form: Form) -> str:
    """The cloud-config as cloud-init comes to it."""
    data = base64.b64decode(text) if form is Form.BASE64 else text.encode()
    if data.startswith(b"Content-Type: application/gzip"):
        data = email.message_from_bytes(data).get_payload(decode=True)  # type: ignore[assignment]
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()


def files(document: str) -> set[str]:
    return {file["path"] for file in yaml.safe_load(document)["write_files"]}


@pytest.mark.parametrize("form", [Form.TEXT, Form.BASE64])
def test_it_is_readable_where_it_fits_and_compressed_where_that_helps(form: Form) -> None:
    plain = first_boot(PLAN, KEYS, form, None)
    assert unpacked(plain, form) == WHOLE
    packed = first_boot(PLAN, KEYS, form, len(plain) - 1)
    assert len(packed) < len(plain) * 2 / 3
    assert unpacked(packed, form) == WHOLE


@pytest.mark.parametrize("form", [Form.TEXT, Form.BASE64])
def test_what_does_not_fit_is_left_to_ssh(form: Form) -> None:
    packed = first_boot(PLAN, KEYS, form, len(first_boot(PLAN, KEYS, form, None)) - 1)
    small = first_boot(PLAN, KEYS, form, len(packed) - 1)
    document = yaml.safe_load(unpacked(small, form))
    assert document["ssh_keys"] == yaml.safe_load(WHOLE)["ssh_keys"]
    assert KEYS.management
    assert document["ssh_authorized_keys"] == [KEYS.management.public]
    assert "/etc/ssh/sshd_config.d/10-cgnat-relay.conf" in files(unpacked(small, form))
    assert not any("wireguard" in path for path in files(unpacked(small, form)))
    assert KEYS.wireguard.private not in unpacked(small, form)
    assert document["runcmd"][1][2:] == ["cgnat-relay-firewall.service"]


def test_a_bootstrap_does_not_grow_with_what_is_forwarded() -> None:
    many = samples.settings(homes=[{"name": "h", "forwards": list(range(1000, 3000))}])
    keys = samples.keys(many)
    few = bootstrap(PLAN)
    assert {f.path for f in bootstrap(relay_plan(many, keys)).files} == {f.path for f in few.files}
    assert len(first_boot(relay_plan(many, keys), keys, Form.BASE64, 16384)) < 16384
    with pytest.raises(TooLarge) as caught:
        first_boot(PLAN, KEYS, Form.TEXT, 100)
    assert 2000 < caught.value.size < 12288


@pytest.mark.parametrize("form", list(Form))
def test_it_is_the_same_at_every_run(form: Form) -> None:
    assert first_boot(PLAN, KEYS, form, None) == first_boot(PLAN, KEYS, form, None)


def test_a_script_has_the_plan_behind_it_in_base64() -> None:
    script = first_boot(PLAN, KEYS, Form.SCRIPT, None)
    head, _, body = script.partition("launch <<'END'\n")
    assert head.rstrip("\n") == (STATIC / "launch").read_text().rstrip("\n")
    lines = body.splitlines()
    assert lines[-1] == "END"
    assert set("".join(lines[:-1])) <= set(base64.b64encode(bytes(range(256))).decode() + "+/=")
    packed = base64.b64decode("".join(lines[:-1]))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert all(member.isfile() for member in tar), "no folder's mode is touched"
        modes = {f"/{member.name}": f"{member.mode:04o}" for member in tar}
        found = tar.extractfile("etc/ssh/ssh_host_ed25519_key")
        assert found
        assert KEYS.host
        assert found.read().decode() == KEYS.host.private
    assert modes["/etc/ssh/ssh_host_ed25519_key"] == "0600"
    assert modes["/root/.ssh/authorized_keys"] == "0600"
    assert {file.path: file.mode for file in PLAN.files}.items() <= modes.items()
    checked = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_a_script_that_is_too_large_leaves_the_rest_to_ssh() -> None:
    whole = first_boot(PLAN, KEYS, Form.SCRIPT, None)
    assert len(first_boot(PLAN, KEYS, Form.SCRIPT, len(whole) - 1)) < len(whole)
