"""Packets between real machines, each booted from power-on.

    this machine ── 127.x.y.z:port ── relay VM (198.51.100.15) ══ WireGuard ══ home VM
                                      QEMU's NAT, ports let in    QEMU's NAT, no way in

The home's page and its UDP answer name the address that home saw: 198.51.100.2 is what the relay
sees of callers from this machine, 172.16.0.1 is the relay itself.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from ..relay_stack import Stack
from ..waiting import BOOT, eventually
from .callers import answers, datagram, let_in, page, restart_relays_tunnel, silent, speaks

CALLER = "198.51.100.2"
RELAY = "172.16.0.1"
CHECK = (Path(__file__).parents[2] / "cloud-init" / "host" / "check").read_text()


@pytest.mark.parametrize("port", [80, 443])
def test_tcp_shows_the_callers_address(home: Stack, port: int) -> None:
    assert page(home, port) == f"hello from home, you are {CALLER}"


def test_udp_shows_the_callers_address(home: Stack) -> None:
    assert datagram(home, 5353) == f"hello from home, you are {CALLER}"


def test_the_relay_may_be_asked_twice_for_the_same_rules(home: Stack) -> None:
    """A restart loads them anew; nothing doubles, nothing vanishes."""
    listing = "iptables-save | grep -v '^[:#]'; nft list table ip cgnat-relay; ip rule"
    before = home.inside("test-relay", listing)
    restart_relays_tunnel(home, "systemctl restart wg-quick@wg0 cgnat-relay-firewall")
    assert home.inside("test-relay", listing) == before
    answers(home)


def test_without_the_rule_nothing_answers(home: Stack) -> None:
    home.inside("test-relay", "nft delete table ip cgnat-relay; conntrack -F 2>/dev/null; true")
    assert silent(home)
    home.inside("test-relay", "nft -f /etc/wireguard/wg0.ip.nft")
    answers(home)


def test_without_the_accept_nothing_enters_the_tunnel(home: Stack) -> None:
    rule = "WG0-FORWARD -o wg0 -m conntrack --ctstate DNAT -j ACCEPT"
    home.inside("test-relay", f"iptables -D {rule}")
    assert silent(home)
    home.inside("test-relay", "iptables-restore --noflush /etc/wireguard/wg0.iptables")
    answers(home)


def test_without_the_return_path_nothing_comes_back(home: Stack) -> None:
    config = home.outputs()["homeConfig"]
    rule = re.findall(r"ip -4 rule add (pref \d+ protocol kernel fwmark .*)", config)[0]
    home.inside("test-home", f"ip rule del {rule}")
    assert silent(home)
    home.inside("test-home", f"ip rule add {rule}")
    answers(home)


def test_an_undeclared_port_does_not_answer(home: Stack) -> None:
    """Even with a service listening on the relay, and the port open outside the machine."""
    serve = "systemd-run -q --unit=stray python3 -m http.server 9999"
    home.inside("test-relay", serve)
    eventually(
        lambda: "9999" in home.inside("test-relay", "ss -Hlnt"), "the stray service", within=30
    )
    rule = "RELAY-INPUT -p tcp --dport 9999 -j ACCEPT"
    try:
        with let_in(home, "tcp/9999") as host:
            assert not speaks(host, 9999)
            # The off-case: with a rule for it the same question is answered.
            home.inside("test-relay", f"iptables -I {rule}")
            eventually(lambda: speaks(host, 9999), "the stray service with a rule", within=30)
            home.inside("test-relay", f"iptables -D {rule}")
    finally:
        home.inside("test-relay", "systemctl stop stray")


METADATA = """
set -e
ip netns add cloud
ip link add meta type veth peer name eth0 netns cloud
ip addr add 169.254.0.1/16 dev meta
ip link set meta up
ip -n cloud addr add 169.254.169.254/16 dev eth0
ip -n cloud link set eth0 up
ip -n cloud route add default via 169.254.0.1
systemd-run -q --unit=metadata ip netns exec cloud python3 -m http.server 80
"""


def test_the_tunnel_does_not_reach_the_metadata_address(home: Stack) -> None:
    """A stand-in for a provider's metadata service, routed by the relay."""
    ask = "curl -s -o /dev/null -w '%{http_code}' --interface wg0 -m 5 http://169.254.169.254/"
    home.inside("test-relay", METADATA)
    try:
        local = "curl -s -m 5 http://169.254.169.254/ || python3 -c \"import urllib.request as u; u.urlopen('http://169.254.169.254/')\""
        eventually(
            lambda: home.inside("test-relay", f"{local} >/dev/null && echo up").strip() == "up",
            "the stand-in for the metadata service",
            within=30,
        )
        assert home.inside("test-home", ask, check=False).strip() != "200"
        # The off-case: with the door open the same question is answered.
        home.inside("test-relay", "iptables -I WG0-FORWARD -j ACCEPT")
        eventually(
            lambda: home.inside("test-home", ask, check=False).strip() == "200",
            "metadata with the door open",
            within=30,
        )
        home.inside("test-relay", "iptables -D WG0-FORWARD -j ACCEPT")
    finally:
        home.inside(
            "test-relay", "systemctl stop metadata; ip netns del cloud; ip link del meta; true"
        )


