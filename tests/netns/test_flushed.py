"""An owner's rules that ifupdown loads, as at boot after the relay's: the relay's come back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from components.plan import IFUP, STATIC

from ..unpacked import unpacked
from ..waiting import eventually
from .conftest import Lab, make
from .living import adopted
from .topology import Host, internet

OWN = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
# As Debian's wiki has it: the rules are loaded with the interface. The last line is what the method
# `inet6 dhcp` sets itself.
INTERFACES = """\
auto mine
iface mine inet manual
	pre-up iptables-restore < /etc/iptables.rules
	up ip link set mine up
	up echo 1 >/proc/sys/net/ipv6/conf/mine/accept_ra
"""
# By systemd's word; and what the machine had before its first relay.
SHOW = "#!/bin/sh\necho ActiveState=active\n"
POLICIES = "/etc/wireguard/cgnat-relay/before/policies"
DROPINS = "/etc/systemd/system/wg-quick@wg0.service.d/*"
RESTORE = "/usr/local/lib/cgnat-relay/restore all"
CALLER = "203.0.113.9"


@pytest.fixture(scope="module", params=[False, True], ids=["own", "managed"])
def lab(request: pytest.FixtureRequest, wg_env: dict[str, str]) -> Iterator[Lab]:
    """An adopted machine: its own firewall drops by policy, or leaves that to the relay's."""
    with internet(wg_env) as net:
        made = make(net)
        relay = net["relay"]
        adopted(made, guarded=request.param)
        relay.write("/etc/iptables.rules", OWN.replace("DROP", "ACCEPT") if request.param else OWN)
        relay.run("ip link add mine type bridge")
        loads_its_own(relay)
        relay.run("/usr/local/lib/cgnat-relay/firewall up")
        relay.run("wg-quick up wg0")
        made.home_up()
        made.serve("home", 8080)
        made.serve("relay", 5432)
        assert made.call("tcp", 80) == CALLER
        yield made


def loads_its_own(relay: Host) -> None:
    relay.run(["sh", "-c", "iptables-restore </etc/iptables.rules"])


def let_in(lab: Lab) -> bool:
    """Whether home shakes hands anew, and answers: no flow that there was lets it in."""
    home, relay = lab.net["home"], lab.net["relay"]
    home.run("wg-quick down wg0")
    relay.run("conntrack -F", check=False)
    home.run("wg-quick up wg0")  # it dials at once, and again after five seconds
    try:
        eventually(lambda: handshake(home) != "0", "a handshake", within=7)
    except AssertionError:
        return False
    return True


def sound(lab: Lab) -> bool:
    """Whether what is declared is let in, and where the relay guards the machine nothing else."""
    return let_in(lab) and not (lab.settings.site.guarded and lab.call("tcp", 5432))


def handshake(home: Host) -> str:
    return home.run("wg show wg0 latest-handshakes").split()[-1]


def test_it_stands_whatever_was_flushed_before_the_tunnel(lab: Lab) -> None:
    """As at boot: the relay's firewall, the owner's rules, the tunnel; what its unit runs then."""
    relay = lab.net["relay"]
    relay.run("wg-quick down wg0")
    loads_its_own(relay)
    relay.run("wg-quick up wg0")
    assert not sound(lab)
    after_start(relay)
    assert sound(lab)
    assert lab.call("tcp", 80) == CALLER
    # Safe to run twice.
    before = relay.run("iptables-save -t filter")
    after_start(relay)
    assert chains(relay.run("iptables-save -t filter")) == chains(before)


@contextlib.contextmanager
def led_through(relay: Host, name: str, *rules: str, how: str = "-I") -> Iterator[None]:
    """A chain of its owner's with these rules, and FORWARD's jump to it."""
    relay.run(f"iptables -N {name}")
    for rule in rules:
        relay.run(f"iptables -A {name} {rule}")
    relay.run(f"iptables {how} FORWARD -j {name}")
    try:
        yield
    finally:
        relay.run(f"iptables -D FORWARD -j {name}")
        relay.run(f"iptables -F {name}")
        relay.run(f"iptables -X {name}")


def after_start(relay: Host) -> None:
    """What the tunnel's unit runs when it is up."""
    dropins = relay.run(["sh", "-c", f"cat {DROPINS}"])
    for line in re.findall("^ExecStartPost=[+]-(.*)$", dropins, re.MULTILINE):
        relay.run(line)


