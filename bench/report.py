"""Tables of what ``compare.py`` measured, for a terminal and for the docs.

python3 -m bench.report FILE...               prints each result
python3 -m bench.report --write PAGE FOLDER   puts kernel.json and userspace.json of a folder
                                              into a page, between its markers
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.table import markdown, put

from .measures import MEASURES
from .ratio import Ratio, ratio

Result = dict[str, Any]
TITLES = {
    "bare": "bare tunnel, the limit",
    "relay": "relay, transparent",
    "masquerade": "relay, masquerade",
    "article": "article's rules, repaired",
    "frp": "frp 0.65.0",
    "rathole": "rathole 0.5.0",
    "chisel": "chisel 1.11.3",
    "ssh": "`ssh -R`",
}
PROXIES = ("frp", "rathole", "chisel", "ssh")
GROUPS = (
    ("down", "down16", "up", "datagrams"),
    ("opens", "opens16", "trip", "trip99", "loaded", "loaded99"),
    ("machine", "relay", "home", "memory"),
)
ON_A_LINE = ("down", "down16", "opens16", "trip")
TARGETS = (  # with the kernel's WireGuard, of the relay to the best proxy
    ("down", 1.8),
    ("up", 1.8),
    ("opens", 2.0),
    ("opens16", 2.0),
    ("trip", 1.0),
)


def values(rounds: Sequence[Result], arm: str, key: str) -> list[float]:
    """An arm's values of a measure, without the rounds where it had none."""
    return [r[arm][key] for r in rounds if key in r.get(arm, {})]


def pairs(rounds: Sequence[Result], ours: str, theirs: str, key: str) -> Ratio | None:
    """Ours to theirs, over the rounds that have both."""
    both = [r for r in rounds if key in r.get(ours, {}) and key in r.get(theirs, {})]
    found = [(r[ours][key], r[theirs][key]) for r in both if r[ours][key] > 0 < r[theirs][key]]
    return ratio(*zip(*found, strict=True)) if found else None


def number(value: float, digits: int = 0) -> str:
    """With enough digits to tell small ones apart."""
    return f"{value:,.{digits}f}" if digits or value >= 100 else f"{value:.3g}"


def cell(found: Sequence[float], key: str) -> str:
    """The median and its spread."""
    if not found:
        return "none" if key == "datagrams" else "not measured"
    digits = MEASURES[key].digits
    middle, low, high = (
        number(v, digits) for v in (statistics.median(found), min(found), max(found))
    )
    return f"{middle} ({low} to {high})"


def best(rounds: Sequence[Result], key: str, arms: Iterable[str] = PROXIES) -> str:
    """The arm with the best median; empty where none was measured."""
    medians = {arm: statistics.median(v) for arm in arms if (v := values(rounds, arm, key))}
    choose = max if MEASURES[key].more else min
    return choose(medians, key=lambda arm: medians[arm], default="")


def where(result: Result) -> str:
    """Which WireGuard, in words."""
    place = "in a lab VM" if result["vm"] else "on this machine"
    return f"the {result['wireguard']} WireGuard, in namespaces {place}"


def head(result: Result) -> str:
    """What it ran on, and how long."""
    on, load = result["machine"], result["load"]
    text = (
        f"{result['date']}, {where(result)}: Linux {on['kernel']}, {on['cpus']} x {on['cpu']},"
        f" load {load['before']:.1f} to {load['after']:.1f}, {len(result['rounds'])} rounds,"
        f" all in {result['seconds']} s. iperf3 {on['iperf3']}, Python {on['python']}."
    )
    for arm, why in result["missing"].items():
        text += f" **Missing: {TITLES[arm]}** ({why})."
    for arm, faults in result["faults"].items():
        for what, why in faults.items():
            text += f" {TITLES[arm]} failed in `{what}`: {why.partition(', last seen')[0]}."
    return text


def measured(result: Result, keys: Sequence[str], rounds: Sequence[Result]) -> list[str]:
    """Arms down, measures across: the median and its spread."""
    keys = [key for key in keys if any(values(rounds, arm, key) for arm in result["arms"])]
    heads = ["", *(f"{MEASURES[key].title}, {MEASURES[key].unit}" for key in keys)]
    rows = [
        [TITLES[arm], *(cell(values(rounds, arm, key), key) for key in keys)]
        for arm in result["arms"]
    ]
    return markdown(heads, rows)


def kept(change: Result | None) -> str:
    """What became of an open connection."""
    if not change:
        return "not measured"
    if change["kept"]:
        return f"kept, silent for {change['silence']:.1f} s"
    return f"cut; new ones after {change['back']:.0f} s"


