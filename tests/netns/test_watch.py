"""A home follows its relay: to another address, past a reboot, and to ports that are let through.

The watch that the home's timer runs is run here once by hand, so each off-case is the same moment
without it.
"""

from __future__ import annotations

import time

import pytest

from components.installer import home_installer

from ..waiting import eventually
from .conftest import RELAY, make
from .topology import internet
from .watching import NAME, Watched, names

CLIENT = "203.0.113.9"
MOVED = "198.51.100.8"
BLOCK = """
table ip block {{
  chain forward {{
    type filter hook forward priority 0;
    udp dport {{ {ports} }} drop
  }}
}}
"""


@pytest.mark.parametrize("mode", ["transparent", "masquerade"])
def test_the_relay_moves_and_its_name_with_it(wg_env: dict[str, str], mode: str) -> None:
    with internet(wg_env) as net:
        lab = make(net, {"tunnel": {"host": NAME}}, mode=mode)
        lab.relay_up()
        home = Watched(lab, by_name=True)
        seen = {"transparent": CLIENT, "masquerade": "172.16.0.1"}[mode]
        assert home.answers() == seen
        assert home.watch() == ""
        net["relay"].run(f"ip addr del {RELAY}/24 dev eth0")
        net["relay"].run(f"ip addr add {MOVED}/24 dev eth0")
        net["relay"].run("ip route replace default via 198.51.100.1")
        names(home.host, MOVED)
        # The off-case: nobody has asked for the name again.
        assert lab.call("tcp", 80, to=MOVED) == ""
        assert home.watch() == f"wg0: {NAME} is now {MOVED}, was {RELAY}"
        assert home.endpoint() == f"{MOVED}:51820"
        assert lab.call("tcp", 80, to=MOVED) == seen
        assert home.watch() == "", "nothing more to do"


def test_a_name_that_no_resolver_knows_for_a_while_changes_nothing(wg_env: dict[str, str]) -> None:
    with internet(wg_env) as net:
        lab = make(net, {"tunnel": {"host": NAME}})
        lab.relay_up()
        home = Watched(lab, by_name=True)
        home.host.run(["sh", "-c", "echo 127.0.0.1 localhost > /run/hosts"])
        assert home.watch() == ""
        assert home.endpoint() == f"{RELAY}:51820"
        assert home.answers() == CLIENT


def test_the_relay_loses_its_power(wg_env: dict[str, str]) -> None:
    """It calls nobody back; an idle home's WireGuard would notice at its next rekey, by 145 s.

    One that has sent something, were it IPv6's own, and heard nothing for 15 s dials by itself.
    """
    with internet(wg_env) as net:
        lab = make(net, mode="masquerade")
        lab.relay_up()
        home = Watched(lab)
        home.idle()
        net["relay"].run("wg-quick down wg0")
        net["relay"].run("rm /etc/wireguard/wg0.endpoints")
        net["relay"].run("wg-quick up wg0")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            assert home.answers() == ""
        began = time.monotonic()
        assert home.watch() == f"wg0: dialled the relay anew at {RELAY}:51820"
        assert time.monotonic() - began < 25
        assert home.answers() == "172.16.0.1"


@pytest.mark.parametrize(
    ("blocked", "left"),
    [("51820", 443), ("51820, 443, 53, 123", 4500)],
    ids=["first", "all but one"],
)
def test_a_provider_blocks_ports(wg_env: dict[str, str], blocked: str, left: int) -> None:
    """With the relay's own firewall loaded: it sees the tunnel's port after the redirect."""
    with internet(wg_env) as net:
        lab = make(net, {"tunnel": {"otherPorts": [443, 53, 123, 4500]}})
        lab.relay_up()
        lab.firewall_up()
        home = Watched(lab)
        assert home.answers() == CLIENT
        net["carrier"].run("nft -f -", stdin=BLOCK.format(ports=blocked))
        # The off-case: nothing moves by itself, not even with a new dial.
        home.host.run("wg-quick down wg0")
        home.host.run("wg-quick up wg0")
        assert home.answers() == ""
        said = home.watch()
        assert said == f"wg0: no answer at {RELAY}:51820, the relay answers at {RELAY}:{left}"
        assert home.answers() == CLIENT
        assert home.answers("udp") == CLIENT


def test_a_port_that_was_not_declared_is_not_the_tunnels(wg_env: dict[str, str]) -> None:
    with internet(wg_env) as net:
        lab = make(net)
        lab.relay_up()
        lab.firewall_up()
        home = Watched(lab)
        net["carrier"].run("nft -f -", stdin=BLOCK.format(ports="51820"))
        home.host.run("wg-quick down wg0")
        facts = home.files["watch.facts"].replace("51820", "51820 443")
        home.host.write("/etc/wireguard/wg0.watch", facts)
        home.host.run("wg-quick up wg0")
        assert "no answer from the relay" in home.watch()
        assert home.endpoint() == f"{RELAY}:51820", "left as the config says"
        net["carrier"].run("nft delete table ip block")
        eventually(lambda: home.answers() == CLIENT, "an answer on the first port", within=40)


def test_the_installer_wants_a_machine_with_systemd(wg_env: dict[str, str]) -> None:
    """A namespace has none, so nothing happens there."""
    with internet(wg_env) as net:
        lab = make(net)
        installer = home_installer(lab.home(), lab.settings.tunnel, lab.keys, lab.uplink)
        said = net["home"].run(["sh", "-c", "sh -s 2>&1"], stdin=installer, check=False)
        assert said == "homeInstaller: this machine does not run systemd\n"
        assert net["home"].run("ls -A /etc/wireguard") == ""
