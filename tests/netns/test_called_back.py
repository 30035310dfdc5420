"""A relay that was away calls who was connected, at once and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..waiting import eventually
from .conftest import Lab, make
from .topology import internet

KEPT = "/etc/wireguard/wg0.endpoints"
SOON = 4  # seconds; home would not notice before its next keepalive, and then wait for an answer


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"devices": ["laptop"]}, forwards=["90:8080/udp"])
        made.relay_up()
        made.home_up()
        made.serve("home", 8080)
        eventually(lambda: made.call("udp", 90), "an answer")
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


def test_an_endpoint_that_is_none_does_not_keep_the_tunnel_down(lab: Lab) -> None:
    """As of a disk that was full, or of IPv6 where there is none any more."""
    home = lab.keys.peers["home"].public
    restart(lab, meanwhile=f"echo '{home} nowhere' >{KEPT}")
    assert home in peers(lab, "endpoints")
