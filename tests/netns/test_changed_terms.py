"""What is changed about a forward, a peer or the tunnel also holds for what is under way."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ..unit import samples
from ..waiting import eventually
from . import living
from .conftest import RELAY, TALK, Lab, make
from .living import apply
from .topology import internet

CLIENT = "203.0.113.9"


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net)
        made.relay_up()
        made.home_up()
        made.serve("home", 8080, verb="echo")
        made.serve("home", 8082)
        yield made


def bring(lab: Lab, forwards: list[Any], **raw: Any) -> None:
    apply(lab, living.plan(lab, [{"name": "home", "forwards": forwards, **raw}]))


def caller(lab: Lab, port: int, host: str = "client", seconds: int = 5) -> subprocess.Popen[str]:
    command = lab.net[host].argv([*TALK, "pings", RELAY, str(port), str(seconds)])
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def heard(process: subprocess.Popen[str]) -> float:
    """The part of the datagrams that came back."""
    sent, back = map(int, process.communicate(timeout=60)[0].split())
    return back / sent


def flows(lab: Lab, *what: str) -> str:
    return lab.net["relay"].run(["conntrack", "-L", "-p", "udp", *what])


def answered(lab: Lab, port: int, *callers: str) -> None:
    """Wait until each has a flow that is answered."""

    def seen(address: str) -> bool:
        found = flows(lab, "--orig-port-dst", str(port), "--orig-src", address)
        return bool(found) and "UNREPLIED" not in found

    for address in callers:
        eventually(lambda a=address: seen(a), f"an answered flow of {address}")  # type: ignore[misc]


def test_a_caller_who_is_no_longer_allowed_is_cut_off_and_others_are_not(lab: Lab) -> None:
    phone = "192.0.2.130"
    both = {"port": 90, "to": 8080, "protocol": "udp", "from": [f"{CLIENT}/32", f"{phone}/32"]}
    bring(lab, [both])
    client, other = caller(lab, 90, seconds=8), caller(lab, 90, "phone", seconds=8)
    answered(lab, 90, CLIENT, phone)
    bring(lab, [{**both, "from": [f"{phone}/32"]}])
    assert heard(client) < 0.9
    assert heard(other) == 1


def test_a_list_of_callers_holds_for_those_already_there(lab: Lab) -> None:
    bring(lab, ["90:8080/udp"])
    client = caller(lab, 90, seconds=8)
    answered(lab, 90, CLIENT)
    only = {"port": 90, "to": 8080, "protocol": "udp", "from": ["192.0.2.130/32"]}
    bring(lab, [only])
    assert heard(client) < 0.9


def test_a_changed_mode_holds_for_flows_under_way(lab: Lab) -> None:
    bring(lab, ["90:8080/udp"])
    client = caller(lab, 90, seconds=8)
    answered(lab, 90, CLIENT)
    hidden = {"port": 90, "to": 8080, "protocol": "udp", "mode": "masquerade"}
    bring(lab, [hidden])
    marked = flows(lab, "--orig-port-dst", "90", "--reply-dst", "172.16.0.1")
    heard(client)
    assert f"src={CLIENT}" in marked


def test_a_device_that_may_no_longer_dial_homes_is_cut_off(lab: Lab) -> None:
    def device(reach: str) -> None:
        phone = {"name": "phone", "reach": [reach]}
        apply(lab, living.plan(lab, [{"name": "home"}], devices=[phone]))

    device("homes")
    address = str(samples.settings(devices=[{"name": "phone"}]).devices[0].address)
    flow = f"-p udp -s {address} -d {lab.home().address} --dport 22 -t 600"
    for mark in ("0x01000000", "0"):
        port = 1 + len(mark)
        lab.net["relay"].run(f"conntrack -I {flow} --sport {port} -m {mark}")
    assert flows(lab, "--orig-src", address).count("udp") == 2
    device("devices")
    assert "mark=16777216" not in flows(lab, "--orig-src", address)
    assert flows(lab, "--orig-src", address) != "", "the off-case: without the mark"


def test_three_thousand_ports_go_in_seconds(lab: Lab) -> None:
    bring(lab, ["20000-22999:20000-22999/udp", "90:8080/udp"])
    for port in (20000, 21000, 22999):
        lab.call("udp", port)
    lab.call("udp", 90)
    assert flows(lab, "--orig-port-dst", "21000") != ""
    began = time.monotonic()
    bring(lab, ["90:8080/udp"])
    took = time.monotonic() - began
    for port in (20000, 21000, 22999):
        assert flows(lab, "--orig-port-dst", str(port)) == ""
    assert flows(lab, "--orig-port-dst", "90") != "", "the others are left alone"
    print(f"{took:.1f} s")
    assert took < 10


def test_two_homes_change_addresses(lab: Lab) -> None:
    relay = lab.net["relay"]
    two = samples.keys(samples.settings(homes=[{"name": "two"}])).peers
    lab.keys = replace(lab.keys, peers=lab.keys.peers | two)
    names = {lab.keys.peers[name].public: name for name in ("home", "two")}

    def homes(one: str, other: str) -> None:
        raw = [{"name": "home", "address": one}, {"name": "two", "address": other}]
        apply(lab, living.plan(lab, raw))
        dump = [line.split("\t") for line in relay.run("wg show wg0 dump").splitlines()[1:]]
        found = {names[peer[0]]: peer[3].split("/")[0] for peer in dump}
        assert found == {"home": one, "two": other}

    homes("172.16.0.5", "172.16.0.6")
    homes("172.16.0.6", "172.16.0.5")


def everything(lab: Lab, forwards: list[Any], **tunnel: Any) -> None:
    """A plan that restarts the tunnel."""
    home = {"name": "home", "forwards": forwards}
    apply(lab, living.plan(lab, [home], "tunnel", "peers", "rules", tunnel=tunnel))


def test_ipv6_turned_off_leaves_nothing_of_it(lab: Lab) -> None:
    relay = lab.net["relay"]
    everything(lab, ["90:8080/udp"])
    assert "cgnat-relay" in relay.run("nft list tables ip6")
    assert "WG0" in relay.run("ip6tables-save")
    everything(lab, ["90:8080/udp"], ipv6=False)
    assert "cgnat-relay" not in relay.run("nft list tables ip6")
    assert "WG0" not in relay.run("ip6tables-save")
    assert "6" not in relay.run(["sh", "-c", "cd /etc/wireguard; ls *.nft *tables"])
    assert relay.run("wg show interfaces") == "wg0\n"


def test_a_forward_that_goes_with_the_tunnels_restart_is_cut_too(lab: Lab) -> None:
    everything(lab, ["90:8080/udp"])
    eventually(lambda: lab.call("udp", 90), "an answer, once the home has dialled anew")
    assert flows(lab, "--orig-port-dst", "90") != ""
    everything(lab, [], mtu=1400)
    assert flows(lab, "--orig-port-dst", "90") == ""


def test_a_tunnel_that_was_started_by_hand_changes_too(lab: Lab) -> None:
    """As after ``systemctl stop wg-quick@wg0; wg-quick up wg0``: the unit has nothing to stop."""
    relay = lab.net["relay"]
    everything(lab, ["90:8080/udp"])
    relay.run("touch /run/by-hand")
    everything(lab, ["90:8080/udp"], mtu=1400)
    assert "mtu 1400 " in relay.run("ip link show wg0")


def test_a_relay_that_runs_keeps_its_interface(lab: Lab) -> None:
    """The old one would hold the tunnel's port, and neither plan could run."""
    everything(lab, ["90:8080/udp"])
    relay = lab.net["relay"]
    before = relay.run("wg show wg0 dump").splitlines()[0]
    terms = {"tunnel": {"interface": "wg5"}}
    living.lay(lab, living.plan(lab, [{"name": "home"}], "tunnel", "peers", "rules", **terms))
    try:
        with pytest.raises(AssertionError, match="interface is wg0 on this machine"):
            living.run(lab, living.APPLY.replace("wg0", "wg5"))
    finally:
        relay.run("rm -rf /run/new")
    assert relay.run("wg show interfaces") == "wg0\n"
    assert relay.run("wg show wg0 dump").splitlines()[0] == before
    assert living.settled(lab) == []


