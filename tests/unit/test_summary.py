"""A plan in words, and what a change of it means."""

from __future__ import annotations

from components.summary import changes, summary

from . import samples

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
    assert list(changes(plain, closed)) == ["adds ssh by the tunnel alone"]
    assert list(changes(closed, plain)) == ["removes ssh by the tunnel alone"]


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
    assert any(x.startswith("changes tunnel") and "dial anew" in x for x in told)
    assert [*changes(before, before)] == []
