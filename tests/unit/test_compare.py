"""How the comparison is put in order, judged, told and drawn; nothing is measured here."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from bench import arms, judged, peers, plots, report
from bench.compare import SEED, Faults, Plan, cut_short, drawn, reason, rounded, torn_down
from bench.line import Line
from bench.measures import MEASURES, ON_A_LINE, received
from bench.ratio import Ratio
from tests.table import DOCS, between

ARMS = ("bare", "relay", "frp", "chisel", "ssh")


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
        "versions": {"frp": "0.65.0", "chisel": "1.11.3"},
        "missing": {"rathole": "no cargo on PATH"},
        "faults": {"chisel": {"udp": "TimeoutError: no answer"}},
        "rounds": rounds,
        "lines": [{"delay": 20, "loss": 1.0, "rounds": rounds[:2]}],
        "once": dict.fromkeys(ARMS, once),
    }


def test_each_arm_is_measured_in_each_round_and_comes_after_any_other() -> None:
    arms: list[Any] = [Named(name) for name in ARMS]
    draw = Random(SEED)  # noqa: S311 - an order
    orders = [drawn(arms, draw) for _ in range(60)]  # ten rounds
    assert all(sorted(a.name for a in order) == sorted(ARMS) for order in orders)
    after = {(a.name, b.name) for order in orders for a, b in pairwise(order)}
    assert len(after) == len(ARMS) * (len(ARMS) - 1)
    assert orders[0] == drawn(arms, Random(SEED))  # noqa: S311 - an order


def test_a_fault_is_told_with_how_often_it_was_seen() -> None:
    faults, arm = Faults(), Named("frp")
    for times, why in enumerate(("first", "second"), 1):

        def fails(why: str = why) -> None:
            raise OSError(why)

        assert faults.without(arm, "udp", fails) is None  # type: ignore[arg-type]
        told = {1: "OSError: first", 2: "2 times, the last: OSError: second"}
        assert faults.seen() == {"frp": {"udp": told[times]}}


def test_an_arm_that_does_not_end_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ended = []

    def stuck() -> None:
        raise subprocess.TimeoutExpired("rathole", 60)

    def measured() -> str:
        with torn_down() as stack:
            stack.callback(ended.append, "the first")
            stack.callback(stuck)
            return "what was measured"

    assert measured() == "what was measured"
    assert ended == ["the first"]
    assert "an arm did not end: TimeoutExpired" in capsys.readouterr().err


def test_a_run_that_its_limit_ended_says_so() -> None:
    whole = [{"rounds": [{}, {}]}]
    assert not cut_short(Plan(rounds=2, lines=2), [{}, {}], whole)
    assert cut_short(Plan(rounds=3, lines=2), [{}, {}], whole)
    assert cut_short(Plan(rounds=2, lines=2), [{}, {}], [*whole, {"rounds": [{}]}])
    assert "Cut short" not in report.head(result())
    assert "Cut short" in report.head(result() | {"cut short": True})


def test_a_target_is_met_only_against_every_proxy() -> None:
    lines = report.targets(result(relay=3, frp=1.2, bare=9))
    to = "2.500 (2.500 to 2.500) | not measured | 3.000 (3.000 to 3.000) | 3.000 (3.000 to 3.000)"
    row = f"| TCP from home, {{}} | {to} | at least 1.8 | met (frp, 3 of 4 proxies) |"
    for streams in ("1 stream", "16 streams"):
        assert row.format(streams) in lines
    to = " | ".join(["none to none", "none to not measured", *["none to none"] * 2])
    assert f"| {to} | none | met |" in lines[-1]
    missed = report.targets(result(relay=1.5, chisel=1.2))
    assert "| 1.250 (1.250 to 1.250) | " in missed[2]
    assert "| at least 1.8 | missed (chisel, " in missed[2]
    assert "at most 1 | met" in missed[-2]


def test_one_proxy_against_which_it_is_open_or_missed_decides() -> None:
    met, doubt, miss = (Ratio(m, m - w, m + w, 5) for m, w in ((2, 0.1), (2.5, 1), (1.5, 0.1)))
    found = {"frp": met, "chisel": doubt}
    assert report_of(found) == ("undecided", "chisel")  # although its mean is the better
    assert report_of({**found, "ssh": miss}) == ("missed", "ssh")
    assert report_of({"frp": met, "ssh": met}) == ("met", "frp")


def report_of(found: dict[str, Ratio]) -> tuple[str, str]:
    """The verdict on at least 1.8, and who decides it."""
    return judged.deciding(found, 1.8, more=True)


def test_a_ratio_of_fewer_rounds_says_of_how_many() -> None:
    found = result(relay=3)
    found["rounds"][0]["frp"]["down"] = 0.0  # no ratio
    del found["rounds"][1]["frp"]["down"]
    found["arms"] = ["relay", "frp"]
    found["rounds"] = [{arm: r[arm] for arm in found["arms"]} for r in found["rounds"]]
    assert "3.000 (3.000 to 3.000), 3 of 5 rounds" in judged.targets(found)[2]
    (frp,) = (x for x in report.blocks("k", found)["k-rates"]() if x.startswith("| frp"))
    assert "| 95 (0 to 120), 4 of 5 rounds |" in frp


def test_a_process_on_the_relay_misses_its_target() -> None:
    found = result(relay=3)
    found["once"]["relay"] = {**found["once"]["relay"], "processes": ["wireguard"]}
    found["once"]["frp"] = {**found["once"]["frp"], "processes": ["frps"]}
    last = report.targets(found)[-1]
    assert "| wireguard to frps | " in last
    assert last.endswith("| none | missed |")


def test_the_userspace_is_compared_and_not_judged() -> None:
    found = {**result(relay=3), "wireguard": "userspace"}
    lines = report.targets(found)
    assert lines[0] == "| relay to | frp 0.65.0 | rathole | chisel 1.11.3 | `ssh -R` |"
    assert lines[2].endswith("| not measured | 3.000 (3.000 to 3.000) | 3.000 (3.000 to 3.000) |")


def test_where_a_peer_is_better_is_told_the_worst_first() -> None:
    lines = report.better(result(frp=2, chisel=3))
    row = "| TCP from home, 1 stream | {} | chisel 1.11.3 | {} Mbit/s | {} Mbit/s | 3.00 |"
    assert row.format("none", 300, 100) in lines
    assert row.format("20 ms, 1 %", 315, 105) in lines
    told = [line.split(" | ")[2] for line in lines[2:-2]]
    each = len(MEASURES) + len(ON_A_LINE)
    assert told == ["chisel 1.11.3"] * each + ["frp 0.65.0"] * each
    # Three proxies; the datagrams of two.
    count = 3 * each - 1
    chance = f"about {count * judged.BY_CHANCE:.0f} of"
    assert lines[-1].startswith(f"Of {count} comparisons; where nothing differs, {chance}")
    assert report.better(result(relay=2))[0] == "In no measure, by the whole 95 % interval."


def test_where_a_peer_is_better_in_what_is_measured_once_is_told_too() -> None:
    found = result(relay=2)
    slow = {**found["once"]["relay"], "restarted": {"kept": False, "back": 9.6}}
    found["once"]["relay"] = slow
    what = "restarted: until new connections are answered"
    assert f"| {what} | none | frp 0.65.0 | 3.2 s | 9.6 s | 3.00, once |" in judged.better(found)
    slow["restarted"] = {"kept": False, "back": 3.3}
    assert not any(what in line for line in judged.better(found)), "that is noise"


def test_a_picture_of_what_no_arm_could_do_is_empty() -> None:
    _, axes = plots.pyplot.subplots()
    plots.bars(axes, [{}], ["relay"], "down")
    assert [text.get_text().strip() for text in axes.texts] == ["none"]


def iperf(*said: str) -> tuple[Any, list[str]]:
    """What comes of these answers of iperf3's, and those that were not asked for."""
    left = list(said)
    client = SimpleNamespace(run=lambda *_, **__: left.pop(0))
    arm: Any = SimpleNamespace(name="relay", to="198.51.100.7", net={"client": client})
    return lambda: arms.iperf(arm), left