OWN_ETC = """mkdir /run/etc /run/work
mount -t overlay none -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc
mount -t tmpfs none /etc/wireguard"""


def test_tls_is_turned_on_and_off(wg_env: dict[str, str]) -> None:
    """By the units' files, and by what is asked of systemd in which order."""
    unit, key = "/etc/systemd/system/cgnat-relay-tls.service", "/etc/cgnat-relay/tls.pem"
    with internet(wg_env) as net:
        relay = net["relay"]
        relay.run(["sh", "-ec", OWN_ETC])
        lab = make(net, {"tunnel": {"tls": True}})
        lab.relay_up()

        def turn(on: bool, check: str = living.FINE) -> list[str]:
            relay.write("/run/asked", "")
            parts = ("peers", "rules", *(["tls"] if on else []))
            apply(lab, living.plan(lab, [{"name": "home"}], *parts, tunnel={"tls": on}), check)
            return relay.run("cat /run/asked").splitlines()

        assert turn(on=False) == []
        name = "cgnat-relay-tls.service"
        assert turn(on=True) == ["daemon-reload", f"-q enable {name}", f"restart {name}"]
        assert relay.run(f"stat -c %a:%U {key}") == "600:root\n"
        with pytest.raises(AssertionError, match="the relay runs the one before"):
            turn(on=False, check=living.BROKEN)
        assert relay.run(f"stat -c %a:%U {key} {unit}") == "600:root\n644:root\n"
        # A reboot in the middle: it was off when the machine came up, so nothing else starts it.
        without = living.plan(lab, [{"name": "home"}], "peers", "rules", tunnel={"tls": False})
        assert living.bring(lab, without)
        relay.write("/run/asked", "")
        living.run(lab, living.RECOVER)
        asked = relay.run("cat /run/asked").splitlines()
        enabled = f"-q enable --now --no-block {name}"
        assert asked == ["daemon-reload", enabled, "daemon-reload"]
        assert relay.run(f"stat -c %a:%U {key} {unit}") == "600:root\n644:root\n"

        assert turn(on=False) == [f"-q disable --now {name}", "daemon-reload"]
        assert relay.run(f"ls {unit} {key}", check=False) == ""
