"""NetworkManager itself imports the files that are made for it.

A daemon of its own, with a bus of its own, in namespaces that end with it; Debian's packages are
unpacked, not installed. It imports and keeps a profile, and is not asked to bring it up.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.formats.sections import sections

from ..unit.test_formats import Made
from ..unpacked import unpacked

PACKAGES = (
    "dbus-daemon libapparmor1 libbluetooth3 libcap-ng0 libcurl3-gnutls libdbus-1-3 libjansson4"
    " libmm-glib0 libndp0 libnm0 libpsl5 libteamdctl0 network-manager"
)
NAMESPACES = "unshare --net --mount --pid --fork --kill-child --mount-proc"
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
  </policy>
</busconfig>
"""
SETTINGS = "[main]\nauth-polkit=false\nplugins=keyfile\ndns=none\n[keyfile]\npath=/run/profiles\n"
# $1: the folder of the packages; $2: of our files. All is on file systems that end with it.
IMPORT = """
set -eu
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
mkdir -p /run/dbus /run/profiles
export LD_LIBRARY_PATH="$1/usr/lib/x86_64-linux-gnu:$1/lib/x86_64-linux-gnu"
PATH="$1/usr/bin:$1/usr/sbin:$PATH"
dbus-daemon --config-file="$2/bus.conf" --fork --nopidfile
NetworkManager --no-daemon --config="$2/nm.conf" --config-dir=/run/none --intern-config=/run/none \\
	--system-config-dir=/run/none --state-file=/run/state >"$2/log" 2>&1 &
deadline=$((SECONDS + 30))
until nmcli general status >/dev/null 2>&1; do
	[ $SECONDS -lt $deadline ] || { cat "$2/log" >&2; exit 1; }
done
nmcli connection import type wireguard file "$2/wg0.conf" >&2
cat /run/profiles/*
"""


@pytest.fixture(scope="module")
def packages() -> Path:
    return unpacked("network-manager", *PACKAGES.split())


def imported(packages: Path, folder: Path, config: str) -> dict[str, list[str]]:
    """The profile that NetworkManager makes of a file, as lines by section."""
    for name, text in (("bus.conf", BUS), ("nm.conf", SETTINGS), ("wg0.conf", config)):
        (folder / name).write_text(text)
    done = subprocess.run(
        [*NAMESPACES.split(), "bash", "-c", IMPORT, "import", str(packages), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    profile: dict[str, list[str]] = {}
    current: list[str] = []
    for line in done.stdout.splitlines():
        if line.startswith("["):
            current = profile.setdefault(line.strip("[]").split(".")[0], [])
        elif line:
            current.append(line)
    return profile


def test_it_imports_all_of_a_masquerade_home(packages: Path, tmp_path: Path) -> None:
    made = Made(mode="masquerade", ipv6=True)
    found = imported(packages, tmp_path, made.formats["networkmanager"]["wg0.conf"])
    keys = made.keys.peers["home"]
    (addresses,) = (v for k, v in sections(made.config).interface if k == "Address")
    address, address6 = addresses.split(", ")
    assert f"address1={address}" in found["ipv4"]
    assert f"address1={address6}" in found["ipv6"]
    assert f"private-key={keys.private}" in found["wireguard"]
    assert "mtu=1420" in found["wireguard"]
    for line in (
        "endpoint=relay.example:51820",
        f"preshared-key={keys.preshared}",
        "persistent-keepalive=25",
    ):
        assert line in found["wireguard-peer"]
    assert any(line.startswith("allowed-ips=172.16.0.0/24;fd") for line in found["wireguard-peer"])


def test_it_drops_the_return_path_of_a_transparent_home(packages: Path, tmp_path: Path) -> None:
    """Why there is no such form of it: the tunnel comes up, and no answer ever goes back."""
    found = imported(packages, tmp_path, Made().config)
    kept = "\n".join(line for lines in found.values() for line in lines)
    assert "172.16.0.19" in kept
    assert not any(word in kept for word in ("nft", "sysctl", "fwmark", "iptables"))