def test_iperf3_is_asked_again_only_while_its_server_winds_up() -> None:
    ask, left = iperf('{"error": "the server is busy"}', '{"end": {"streams": 1}}', "{}")
    assert ask() == {"streams": 1}
    assert left == ["{}"]
    ask, left = iperf('{"error": "unable to send: broken pipe"}', '{"end": {}}')
    with pytest.raises(AssertionError, match="iperf3 by relay: unable to send: broken pipe"):
        ask()
    assert left == ['{"end": {}}']


def test_what_an_arm_cannot_do_and_who_is_missing_is_said() -> None:
    text = report.text("kernel", result())
    assert "**Missing: rathole** (no cargo on PATH)" in text
    assert "chisel 1.11.3 failed in `udp`: TimeoutError: no answer" in text
    rates = report.blocks("kernel", result())["kernel-rates"]()
    (ssh,) = (line for line in rates if line.startswith("| `ssh -R`"))
    assert ssh.endswith("| none |")
    assert "998 of 1000, opened in 1.2 s" in text
    assert "cut; new ones after 3 s" in text


def test_how_fast_the_cpu_is_at_the_ciphers_is_said() -> None:
    said = report.head(result() | {"ciphers": {"AES-128-GCM": 19.74}})
    assert "OpenSSL here, on one core: AES-128-GCM 19.7 MB/s." in said
    assert "OpenSSL here" not in report.head(result())
    on = {"cpu": "real", "cpus": 2, "load": {"before": 0, "after": 0}}
    there = "The VM's host: 2 x real, load 0.0 to 0.0"
    assert f"{there}." in report.head(result() | {"host": on})
    said = report.head(result() | {"host": on | {"ciphers": {"AES-128-GCM": 8500.0}}})
    assert f"{there}; OpenSSL there: AES-128-GCM 8,500 MB/s." in said


