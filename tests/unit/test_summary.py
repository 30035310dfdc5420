"""A plan in words, and what a change of it means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.model import Site
from components.summary import changes, cut_off, own_left_out, summary

from . import samples

AWAY = " (who has its config already is away until it has the one of key 1 again)"
HOME = {"name": "home", "forwards": ["80:8080", "53:53/both"]}


def lines(**raw: object) -> tuple[str, ...]:
    return summary(samples.settings(**{"homes": [HOME]} | raw))


def test_everything_that_has_a_name_has_a_line() -> None:
    found = lines(devices=["phone"])
    assert found[0] == "tunnel 172.16.0.0/24 udp/51820 mtu 1420"
    assert "home home 172.16.0.19 transparent" in found
    assert "tcp/80 to home 172.16.0.19:8080" in found
    assert "udp/53 to home 172.16.0.19:53" in found
    assert any(line.startswith("device phone 172.16.0.") for line in found)


def test_no_option_is_silent() -> None:
    """What changes what the relay does changes a line, or a preview would show nothing."""
    plain = lines(devices=["phone"])
    for home in (
        {"protected": True},
        {"egress": [25]},
        {"egress": "all"},
        {"mode": "masquerade"},
        {"address": "172.16.0.7"},
        {"ipv6": False},
        {"forwards": [{"port": 80, "to": 8080, "from": ["192.0.2.0/24"]}, "53:53/both"]},
        {"forwards": [{"port": 80, "to": 8080, "mode": "masquerade"}, "53:53/both"]},
    ):
        assert lines(homes=[HOME | home], devices=["phone"]) != plain, home
    for device in ({"reach": ["devices"]}, {"traffic": "all"}, {"ipv6": False}):
        assert lines(devices=[{"name": "phone"} | device]) != plain, device
    for tunnel in (
        {"port": 1},
        {"mtu": 1300},
        {"tls": True},
        {"otherPorts": [53]},
        {"ipv6": False},
    ):
        homes = [HOME | {"forwards": ["80:8080"]}]
        assert lines(homes=homes, tunnel=tunnel) != lines(homes=homes), tunnel
    closed = lines(devices=["phone"], ssh={"tunnelOnly": True})
    (line,) = changes(plain, closed)
    assert line == "adds ssh by the tunnel alone (once a device has come, SSH takes nobody else)"
    assert list(changes(closed, plain)) == ["removes ssh by the tunnel alone"]
    adopted = samples.settings(homes=[HOME])
    managed = replace(adopted, site=Site(adopted=True, guarded=True))
    own = replace(adopted, site=Site(adopted=True, guarded=False))
    said = "firewall managed: what is not declared is dropped"
    shut = " (who calls another service of the machine is let in no more)"
    assert list(changes(summary(own), summary(managed))) == [f"adds {said}{shut}"]
    assert list(changes(summary(managed), summary(own))) == [f"removes {said}"]


def test_changes_are_told_with_what_they_cut() -> None:
    before = lines(devices=["phone"])
    after = lines(
        homes=[HOME | {"forwards": ["80:9090", "443:443"]}], tunnel={"mtu": 1300}, devices=[]
    )
    told = [*changes(before, after)]
    ends = " (what is connected through it ends)"
    assert f"changes tcp/80 to home 172.16.0.19:8080, now to home 172.16.0.19:9090{ends}" in told
    assert any(x.startswith("removes udp/53") and x.endswith(ends) for x in told)
    assert any(x.startswith("removes device phone") for x in told)
    assert "adds tcp/443 to home 172.16.0.19:443" in told
    assert any(x.startswith("changes tunnel") and "calls homes and devices back" in x for x in told)
    assert [*changes(before, before)] == []


KEY = {"name": "home", "forwards": ["80:8080"]}
OWN = "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjI="


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"next": {"key": 2}}, ["home: next key 2, accepted beside key 1"]),
        ({"next": {"key": 2}}, {"key": 2}, ["home: key 2 alone, key 1 is refused"]),
        ({"next": {"key": 2}}, {}, [f"home: next key 2 is accepted no more{AWAY}"]),
        (
            {"next": {"key": 2}},
            {"key": 2, "next": {"key": 3}},
            [
                "home: key 2 alone, key 1 is refused",
                "home: next key 3, accepted beside key 2",
            ],
        ),
        (
            {"next": {"key": 2}},
            {"key": 3},
            ["home: key 3 in place of key 1 (it is away until it has the new config)"],
        ),
        (
            {},
            {"publicKey": OWN},
            ["home: key 1 MjIyMjIy in place of key 1 (it is away until it has the new config)"],
        ),
        (
            {"next": {"key": 2, "publicKey": OWN}},
            {"key": 2, "publicKey": OWN},
            ["home: key 2 MjIyMjIy alone, key 1 is refused"],
        ),
        ({"key": 2}, {"key": 2}, []),
    ],
)
def test_a_change_of_keys_is_told_by_name(
    before: dict[str, Any], after: dict[str, Any], told: list[str]
) -> None:
    assert [*changes(lines(homes=[KEY | before]), lines(homes=[KEY | after]))] == told


def test_a_home_that_comes_or_goes_is_told_without_its_keys() -> None:
    with_key = lines(homes=[KEY, {"name": "other", "key": 2}])
    assert [*changes(lines(homes=[KEY]), with_key)] == ["adds home other 172.16.0.227 transparent"]
    (gone,) = changes(with_key, lines(homes=[KEY]))
    assert gone.startswith("removes home other")


@pytest.mark.parametrize(
    ("which", "after", "cut"),
    [
        ("present", {"key": 2}, True),
        ("next", {"key": 2}, False),
        ("next", {}, True),
        ("present", {}, False),
        ("present", {"next": {"key": 2}}, False),
        ("next", {"key": 3}, False),  # on purpose
    ],
)
def test_who_would_be_cut_off_is_found(which: str, after: dict[str, Any], cut: bool) -> None:
    before = lines(homes=[KEY | {"next": {"key": 2}}])
    found = cut_off({"home": which}, before, lines(homes=[KEY | after]))
    assert [*found] == ([("home", which)] if cut else [])


def test_who_is_taken_out_is_not_cut_off_by_its_key() -> None:
    before = lines(homes=[KEY | {"next": {"key": 2}}, {"name": "b"}])
    assert [*cut_off({"home": "present"}, before, lines(homes=[{"name": "b"}]))] == []


BESIDE = {"next": {"key": 2, "port": 51822}}
MOVED = "tunnel 172.16.0.0/24 udp/51820 mtu 1420, now 172.16.0.0/24 udp/51822 mtu 1420"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, BESIDE, ["the relay: next key 2 udp/51822, accepted beside key 1"]),
        (
            BESIDE,
            {"key": 2, "port": 51822},
            ["the relay: key 2 alone, key 1 is refused", f"changes {MOVED}"],
        ),
        (BESIDE, {}, [f"the relay: next key 2 udp/51822 is accepted no more{AWAY}"]),
        (
            {},
            {"key": 2},
            [
                "the relay: key 2 in place of key 1"
                " (whoever dials is away until it has the new config)"
            ],
        ),
        (
            {},
            {"port": 51822},
            [f"changes {MOVED} (who dials the old port is away until it has its new config)"],
        ),
    ],
)
def test_a_change_of_the_relays_own_key_is_told(
    before: dict[str, Any], after: dict[str, Any], told: list[str]
) -> None:
    assert [*changes(lines(tunnel=before), lines(tunnel=after))] == told


def test_which_of_the_relays_keys_is_left_out() -> None:
    first, both, second, third = (
        lines(tunnel=tunnel)
        for tunnel in ({}, BESIDE, {"key": 2, "port": 51822}, {"key": 3, "port": 51822})
    )
    assert own_left_out(both, second) == "present"
    assert own_left_out(both, first) == "next"
    assert own_left_out(both, both) is None
    assert own_left_out(both, third) is None
    assert own_left_out(first, second) is None
