"""Pictures of what ``compare.py`` measured, as SVG beside its JSON.

    python3 -m bench.plots FOLDER [--png]     kernel.json, userspace.json: what is there

The same numbers give the same file. The ground is white, so that it is legible on a dark page.
"""

from __future__ import annotations

import statistics
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import cli
from .judged import Result, values
from .measures import MEASURES
from .pictures import STYLE, save
from .report import read, where

OURS, LIMIT, OTHERS = "#0b6e4f", "#8a8f98", "#4a6fa5"
INK = "#1f2328"
NAMES = {"bare": "bare tunnel", "relay": "relay", "masquerade": "masquerade", "ssh": "ssh -R"}
SHOWN = ("down", "down16", "datagrams", "opens", "trip", "loaded", "machine", "memory")
WHITE = {
    **STYLE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": "#c4c9d0",
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def colour(arm: str) -> str:
    """Ours, the limit, or another's."""
    return {"bare": LIMIT, "relay": OURS, "masquerade": OURS}.get(arm, OTHERS)


def bars(axes: Axes, rounds: list[Result], arms: list[str], key: str) -> None:
    """A bar for each arm's median, a dot for each round."""
    dots: list[tuple[float, int]] = []
    for at, arm in enumerate(reversed(arms)):
        found = values(rounds, arm, key)
        if found:
            axes.barh(at, statistics.median(found), color=colour(arm), height=0.7, alpha=0.75)
            dots += [(value, at) for value in found]
        else:
            axes.text(0, at, " none", va="center", color=LIMIT)
    widest = max((value for value, _ in dots), default=0.0)
    axes.plot([v for v, _ in dots], [at for _, at in dots], ".", color=INK, markersize=3, alpha=0.7)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}" if widest > 10 else "{x:g}")
    axes.set_yticks(range(len(arms)), [NAMES.get(arm, arm) for arm in reversed(arms)])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.set_xlim(left=0)
    measure = MEASURES[key]
    sense = "more is better" if measure.more else "less is better"
    axes.set_title(f"{measure.title}\n{measure.unit}, {sense}", fontsize=9, loc="left")


def drawn(result: Result) -> list[str]:
    """All arms but the floor, beside which the others' bars would all be short."""
    return [arm for arm in result["arms"] if arm != "wire"]


def overview(result: Result) -> Figure:
    """A panel for each of the measures that matter most."""
    rounds, arms = result["rounds"], drawn(result)
    shown = [key for key in SHOWN if any(values(rounds, arm, key) for arm in arms)]
    high = (len(shown) + 1) // 2
    figure, panels = pyplot.subplots(high, 2, figsize=(9, 2.7 * high), layout="constrained")
    for axes, key in zip(panels.flat, shown, strict=False):
        bars(axes, rounds, arms, key)
    for axes in panels.flat[len(shown) :]:
        axes.set_visible(False)
    figure.suptitle(f"With {where(result)}: medians, and each round", fontsize=10)
    return figure


def lines(result: Result) -> Figure:
    """Throughput on each line with delay and loss."""
    measured = [line for line in result["lines"] if line["rounds"]]
    keys = ("down", "down16")
    figure, panels = pyplot.subplots(
        len(measured), 2, figsize=(9, 2.6 * len(measured)), layout="constrained", squeeze=False
    )
    for row, line in zip(panels, measured, strict=True):
        for axes, key in zip(row, keys, strict=True):
            bars(axes, line["rounds"], drawn(result), key)
            name = f"{line['delay']} ms, {line['loss']:g} % loss"
            title = f"{name}: {MEASURES[key].title}\n{MEASURES[key].unit}, more is better"
            axes.set_title(title, fontsize=9, loc="left")
    figure.suptitle(f"With {where(result)}: home's line with delay and loss", fontsize=10)
    return figure


def styled() -> AbstractContextManager[None]:
    """The style of all pictures, for a while."""
    return matplotlib.rc_context(WHITE)


def pictures(folder: Path, png: bool = False) -> list[Path]:
    """All pictures of a folder's results."""
    with styled():
        return draw(folder, png)


def draw(folder: Path, png: bool) -> list[Path]:
    """The same, in the style that is set."""
    written = []
    for name, result in read(folder).items():
        figures = {name: overview(result)}
        if any(line["rounds"] for line in result["lines"]):
            figures[f"{name}-lines"] = lines(result)
        for stem, figure in figures.items():
            path = folder / f"{stem}.{'png' if png else 'svg'}"
            save(figure, path, transparent=False)
            written.append(path)
    return written


def main() -> None:
    """Draw, and tell the files."""
    parser = cli.parser("bench.plots", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--png", action="store_true")
    options = parser.parse_args()
    for path in pictures(options.folder, options.png):
        print(path)


if __name__ == "__main__":
    main()
