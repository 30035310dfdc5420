"""How the comparison is put in order, judged, told and drawn; nothing is measured here."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import peers, plots, ratio, report
from bench.compare import in_turn, rounded
from bench.line import Line
from bench.measures import MEASURES, flowing
from tests.table import DOCS, between

ARMS = ("bare", "relay", "frp", "chisel", "ssh")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of pairs that are alike need no thousands of draws."""
    monkeypatch.setattr(ratio, "RESAMPLES", 40)


class Named:
    """An arm, as far as its order matters."""

    def __init__(self, name: str) -> None:
        self.name = name


def result(**faster: float) -> dict[str, Any]:
    """A result where each arm has its factor of what the others have; ``ssh`` carries no UDP."""
    rounds = [
        {
            arm: {
                key: turn * 100 * faster.get(arm, 1) ** (1 if measure.more else -1)
                for key, measure in MEASURES.items()
                if (arm, key) != ("ssh", "datagrams")
            }
            for arm in ARMS
        }
        for turn in (1.0, 1.1, 0.9, 1.2, 1.0)
    ]
    held = {"opened": 1000, "answered": 998, "asked": 1000, "seconds": 1.2, "memory": [9.0, 21.5]}
    change = {"adds": "so", "restarts": "that", "restarted": {"kept": False, "back": 3.2}}
    once = {"sees": "203.0.113.9", "processes": [], "held": held, "version": "1", **change}
    return {
        "machine": {"kernel": "6.1", "cpus": 2, "cpu": "a CPU", "iperf3": "3.12", "python": "3.11"},
        "wireguard": "kernel",
        "vm": True,
        "date": "2026-11-25",
        "load": {"before": 0.1, "after": 2.0},
        "seconds": 99,
        "arms": list(ARMS),
        "missing": {"rathole": "no cargo on PATH"},
        "faults": {"chisel": {"udp": "TimeoutError: no answer"}},
        "rounds": rounds,
        "lines": [{"delay": 20, "loss": 1.0, "rounds": rounds[:2]}],
        "once": dict.fromkeys(ARMS, once),
    }


def test_each_arm_is_first_as_often_and_is_measured_in_each_round() -> None:
    arms: list[Any] = [Named(name) for name in ARMS]
    orders = [in_turn(arms, turn) for turn in range(2 * len(ARMS))]
    assert all(sorted(a.name for a in order) == sorted(ARMS) for order in orders)
    assert set(Counter(order[0].name for order in orders).values()) == {2}
    after = {(a.name, b.name) for order in orders for a, b in pairwise(order)}
    assert {("bare", "relay"), ("relay", "bare")} <= after


def test_the_targets_are_judged_against_the_best_proxy_of_each_measure() -> None:
    lines = report.targets(result(relay=3, frp=1.2, bare=9))
    assert [line for line in lines if "TCP from home" in line] == [
        "| TCP from home, 1 stream | frp 0.65.0 | 2.500 (2.500 to 2.500) | at least 1.8 | met |"
    ]
    assert "none | none | met" in lines[-1]
    missed = report.targets(result(relay=1.5, chisel=1.2))
    assert "| chisel 1.11.3 | 1.250 (1.250 to 1.250) | at least 1.8 | missed |" in missed[2]
    assert "at most 1 | met" in missed[-2]


def test_a_process_on_the_relay_misses_its_target() -> None:
    found = result(relay=3)
    found["once"]["relay"] = {**found["once"]["relay"], "processes": ["wireguard"]}
    assert report.targets(found)[-1].endswith("| wireguard | none | missed |")


def test_the_userspace_is_compared_and_not_judged() -> None:
    found = {**result(relay=3), "wireguard": "userspace"}
    assert report.targets(found)[2].endswith("| frp 0.65.0 | 3.000 (3.000 to 3.000) |")


