"""What else lives at home: ufw, DHCP, its own traffic, a second relay."""

from __future__ import annotations

from pathlib import Path

from ..unit import samples
from ..waiting import eventually
from .conftest import FORWARDS, RELAY6, Lab, make
from .exchange import HOLD, exchange
from .houses import RELAY2, second_relay
from .test_return_path import DOCKER
from .topology import Host, internet

CLIENT, CLIENT6 = "203.0.113.9", "2001:db8:9::9"
ANY = "0.0.0.0"  # noqa: S104
LAN_HOST = {"port": 25, "host": "192.168.1.50", "protocol": "both"}
CARRIER = "192.0.2.2"
KINDS = ("tcp", "udp")
ASKED = [(kind, port) for kind in KINDS for port in (80, 81)]
# ufw's own files, copied: nothing it writes reaches the machine that runs the test.
PRIVATE = """
for dir in /etc/ufw /lib/ufw /etc/default; do
  copy="/run/private$dir"; mkdir -p "$copy"; cp -a "$dir/." "$copy/"; mount --bind "$copy" "$dir"
done
"""


MASQUERADE = """
table ip docker_out {
  chain post {
    type nat hook postrouting priority 100;
    ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
  }
}
"""


def home_of(net: dict[str, Host], whole: dict[str, object] | None = None) -> Lab:
    """A transparent home with a service of its own and a container's, up."""
    lab = make(net, whole)
    net["home"].run("nft -f -", stdin=DOCKER)
    lab.relay_up()
    lab.home_up()
    lab.serve("home", 8080)
    lab.serve("container", 8081)
    return lab


def test_ufw_with_its_defaults(wg_env: dict[str, str]) -> None:
    """The real one: it drops what nobody allowed, and reload or a new start change nothing."""
    with internet(wg_env) as net:
        home = net["home"]
        home.run(["sh", "-ec", PRIVATE])
        homes = [{"name": "home", "forwards": [*FORWARDS, LAN_HOST]}]
        lab = home_of(net, {"homes": homes})
        for host, port, at in (("home", 8088, ANY), ("home", 8080, "::"), ("lan", 25, ANY)):
            lab.serve(host, port, at=at)

        def all_answer() -> bool:
            six, lan = [("tcp", 80), ("udp", 80)], [("tcp", 25), ("udp", 25)]
            assert lab.calls(*ASKED) == dict.fromkeys(ASKED, CLIENT)
            assert lab.calls(*six, to=RELAY6) == dict.fromkeys(six, CLIENT6)
            assert lab.calls(*lan) == dict.fromkeys(lan, "192.168.1.2")
            return True

        assert all_answer()
        for step in ("--force enable", "reload", "disable", "--force enable", "allow 9999/tcp"):
            home.run(f"ufw {step}")
            assert all_answer(), step
        assert "Status: active" in home.run("ufw status")
        # It is at work: what comes by the LAN is dropped.
        assert lab.call("tcp", 8088, host="lan", to="192.168.1.2") == ""
        # Home's accept alone opens the tunnel.
        home.run("iptables -D INPUT -i wg0 -j ACCEPT")
        home.run("iptables -D FORWARD -j wg0-home")
        asked = [*ASKED, ("tcp", 25), ("udp", 25)]
        assert lab.calls(*asked) == dict.fromkeys(asked, "")
        home.run("wg-quick down wg0")
        lab.home_up()
        assert all_answer()
        # And ufw started before the tunnel, as at boot.
        home.run("ufw --force disable")
        home.run("wg-quick down wg0")
        home.run("ufw --force enable")
        lab.home_up()
        assert all_answer()
    # The machine's own is untouched.
    assert "ENABLED=no" in Path("/etc/ufw/ufw.conf").read_text()


