"""What the benchmarks of scale, changes and starts make of what they saw."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from pathlib import Path

import pytest

from bench import growth, load, scale_page, scale_targets
from bench.scale import AGAIN, base_of, many, pooled
from bench.sizes import ALL, LARGEST, PORT, SMALLEST, Size, read
from bench.stages import (
    COMMANDS,
    INSTALL,
    PACKAGES,
    SETUP,
    UPDATE,
    Stage,
    cloud_init,
    opened,
    plain,
    properties,
    resources,
    total,
    unit,
)
from bench.timeline import LEAN, RELAY

from . import samples


@pytest.mark.parametrize("size", ALL, ids=str)
def test_a_size_has_its_forwards_and_peers(size: Size) -> None:
    settings = samples.settings(**size.config())
    forwards = [forward for home in settings.homes for forward in home.forwards]
    ports = [port for f in forwards for port in range(f.ports.first, f.ports.last + 1)]
    assert (len(ports), len(settings.peers)) == (size.forwards, size.peers)
    first = settings.homes[0].forwards[0].ports
    assert first.first <= PORT <= first.last
    assert len(forwards) == (1 if size.ranged else size.forwards)


def test_sizes_are_read() -> None:
    assert [read("1x1"), read("1000x250")] == [SMALLEST, LARGEST]
    assert read("1000rx50") == Size(1000, 50, ranged=True)
    with pytest.raises(ValueError, match="write FORWARDSxPEERS"):
        read("1000")


LINES = """\
Updating (bench):
 +  command:local:Command relay-server creating (0s)
@ updating....
 +  command:local:Command relay-server created (7s)
 +  command:local:Command relay-ports creating (0s)
 +  command:local:Command relay-ports created (1s)
 +  command:local:Command relay-booted creating (0s)
"""


def test_resources_last_from_creating_to_created() -> None:
    lines = enumerate(LINES.splitlines())
    found = resources("here", ((float(n), line) for n, line in lines), {"-server": "QEMU"})
    assert found == [Stage("here", "QEMU", 1, 3)]


def test_cloud_inits_events_count_from_the_kernels_start() -> None:
    names = ["init-local", "init-local/check-cache", "modules-final/config-scripts-user"]
    events = [
        {"name": name, "event_type": kind, "timestamp": 1000.0 + n}
        for n, (name, kind) in enumerate(itertools.product(names, ("start", "finish")))
    ]
    found = cloud_init("there", events, boot=990.0)
    assert found == [
        Stage("there", "cloud-init: local", 10, 11),
        Stage("there", COMMANDS, 14, 15),
    ]


def test_apts_work_is_told_from_what_is_around_it() -> None:
    around = Stage("there", COMMANDS, 20.5, 60)
    assert opened([around], [30, 50]) == [
        Stage("there", UPDATE, 20.5, 30),
        Stage("there", INSTALL, 30, 50),
        Stage("there", SETUP, 50, 60),
    ]
    other = Stage("there", PACKAGES, 20.5, 60)
    assert [s.name for s in opened([other], [30, 50])] == [UPDATE, INSTALL]
    assert opened([around], []) == [around]
    assert opened([around], [5, 10]) == [around], "apt's work of another time"


UNITS = """\
Id=ssh.service
InactiveExitTimestampMonotonic=2000000
ActiveEnterTimestampMonotonic=3500000

