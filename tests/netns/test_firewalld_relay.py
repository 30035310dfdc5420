"""firewalld itself on a machine that becomes a relay: it is told in its own terms, and untold.

systemd, apt and dpkg are stand-ins (``untouched``); the daemon is Debian's, and its interface is in
another zone than its default one.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.model import Tunnel

from ..unpacked import unpacked
from ..waiting import eventually
from . import living, untouched
from .adopted import survey
from .conftest import Lab, make
from .living import BIN, settled
from .test_firewalld import PACKAGES, Firewalld
from .topology import internet

ZONE = "work"
TOLD = f"{living.STATE}/firewalld"
HOME = {"name": "home", "forwards": ["80:8080/both"]}
CLIENT = "203.0.113.9"


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    packages = unpacked("firewalld", *PACKAGES.split())
    with internet(wg_env) as net:
        made = make(net, {"homes": [HOME], "devices": [{"name": "phone", "reach": ["homes"]}]})
        untouched.somebodys(made)
        relay = net["relay"]
        relay.run("mount -t sysfs none /sys")  # it tells of the namespace that it was mounted from
        daemon = Firewalld(relay, packages)
        words = shlex.join(daemon.words("firewall-cmd"))
        relay.write(f"{BIN}/firewall-cmd", f'#!/bin/sh\nexec {words} "$@"\n')
        relay.run(f"chmod 755 {BIN}/firewall-cmd")
        daemon.start()
        out = relay.run("ip -o route show default").split()[4]
        for how in ("", "--permanent"):
            ask(made, f"{how} --zone={ZONE} --change-interface={out}")
        yield made


def ask(lab: Lab, words: str) -> str:
    return living.run(lab, f"firewall-cmd {words}").strip()


def ports(lab: Lab, zone: str) -> set[str]:
    """That are open now, and are at its next start."""
    now, then = (
        set(ask(lab, f"{how} --zone={zone} --list-ports").split()) for how in ("", "--permanent")
    )
    assert now == then
    return now


def test_the_zone_of_callers_is_told_and_untold(lab: Lab) -> None:
    untouched.brought(lab)
    assert ports(lab, ZONE) == {"51820/udp"}
    assert ports(lab, "public") == set()
    lab.home_up()
    lab.serve_both("home", 8080)
    assert lab.both(80) == [CLIENT, CLIENT]
    # Another port: the one before is nobody's any more.
    tunnel: Tunnel = lab.settings.tunnel
    lab.settings = replace(lab.settings, tunnel=replace(tunnel, port=51999))
    untouched.brought(lab)
    assert ports(lab, ZONE) == {"51999/udp"}
    # Shut by hand is a drift that names it, and is mended.
    ask(lab, f"--zone={ZONE} --remove-port=51999/udp")
    assert "firewall firewalld shut 51999/udp" in " ".join(settled(lab))
    untouched.brought(lab)
    assert ports(lab, ZONE) == {"51999/udp"}
    untouched.gone(lab)
    assert ports(lab, ZONE) == set()


# What follows firewalld, run at once; and what it would be under systemd.
RUN = f"""#!/bin/sh
echo "$*" >>{BIN}/ran
while [ "$1" != /usr/local/lib/cgnat-relay/firewall ]; do shift; done
if [ -e {BIN}/follows ]; then exit 1; fi
: >{BIN}/follows
setsid "$@" >{BIN}/followed 2>&1 &
"""


def test_its_reload_takes_nothing_away_for_long(lab: Lab) -> None:
    """It flushes everyone's rules of iptables, and is asked over D-Bus."""
    relay = lab.net["relay"]
    untouched.brought(lab)
    lab.home_up()
    lab.device_up("phone")
    for how in ("", "--permanent"):  # as the finding has it, for what crosses the tunnel
        ask(lab, f"{how} --zone=trusted --change-interface=wg0")
    phone = lab.inner("phone")[0]
    lab.serve_both("phone", 22)

    def refused() -> bool:
        relay.run("conntrack -F", check=False)
        return lab.both(22, host="home", to=phone) == ["", ""]

    assert refused()
    ask(lab, "--reload")
    assert not refused(), "the off-case: nobody follows"
    assert "RELAY-INPUT" not in relay.run("iptables -S")
    relay.write(f"{BIN}/systemd-run", RUN)
    relay.run(f"chmod 755 {BIN}/systemd-run")
    living.run(lab, "/usr/local/lib/cgnat-relay/restore all")
    assert "--property=BindsTo=firewalld.service" in relay.run(f"cat {BIN}/ran")
    assert refused()
    for _ in range(2):
        eventually(lambda: "Monitoring" in relay.run(f"cat {BIN}/followed"), "it listens")
        ask(lab, "--reload")
        eventually(refused, "what crosses the tunnel is refused again", within=30)
        assert relay.run("iptables -S INPUT").splitlines()[1].endswith("-j RELAY-INPUT")


