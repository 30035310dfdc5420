"""Keys against the tools that read them: ``wg`` and ``ssh-keygen``."""

from __future__ import annotations

import base64
import hmac
import subprocess
from pathlib import Path

import pytest

from components.keys import derived_keys, is_wireguard_key, ssh_key, wireguard_key

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


def test_one_peers_keys_are_no_others() -> None:
    seed, other = samples.seed(), samples.seed()
    home = derived_keys(seed, "home-home")
    assert home == derived_keys(seed, "home-home")
    assert is_wireguard_key(home.preshared)
    assert wireguard_key(home.private).public == home.public
    found = [derived_keys(seed, "home-nas"), derived_keys(seed, "device-home")]
    found += [home, derived_keys(other, "home-home")]
    assert len({text for keys in found for text in (keys.private, keys.preshared)}) == 8


def test_derivation_is_rfc_5869s() -> None:
    """Extract and expand of one block, as sections 2.2 and 2.3 have it."""
    seed = samples.seed()
    extracted = hmac.digest(bytes(32), base64.b64decode(seed), "sha256")
    block = hmac.digest(extracted, b"cgnat-relay home-home preshared\x01", "sha256")
    assert derived_keys(seed, "home-home").preshared == base64.b64encode(block).decode()


def test_a_peer_with_a_key_of_its_own_is_given_none() -> None:
    seed, own = samples.seed(), wireguard_key(samples.seed()).public
    following = derived_keys(samples.seed(), "home-home")
    found = derived_keys(seed, "home-home", own, following)
    assert (found.public, found.private) == (own, None)
    assert found.preshared == derived_keys(seed, "home-home").preshared
    assert found.newest == following


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
