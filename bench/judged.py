"""The relay against each proxy: which targets are met, and where a peer is better."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.table import markdown

from .measures import MEASURES, ON_A_LINE
from .ratio import Ratio, ratio

Result = dict[str, Any]
TITLES = {
    "wire": "no tunnel, no relay: the floor",
    "bare": "bare tunnel, the limit",
    "relay": "relay, transparent",
    "masquerade": "relay, masquerade",
    "article": "article's rules, repaired",
    "frp": "frp",
    "rathole": "rathole",
    "chisel": "chisel",
    "ssh": "`ssh -R`",
}
NAMED = ("frp", "rathole", "chisel")  # with their versions
PROXIES = (*NAMED, "ssh")
TARGETS = (  # with the kernel's WireGuard, of the relay to every proxy
    ("down", 1.8),
    ("down16", 1.8),
    ("up", 1.8),
    ("opens", 2.0),
    ("opens16", 2.0),
    ("trip", 1.0),
    ("loaded", 1.0),
    ("steady", 1.0),
)
VERDICTS = ("missed", "undecided", "met")  # the first that some proxy gives is that of all
BY_CHANCE = 0.025  # how often a 95 % interval lies on the wrong side of the truth


def title(result: Result, arm: str) -> str:
    """An arm in words, with the version that its program says."""
    seen = result["once"].get(arm) or {}
    said = result.get("versions", {}).get(arm) or seen.get("version", "")
    return f"{TITLES[arm]} {said}".strip() if arm in NAMED else TITLES[arm]


def values(rounds: Sequence[Result], arm: str, key: str) -> list[float]:
    """An arm's values of a measure, without the rounds where it had none."""
    return [r[arm][key] for r in rounds if key in r.get(arm, {})]


def pairs(rounds: Sequence[Result], ours: str, theirs: str, key: str) -> Ratio | None:
    """Ours to theirs, over the rounds that have both; a rate of 0 has no ratio."""
    both = [r for r in rounds if key in r.get(ours, {}) and key in r.get(theirs, {})]
    found = [(r[ours][key], r[theirs][key]) for r in both if r[ours][key] > 0 < r[theirs][key]]
    return ratio(*zip(*found, strict=True)) if found else None


NOISE = 0.2  # seconds: what is measured once is asked for each tenth


def number(value: float, digits: int = 0) -> str:
    """With enough digits to tell small ones apart."""
    return f"{value:,.{digits}f}" if digits or value >= 100 else f"{value:.3g}"


def fewer(count: int, of: int) -> str:
    """How many rounds a number is of, where it is not of all."""
    return f", {count} of {of} rounds" if count < of else ""


def line_name(line: Result) -> str:
    """A line with delay and loss, in words."""
    return f"{line['delay']} ms, {line['loss']:g} %"


def deciding(found: Mapping[str, Ratio], target: float, more: bool) -> tuple[str, str]:
    """The verdict against all of these proxies, and the one that decides it.

    Met only where it is met against each, missed where it is against any; else undecided.
    """
    each = {proxy: seen.verdict(target, more_is_better=more) for proxy, seen in found.items()}
    whole = next(verdict for verdict in VERDICTS if verdict in each.values())
    worst = min if more else max
    those = [proxy for proxy, verdict in each.items() if verdict == whole]
    return whole, worst(those, key=lambda proxy: found[proxy].mean)


def judged(result: Result, key: str, target: float) -> list[str] | None:
    """A target's row: the ratio to each proxy, what is wanted, the verdict, and who decides it."""
    rounds, more = result["rounds"], MEASURES[key].more
    found = {proxy: r for proxy in PROXIES if (r := pairs(rounds, "relay", proxy, key))}
    if not found:
        return None
    verdict, proxy = deciding(found, target, more)
    left = "" if len(found) == len(PROXIES) else f", {len(found)} of {len(PROXIES)} proxies"
    return [
        MEASURES[key].title,
        *(
            f"{found[p]}{fewer(found[p].count, len(rounds))}" if p in found else "not measured"
            for p in PROXIES
        ),
        f"at {'least' if more else 'most'} {target:g}",
        f"{verdict} ({TITLES[proxy]}{left})",
    ]