def test_what_it_flushes_once_it_counts_as_started_comes_back(lab: Lab) -> None:
    """systemd runs what comes after a start when its name is on the bus, and then it flushes.

    Before it answers, so here the first question does it; `make matrix` restarts the real one.
    """
    relay = lab.net["relay"]
    untouched.brought(lab)
    flushes = "for tool in iptables ip6tables; do $tool -F; $tool -X; done"
    asks = relay.run(f"cat {BIN}/firewall-cmd").replace(
        "#!/bin/sh\n", f"#!/bin/sh\nif rm {BIN}/starts 2>/dev/null; then {flushes}; fi\n"
    )
    relay.write(f"{BIN}/firewall-cmd", asks)
    relay.write(f"{BIN}/starts", "")
    living.run(lab, "/usr/local/lib/cgnat-relay/restore all")
    assert relay.run(f"ls {BIN}/starts", check=False) == "", "the off-case: it has flushed"
    there = relay.run("iptables -S")
    assert "-A INPUT -j RELAY-INPUT" in there
    assert there.count("-j WG0-FORWARD") == 2


def test_what_an_older_version_told_is_known_for_ours(lab: Lab) -> None:
    """Of the default zone, and without its name."""
    untouched.brought(lab)
    for how in ("", "--permanent"):
        ask(lab, f"{how} --zone={ZONE} --remove-port=51820/udp")
        ask(lab, f"{how} --add-port=51820/udp --add-port=51820/tcp")
    lab.net["relay"].write(TOLD, "51820/udp\n")
    living.run(lab, "/usr/local/lib/cgnat-relay/firewall up")
    assert (ports(lab, "public"), ports(lab, ZONE)) == ({"51820/tcp"}, {"51820/udp"})


def test_what_crosses_without_a_forward_needs_a_zone_that_lets_it(lab: Lab) -> None:
    """The finding's own commands are what lets it."""
    relay = lab.net["relay"]
    relay.run("mkdir /run/look")
    survey(relay.write, "/run/look")

    def fixes(*terms: str) -> list[str]:
        relay.write("/run/look/terms", "\n".join(["interface wg0", *terms, ""]))
        found = living.run(lab, "sh /run/look/preflight /run/look").splitlines()
        return [line.split("\t")[-1] for line in found if "firewalld rejects" in line]

    untouched.brought(lab)
    lab.home_up()
    lab.serve_both("home", 8080)
    lab.device_up("phone")
    home = lab.inner("home")[0]
    assert lab.both(8080, host="phone", to=home) == ["", ""]
    assert fixes() == [], "nothing of it is rejected"
    (fix,) = fixes("crosses")
    living.run(lab, fix.partition(": devices")[0].replace("sudo ", ""))
    assert lab.both(8080, host="phone", to=home) == [lab.inner("phone")[0]] * 2
    assert fixes("crosses") == []
