"""The benchmark's arms carry: one short round of each that needs no peer to be built."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

from bench import contender, proxies
from bench.contender import Contender, serve
from bench.line import MANY, send_segments
from bench.measures import (
    MUCH,
    Effort,
    added,
    cpu,
    crossing,
    load,
    loaded,
    once,
    opens,
    opens16,
    steady,
    still,
    throughput,
    trips,
    udp,
)

SHORT = Effort(
    seconds=0.3,
    bytes=2_000_000,
    trips=20,
    settle=0.1,
    loaded=0.3,
    steady=10,
    opens=0.2,
    held=30,
    idle=0.1,
)
UP = {
    "wire": contender.wire,
    "bare": contender.bare,
    "relay": contender.relay,
    "masquerade": partial(contender.relay, mode="masquerade"),
    "article": contender.article,
    "ssh": proxies.ssh,
}
CLIENT, TUNNEL = "203.0.113.9", "172.16.0.1"
SEES = {"wire": CLIENT, "bare": CLIENT, "relay": CLIENT, "masquerade": TUNNEL, "article": TUNNEL}


@pytest.mark.parametrize("name", UP)
def test_an_arm_is_measured_and_takes_one_port_more(name: str, wg_env: dict[str, str]) -> None:
    way: AbstractContextManager[Contender] = UP[name](wg_env)
    with way as arm:
        serve(arm)
        assert set(udp(arm, SHORT)) == (set() if name == "ssh" else {"datagrams", "window"})
        assert min(opens(arm, SHORT).values()) > 0
        assert min(trips(arm, SHORT).values()) > 0
        assert opens16(arm, SHORT)["opens16"] > 0
        assert min(loaded(arm, SHORT).values()) > 0
        assert min(steady(arm, SHORT).values()) > 0
        assert cpu(arm, SHORT).keys() >= {"relay", "home", "memory"}
        seen = once(arm, SHORT)
        assert seen["sees"] == SEES.get(name, "127.0.0.1")
        assert seen["held"]["answered"] == SHORT.held
        assert added(arm).get("added", {"kept": True})["kept"]


def test_an_arm_with_a_load_on_its_way_is_not_still(wg_env: dict[str, str]) -> None:
    with contender.relay(wg_env) as arm:
        serve(arm)
        still(arm)
        quiet = crossing(arm)
        with load(arm):
            assert crossing(arm) > MUCH
        assert quiet < MUCH / 10


def test_the_relay_has_its_own_firewall_too(wg_env: dict[str, str]) -> None:
    with contender.relay(wg_env) as arm:
        arm.net["relay"].run("iptables -C INPUT -j RELAY-INPUT")


def test_round_trips_whose_load_has_ended_are_not_told(
    wg_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Contender.call

    def ending(self: Contender, *words: Any, **how: Any) -> Any:
        for process in self.net["client"].started:
            process.terminate()
        return call(self, *words, **how)

    with contender.wire(wg_env) as arm:
        serve(arm)
        monkeypatch.setattr(Contender, "call", ending)
        with pytest.raises(AssertionError, match="still flows"):
            loaded(arm, SHORT)


@pytest.mark.parametrize("name", ["wire", "relay"])
def test_what_a_bad_line_loses_is_one_packet_of_a_wire(name: str, wg_env: dict[str, str]) -> None:
    with UP[name](wg_env) as arm:
        serve(arm)
        assert size(arm, segments=1) <= 1514
        if name == "wire":  # what a tunnel sends may be as small by itself
            assert size(arm, segments=MANY) > 1514


def size(arm: Contender, segments: int) -> float:
    """How many bytes a packet has on its way from home's line to the internet."""
    send_segments(arm.net, segments)
    seen = []
    for seconds in (0, 1):
        if seconds:
            throughput(arm, seconds, "--reverse")
        (told,) = json.loads(arm.net["router"].run("ip -s -j link show dev wan"))
        seen.append(told["stats64"]["tx"])
    before, after = seen
    return float((after["bytes"] - before["bytes"]) / (after["packets"] - before["packets"]))
