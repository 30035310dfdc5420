"""Tables of what ``compare.py`` measured, for a terminal and for the docs.

python3 -m bench.report FILE...               prints each result
python3 -m bench.report --write PAGE FOLDER   puts kernel.json, kernel-max.json and
                                              userspace.json of a folder into a page
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.table import markdown, put

from . import cli
from .judged import (
    TITLES,
    Result,
    better,
    fewer,
    line_name,
    number,
    targets,
    title,
    values,
)
from .measures import MEASURES, ON_A_LINE

GROUPS = (
    ("down", "down16", "up", "datagrams"),
    ("opens", "opens16", "trip", "trip99", "loaded", "loaded99", "loading", "steady", "steady99"),
    ("machine", "relay", "home", "memory"),
)
SHARES = ("shares", "opens")  # results of their own: of a stream, and of connections
OF_PROCESSES = ("relay", "home", "memory")
WITHOUT_UDP = ("ssh",)
TUNNELS = ("bare", "relay", "masquerade", "article")


def cell(rounds: Sequence[Result], arm: str, key: str) -> str:
    """The median and its spread."""
    found = values(rounds, arm, key)
    if not found:
        return "none" if key == "datagrams" and arm in WITHOUT_UDP else "not measured"
    digits = MEASURES[key].digits
    middle, low, high = (
        number(v, digits) for v in (statistics.median(found), min(found), max(found))
    )
    windows = sorted(set(values(rounds, arm, "window"))) if key == "datagrams" else []
    wide = f"; {' or '.join(f'{w:g}' for w in windows)} under way" if windows else ""
    return f"{middle} ({low} to {high}{wide}){fewer(len(found), len(rounds))}"


def without_process(result: Result, arm: str) -> str:
    """Who carries an arm that has no process; empty where it has some."""
    if arm == "wire":
        return "no process"
    return "in the kernel" if arm in TUNNELS and result["wireguard"] == "kernel" else ""


def where(result: Result) -> str:
    """Which WireGuard, in words."""
    place = "in a lab VM" if result["vm"] else "on this machine"
    return f"the {result['wireguard']} WireGuard, in namespaces {place}"


def head(result: Result) -> str:
    """What it ran on, and how long."""
    on = result["machine"]
    text = (
        f"{result['date']}, {where(result)}: Linux {on['kernel']}, {cpus(on)},"
        f" {busy(result['load'])}, {turns(result)} rounds, all in {result['seconds']} s."
        f" iperf3 {on['iperf3']}, Python {on['python']}{made(result)}."
    )
    if "ciphers" in result:
        text += f" OpenSSL here, on one core: {ciphers(result['ciphers'])}."
    if result.get("cut short"):
        text += " **Cut short**: its time was over, or it failed, before all was done."
    if host := result.get("host"):
        text += f" The VM's host: {cpus(host)}, {busy(host['load'])}"
        text += f"; OpenSSL there: {ciphers(host['ciphers'])}." if "ciphers" in host else "."
    for arm, why in result["missing"].items():
        text += f" **Missing: {TITLES[arm]}** ({why})."
    for arm, faults in result["faults"].items():
        for what, why in faults.items():
            said = why.partition(", last seen")[0]
            if "Traceback" in said:  # as results before 2026-11-27 have it
                said = f"{said.partition('AssertionError')[0]}the caller ended with an error"
            text += f" {title(result, arm)} failed in `{what}`: {said}."
    return text


def ciphers(speeds: Result) -> str:
    """What ``bench.ciphers`` found."""
    return ", ".join(f"{name} {number(speed)} MB/s" for name, speed in speeds.items())


def turns(result: Result) -> int:
    """How many; of a run on bad lines alone, how many each has at least."""
    return len(result["rounds"]) or min((len(x["rounds"]) for x in result["lines"]), default=0)


def cpus(on: Result) -> str:
    """A machine's CPUs, and whether they have what makes ciphers fast."""
    flags = f" (flags: {', '.join(on['flags']) or 'neither aes nor avx2'})" if "flags" in on else ""
    return f"{on['cpus']} x {on['cpu']}{flags}"


def busy(load: Result) -> str:
    """A machine's load, from the start to the end."""
    return f"load {load['before']:.1f} to {load['after']:.1f}"


def spread(found: Sequence[float], digits: int = 1) -> str:
    """The median, the least and the most."""
    middle, low, high = (
        f"{v:,.{digits}f}" for v in (statistics.median(found), min(found), max(found))
    )
    return f"{middle} ({low} to {high})"


def made(result: Result) -> str:
    """What it was made with, as far as the result says."""
    found = [f"TCP {result['machine'].get('congestion', '')}".strip()]
    tools = {**result["machine"].get("tools", {}), **result.get("host", {}).get("tools", {})}
    found += [f"{name} {version}" for name, version in tools.items() if version]
    found += [result.get("versions", {}).get("ssh", "")]
    found += [f"{name} ({who})" for name, who in result.get("built", {}).items()]
    if result.get("commit"):
        at, _, changed = result["commit"].partition("-")
        found.append(f"this project at {at[:12]}{' and changed since' if changed else ''}")
    return "".join(f", {word}" for word in found if word not in ("", "TCP"))


