"""Writes the tables and pictures of docs/scale.md from what was measured.

    python3 -m bench.scale_page

Each of docs/bench/{scale,scale-vm,growth,changes,changes-vm,timeline}.json that is there.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.table import DOCS, markdown, put

from . import pictures
from .changes import ROWS
from .growth import ACTS, middle
from .ratio import Ratio
from .report import busy, spread
from .scale import AGAIN, TARGETS, UNITS, compared, many, pooled
from .scale_targets import ratios, targets
from .sizes import FORWARDS, NAMED, PEERS, SMALLEST, Size
from .stages import Stage, read, total
from .timeline import FLOORS, LEAN, RELAY

PAGE, DATA = DOCS / "scale.md", DOCS / "bench"


def on(result: dict[str, Any], what: str) -> str:
    """What it ran on, and what else ran there."""
    machine, load = result["machine"], result["load"]
    made = f"{result['date']}, {result['commit'] or 'no commit'}: " if "date" in result else ""
    text = (
        f"{made}{what}; Linux {machine['kernel']}, {machine['cpus']} x {machine['cpu']},"
        f" {busy(load)}."
    )
    host = result.get("host")
    return f"{text} The VM's host: {host['cpu']}, {busy(host['load'])}." if host else text


def data(name: str, result: dict[str, Any]) -> list[str]:
    """Ratios to one forward of as many peers, with verdicts."""
    rounds = result["rounds"]
    measured = [name for name in [*NAMED, AGAIN] if name in rounds[0] and name != str(SMALLEST)]
    heads = ["forwards", "peers"]
    for what, (more, target) in TARGETS.items():
        heads.append(f"{what} (at {'least' if more else 'most'} {target})")
    rows = [
        ["1", "1", *(_absolute(rounds, what) for what in TARGETS)],
        *([*_named(name), *(_cell(result, name, what) for what in TARGETS)] for name in measured),
    ]
    for ranged in (False, True):
        if arms := many(result, ranged):
            cells = [_told(pooled(result, arms, what), what) for what in TARGETS]
            rows.append([Size(FORWARDS[-1], 1, ranged).what, "all as one", *cells])
    where = f"{result['wireguard']} WireGuard, {len(rounds)} rounds in {result['seconds']:.0f} s"
    picture = f"![New connections by forwards and peers](bench/{name}.svg)"
    return [on(result, where), "", *markdown(heads, rows), "", picture]


def _named(name: str) -> list[str]:
    size = NAMED.get(name)
    return [size.what, str(size.peers)] if size else ["1, a second time", "1"]


def _absolute(rounds: Sequence[dict[str, Any]], what: str) -> str:
    return f"{spread([r[str(SMALLEST)][what] for r in rounds], 0)} {UNITS[what]}"


def _cell(result: dict[str, Any], name: str, what: str) -> str:
    return _told(compared(result, name, what), what)


def _told(found: Ratio, what: str) -> str:
    more, target = TARGETS[what]
    return f"{found}, {found.verdict(target, more_is_better=more)}"


def growth(result: dict[str, Any]) -> list[str]:
    """Seconds of each command, and bytes."""
    heads = ["forwards", "peers", *(f"{act}, s" for act in ACTS), "of it, bringing it, s"]
    heads += ["state, bytes", "user-data: readable", "compressed", "SSH alone"]
    rows = []
    for name, row in result["sizes"].items():
        brought = middle(row, "port added", "brought")
        acts = [spread([one["up"] for one in row[act]]) for act in ACTS]
        sizes = [f"{row['state']:,}", *(f"{n:,}" for n in row["user-data"].values())]
        rows.append([*_named(name), *acts, f"{brought:.1f}", *sizes])
    picture = "![Seconds of `preview` and of a port more, by forwards](bench/growth.svg)"
    return [on(result, "Medians, least and most"), "", *markdown(heads, rows), "", picture]


def changes(result: dict[str, Any]) -> list[str]:
    """What a port more costs, small and large."""
    sizes = result["sizes"]
    table = [[label, *(spread(of(rows)) for rows in sizes.values())] for label, of in ROWS.items()]
    count = len(result["sizes"][str(SMALLEST)])
    return [
        on(result, f"Medians of {count}, least and most"),
        "",
        *markdown(["", *(f"forwards of peers: {name}" for name in result["sizes"])], table),
    ]


def shown(result: dict[str, Any]) -> dict[str, list[Stage]]:
    """The starts of the round in the middle, by the relay's ratio to the same packages."""
    found = [one[LEAN] for one in ratios(result)]
    middle_one = found.index(statistics.median_low(found))
    return {label: read(rows) for label, rows in result["rounds"][middle_one].items()}


