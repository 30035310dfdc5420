"""A relay that was away calls who was connected, at once and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..waiting import eventually
from .conftest import Lab, make
from .topology import internet

KEPT = "/etc/wireguard/wg0.endpoints"
# Of home's own: the first byte of a handshake's initiation is a 1 (WireGuard's protocol, 5.4.2).
NO_CALL = """
table ip nocall {
	chain output {
		type filter hook output priority 0;
		udp dport 51820 @th,64,8 1 drop
	}
}
"""
# wg-quick puts its own folder into the path.
CONFINED = """
mkdir /run/confined
cd /run/confined
cp "$(command -v wg-quick)" .
for name in bash readlink stat cat rm mv sync sort nft ip sysctl wg env \\
	iptables ip6tables iptables-restore ip6tables-restore; do
	ln -s "$(command -v $name)" .
done
"""
SOON = 4  # seconds


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"devices": ["laptop"]}, forwards=["90:8080/udp"])
        made.relay_up()
        made.home_up()
        made.serve("home", 8080)
        eventually(lambda: made.call("udp", 90), "an answer")
        net["home"].run("nft -f -", stdin=NO_CALL)
        yield made


def restart(lab: Lab, meanwhile: str = ":") -> None:
    lab.net["relay"].run(["sh", "-c", f"wg-quick down wg0; {meanwhile}; wg-quick up wg0"])


def peers(lab: Lab, what: str) -> dict[str, str]:
    lines = lab.net["relay"].run(f"wg show wg0 {what}").splitlines()
    return dict(line.split("\t", 1) for line in lines)  # type: ignore[misc]


def test_the_home_is_back_at_once(lab: Lab) -> None:
    """Nobody at home has sent anything, and its carrier's NAT lets in only where it has sent to."""
    home = lab.keys.peers["home"].public
    where = peers(lab, "endpoints")[home]
    restart(lab, meanwhile=f"stat -c %a {KEPT} >/etc/wireguard/mode")
    eventually(lambda: lab.call("udp", 90), "an answer", within=SOON)
    assert peers(lab, "endpoints")[home] == where
    assert set(peers(lab, "persistent-keepalive").values()) == {"off"}
    relay = lab.net["relay"]
    assert relay.run("cat /etc/wireguard/mode") == "600\n"
    assert KEPT not in relay.run("find /etc/wireguard")


def test_without_it_the_home_is_away(lab: Lab) -> None:
    """The off-case."""
    restart(lab, meanwhile=f"rm {KEPT}")
    with pytest.raises(AssertionError, match="an answer"):
        eventually(lambda: lab.call("udp", 90), "an answer", within=SOON)


def test_who_is_no_peer_any_more_becomes_none(lab: Lab) -> None:
    home = lab.keys.peers["home"].public
    restart(lab, meanwhile=": >/etc/wireguard/wg0.peers")
    assert peers(lab, "endpoints") == {}
    assert home not in lab.net["relay"].run("wg show wg0")


def test_who_came_by_itself_stays_where_it_is(lab: Lab) -> None:
    home, laptop = (lab.keys.peers[name].public for name in ("home", "laptop"))
    relay = lab.net["relay"]
    before = peers(lab, "endpoints")
    assert before[laptop] == "(none)"
    relay.write(KEPT, f"{home}\t192.0.2.9:1\n{laptop}\t192.0.2.9:2\n")
    relay.run("sh /etc/wireguard/wg0.call back wg0")
    assert peers(lab, "endpoints") == before | {laptop: "192.0.2.9:2"}
    relay.run("sh /etc/wireguard/wg0.call back wg0")  # and once more, where nothing was kept


def test_an_endpoint_that_is_none_keeps_neither_the_tunnel_nor_the_others_away(lab: Lab) -> None:
    """As of a disk that was full, or of IPv6 where there is none any more."""
    home, laptop = (lab.keys.peers[name].public for name in ("home", "laptop"))
    for one, other in ((home, laptop), (laptop, home)):
        kept = f"{one} nowhere\n{other} [2001:db8::9]:1\n"
        # In a folder with a file that the endpoint is a pattern of.
        there = "mkdir -p /run/pattern; cd /run/pattern; : >2:1"
        restart(lab, meanwhile=f"printf '{kept}' >{KEPT}; {there}")
        assert peers(lab, "endpoints")[other] == "[2001:db8::9]:1"
        assert set(peers(lab, "persistent-keepalive").values()) == {"off"}


def test_it_runs_where_apparmor_lets_wg_quick_run_little_else(lab: Lab) -> None:
    """A stand-in for the profile of Ubuntu from 25.04 on: what it lets wg-quick run, no more."""
    home = lab.keys.peers["home"].public
    where = peers(lab, "endpoints")[home]
    relay = lab.net["relay"]
    relay.run(["sh", "-ec", CONFINED])
    relay.run("env PATH=/run/confined bash /run/confined/wg-quick down wg0")
    assert relay.run(f"cat {KEPT}") == f"{home} {where}\n"
    relay.run("env PATH=/run/confined bash /run/confined/wg-quick up wg0")
    eventually(lambda: lab.call("udp", 90), "an answer", within=SOON)
    assert peers(lab, "endpoints")[home] == where