def test_of_a_program_that_ended_with_a_traceback_its_error_is_the_reason() -> None:
    said = (
        "client: ['python3', 'caller.py']: Traceback (most recent call last):\n  File x\nE: lost\n"
    )
    assert reason(AssertionError(said)) == "E: lost"
    assert reason(AssertionError("first\nsecond")) == "AssertionError: first"


def test_what_failed_once_is_not_told_as_not_measured() -> None:
    found = result()
    del found["once"]["frp"]
    found["once"]["frp"] = {"sees": "127.0.0.1"}
    found["faults"]["frp"] = {"restarted": "AssertionError: no answer"}
    (row,) = (line for line in report.singly(found) if line.startswith("| frp"))
    assert row.endswith("| not measured | failed |")


def test_what_the_kernel_carries_has_no_process() -> None:
    found = result()
    for kind, said in (("kernel", "in the kernel"), ("userspace", "100")):
        found["wireguard"] = kind
        rows = report.measured(found, ("machine", "relay", "memory"), found["rounds"])
        relay, frp = (next(r for r in rows if r.startswith(f"| {x}")) for x in ("relay", "frp"))
        assert relay.split(" | ")[2].startswith(said)
        assert "kernel" not in frp
        assert "kernel" not in relay.split(" | ")[1]


def test_datagrams_are_told_with_how_many_were_under_way() -> None:
    found = result()
    for turn, window in enumerate((16, 64, 64, 64, 1)):
        found["rounds"][turn]["relay"] |= {"window": window, "datagrams": 0.0 if turn == 4 else 100}
    (row,) = (x for x in report.blocks("k", found)["k-rates"]() if x.startswith("| relay"))
    assert row.endswith("| 100 (0 to 100; 1 or 16 or 64 under way) |")


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
        name = block.rpartition("-")[0]
        shown = between(page, block)[1].splitlines()
        if name in results:
            assert shown == report.blocks(name, results[name])[block](), block
        assert bool(shown) == (name in results), block
    for name in results:
        for file in (f"{name}.json", f"{name}.svg"):
            assert f"(bench/{file})" in page
            assert 0 < (DOCS / "bench" / file).stat().st_size < 200_000, file


def test_bad_lines_may_come_from_a_run_of_their_own(tmp_path: Path) -> None:
    whole = result()
    alone = {**result(), "rounds": [], "once": {}, "date": "2026-11-26"}
    (tmp_path / "kernel-lines.json").write_text(json.dumps(alone))
    (tmp_path / "kernel.json").write_text(json.dumps({**whole, "lines": []}))
    page = report.text("kernel", report.read(tmp_path)["kernel"])
    assert "In a run of its own: 2026-11-26" in page
    assert "2 rounds, all in" in page
    assert "20 ms, 1 % (2 rounds)" in page
    (tmp_path / "kernel.json").write_text(json.dumps(whole))
    assert "of its own" not in report.text("kernel", report.read(tmp_path)["kernel"])


def test_numbers_keep_four_digits() -> None:
    assert rounded({"a": [1234567.0, 0.00012346], "b": {"c": 7, "d": "e", "f": None}}) == {
        "a": [1235000.0, 0.0001235],
        "b": {"c": 7, "d": "e", "f": None},
    }


def test_what_a_load_has_brought_is_its_data_connections() -> None:
    assert received("0 0 a b bytes_received:120 x\n0 0 a c bytes_received:100001 y") == 100_001
    assert received("0 0 a b bytes_acked:5") == 0


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
    files = []
    for name in ("one", "two"):
        with plots.styled():
            plots.save(plots.lines(result(relay=2)), tmp_path / f"{name}.svg")
        files.append((tmp_path / f"{name}.svg").read_bytes())
    assert files[0] == files[1]
    assert b"date>" not in files[0]