def cached(result: dict[str, Any]) -> str:
    """How what is prepared was found."""
    return "in an empty cache" if result["cold"] else "found in the cache"


def timeline(result: dict[str, Any]) -> list[str]:
    """The sums, and what stands in them."""
    starts = shown(result)
    rows = [
        [
            label,
            spread([total(read(one[label])) for one in result["rounds"]]),
            ", ".join(f"{one[label]:.2f}" for one in ratios(result)) if label != RELAY else "",
        ]
        for label in starts
    ]
    nothing, lean = FLOORS
    cost = [total(read(one[lean])) - total(read(one[nothing])) for one in result["rounds"]]
    rows.append(["the packages' cost: the second less the first", spread(cost), ""])
    names = list(dict.fromkeys(s.name for found in starts.values() for s in found))
    stages = [
        [name, *(_seconds([s for s in found if s.name == name]) for found in starts.values())]
        for name in names
    ]
    kernels = [_seconds([s for s in found if s.name == "kernel"]) for found in starts.values()]
    before = ", ".join(f"{s.name} {s.seconds:.1f} s" for s in read(result["prepared"]))
    return [
        on(result, f"{len(result['rounds'])} rounds" if len(result["rounds"]) > 1 else "One round"),
        "",
        *markdown(["the machine is started with", "s", "relay to it, each round"], rows),
        "",
        f"Before that, {cached(result)}: {before}.",
        "",
        f"The same kernel took {', '.join(kernels)} s: where these differ, the computer may have"
        " been busy. The stages of the round in the middle, which the picture shows:",
        "",
        *markdown(["stage, s", *starts], stages),
    ]


def _seconds(found: Sequence[Stage]) -> str:
    return f"{sum(s.seconds for s in found):.1f}" if found else ""


def drawn(results: dict[str, dict[str, Any]], folder: Path, suffix: str = ".svg") -> None:
    """All pictures of what there is."""
    if "timeline" in results:
        result = results["timeline"]
        before = {f"before it, {cached(result)}": read(result["prepared"])}
        pictures.timeline(before | shown(result), folder / f"timeline{suffix}")
    if "growth" in results:
        sizes = results["growth"]["sizes"]
        series = {
            f"{act}, {_peers(peers)}": _line(sizes, act, peers)
            for act in ("preview", "port added")
            for peers in PEERS
        }
        found_lines = {name: line for name, line in series.items() if line}
        pictures.curves(found_lines, ("forwards", "seconds"), folder / f"growth{suffix}")
    for name in ("scale", "scale-vm"):
        if name in results:
            lines = {_peers(peers): _ratios(results[name], peers) for peers in PEERS}
            lines = {label: line for label, line in lines.items() if line}
            labels = ("forwards", "new connections, to 1 forward")
            pictures.curves(lines, labels, folder / f"{name}{suffix}", level=0.9)


def _peers(count: int) -> str:
    return "1 peer" if count == 1 else f"{count} peers"


def _line(sizes: dict[str, Any], act: str, peers: int) -> dict[int, tuple[float, float, float]]:
    found = {}
    for forwards in FORWARDS:
        row = sizes.get(str(Size(forwards, peers)))
        if row:
            values = [one["up"] for one in row[act]]
            found[forwards] = (statistics.median(values), min(values), max(values))
    return found


def _ratios(result: dict[str, Any], peers: int) -> dict[int, tuple[float, float, float]]:
    found = {}
    for forwards in FORWARDS:
        name = str(Size(forwards, peers))
        if name in result["rounds"][0]:
            r = compared(result, name, "new connections")
            found[forwards] = (r.mean, r.low, r.high)
    return found


TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "scale": partial(data, "scale"),
    "scale-vm": partial(data, "scale-vm"),
    "growth": growth,
    "changes": changes,
    "changes-vm": changes,
    "timeline": timeline,
}


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by name."""
    files = {name: folder / f"{name}.json" for name in TABLES}
    return {name: json.loads(f.read_text()) for name, f in files.items() if f.exists()}


def page(text: str, written: Iterable[tuple[str, list[str]]]) -> str:
    """The page with these tables."""
    for name, lines in written:
        text = put(text, name, lines)
    return text


def tables(found: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The lines of each table, also of what was not measured."""
    nothing = ["Not measured yet."]
    each = [(name, of(found[name]) if name in found else nothing) for name, of in TABLES.items()]
    return [("targets", targets(found)), *each]


def main() -> None:
    """Write and draw."""
    found = results(DATA)
    PAGE.write_text(page(PAGE.read_text(), tables(found)))
    drawn(found, DATA)


if __name__ == "__main__":
    main()
