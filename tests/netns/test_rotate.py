"""Keys of homes and devices change in two phases; what is under way goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from components.keys import wireguard_key

from ..unit import samples
from ..waiting import eventually
from . import living, rotating
from .conftest import Lab, make
from .living import ended, settled, started
from .rotating import (
    RESTART,
    STOP,
    bring,
    changed,
    comes_with,
    following,
    home_takes,
    owner,
    peers,
    systemctl,
)
from .topology import internet

CLIENT = "203.0.113.9"


@pytest.fixture
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, {"devices": ["laptop"]}, forwards=["80:8080", "81:8081/udp"])
        made.relay_up()
        rotating.begin(made)
        bring(made)
        made.home_up()
        made.serve("home", 8080, verb="count")
        made.serve("home", 8081, verb="echo")
        made.serve("home", 8082)
        yield made


def received(lab: Lab, key: str) -> int:
    """Bytes that have come from a peer."""
    return int(peers(lab)[key][4])


def answers(lab: Lab, port: int = 91) -> str:
    return lab.call("udp", port)


@pytest.mark.parametrize("own", [False, True], ids=["made here", "of its own"])
def test_a_homes_keys_change_under_its_flows(lab: Lab, own: bool) -> None:
    private, public = "", None
    if own:
        pair = wireguard_key(samples.seed())
        private, public = pair.private, pair.public
    old = lab.keys.peers["home"]
    download, pings = started(lab, "download", 80), started(lab, "pings", 81)
    new = following(lab, public=public)
    assert new.preshared != old.preshared
    assert "waits home" in bring(lab, "91:8082/udp")
    assert answers(lab) == CLIENT
    assert owner(lab) == old.public, "nothing happens until the home comes"
    gone = time.monotonic()
    home_takes(lab, private)
    comes_with(lab, new)
    away = time.monotonic() - gone
    eventually(lambda: answers(lab) == CLIENT, "the home answers")
    assert settled(lab) == [], "a rotation under way is no drift"
    shaken = peers(lab)[new.public][3]
    changed(lab, "home", new)
    assert "waits" not in bring(lab, "91:8082/udp")
    assert set(peers(lab)) == {new.public, lab.keys.peers["laptop"].public}
    assert peers(lab)[new.public][3] == shaken, "nobody had to dial anew"
    assert answers(lab) == CLIENT
    relay = lab.net["relay"]
    assert relay.run("find /etc/wireguard /etc/systemd /usr/local/lib -name '*rotate*'") == ""
    assert relay.run("find /etc/wireguard -name '*.arrived' -o -name '*.pairs'") == ""
    before = received(lab, new.public)
    eventually(
        lambda: received(lab, new.public) > before + 500_000, "the download goes on", within=90
    )
    assert int(ended(download)) > 500_000
    sent, back = map(int, ended(pings).split())
    print(f"{sent - back} of {sent} datagrams, one each 10 ms, were lost")
    assert sent - back < away * 100, f"home was away for {away:.1f} s"
    # The old one is refused.
    changed(lab, "home", replace(old, preshared=new.preshared))
    lab.net["home"].run("wg-quick down wg0")
    with pytest.raises(AssertionError, match="handshake: not within"):
        lab.home_up()
    assert answers(lab) == ""


def test_the_installer_sets_new_keys_in_place(lab: Lab) -> None:
    rotating.houses_installer(lab)
    number = rotating.installed(lab).split()[0]
    eventually(lambda: lab.call("udp", 81), "the home answers")
    new = following(lab)
    bring(lab)
    download = started(lab, "download", 80)
    said = rotating.installed(lab)
    assert "/etc/wireguard/wg0.conf has new keys" in said
    assert said.split()[0] == number, "the tunnel was not restarted"
    comes_with(lab, new)
    before = received(lab, new.public)
    eventually(
        lambda: received(lab, new.public) > before + 200_000, "the download goes on", within=90
    )
    ended(download)
    changed(lab, "home", new)
    bring(lab)
    assert "new keys" not in rotating.installed(lab), "phase 2 asks nothing of the home"


def test_a_devices_keys_change_under_its_flows(lab: Lab) -> None:
    lab.device_up("laptop", host="laptop")
    home = lab.inner("home")[0]
    assert lab.call("tcp", 8082, host="laptop", to=home) == lab.inner("laptop")[0]
    new = following(lab, "laptop")
    bring(lab)
    assert lab.call("tcp", 8082, host="laptop", to=home) == lab.inner("laptop")[0]
    lab.net["laptop"].run("wg-quick down wg0")
    lab.device_up("laptop", host="laptop")
    comes_with(lab, new, "laptop")
    assert lab.call("tcp", 8082, host="laptop", to=home) == lab.inner("laptop")[0]
    changed(lab, "laptop", new)
    bring(lab)
    assert lab.call("tcp", 8082, host="laptop", to=home) == lab.inner("laptop")[0]


def test_without_what_moves_it_a_home_with_its_next_key_is_not_heard(lab: Lab) -> None:
    """The off-case; and it is moved as soon as that runs again, as after a reboot."""
    new = following(lab)
    bring(lab, "91:8082/udp")
    systemctl(lab, STOP)
    home_takes(lab)
    assert answers(lab) == ""
    systemctl(lab, RESTART)
    comes_with(lab, new)
    eventually(lambda: answers(lab) == CLIENT, "the home answers")


def test_a_home_that_goes_back_is_taken_back(lab: Lab) -> None:
    old = lab.keys.peers["home"]
    new = following(lab)
    bring(lab, "91:8082/udp")
    home_takes(lab)
    comes_with(lab, new)
    both = lab.keys.peers["home"]
    changed(lab, "home", old)
    home_takes(lab)
    comes_with(lab, old)
    assert answers(lab) == CLIENT
    changed(lab, "home", new)
    with pytest.raises(AssertionError, match="home comes with its present key, which this plan"):
        bring(lab, "91:8082/udp")
    changed(lab, "home", both)
    assert "waits home" in bring(lab, "92:8082/udp")


def test_what_would_cut_a_home_off_is_refused(lab: Lab) -> None:
    relay = lab.net["relay"]
    old = lab.keys.peers["home"]
    new = following(lab)
    both = lab.keys.peers["home"]
    bring(lab, "91:8082/udp")
    files = relay.run(["sh", "-c", "cat /etc/wireguard/wg0.*"])

    def refused(keys: object, which: str) -> None:
        changed(lab, "home", keys)  # type: ignore[arg-type]
        with pytest.raises(AssertionError, match=f"home comes with its {which} key, which this"):
            bring(lab)
        changed(lab, "home", both)
        assert answers(lab) == CLIENT

    refused(new, "present")
    assert relay.run(["sh", "-c", "cat /etc/wireguard/wg0.*"]) == files, "nothing was touched"
    home_takes(lab)
    comes_with(lab, new)
    refused(old, "next")
    refused(replace(new, preshared=samples.seed()), "next")
    # A key that nobody has yet is what cuts on purpose.
    third = samples.peer_keys()
    changed(lab, "home", third)
    bring(lab, "91:8082/udp")
    assert answers(lab) == ""
    home_takes(lab)
    assert answers(lab) == CLIENT


def test_another_change_moves_nobody_back(lab: Lab) -> None:
    new = following(lab)
    bring(lab)
    home_takes(lab)
    comes_with(lab, new)
    systemctl(lab, STOP)  # what would move it again
    pings = started(lab, "pings", 81)
    for change in range(10):
        bring(lab, f"{1000 + change}:8082", also=("guest",) * (change % 2))
        systemctl(lab, STOP)
        assert owner(lab) == new.public
    sent, back = map(int, ended(pings).split())
    assert sent > 50
    assert back == sent


def test_who_has_come_is_known_after_a_reboot(lab: Lab) -> None:
    """WireGuard has forgotten; a device that has come may be switched off."""
    new = following(lab)
    bring(lab, "91:8082/udp")
    home_takes(lab)
    comes_with(lab, new)
    relay = lab.net["relay"]
    lab.net["home"].run("wg-quick down wg0")
    systemctl(lab, STOP)
    relay.run("wg-quick down wg0")
    relay.run("wg-quick up wg0")
    assert owner(lab) != new.public
    systemctl(lab, RESTART)
    changed(lab, "home", new)
    bring(lab, "91:8082/udp")
    lab.home_up()
    assert answers(lab) == CLIENT


def test_a_change_of_keys_that_nobody_confirms_is_taken_back(lab: Lab) -> None:
    old = lab.keys.peers["home"]
    new = following(lab)
    both = lab.keys.peers["home"]
    assert living.bring(lab, rotating.planned(lab))
    assert new.public in peers(lab)
    living.time_is_up(lab)
    assert new.public not in peers(lab)
    assert lab.net["relay"].run("find /etc/systemd -name '*rotate*'") == ""
    bring(lab, "91:8082/udp")
    home_takes(lab)
    comes_with(lab, new)
    changed(lab, "home", new)
    assert living.bring(lab, rotating.planned(lab, "91:8082/udp"))
    assert old.public not in peers(lab)
    pings = started(lab, "pings", 81)
    living.time_is_up(lab)
    assert old.public in peers(lab)
    assert owner(lab) == new.public, "who has come stays"
    changed(lab, "home", both)
    assert settled(lab) == []
    sent, back = map(int, ended(pings).split())
    assert back == sent