def test_a_new_lan_address_costs_one_datagram_at_most(wg_env: dict[str, str]) -> None:
    """As DHCP gives it; flows go on by the tunnel's address, which stays.

    Home's router takes its WireGuard for another and gives it another port, so the relay finds
    home again by what home sends next: at the latest its keepalive.
    """
    with internet(wg_env) as net:
        homes = [{"name": "home", "forwards": [*FORWARDS, "85:8085/both"]}]
        lab, home = home_of(net, {"homes": homes, "tunnel": {"keepalive": 1}}), net["home"]
        home.start([*HOLD, "serve", "0.0.0.0", "8085"])  # noqa: S104
        eventually(lambda: ":8085 " in home.run("ss -Hlnt"), "home listens")
        relay, client = lab.address, net["client"]
        with (
            exchange(client, "udp", relay, 85) as udp,
            exchange(client, "tcp", relay, 85) as tcp,
        ):
            assert (udp.ask(), tcp.ask()) == (CLIENT, CLIENT)
            home.run("ip addr del 192.168.1.2/24 dev eth0")
            home.run("ip addr add 192.168.1.77/24 dev eth0")
            home.run("ip route replace default via 192.168.1.1")
            first = udp.ask()
            answers = [udp.ask() for _ in range(10)]
            assert answers == [CLIENT] * 10, [first, *answers]
            assert tcp.ask() == CLIENT
            # The off-case: answered from the new LAN address, it is another flow.
            home.run(f"nft flush chain ip {lab.way.table} answer")
            assert udp.ask() == "TimeoutError"
            home.run("wg-quick down wg0")
            lab.home_up()
        assert lab.calls(*ASKED) == dict.fromkeys(ASKED, CLIENT)


def test_home_goes_out_by_its_own_line(wg_env: dict[str, str]) -> None:
    """It is seen as its carrier's address, from every port, and without the relay as well."""
    with internet(wg_env) as net:
        lab = home_of(net)
        lab.serve("client", 7000)
        out = [("tcp", 7000), ("udp", 7000)]
        for host in ("home", "container", "lan"):
            if host == "container":
                net["home"].run("nft -f -", stdin=MASQUERADE)
            assert lab.calls(*out, host=host, to=CLIENT) == dict.fromkeys(out, CARRIER), host
        # From a forwarded port as well, which a mark by port would send astray.
        assert lab.call("udp", 7000, source=9001, host="home", to=CLIENT) == CARRIER
        # The off-case: routed by the tunnel, it ends at the relay, which lets nobody out.
        net["home"].run(f"ip rule add pref 10 to {CLIENT} lookup {lab.way.route}")
        assert lab.calls(*out, host="home", to=CLIENT) == dict.fromkeys(out, "")
        net["home"].run("ip rule del pref 10")
        net["relay"].run("wg-quick down wg0")
        assert lab.call("tcp", 80) == ""
        assert lab.calls(*out, host="home", to=CLIENT) == dict.fromkeys(out, CARRIER)
        net["internet"].run("ip link set relay down")
        assert lab.calls(*out, host="home", to=CLIENT) == dict.fromkeys(out, CARRIER)


def test_a_home_of_two_relays(wg_env: dict[str, str]) -> None:
    """The same tunnel network, name and address at both; each has its own keys and numbers."""
    with internet(wg_env) as first, second_relay(first) as net:
        one = home_of(net)
        two = make({**net, "relay": net["relay2"]})
        two.address = RELAY2
        while two.way.slot == one.way.slot:
            two.keys = samples.keys(two.settings)
        two.relay_up()
        two.home_up(wg="wg1")
        home = net["home"]
        assert one.home().address == two.home().address
        for lab in (one, two, one):
            assert lab.calls(*ASKED) == dict.fromkeys(ASKED, CLIENT)
        for lab, other in ((one, two), (two, one)):
            rule = f"pref {lab.way.first + 1} fwmark {lab.way.mark}/0xff000000 lookup"
            home.run(f"ip rule del {rule} {lab.way.route}")
            assert lab.calls(*ASKED) == dict.fromkeys(ASKED, "")
            assert other.calls(*ASKED) == dict.fromkeys(ASKED, CLIENT)
            home.run(f"ip rule add {rule} {lab.way.route}")
            assert lab.calls(*ASKED) == dict.fromkeys(ASKED, CLIENT)
        home.run("wg-quick down wg0")
        assert one.calls(*ASKED) == dict.fromkeys(ASKED, "")
        assert two.calls(*ASKED) == dict.fromkeys(ASKED, CLIENT)