@pytest.mark.parametrize("chain", ["FORWARD", "bans"])
def test_bans_that_were_there_before_the_tunnel_stay_first(lab: Lab, chain: str) -> None:
    """As at boot: wg-quick puts the relay's own first."""
    relay = lab.net["relay"]
    relay.run("wg-quick down wg0")
    with led_through(relay, "bans", how="-A"):
        ban = f"{chain} -s {CALLER}/32 -j DROP"
        # Among the first of FORWARD, as that jump is.
        relay.run(f"iptables -I {ban}")
        relay.run("iptables -A FORWARD -p tcp -j REJECT")
        relay.run("wg-quick up wg0")
        assert let_in(lab)
        assert lab.call("tcp", 80) == CALLER, "the off-case: as wg-quick has it"
        after_start(relay)
        assert lab.call("tcp", 80) == ""
        relay.run(f"iptables -D {ban}")
        assert lab.call("tcp", 80) == CALLER, "it is before what drops all"
        relay.run("iptables -D FORWARD -p tcp -j REJECT")


def chains(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if line.startswith("-A")]


def test_without_the_tunnel_no_caller_is_led_on(lab: Lab) -> None:
    """As where an owner's ruleset loads the relay's at boot: the provider's network is no home."""
    relay, internet = lab.net["relay"], lab.net["internet"]
    nft = relay.run("cat /etc/wireguard/wg0.ip.nft")
    relay.run("wg-quick down wg0")
    internet.run("nft add table ip spy")
    internet.run("nft add chain ip spy in { type filter hook prerouting priority -300; }")
    internet.run("nft add counter ip spy seen")
    internet.run(f"nft add rule ip spy in ip daddr {lab.home().address} counter name seen")
    relay.run("iptables -I FORWARD -j ACCEPT")
    drop = next(line for line in nft.splitlines() if line.endswith("@homes drop"))

    def led_on(rules: str) -> bool:
        relay.run("nft -f -", stdin=rules)
        assert lab.call("tcp", 80) == ""
        return "packets 0" not in internet.run("nft reset counters table ip spy")

    assert not led_on(nft)
    assert led_on(nft.replace(drop, "")), "the off-case"
    internet.run("nft delete table ip spy")
    relay.run("iptables -D FORWARD -j ACCEPT")
    relay.run("wg-quick up wg0")
    assert let_in(lab)
    assert lab.call("tcp", 80) == CALLER


def test_ifupdown_itself_has_them_come_back(lab: Lab) -> None:
    relay = lab.net["relay"]
    program = unpacked("ifupdown", "ifupdown") / "sbin" / "ifup"
    relay.write("/run/interfaces", INTERFACES)
    relay.run("mkdir -p /run/network /etc/network/if-pre-up.d")
    ifup = [str(program), "--force", "-i", "/run/interfaces", "mine"]
    relay.run(f"mv {IFUP} /run/hook")
    relay.run(ifup)
    assert not sound(lab)
    relay.run(f"mv /run/hook {IFUP}")
    relay.run(ifup)
    assert sound(lab)
    assert lab.call("tcp", 80) == CALLER
    assert relay.run("cat /proc/sys/net/ipv6/conf/mine/accept_ra") == "2\n"
    # It is not what keeps an interface down.
    relay.run("mv /usr/local/lib/cgnat-relay/restore /run/restore")
    relay.run(ifup)
    relay.run("mv /run/restore /usr/local/lib/cgnat-relay/restore")


def test_a_drop_that_comes_first_is_put_behind(lab: Lab) -> None:
    """As Docker puts its own chain for its owner's rules first whenever it starts."""
    relay = lab.net["relay"]
    with led_through(relay, "DOCKER-USER", "-p tcp -j DROP"):
        assert lab.call("tcp", 80) == ""
        relay.run(RESTORE)
        assert lab.call("tcp", 80) == CALLER
        assert relay.run("iptables -S FORWARD").count("-j WG0-FORWARD") == 2


@pytest.mark.parametrize("chain", ["FORWARD", "bans"])
def test_bans_of_callers_stay_before_ours(lab: Lab, chain: str) -> None:
    """As CrowdSec and fail2ban have them, of what is forwarded too."""
    relay = lab.net["relay"]
    ban = f"-s {CALLER}/32 -j DROP"
    own = led_through(relay, chain, "-j RETURN") if chain != "FORWARD" else contextlib.nullcontext()
    with own:
        relay.run(f"iptables -I {chain} {ban}")
        relay.run(RESTORE)
        assert lab.call("tcp", 80) == ""
        # What is put first after it, as Docker does, goes behind ours, and the ban stays before.
        relay.run("iptables -I FORWARD -p tcp -j REJECT")
        relay.run(f"iptables -D {chain} {ban}")
        assert lab.call("tcp", 80) == ""
        relay.run(RESTORE)
        assert lab.call("tcp", 80) == CALLER
        relay.run(f"iptables -I {chain} {ban}")
        assert lab.call("tcp", 80) == ("" if chain == "FORWARD" else CALLER), "it was empty"
        relay.run("iptables -D FORWARD -p tcp -j REJECT")
        relay.run(f"iptables -D {chain} {ban}")
    relay.run(RESTORE)
    assert lab.call("tcp", 80) == CALLER


