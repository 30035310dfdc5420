"""Other forms of a home's config carry packets: the sidecar of a container, and plain WireGuard."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from components.formats import home_formats

from ..waiting import eventually
from .conftest import RELAY, RELAY6, Lab, make
from .test_return_path import CLIENT
from .topology import Host, internet

CLIENT6 = "2001:db8:9::9"
# As Docker does for its bridge.
BRIDGE = """
table ip docker {
  chain post {
    type nat hook postrouting priority 100;
    ip saddr 172.17.0.0/16 oifname != docker0 masquerade
  }
}
"""
# As Docker does for what no sysctls key names.
READ_ONLY = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"


def forms(lab: Lab) -> dict[str, dict[str, str]]:
    return home_formats(lab.home(), lab.settings.tunnel, lab.keys.peers["home"], lab.uplink)


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net)
        net["home"].run("nft -f -", stdin=BRIDGE)
        made.relay_up()
        yield made


def command(files: dict[str, str]) -> list[str]:
    """What the image runs."""
    (line,) = (x for x in files["Dockerfile"].splitlines() if x.startswith("CMD "))
    return list(json.loads(line.removeprefix("CMD ")))


def prepare(container: Host, files: dict[str, str], sysctls: bool = True) -> None:
    """What an engine does before it starts the container."""
    settings = yaml.safe_load(files["compose.yaml"])["services"]["tunnel"]["sysctls"]
    for key, value in settings.items() if sysctls else ():
        container.run(f"sysctl -qw {key}={value}")
    container.run(["sh", "-c", READ_ONLY])
    for name, text in files.items():
        container.write(f"/etc/wireguard/{name}", text)


def test_a_sidecar_shows_the_caller_to_what_shares_its_network(lab: Lab) -> None:
    files, container = forms(lab)["docker-compose"], lab.net["container"]
    prepare(container, files)
    sidecar = container.start(command(files))
    lab.serve("container", 8080)
    lab.serve("container", 8080, at="::")
    for to in (RELAY, RELAY6):
        eventually(lambda to=to: lab.call("tcp", 80, to=to), f"an answer from {to}")
    for kind in ("tcp", "udp"):
        assert lab.call(kind, 80) == CLIENT
        assert lab.call(kind, 80, to=RELAY6) == CLIENT6
    container.run(f"ip rule del pref {lab.way.first + 1}")
    assert lab.call("tcp", 80) == lab.call("udp", 80) == ""
    sidecar.terminate()
    assert sidecar.wait(timeout=20) == 0
    assert "wg0" not in container.run("ip link") + container.run("iptables-save")
    assert lab.way.table not in container.run("nft list tables")


def test_a_sidecar_without_its_sysctls_says_what_is_missing(lab: Lab) -> None:
    files, container = forms(lab)["docker-compose"], lab.net["container"]
    prepare(container, files, sysctls=False)
    with pytest.raises(AssertionError, match=r"net\.ipv4\.conf\.all.src_valid_mark"):
        container.run("wg-quick up wg0")
    assert "wg0" not in container.run("ip link")


def test_plain_wireguard_answers_for_a_masquerade_home(wg_env: dict[str, str]) -> None:
    """A NAS on the LAN, which has WireGuard and no more."""
    with internet(wg_env) as net:
        lab = make(net, mode="masquerade")
        lab.relay_up()
        files, nas = forms(lab)["plain"], net["lan"]
        nas.write("/etc/wireguard/wg0.conf", files["wg0.conf"])
        nas.run("wg-quick up wg0")
        lab.serve("lan", 8080)
        eventually(lambda: lab.call("tcp", 80), "an answer")
        assert lab.call("tcp", 80) == lab.call("udp", 80) == "172.16.0.1"
        net["relay"].run("nft flush chain ip cgnat-relay postrouting")
        assert lab.call("tcp", 80) == lab.call("udp", 80) == ""