def test_the_firewall_stands_while_the_tunnel_is_down(home: Stack) -> None:
    home.inside("test-relay", "systemctl stop wg-quick@wg0")
    chains = home.inside("test-relay", "iptables -S; ip6tables -S; nft list tables")
    assert chains.count("-A RELAY-INPUT -j DROP") == 2
    assert chains.count("-A INPUT -j RELAY-INPUT") == 2
    assert "WG0-FORWARD" not in chains
    assert "cgnat-relay" not in chains
    restart_relays_tunnel(home, "systemctl start wg-quick@wg0")
    answers(home)


def test_readiness_names_what_is_missing(home: Stack) -> None:
    ask = "sh -s -- wg0"
    assert home.inside("test-relay", ask, stdin=CHECK).strip().endswith("ready")
    home.inside("test-relay", "systemctl stop wg-quick@wg0; sysctl -qw net.ipv4.ip_forward=0")
    said = home.inside("test-relay", f"{ask}; echo status $?", stdin=CHECK, check=False)
    restart_relays_tunnel(home, "sysctl -qw net.ipv4.ip_forward=1; systemctl start wg-quick@wg0")
    assert "status 1" in said
    assert "relay not ready: IPv4 forwarding is off" in said
    assert "relay not ready: interface wg0 is not up" in said
    assert "relay not ready: the forwards (nft table ip cgnat-relay) are not loaded" in said
    assert "  | " in said, "the units' own log lines"
    assert "firewall is not up" not in said
    answers(home)


def test_setup_waits_for_apts_lock(home: Stack) -> None:
    """Another holds it for a while, as providers' own scripts do at first boot."""
    hold = (
        "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); "
        "fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); time.sleep(20)"
    )
    home.inside("test-relay", "apt-get -qq -y remove unattended-upgrades >/dev/null 2>&1")
    home.inside("test-relay", f'systemd-run -q --unit=holder python3 -c "{hold}"')
    started = time.monotonic()
    setup = "/usr/local/lib/cgnat-relay/setup packages unattended-upgrades"
    home.inside("test-relay", setup)
    assert time.monotonic() - started > 10
    status = "dpkg-query -W -f '${db:Status-Status}' unattended-upgrades"
    assert home.inside("test-relay", status) == "installed"


def test_security_updates_come_by_themselves(home: Stack) -> None:
    dump = home.inside(
        "test-relay", "apt-config dump; systemctl is-enabled apt-daily-upgrade.timer"
    )
    assert 'APT::Periodic::Unattended-Upgrade "1";' in dump
    assert "label=Debian-Security" in dump
    assert dump.split()[-1] == "enabled"