def singly(result: Result) -> list[str]:
    """What was measured once."""
    rows = []
    for arm in result["arms"]:
        seen = result["once"].get(arm) or {}
        held = seen.get("held")
        names = seen.get("processes", [])
        rows.append(
            [
                TITLES[arm],
                seen.get("sees", "?"),
                ", ".join(f"`{name}`" for name in names) or "none",
                f"{held['answered']} of {held['asked']}, opened in {held['seconds']:.1f} s"
                if held
                else "?",
                f"{held['memory'][0]} to {held['memory'][1]} MiB" if held else "?",
                f"{kept(seen['added'])} ({seen['adds']})" if "added" in seen else "not measured",
                f"{kept(seen.get('restarted'))}; {seen.get('restarts', '')}",
            ]
        )
    if not any("restarted" in (result["once"].get(arm) or {}) for arm in result["arms"]):
        rows = [row[:-1] for row in rows]
    heads = [
        "",
        "the service sees",
        "processes on the relay",
        "1,000 idle connections that answer",
        "their memory",
        "a port is added",
        "restarted",
    ]
    return markdown(heads[: len(rows[0])], rows)


def lines(result: Result) -> list[str]:
    """Each measure on each line with delay and loss."""
    found: list[str] = []
    measured_on = [line for line in result["lines"] if line["rounds"]]
    for key in ON_A_LINE if measured_on else ():
        names = [
            f"{line['delay']} ms, {line['loss']:g} % ({len(line['rounds'])} rounds)"
            for line in measured_on
        ]
        rows = [
            [TITLES[arm], *(cell(values(line["rounds"], arm, key), key) for line in measured_on)]
            for arm in result["arms"]
        ]
        found += ["", *markdown([f"{MEASURES[key].title}, {MEASURES[key].unit}", *names], rows)]
    return found[1:]


def targets(result: Result) -> list[str]:
    """The relay to the best proxy, and what is wanted of it with the kernel's WireGuard."""
    rows, judged = [], result["wireguard"] == "kernel"
    for key, target in TARGETS:
        proxy, more = best(result["rounds"], key), MEASURES[key].more
        found = pairs(result["rounds"], "relay", proxy, key)
        if found is None:
            continue
        rows.append(
            [
                MEASURES[key].title,
                TITLES[proxy],
                str(found),
                f"at {'least' if more else 'most'} {target:g}",
                found.verdict(target, more_is_better=more),
            ]
        )
    names = (result["once"].get("relay") or {}).get("processes")
    if names is not None:
        held = ", ".join(names) or "none"
        rows.append(["processes on the relay", "", held, "none", "missed" if names else "met"])
    heads = ["", "best proxy", "relay to it (95 % CI)", "target", ""]
    return markdown(heads, rows) if judged else markdown(heads[:3], [row[:3] for row in rows])


def better(result: Result) -> list[str]:
    """Where a peer is better than the relay, by the whole interval: the worst first."""
    rows = []
    for key, measure in MEASURES.items():
        for peer in (*PROXIES, "article"):
            found = pairs(result["rounds"], "relay", peer, key)
            if found is None or found.verdict(1.0, more_is_better=measure.more) != "missed":
                continue
            ours, theirs = (
                statistics.median(values(result["rounds"], arm, key)) for arm in ("relay", peer)
            )
            shown = [f"{number(v, measure.digits)} {measure.unit}" for v in (theirs, ours)]
            factor = 1 / found.mean if measure.more else found.mean
            rows.append((factor, [measure.title, TITLES[peer], *shown, f"{factor:.2f}"]))
    rows.sort(key=lambda row: -row[0])
    if not rows:
        return ["In no measure, by the whole 95 % interval."]
    return markdown(["", "peer", "it", "relay", "times as good"], [row for _, row in rows])


def blocks(name: str, result: Result) -> dict[str, Callable[[], list[str]]]:
    """What makes each table of a result, by the names of their markers."""
    found: dict[str, Callable[[], list[str]]] = {
        "about": lambda: [head(result)],
        "better": partial(better, result),
        "targets": partial(targets, result),
    }
    for group, keys in zip(("rates", "times", "costs"), GROUPS, strict=True):
        found[group] = partial(measured, result, keys, result["rounds"])
    found["once"] = partial(singly, result)
    found["lines"] = lambda: lines(result) or ["Not measured."]
    return {f"{name}-{block}": make for block, make in found.items()}


def text(name: str, result: Result) -> str:
    """All tables of a result, for a person."""
    found = blocks(name, result).items()
    return "\n".join(line for block, make in found for line in (f"## {block}", *make(), ""))


def filled(page: str, results: dict[str, Result]) -> str:
    """A page with the tables of these results between its markers."""
    for name, result in results.items():
        for block, make in blocks(name, result).items():
            if f"<!-- {block}: begin -->" in page:
                page = put(page, block, make())
    return page


def read(folder: Path) -> dict[str, Result]:
    """The results in a folder, by the WireGuard that carried them."""
    return {
        name: json.loads(path.read_text())
        for name in ("kernel", "userspace")
        if (path := folder / f"{name}.json").exists()
    }


def main() -> None:
    """Print, or write into a page."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("results", type=Path, nargs="+", help="files; with --write, one folder")
    options = parser.parse_args()
    if options.write:
        page = options.write.read_text()
        options.write.write_text(filled(page, read(options.results[0])))
        return
    for path in options.results:
        print(text(path.stem, json.loads(path.read_text())))


if __name__ == "__main__":
    main()