def targets(result: Result) -> list[str]:
    """The relay to every proxy, and what is wanted of it with the kernel's WireGuard."""
    rows = [row for key, target in TARGETS if (row := judged(result, key, target))]
    names = (result["once"].get("relay") or {}).get("processes")
    if names is not None:
        ours = ", ".join(names) or "none"
        told = [f"{ours} to {held(result, proxy)}" for proxy in PROXIES]
        rows.append(["processes on the relay", *told, "none", "missed" if names else "met"])
    heads = ["relay to", *(title(result, proxy) for proxy in PROXIES)]
    if result["wireguard"] == "kernel":
        return markdown([*heads, "target", "against every proxy (who decides)"], rows)
    return markdown(heads, [row[: len(heads)] for row in rows])


def held(result: Result, arm: str) -> str:
    """An arm's processes on the relay."""
    names = (result["once"].get(arm) or {}).get("processes")
    return "not measured" if names is None else ", ".join(names) or "none"


def scopes(result: Result) -> Iterator[tuple[str, Sequence[Result], Sequence[str]]]:
    """Where something was measured in rounds: the line, its rounds, and the measures."""
    yield "none", result["rounds"], tuple(MEASURES)
    for line in result["lines"]:
        yield line_name(line), line["rounds"], tuple(ON_A_LINE)


def compared(result: Result) -> Iterator[tuple[str, Sequence[Result], str, str, Ratio]]:
    """Each comparison of the relay to a peer: line, rounds, measure, peer and ratio."""
    for line, rounds, keys in scopes(result):
        for key in keys:
            for peer in (*PROXIES, "article"):
                found = pairs(rounds, "relay", peer, key)
                if found is not None:
                    yield line, rounds, key, peer, found


def by_interval(result: Result) -> tuple[int, list[list[str]]]:
    """How many comparisons there are, and a row for each where a peer is better."""
    rows: list[tuple[float, list[str]]] = []
    count = 0
    for line, rounds, key, peer, found in compared(result):
        count, measure = count + 1, MEASURES[key]
        if found.verdict(1.0, more_is_better=measure.more) != "missed":
            continue
        theirs, ours = (
            f"{number(statistics.median(values(rounds, arm, key)), measure.digits)} {measure.unit}"
            for arm in (peer, "relay")
        )
        factor = 1 / found.mean if measure.more else found.mean
        told = f"{factor:.2f}{fewer(found.count, len(rounds))}"
        rows.append((factor, [measure.title, line, title(result, peer), theirs, ours, told]))
    rows.sort(key=lambda row: -row[0])
    return count, [row for _, row in rows]


def singles(seen: Result) -> dict[str, tuple[float, str]]:
    """What was measured once and is better when less, with its unit."""
    found: dict[str, tuple[float, str]] = {}
    if idle := seen.get("held"):
        found["1,000 idle connections, until all are open"] = (idle["seconds"], "s")
        found["memory with 1,000 idle connections"] = (idle["memory"][1], "MiB")
    for change, name in (("added", "a port is added"), ("restarted", "restarted")):
        if change in seen:
            found[f"{name}: until new connections are answered"] = (seen[change]["back"], "s")
    return found


def by_one_value(result: Result) -> list[list[str]]:
    """A row for each peer that is better in what was measured once."""
    rows: list[tuple[float, list[str]]] = []
    ours = singles(result["once"].get("relay") or {})
    for peer in (*PROXIES, "article"):
        theirs = singles(result["once"].get(peer) or {})
        for what in ours.keys() & theirs.keys():
            (own, unit), (its, _) = ours[what], theirs[what]
            if 0 < its < own - (NOISE if unit == "s" else 0):
                shown = [f"{value:.1f} {unit}" for value in (its, own)]
                told = f"{own / its:.2f}, once"
                rows.append((own / its, [what, "none", title(result, peer), *shown, told]))
    rows.sort(key=lambda row: -row[0])
    return [row for _, row in rows]


def better(result: Result) -> list[str]:
    """Where a peer is better than the relay: by the whole interval, the worst first; then once."""
    count, rows = by_interval(result)
    chance = (
        f"Of {count} comparisons; where nothing differs, about {count * BY_CHANCE:.0f} of them"
        " would stand here by chance."
    )
    rows += by_one_value(result)
    if not rows:
        return ["In no measure, by the whole 95 % interval.", "", chance]
    heads = ["", "line", "peer", "it (median)", "relay (median)"]
    return [*markdown([*heads, "times as good (geometric mean of pairs)"], rows), "", chance]
