"""The benchmark's arms carry: one short round of each that needs no peer to be built."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

import pytest

from bench import contender, proxies
from bench.contender import Contender, serve
from bench.measures import Effort, added, cpu, once, opens, trips, udp

SHORT = Effort(seconds=0.3, bytes=2_000_000, trips=20, held=30, idle=0.1)
UP = {
    "bare": contender.bare,
    "relay": contender.relay,
    "masquerade": partial(contender.relay, mode="masquerade"),
    "article": contender.article,
    "ssh": proxies.ssh,
}
CLIENT, TUNNEL = "203.0.113.9", "172.16.0.1"
SEES = {"bare": CLIENT, "relay": CLIENT, "masquerade": TUNNEL, "article": TUNNEL}


@pytest.mark.parametrize("name", UP)
def test_an_arm_is_measured_and_takes_one_port_more(name: str, wg_env: dict[str, str]) -> None:
    way: AbstractContextManager[Contender] = UP[name](wg_env)
    with way as arm:
        serve(arm)
        assert set(udp(arm, SHORT)) == (set() if name == "ssh" else {"datagrams"})
        assert min(opens(arm, SHORT).values()) > 0
        assert min(trips(arm, SHORT).values()) > 0
        assert cpu(arm, SHORT).keys() >= {"down", "relay", "home", "memory"}
        seen = once(arm, SHORT)
        assert seen["sees"] == SEES.get(name, "127.0.0.1")
        assert seen["held"]["answered"] == SHORT.held
        assert added(arm).get("added", {"kept": True})["kept"]
