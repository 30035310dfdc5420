"""The home's installer: what is in it, and that a shell never reads its data."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.home import home_config
from components.home_rules import home_rules
from components.installer import STATIC, home_files, home_installer, script
from components.keys import tls_key
from components.wireguard import Uplink

from . import samples

FORWARDS = ["80:8080", {"port": 25, "host": "192.168.1.50", "via": 2525}]
SETTINGS = samples.settings(
    homes=[{"name": "home", "forwards": FORWARDS}, {"name": "nas", "mode": "masquerade"}],
    tunnel={"otherPorts": [443, 53], "tls": {"port": 8443}},
)
KEYS = samples.keys(SETTINGS)
TUNNEL = SETTINGS.drawn(KEYS.prefix).tunnel
UPLINK = Uplink(KEYS.wireguard.public, "relay.example.org:51820")
HOME, NAS = SETTINGS.homes
INSTALLER = home_installer(HOME, TUNNEL, KEYS, UPLINK)


def printed(installer: str, name: str) -> str:
    """What the installer's own ``data`` prints."""
    body = installer.removesuffix('main "$@"\n') + f'data "{name}"\n'
    done = subprocess.run(["sh"], input=body, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("home", SETTINGS.homes, ids=lambda home: home.name)
def test_the_assembled_script_is_clean(home: object, tmp_path: Path) -> None:
    assert home in (HOME, NAS)
    file = tmp_path / "installer"
    file.write_text(INSTALLER if home == HOME else home_installer(NAS, TUNNEL, KEYS, UPLINK))
    checked = subprocess.run(["shellcheck", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_installer_carries_the_configs_unchanged() -> None:
    assert printed(INSTALLER, "conf") == home_config(HOME, TUNNEL, KEYS.peers["home"], UPLINK)
    assert printed(INSTALLER, "rules") == home_rules(HOME, UPLINK)
    assert printed(INSTALLER, "watch") == (STATIC / "watch").read_text()


@pytest.mark.parametrize(
    "text",
    ["", "\n", "END\n", "$(id) `id` ${x} \\ ' \"\n", "EOF\nEND\n", "é\x01\x7f\t", "a" * 300],
    ids=lambda text: repr(text)[:12],
)
def test_data_survives_whatever_it_is(text: str) -> None:
    assert printed(script({"conf": text, "rules": "x"}), "conf") == text


def test_no_key_is_there_to_read_in_plain() -> None:
    assert KEYS.peers["home"].private not in INSTALLER
    assert KEYS.peers["home"].preshared not in INSTALLER


def test_a_script_that_was_cut_short_does_nothing() -> None:
    """As where a copy breaks off: the start is the last line."""
    whole = INSTALLER.splitlines()
    assert whole[-1] == 'main "$@"'
    cut = "\n".join(whole[:-1])
    done = subprocess.run(["sh"], input=cut, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_watch_must_know() -> None:
    files = home_files(HOME, TUNNEL, KEYS, UPLINK)
    local = 52000 + UPLINK.slot
    assert files["watch.facts"] == f"relay 172.16.0.1\nports 51820 443 53\ntls {local}\n"
    assert files["tls.env"].splitlines() == [
        f"LOCAL={local}",
        "HOST=relay.example.org",
        "PORT=8443",
        "MARK=x000000ff",  # 0xff000000, as the kernel has it in memory
    ]
    assert KEYS.tls is not None
    assert files["tls.crt"] == KEYS.tls.certificate


def test_a_home_gets_only_what_it_needs() -> None:
    mine = home_files(HOME, TUNNEL, KEYS, UPLINK)
    assert mine["needs"].split()[1::2] == [
        "wireguard-tools",
        "iputils-ping",
        "nftables",
        "iptables",
        "socat",
    ]
    assert mine["sysctl"] == "net.ipv4.ip_forward = 1\n"
    plain = samples.settings(homes=[{"name": "nas", "mode": "masquerade"}])
    keys = samples.keys(plain)
    theirs = home_files(plain.homes[0], plain.tunnel, keys, UPLINK)
    assert theirs["needs"].split()[1::2] == ["wireguard-tools", "iputils-ping"]
    assert {"rules", "sysctl", "tls.crt", "tls.env", "tls-client.service"}.isdisjoint(theirs)


def test_a_certificate_is_the_same_at_every_call(tmp_path: Path) -> None:
    seed = samples.seed()
    key = tls_key(seed)
    assert key == tls_key(seed)
    assert key.private not in repr(key)
    file = tmp_path / "crt"
    file.write_text(key.certificate)
    shown = subprocess.run(
        ["openssl", "verify", "-CAfile", str(file), str(file)], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
