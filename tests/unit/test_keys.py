"""Keys against the tools that read them: ``wg`` and ``ssh-keygen``."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from components.keys import ssh_key, wireguard_key

from . import samples


def test_public_key_is_what_wg_derives() -> None:
    pair = wireguard_key(samples.seed())
    derived = subprocess.run(
        ["wg", "pubkey"], input=pair.private, capture_output=True, text=True, check=True
    )
    assert derived.stdout.strip() == pair.public


def test_private_key_is_clamped_as_rfc_7748_says() -> None:
    ones = base64.b64encode(b"\xff" * 32).decode()
    private = base64.b64decode(wireguard_key(ones).private)
    assert private == b"\xf8" + b"\xff" * 30 + b"\x7f"


def test_ssh_key_is_what_openssh_reads(tmp_path: Path) -> None:
    pair = ssh_key(samples.seed())
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(pair.private)
    shown = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == pair.public


def test_ssh_key_is_the_same_text_at_every_call() -> None:
    seed = samples.seed()
    assert ssh_key(seed) == ssh_key(seed)


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "A" * 44])
def test_a_malformed_seed_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="base64 of 32 bytes") as caught:
        wireguard_key(text)
    assert not text or text not in str(caught.value)


def test_repr_shows_no_private_part() -> None:
    keys = samples.keys(samples.settings())
    shown = repr(keys) + repr(keys.peers["home"])
    home = keys.peers["home"]
    assert keys.wireguard.public in shown
    for secret in (
        keys.wireguard.private,
        keys.host.private,
        keys.management.private,
        home.private,
        home.preshared,
    ):
        assert secret
        assert secret not in shown