Id=wg-quick@wg0.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0
"""


def test_a_unit_that_never_started_is_no_stage() -> None:
    ssh, tunnel = properties(UNITS)
    assert unit("there", "SSH", ssh) == Stage("there", "SSH", 2.0, 3.5)
    assert unit("there", "tunnel", tunnel) is None


def test_the_whole_is_from_the_first_start_to_the_last_end() -> None:
    stages = [Stage("here", "a", 10, 12), Stage("there", "b", 11, 19), Stage("here", "c", 9, 10)]
    assert total(stages) == 10
    assert plain(stages, 9)[1] == {"lane": "there", "name": "b", "start": 2, "end": 10}


def test_one_port_serves_all_loads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            with contextlib.suppress(OSError):  # it is closed in the end
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=load.answer, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        assert load.much("127.0.0.1", port, 0.05) > 0
        assert load.trips("127.0.0.1", port, 0.05) > 0
        assert load.dials("127.0.0.1", port, 0.05) > 0


def rounds(new: float) -> list[dict[str, dict[str, float]]]:
    one = {"throughput": 1000.0, "round trip": 300.0, "new connections": 1000.0}
    large = {"throughput": 990.0, "round trip": 303.0, "new connections": new}
    return [{str(SMALLEST): one, str(LARGEST): large, AGAIN: one}] * 3


def test_a_size_is_set_against_one_forward_of_as_many_peers() -> None:
    there = [*map(str, ALL), AGAIN]
    assert base_of("1,000 of 250", there) == base_of("1,000 as a range of 250", there) == "1 of 250"
    assert {base_of(name, there) for name in ("1 of 250", AGAIN, "10 of 1")} == {str(SMALLEST)}
    assert base_of("1,000 of 250", [str(SMALLEST)]) == str(SMALLEST), "that size was not measured"


@pytest.mark.parametrize(("new", "verdict"), [(950.0, "met"), (850.0, "missed")])
def test_a_target_is_told_as_met_or_missed(new: float, verdict: str) -> None:
    result = {
        "machine": {"kernel": "6.1", "cpus": 2, "cpu": "a CPU"},
        "load": {"before": 0.1, "after": 2.0},
        "wireguard": "kernel",
        "seconds": 60.0,
        "rounds": rounds(new),
    }
    lines = scale_page.data("scale", result)
    large = next(line for line in lines if line.startswith("| 1,000 | 250 |"))
    assert large.count("met") == (3 if verdict == "met" else 2)
    assert large.endswith(f"{verdict} |")
    assert any(line.startswith("| 1, a second time | 1 |") for line in lines)
    assert scale_targets.packets(result)[0] == verdict


def test_the_page_holds_what_was_measured() -> None:
    """The tables are written by a command, so that no number is typed."""
    found = scale_page.results(scale_page.DATA)
    assert found, "nothing was measured"
    text = scale_page.PAGE.read_text()
    assert scale_page.page(text, scale_page.tables(found)) == text, (
        "run: python3 -m bench.scale_page"
    )


def test_pictures_that_the_page_shows_are_there() -> None:
    text = scale_page.PAGE.read_text()
    shown = [part.partition(")")[0] for part in text.split("](bench/")[1:]]
    assert shown
    missing = [name for name in shown if not Path(scale_page.DATA, name).exists()]
    assert not missing
    for name in shown:
        if name.endswith(".json"):
            json.loads(Path(scale_page.DATA, name).read_text())


ON = {
    "machine": {"kernel": "6.1", "cpus": 2, "cpu": "a CPU"},
    "load": {"before": 0.1, "after": 2.0},
}


@pytest.mark.parametrize(("many", "verdict"), [(15.0, "met"), (25.0, "missed")])
def test_a_change_of_a_large_relay_is_set_against_a_small_ones(many: float, verdict: str) -> None:
    def row(up: float) -> dict[str, dict[str, float]]:
        act = {"up": up, "brought": 2.0, "logins": 3, "first answer": up - 1}
        return {"no change": {"up": 8.0, "brought": 0.0, "logins": 1}, "added": act, "removed": act}

    sizes = {str(SMALLEST): [row(10.0)] * 2, str(LARGEST): [row(many)] * 2}
    result = ON | {"sizes": sizes}
    assert scale_targets.large(result)[0] == verdict
    assert scale_targets.ports(result) == (
        "met",
        "1.0 to 1.0 s; on the largest relay {0:.1f} to {0:.1f} s".format(many - 9),
    )
    lines = scale_page.changes(result)
    beyond = next(line for line in lines if "beyond" in line)
    assert "| 1.0 (1.0 to 1.0) |" in beyond


def test_growth_shows_seconds_and_bytes() -> None:
    acts = {act: [{"up": 2.0, "brought": 0.5}, {"up": 4.0, "brought": 0.7}] for act in growth.ACTS}
    row = {**acts, "user-data": {"readable": 22240, "compressed": 7489, "SSH alone": 5381}}
    lines = scale_page.growth(ON | {"sizes": {str(LARGEST): row | {"state": 123456}}})
    seen = " | ".join(["3.0 (2.0 to 4.0)"] * len(growth.ACTS))
    assert lines[-3] == (f"| 1,000 | 250 | {seen} | 0.6 | 123,456 | 22,240 | 7,489 | 5,381 |")


@pytest.mark.parametrize(("slow", "verdict"), [(4.9, "met"), (300.0, "missed")])
def test_previews_are_set_against_the_configs_growth(slow: float, verdict: str) -> None:
    seconds = {SMALLEST: 1.0, Size(1000, 1): slow * 4, Size(1, 250): slow}
    sizes = {str(size): {"preview": [{"up": s}]} for size, s in seconds.items()}
    found = scale_targets.previews({"sizes": sizes})
    assert found[0] == verdict
    assert f"{slow:.1f} times as long for 1 of 250" in found[1]


def test_what_was_not_measured_is_no_verdict() -> None:
    assert sum("| not measured yet |" in line for line in scale_targets.targets({})) == 8


def test_user_data_is_counted_in_each_form_from_the_fullest_on() -> None:
    found = growth.user_data(SMALLEST)
    assert list(found) == ["readable", "compressed", "SSH alone"]
    assert sorted(found.values(), reverse=True) == [*found.values()]


def test_the_round_in_the_middle_is_shown() -> None:
    def one(relay: float) -> dict[str, list[dict[str, object]]]:
        lasts = {"nothing": 50.0, LEAN: 100.0, RELAY: relay}
        return {k: plain([Stage("the machine", "kernel", 0, s)]) for k, s in lasts.items()}

    result = {"rounds": [one(300.0), one(110.0), one(130.0)], "prepared": [], "cold": False} | ON
    assert scale_page.shown(result)[RELAY][0].end == 130.0
    assert scale_targets.starts(result) == ("undecided", "1.10 to 3.00 times")
    assert scale_targets.starts({"rounds": [one(121.0)] * 2})[0] == "missed"


def test_many_numbers_of_peers_are_judged_as_one() -> None:
    """By the geometric mean of each round, each against its own base."""
    arms = [Size(1000, peers) for peers in (1, 50, 250)]
    factors = (0.5, 1.0, 2.0)

    def one(turn: float) -> dict[str, dict[str, float]]:
        base = {str(Size(1, size.peers)): {"throughput": 100 * turn} for size in arms}
        large = {
            str(size): {"throughput": 100 * turn * factor}
            for size, factor in zip(arms, factors, strict=True)
        }
        return base | large

    found = {"rounds": [one(1.0), one(1.3), one(0.8)]}
    assert many(found, ranged=False) == [str(size) for size in arms]
    assert many(found, ranged=True) == []
    seen = pooled(found, [str(size) for size in arms], "throughput")
    assert seen.mean == pytest.approx(1.0)
    assert seen.count == 3
