"""``homeInstaller`` on a real machine: systemd, its timer, apt; and nothing left behind.

What the lab put there is moved aside first and put back at the end, for the tests that follow.
"""

from __future__ import annotations

import base64
import gzip
import re
import time
from collections.abc import Iterator

import pytest

from components.home import Way
from components.installer import STATIC, script, tls_environment
from components.keys import tls_key
from components.model import Tunnel
from components.plan import STATIC as HOST
from components.wireguard import Uplink

from ..relay_stack import Stack
from ..unit import samples
from ..waiting import eventually
from .callers import answers, silent

VM = "test-home"
ASIDE = "/root/wg0.conf.lab"
TUNNEL = "wg-quick@wg0"
CALLED = "/etc/wireguard/wg0.endpoints"  # whom a relay that comes back calls
# All that an installer may touch, but packages.
LISTING = """
find /etc/wireguard /etc/systemd /etc/sysctl.d /etc/cgnat-relay /usr/local -type f,d,l \
	-printf '%p %y %m %l\\n' 2>/dev/null | sort
systemctl list-unit-files --no-legend 'cgnat*' 'wg-quick*' | sort
systemctl list-units --all --no-legend --plain 'cgnat*' | sort
ip rule; ip -6 rule; ip -br link; nft list tables | grep cgnat; iptables -S; ip6tables -S
cat /proc/sys/net/ipv4/ip_forward; ls -A /run | grep cgnat || :
"""


@pytest.fixture(scope="module")
def bare(home: Stack) -> Iterator[Stack]:
    """The home as its owner has it before anything is installed."""
    not_ours = "wg0.conf is not ours: move it away or add --interface NAME"
    assert run(home).endswith(not_ours)
    aside = "systemctl -q disable --now wg-quick@wg0 && mv /etc/wireguard/wg0.conf " + ASIDE
    home.inside(VM, aside)
    before = home.inside(VM, LISTING)
    yield home
    assert run(home, "--uninstall") == "wg0: uninstalled; packages that were installed stay"
    after = home.inside(VM, LISTING)
    back = f"mv {ASIDE} /etc/wireguard/wg0.conf && systemctl -q enable --now wg-quick@wg0"
    home.inside(VM, back)
    answers(home)
    assert after == before
    assert run(home, "--uninstall") == "wg0: nothing of ours is here"


def run(stack: Stack, words: str = "", installer: str | None = None) -> str:
    """What the installer says."""
    text = installer or str(stack.outputs()["homeInstaller"])
    return stack.inside(VM, f"sh -s -- {words} 2>&1", stdin=text, check=False).strip()


def files(stack: Stack) -> dict[str, str]:
    """The data in this home's installer."""
    found = re.findall(
        r"^\t(\S+)\)\n\t\tbase64 -d <<'END' \| gzip -d\n(.*?)\nEND$",
        str(stack.outputs()["homeInstaller"]),
        re.MULTILINE | re.DOTALL,
    )
    return {name: gzip.decompress(base64.b64decode(text)).decode() for name, text in found}


def interface(stack: Stack) -> str:
    """The number of the tunnel's interface: a new one after a restart."""
    return stack.inside(VM, "cat /sys/class/net/wg0/ifindex").strip()


def test_refusals_leave_everything_as_it_is(bare: Stack) -> None:
    before = bare.inside(VM, LISTING)
    assert run(bare, "--unistall").startswith("homeInstaller: unknown: --unistall")
    assert run(bare, "--interface 'a b'").startswith("homeInstaller: a b is no name")
    as_nobody = "cat >/tmp/i && chmod 644 /tmp/i && runuser -u nobody -- sh /tmp/i 2>&1; rm /tmp/i"
    said = bare.inside(VM, as_nobody, stdin=str(bare.outputs()["homeInstaller"]), check=False)
    assert said.strip() == "homeInstaller: run it as root"
    assert bare.inside(VM, LISTING) == before


