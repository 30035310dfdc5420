"""A living relay is brought from plan to plan: what did not change is not touched."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from components.carrier import bundle
from components.plan import HostPlan

from ..waiting import eventually
from . import living
from .conftest import Lab, make
from .living import BROKEN, apply, ended, started
from .topology import internet

FORWARDS = ["80:8080", "81:8081/udp"]
REKEY = 120  # seconds after which WireGuard itself shakes hands anew (REKEY_AFTER_TIME)


@pytest.fixture(scope="module")
def lab(wg_env: dict[str, str]) -> Iterator[Lab]:
    with internet(wg_env) as net:
        made = make(net, forwards=FORWARDS)
        made.relay_up()
        made.home_up()
        made.serve("home", 8080, verb="count")
        made.serve("home", 8081, verb="echo")
        made.serve("home", 8082)
        yield made


def plan(lab: Lab, extra: list[Any], homes: tuple[str, ...] = (), **whole: Any) -> HostPlan:
    """The relay's peers and rules for these forwards; all but home have other keys each time."""
    home = {"name": "home", "forwards": [*FORWARDS, *extra]}
    return living.plan(lab, [home, *({"name": n} for n in homes)], **whole)


def flows(lab: Lab, port: int) -> str:
    """The relay's UDP flows to a port that home answers."""
    home = f"--orig-port-dst {port} --reply-src {lab.home().address}"
    return lab.net["relay"].run(f"conntrack -L -p udp {home}")


def dialled(lab: Lab) -> int:
    """When the home last shook hands with the relay, in seconds."""
    shaken = lab.net["relay"].run("wg show wg0 latest-handshakes").splitlines()
    return next(int(x.split()[1]) for x in shaken if lab.keys.peers["home"].public in x)


def test_a_hundred_changes_cost_no_byte_and_no_datagram(lab: Lab) -> None:
    """Of a forward, a home, a device and keys, in all their combinations."""
    download, pings = started(lab, "download", 80), started(lab, "pings", 81)
    for change in range(100):
        homes, devices = ("other",) * (change % 2), ["phone"] * (change // 2 % 2)
        forwards = [f"{1000 + change // 4 * 4}:8082"]
        apply(lab, plan(lab, forwards, homes=homes, devices=devices))
        assert download.poll() is None, f"ended at change {change}"
    download.terminate()
    pings.terminate()
    said, error = download.communicate(timeout=60)
    assert not error
    assert int(said) > 1_000_000
    sent, back = map(int, pings.communicate(timeout=60)[0].split())
    assert sent > 500
    assert back == sent


def test_a_new_forward_answers_and_a_removed_one_does_not(lab: Lab) -> None:
    apply(lab, plan(lab, ["90:8082"]))
    assert lab.call("tcp", 90) == "203.0.113.9"
    apply(lab, plan(lab, []))
    assert lab.call("tcp", 90) == ""


def counted(lab: Lab, pings: subprocess.Popen[str]) -> tuple[int, int]:
    """What a flow sent and what came back, once another has been answered for two seconds more.

    So a change may last as long as it does on an emulated machine.
    """
    other, _ = started(lab, "pings", 81, 2).communicate(timeout=60)
    sent, back = map(int, other.split())
    assert back == sent, "what did not change is answered"
    sent, back = map(int, ended(pings).split())
    return sent, back


def test_the_flows_of_a_removed_forward_end(lab: Lab) -> None:
    """NAT is decided on the first packet: without the cut they would go on for ever."""
    apply(lab, plan(lab, ["91:8081/udp"]))
    pings = started(lab, "pings", 91)
    eventually(lambda: flows(lab, 91), "the flow")
    apply(lab, plan(lab, []))
    sent, back = counted(lab, pings)
    assert 0 < back < sent - 100  # a second of silence at least


def test_who_asked_too_early_is_heard_once_the_forward_is_there(lab: Lab) -> None:
    apply(lab, plan(lab, []))
    pings = started(lab, "pings", 92)
    relay = lab.net["relay"]
    eventually(lambda: "dport=92 " in relay.run("conntrack -L -p udp"), "a flow to the relay")
    apply(lab, plan(lab, ["92:8081/udp"]))
    _, back = counted(lab, pings)
    assert back > 100


def test_rules_loaded_by_hand_do_not_end_flows(lab: Lab) -> None:
    """The off-case of the above."""
    apply(lab, plan(lab, ["91:8081/udp"]))
    pings = started(lab, "pings", 91, 3)
    eventually(lambda: flows(lab, 91), "the flow")
    rules = next(f for f in plan(lab, []).files if f.path.endswith("ip.nft"))
    lab.net["relay"].run("nft -f -", stdin=rules.content)
    sent, back = map(int, pings.communicate(timeout=30)[0].split())
    assert back == sent


def test_a_peer_comes_and_goes_alone(lab: Lab) -> None:
    relay = lab.net["relay"]
    before = dialled(lab)
    apply(lab, plan(lab, [], homes=("guest",)))
    assert len(relay.run("wg show wg0 peers").split()) == 2
    apply(lab, plan(lab, []))
    assert relay.run("wg show wg0 peers").split() == [lab.keys.peers["home"].public]
    after = dialled(lab)
    assert after == before or after - before >= REKEY, "nobody had to dial anew"


def test_the_same_plan_changes_nothing(lab: Lab) -> None:
    relay = lab.net["relay"]
    apply(lab, plan(lab, []))
    stamp = relay.run("stat -c %i%Y /etc/wireguard/wg0.ip.nft")
    apply(lab, plan(lab, []))
    assert relay.run("stat -c %i%Y /etc/wireguard/wg0.ip.nft") == stamp


def test_a_plan_that_does_not_work_is_taken_back(lab: Lab) -> None:
    apply(lab, plan(lab, []))
    with pytest.raises(AssertionError, match="the relay runs the one before"):
        apply(lab, plan(lab, ["92:8082"], homes=("guest",)), check=BROKEN)
    relay = lab.net["relay"]
    assert "tcp . 92" not in relay.run("cat /etc/wireguard/wg0.ip.nft")
    assert "tcp . 92" not in relay.run("nft list table ip cgnat-relay")
    assert relay.run("wg show wg0 peers").split() == [lab.keys.peers["home"].public]


def test_the_bundle_is_the_same_text_for_the_same_plan(lab: Lab) -> None:
    wanted = plan(lab, [])
    assert bundle(wanted) == bundle(wanted)
    assert base64.b64decode(bundle(wanted))[:2] == b"\x1f\x8b"


def test_a_files_mode_is_mended_beside_the_tunnel(lab: Lab) -> None:
    relay = lab.net["relay"]
    whole = living.plan(lab, [{"name": "home"}], "tunnel", "peers", "rules")
    apply(lab, whole)

    def index() -> str:
        return relay.run("ip -o link show wg0").partition(":")[0]

    before = index()
    relay.run("chmod 644 /etc/wireguard/wg0.conf")
    assert living.settled(lab), "it is seen"
    apply(lab, whole)
    assert living.settled(lab) == []
    assert index() == before
    # The off-case: what runs is not as it was left.
    relay.run("ip addr add 172.16.0.99/24 dev wg0")
    apply(lab, whole)
    assert living.settled(lab) == []
    assert index() != before