def test_ssh_takes_no_password_and_has_one_host_key(home: Stack) -> None:
    effective = home.inside("test-relay", "sshd -T")
    for line in (
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permitrootlogin without-password",
    ):
        assert line in effective.splitlines()
    assert home.inside("test-relay", "ls /etc/ssh/*_key").split() == [
        "/etc/ssh/ssh_host_ed25519_key"
    ]


def test_wrong_key_at_home_gets_no_answer(home: Stack) -> None:
    """The home dials anew at once, as with the right key; it is the key that is refused."""
    config = home.outputs()["homeConfig"]
    wrong = home.inside("test-home", "wg genkey").strip()
    right = re.findall(r"^PrivateKey = (.*)$", config, re.MULTILINE)[0]
    try:
        redial(home, config.replace(right, wrong))
        assert silent(home)
        assert handshake(home) == 0
    finally:
        redial(home, config)
    answers(home)
    assert handshake(home) > 0


def redial(stack: Stack, config: str) -> None:
    """Take the home's tunnel down, and up again with this config."""
    stack.inside("test-home", "systemctl stop wg-quick@wg0")
    stack.inside("test-home", "cat > /etc/wireguard/wg0.conf", stdin=config)
    stack.inside("test-home", "systemctl start wg-quick@wg0")


def handshake(stack: Stack) -> int:
    """When the home's last handshake was, in seconds since 1970; 0 for never."""
    return int(stack.inside("test-home", "wg show wg0 latest-handshakes").split()[-1])


def test_home_down_leaves_nothing_behind(home: Stack) -> None:
    listing = "iptables-save | grep -v '^[:#*C]'; nft list tables; ip rule; ip route show table all"
    home.inside("test-home", "systemctl stop wg-quick@wg0")
    left = home.inside("test-home", listing)
    assert "wg0" not in left
    assert "fwmark" not in left
    home.inside("test-home", "systemctl start wg-quick@wg0")
    answers(home)


def test_masquerade_answers_and_shows_the_relay(home: Stack) -> None:
    """The same VM joins as a home that has nothing but WireGuard."""
    configs = home.outputs()["homeConfigs"]
    assert silent(home, 8082)
    redial(home, configs["plain"])
    try:
        assert answers(home, 8082) == f"hello from home, you are {RELAY}"
        assert datagram(home, 5354) == f"hello from home, you are {RELAY}"
        assert silent(home, 80)
    finally:
        redial(home, configs["home"])
    answers(home)


def test_a_reload_of_the_relays_tunnel_takes_no_peer_away(home: Stack) -> None:
    """As of all tunnels of a machine; the unit's own would read a file without peers."""
    peers = home.inside("test-relay", "wg show wg0 peers")
    assert peers
    said = home.inside("test-relay", "systemctl reload 'wg-quick@*'; journalctl -q -o cat -t echo")
    assert "wg0 is the relay's: it changes by pulumi up" in said
    assert home.inside("test-relay", "wg show wg0 peers") == peers


def test_a_tunnel_that_was_restarted_calls_home_back(home: Stack) -> None:
    """Nobody at home sends anything; its own next call would be 15 s after something was sent."""
    ask = "wg show wg0 latest-handshakes | awk '$2 > 0'"
    home.inside("test-relay", "systemctl restart wg-quick@wg0")
    eventually(lambda: home.inside("test-relay", ask), "home's handshake", within=60)
    assert answers(home, within=60) == f"hello from home, you are {CALLER}"
    assert "endpoints" not in home.inside("test-relay", "ls /etc/wireguard")


@pytest.mark.parametrize("vm", ["test-relay", "test-home"])
def test_reboot_comes_back_by_itself(home: Stack, vm: str) -> None:
    booted = home.inside(vm, "cat /proc/sys/kernel/random/boot_id")
    home.inside(vm, "systemd-run -q --on-active=1 systemctl reboot")
    eventually(lambda: silent(home, tries=1), f"{vm} goes down", within=BOOT)
    assert answers(home, within=BOOT) == f"hello from home, you are {CALLER}"
    eventually(
        lambda: home.inside(vm, "cat /proc/sys/kernel/random/boot_id") != booted,
        f"{vm} was booted anew",
        within=BOOT,
    )