@pytest.mark.parametrize(("name", "stays"), [("f2b-web", True), ("whose", False)])
def test_a_chain_that_bans_nobody_just_now_is_known_by_its_name(
    lab: Lab, name: str, stays: bool
) -> None:
    relay = lab.net["relay"]
    with led_through(relay, name, "-j RETURN"):
        relay.run(RESTORE)
        relay.run(f"iptables -I {name} -s {CALLER}/32 -j DROP")
        assert lab.call("tcp", 80) == ("" if stays else CALLER)
    assert lab.call("tcp", 80) == CALLER


def test_what_drops_behind_a_ban_is_passed_and_the_ban_is_not(lab: Lab) -> None:
    relay = lab.net["relay"]
    ban = f"-s {CALLER}/32 -j DROP"
    relay.run(f"iptables -I FORWARD {ban}")
    relay.run("iptables -I FORWARD 2 -p tcp -j REJECT")
    relay.run(RESTORE)
    assert lab.call("tcp", 80) == ""
    relay.run(f"iptables -D FORWARD {ban}")
    assert lab.call("tcp", 80) == CALLER
    relay.run("iptables -D FORWARD -p tcp -j REJECT")


def test_a_chain_that_drops_others_too_is_no_ban(lab: Lab) -> None:
    relay = lab.net["relay"]
    with led_through(relay, "both", "-s 192.0.2.66 -j DROP", "-p tcp -j DROP"):
        assert lab.call("tcp", 80) == ""
        relay.run(RESTORE)
        assert lab.call("tcp", 80) == CALLER


def test_dockers_policy_comes_back(lab: Lab) -> None:
    """Docker sets it where it finds forwarding off, and since the relay that is on at boot."""
    relay = lab.net["relay"]
    relay.run("mkdir -p /run/bin " + POLICIES.rpartition("/")[0])
    relay.write("/run/bin/systemctl", SHOW)
    relay.run("chmod 755 /run/bin/systemctl")
    relay.write(POLICIES, "iptables DROP\nip6tables ACCEPT\n")
    relay.run("iptables -P FORWARD ACCEPT")
    restored = f"PATH=/run/bin:$PATH {RESTORE}"
    relay.run(["sh", "-c", restored.replace("/run/bin:", "")])
    assert "-P FORWARD ACCEPT" in relay.run("iptables -S FORWARD"), "Docker does not run"
    relay.run(["sh", "-c", restored])
    assert "-P FORWARD DROP" in relay.run("iptables -S FORWARD")
    assert "-P FORWARD ACCEPT" in relay.run("ip6tables -S FORWARD")
    assert lab.call("tcp", 80) == CALLER
    # But what somebody has come to drop since, as ufw does, stays dropped.
    relay.run("ip6tables -P FORWARD DROP")
    relay.run(["sh", "-c", restored])
    assert "-P FORWARD DROP" in relay.run("ip6tables -S FORWARD")
    relay.run("ip6tables -P FORWARD ACCEPT")


def test_an_owners_bans_go_on(lab: Lab) -> None:
    """As fail2ban has them: a chain of its own, first in INPUT when it starts."""
    relay = lab.net["relay"]
    loads_its_own(relay)
    lab.serve("relay", 22)
    relay.run("iptables -N f2b-sshd")
    relay.run("iptables -I INPUT -p tcp --dport 22 -j f2b-sshd")
    relay.run("/usr/local/lib/cgnat-relay/firewall up")
    assert lab.call("tcp", 22) == CALLER
    relay.run(f"iptables -I f2b-sshd -s {CALLER} -j REJECT")
    assert not lab.call("tcp", 22)
    loads_its_own(relay)
    relay.run("/usr/local/lib/cgnat-relay/firewall up")


def test_a_failed_check_does_not_tell_the_owners_first_boot(lab: Lab) -> None:
    relay = lab.net["relay"]
    relay.run("mount -t tmpfs none /var/log")
    relay.write("/var/log/cloud-init-output.log", "a password of mine\n")
    said = relay.run(["sh", "-c", f"sh {STATIC}/check wg9 2>&1 || :"])
    assert "interface wg9 is not up" in said
    assert "mine" not in said