def test_where_a_peer_is_better_is_told_the_worst_first() -> None:
    lines = report.better(result(frp=2, chisel=3))
    assert "| TCP from home, 1 stream | chisel 1.11.3 | 300 Mbit/s | 100 Mbit/s | 3.00 |" in lines
    told = [line.split(" | ")[1] for line in lines[2:]]
    assert told == ["chisel 1.11.3"] * len(MEASURES) + ["frp 0.65.0"] * len(MEASURES)
    assert report.better(result(relay=2)) == ["In no measure, by the whole 95 % interval."]


def test_what_an_arm_cannot_do_and_who_is_missing_is_said() -> None:
    text = report.text("kernel", result())
    assert "**Missing: rathole 0.5.0** (no cargo on PATH)" in text
    assert "chisel 1.11.3 failed in `udp`: TimeoutError: no answer" in text
    rates = report.blocks("kernel", result())["kernel-rates"]()
    (ssh,) = (line for line in rates if line.startswith("| `ssh -R`"))
    assert ssh.endswith("| none |")
    assert "998 of 1000, opened in 1.2 s" in text
    assert "cut; new ones after 3 s" in text


def test_a_page_keeps_what_stands_around_its_tables() -> None:
    page = "before\n<!-- kernel-once: begin -->\nold\n<!-- kernel-once: end -->\nafter\n"
    written = report.filled(page, {"kernel": result()})
    assert written.startswith("before\n<!-- kernel-once: begin -->\n| ")
    assert written.endswith("|\n<!-- kernel-once: end -->\nafter\n")
    assert "old" not in written
    assert report.filled(written, {"kernel": result()}) == written


def test_the_docs_show_what_was_measured() -> None:
    page = (DOCS / "benchmark.md").read_text()
    results = report.read(DOCS / "bench")
    assert results
    for block in re.findall(r"<!-- (\S+): begin -->", page):
        name = block.partition("-")[0]
        shown = between(page, block)[1].splitlines()
        # The judged ones take thousands of draws; they are written at the same time.
        if name in results and block.partition("-")[2] not in ("better", "targets"):
            assert shown == report.blocks(name, results[name])[block](), block
        assert bool(shown) == (name in results), block
    for name in results:
        for file in (f"{name}.json", f"{name}.svg"):
            assert f"(bench/{file})" in page
            assert 0 < (DOCS / "bench" / file).stat().st_size < 200_000, file


def test_numbers_keep_four_digits() -> None:
    assert rounded({"a": [1234567.0, 0.00012346], "b": {"c": 7, "d": "e", "f": None}}) == {
        "a": [1235000.0, 0.0001235],
        "b": {"c": 7, "d": "e", "f": None},
    }


def test_a_load_flows_once_its_data_has_come() -> None:
    assert not flowing("0 0 a b bytes_received:120 x\n0 0 a c bytes_received:99999")
    assert flowing("0 0 a b bytes_received:120 x\n0 0 a c bytes_received:100001 y")


def test_a_line_is_told_in_words() -> None:
    assert (str(Line(20, 0.1)), str(Line())) == ("20 ms, 0.1 % loss", "none")


def test_a_peer_is_missing_unless_all_of_its_programs_are_there(tmp_path: Path) -> None:
    for name in ("frps", "chisel"):
        (tmp_path / name).touch()
    found = peers.found(tmp_path)
    assert set(found.missing) == {"frp", "rathole"}
    assert found.programs == {"chisel": tmp_path / "chisel"}


def test_a_peer_is_built_anew_when_its_recipe_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {peer: peers.recipe(peer) for peer in peers.PROGRAMS}
    monkeypatch.setattr(peers, "CARGO", ("--other",))
    after = {peer: peers.recipe(peer) for peer in peers.PROGRAMS}
    assert {peer for peer in before if before[peer] != after[peer]} == {"rathole"}
    assert len(set(before.values())) == len(before)


def test_the_same_numbers_are_drawn_alike(tmp_path: Path) -> None:
    drawn = []
    for name in ("one", "two"):
        with plots.styled():
            plots.save(plots.lines(result(relay=2)), tmp_path / f"{name}.svg")
        drawn.append((tmp_path / f"{name}.svg").read_bytes())
    assert drawn[0] == drawn[1]
    assert b"date>" not in drawn[0]