def test_it_brings_the_tunnel_up_and_looks_after_it(bare: Stack) -> None:
    said = run(bare)
    assert said.endswith("wg0: the tunnel is up and looked after")
    for line in files(bare)["conf"].splitlines():
        if line.startswith(("PrivateKey", "PresharedKey")):
            assert line.split(" = ")[1] not in said
    answers(bare)
    assert bare.inside(VM, "stat -c %a /etc/wireguard/wg0.conf").strip() == "600"
    enabled = "systemctl is-enabled wg-quick@wg0.service cgnat-relay-watch@wg0.timer"
    assert bare.inside(VM, enabled).split() == ["enabled", "enabled"]
    bare.inside(VM, "systemctl start cgnat-relay-watch@wg0.service")
    assert bare.inside(VM, "journalctl -q -o cat -u 'cgnat-relay-watch@wg0'").strip() == ""


def test_a_second_run_changes_nothing(bare: Stack) -> None:
    before, number = bare.inside(VM, LISTING), interface(bare)
    assert run(bare) == "wg0: the tunnel is up and looked after"
    assert bare.inside(VM, LISTING) == before
    assert interface(bare) == number


def test_new_rules_are_loaded_without_a_restart(bare: Stack) -> None:
    way = Way(Uplink(bare.outputs()["relayPublicKey"], "").slot)
    number = interface(bare)
    rules = f"flush map ip {way.table} lan\n"
    rules += f"add element ip {way.table} lan {{ tcp . 2525 : 192.168.1.50 . 25 }}\n"
    newer = {**files(bare), "rules": rules, "sysctl": "net.ipv4.ip_forward = 1\n"}
    assert "wg0.rules is new" in run(bare, installer=script(newer))
    assert "192.168.1.50 . 25" in bare.inside(VM, f"nft list map ip {way.table} lan")
    assert bare.inside(VM, "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert interface(bare) == number
    answers(bare)


def test_a_newer_config_restarts_the_tunnel(bare: Stack) -> None:
    """And what it no longer has goes: here the rules and the forwarding of before."""
    data = files(bare)
    newer = data["conf"].replace("PersistentKeepalive = 25", "PersistentKeepalive = 20")
    number = interface(bare)
    assert "wg0.conf is new" in run(bare, installer=script({**data, "conf": newer}))
    assert bare.inside(VM, "wg show wg0 persistent-keepalive").split()[-1] == "20"
    assert interface(bare) != number
    assert bare.inside(VM, "cat /proc/sys/net/ipv4/ip_forward; ls /etc/wireguard").split() == [
        "0",
        "wg0.conf",
        "wg0.watch",
    ]
    run(bare)
    answers(bare)


def test_another_relays_installer_is_refused(bare: Stack) -> None:
    data = files(bare)
    conf = re.sub(r"(?m)^PublicKey = .*", f"PublicKey = {samples.seed()}", data["conf"])
    said = run(bare, installer=script({**data, "conf": conf}))
    assert said.startswith("homeInstaller: wg0 leads to another relay: add --interface NAME")


def test_a_home_with_its_own_key(bare: Stack) -> None:
    """Its key is in a file there, and is kept by later runs."""
    data = files(bare)
    private = re.findall(r"(?m)^PrivateKey = (.*)", data["conf"])[0]
    without = script({**data, "conf": data["conf"].replace(private, "PUT-IT-HERE")})
    assert run(bare, "--uninstall").startswith("wg0: uninstalled")
    said = run(bare, installer=without)
    assert said.startswith("homeInstaller: the private key of this home is missing")
    assert "--private-key-file" in said
    bare.inside(VM, "umask 077; cat >/root/key", stdin=private + "\n")
    assert private not in run(bare, "--private-key-file /root/key", without)
    bare.inside(VM, "rm /root/key")
    answers(bare)
    assert run(bare, installer=without) == "wg0: the tunnel is up and looked after"
    answers(bare)


def test_the_interface_may_have_another_name(bare: Stack) -> None:
    """As that of a second relay at one home."""
    assert run(bare, "--uninstall").startswith("wg0: uninstalled")
    assert run(bare, "--interface wg7").endswith("wg7: the tunnel is up and looked after")
    answers(bare)
    assert bare.inside(VM, "wg show interfaces").split() == ["wg7"]
    assert run(bare, "--uninstall") == "wg0: nothing of ours is here"
    assert run(bare, "--interface wg7 --uninstall").startswith("wg7: uninstalled")
    run(bare)
    answers(bare)


def test_the_timer_brings_home_back_after_the_relay_forgot_it(bare: Stack) -> None:
    """As by a power cut, without anyone's hand at home; by itself WireGuard takes up to 145 s."""
    bare.inside("test-relay", f"systemctl stop {TUNNEL}; rm {CALLED}; systemctl start {TUNNEL}")
    began = time.monotonic()
    assert silent(bare, tries=1)
    answers(bare, within=90)
    print(f"home was back {time.monotonic() - began:.0f} s after the relay came back")


TALK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
for size in (1, 1420, 148, 1452, 32):
    s.sendto(b"x" * size, ("127.0.0.1", LOCAL))
    print(len(s.recv(4096)))
"""
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 9999))
while True:
    data, peer = s.recvfrom(4096)
    s.sendto(data, peer)
"""


def said(stack: Stack) -> str:
    """The units' own words, for a failure's message."""
    units = "journalctl --no-pager -o cat -n 20 -u cgnat-relay-tls -u cgnat-relay-tls@t"
    return f"an echo through both units; they say: {stack.inside(VM, units, check=False)}"


def test_both_tls_units_run_confined(home: Stack) -> None:
    """The relay's and the home's, on one machine: as they are, under the real systemd."""
    key, tunnel = tls_key(samples.seed()), Tunnel(samples.settings().tunnel.network, tls=443)
    env = tls_environment(tunnel, Uplink(samples.seed(), "127.0.0.1:51820"))
    local = re.findall(r"LOCAL=(\d+)", env)[0]
    units = "/run/systemd/system"
    for path, text in {
        "/etc/cgnat-relay/tls.pem": key.private + key.certificate,
        "/etc/cgnat-relay/tls.env": "PORT=443\nTUNNEL=9999\n",
        "/run/systemd/system/cgnat-relay-tls.service": (
            HOST / "cgnat-relay-tls.service"
        ).read_text(),
        f"{units}/cgnat-relay-tls@.service": (STATIC / "tls-client.service").read_text(),
        "/etc/wireguard/t.tls": env,
        "/etc/wireguard/t.tls.crt": key.certificate,
    }.items():
        home.inside(VM, f"mkdir -p /etc/cgnat-relay; umask 077; cat >{path}", stdin=text)
    try:
        home.inside(VM, "apt-get -qq update; apt-get -qq -y install socat >/dev/null 2>&1")
        home.inside(VM, "cat >/tmp/echo.py", stdin=ECHO)
        home.inside(VM, "systemd-run -q --unit=echo python3 /tmp/echo.py")
        home.inside(
            VM, "systemctl daemon-reload; systemctl start cgnat-relay-tls cgnat-relay-tls@t"
        )
        listening = f"ss -Hlntu | grep -c -e '127.0.0.1:{local} ' -e ':443 '"
        eventually(lambda: home.inside(VM, listening, check=False).strip() == "2", "both listen")
        talk = TALK.replace("LOCAL", local)
        heard = eventually(lambda: home.inside(VM, "python3 -", stdin=talk).split(), said(home), 60)
        assert heard == ["1", "1420", "148", "1452", "32"]
        users = home.inside(VM, "ps -o user= -C socat").split()
        assert users
        assert "root" not in users
    finally:
        home.inside(
            VM,
            "systemctl stop echo cgnat-relay-tls cgnat-relay-tls@t;"
            " rm -rf /etc/cgnat-relay /run/systemd/system/cgnat-relay-tls* /etc/wireguard/t.*"
            " /tmp/echo.py; systemctl daemon-reload",
        )