def measured(result: Result, keys: Sequence[str], rounds: Sequence[Result]) -> list[str]:
    """Arms down, measures across: the median and its spread."""
    keys = [key for key in keys if any(values(rounds, arm, key) for arm in result["arms"])]
    heads = ["", *(f"{MEASURES[key].title}, {MEASURES[key].unit}" for key in keys)]

    def shown(arm: str, key: str) -> str:
        carried = without_process(result, arm) if key in OF_PROCESSES else ""
        return carried or cell(rounds, arm, key)

    rows = [[title(result, arm), *(shown(arm, key) for key in keys)] for arm in result["arms"]]
    return markdown(heads, rows)


def changed(result: Result, arm: str, change: str, how: str) -> str:
    """What a change did to an open connection, and how it was made."""
    seen = result["once"].get(arm) or {}
    if change in seen:
        return f"{kept(seen[change])}; {seen[how]}"
    if how in seen:
        return str(seen[how])
    return "failed" if change in result["faults"].get(arm, {}) else "not measured"


def kept(change: Result) -> str:
    """What became of an open connection."""
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
        carried = without_process(result, arm)
        rows.append(
            [
                title(result, arm),
                seen.get("sees", "?"),
                ", ".join(f"`{name}`" for name in names) or "none",
                f"{held['answered']} of {held['asked']}, opened in {held['seconds']:.1f} s"
                if held
                else "?",
                carried or (f"{held['memory'][0]} to {held['memory'][1]} MiB" if held else "?"),
                changed(result, arm, "added", "adds"),
                changed(result, arm, "restarted", "restarts"),
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
        names = [f"{line_name(line)} ({len(line['rounds'])} rounds)" for line in measured_on]
        rows = [
            [title(result, arm), *(cell(line["rounds"], arm, key) for line in measured_on)]
            for arm in result["arms"]
        ]
        found += ["", *markdown([f"{MEASURES[key].title}, {MEASURES[key].unit}", *names], rows)]
    return found[1:]


def apart(result: Result) -> list[str]:
    """What bad lines were measured on, where that was a run of its own."""
    lined = result.get("lined")
    return [f"In a run of its own: {head(lined)}", ""] if lined else []


def shares(result: Result, load: str) -> list[str]:
    """CPU seconds by kind of work, of ``bench.shares``; ``load`` is the key of its result."""
    found = result.get(load)
    if not found:
        return ["Not measured."]
    arms = found["arms"]
    first = next(iter(arms.values()))[0]
    kinds = list(first["kinds"])
    (seconds,) = (key for key in first if key.startswith("seconds a "))
    rows = []
    for arm, rounds in arms.items():
        each = [one[seconds] for one in rounds]
        parts = (
            statistics.median(one[seconds] * one["kinds"][kind] for one in rounds) for kind in kinds
        )
        rows.append([title(result, arm), spread(each), *(f"{part:.1f}" for part in parts)])
    turns_of = len(next(iter(arms.values())))
    few = min(one["samples"] for rounds in arms.values() for one in rounds)
    missing = "".join(
        f" **Missing: {TITLES[arm]}** ({why})." for arm, why in found["missing"].items()
    )
    return [
        f"{found['date']}, medians of {turns_of}, {few:,} samples or more each; this project at"
        f" {(found['commit'] or 'an unknown commit')[:12]}, {busy(found['load'])}.{missing}",
        "",
        *markdown([seconds, "whole machine", *kinds], rows),
    ]


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
    found["lines"] = lambda: apart(result) + (lines(result) or ["Not measured."])
    for load in SHARES:
        found[load] = partial(shares, result, load)
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
    """The results in a folder, by the WireGuard that carried them; ``kernel-max`` in a VM with all
    that QEMU can emulate of a CPU.

    Bad lines may have been measured by a run of their own, ``kernel-lines.json``, and what the CPU
    does always is: ``kernel-shares.json`` of a stream, ``kernel-opens.json`` of connections.
    """
    found = {}
    for name in ("kernel", "kernel-max", "userspace"):
        path, other = folder / f"{name}.json", folder / f"{name}-lines.json"
        if path.exists():
            found[name] = json.loads(path.read_text())
            if other.exists() and not found[name]["lines"]:
                lined = json.loads(other.read_text())
                found[name] |= {"lines": lined["lines"], "lined": lined}
            for load in SHARES:
                profile = folder / f"{name}-{load}.json"
                if profile.exists():
                    found[name][load] = json.loads(profile.read_text())
    return found


def main() -> None:
    """Print, or write into a page."""
    parser = cli.parser("bench.report", __doc__)
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
