"""Pictures for the docs, the same bytes for the same numbers, legible on light and on dark.

matplotlib is imported when one is drawn: who only measures does without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .stages import Stage

# Of middle lightness, so that they stand out from white and from black.
INK = "#7d8590"
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
# The same bytes each time; the reader's own font, and small files.
STYLE = {"svg.hashsalt": "cgnat-relay", "svg.fonttype": "none", "font.size": 9}
COLOURS = ("#3b82c4", "#c9752d", "#3f9d5d", "#a562b8", "#c2473f", "#8a7a2f", "#3a9ca6", "#b3568a")


def canvas(heights: Sequence[float], width: float, height: float) -> tuple[Any, Any]:
    """A figure and its axes, so high to each other, without a background."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            **STYLE,
            "font.family": "sans-serif",
            **dict.fromkeys(INKED, INK),
        }
    )
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(heights), 1, figsize=(width, height), squeeze=False, height_ratios=heights
    )
    figure.patch.set_alpha(0)
    for ax in axes.flat:
        ax.patch.set_alpha(0)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return figure, axes[:, 0]


def save(figure: Any, path: Path, transparent: bool = True) -> None:
    """An SVG without the day it was drawn, or a PNG to look at."""
    from matplotlib import pyplot

    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {}
    clear = transparent and path.suffix == ".svg"
    figure.savefig(path, metadata=metadata, dpi=110, transparent=clear)
    pyplot.close(figure)
    if path.suffix == ".svg":
        path.write_text(re.sub(r"[ \t]+$", "", path.read_text(), flags=re.MULTILINE))


def timeline(starts: Mapping[str, Sequence[Stage]], path: Path) -> None:
    """Each start a panel on one scale of seconds, each stage a bar of its lane."""
    lanes = {label: list(dict.fromkeys(s.lane for s in rows)) for label, rows in starts.items()}
    names = list(dict.fromkeys(s.name for rows in starts.values() for s in rows))
    colour = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    longest = max(s.end for rows in starts.values() for s in rows)
    bars = {label: _levels(rows, lanes[label]) for label, rows in starts.items()}
    heights = [1 + max(level for _, level in found) for found in bars.values()]
    figure, axes = canvas(heights, 9.5, 0.25 * sum(heights) + 0.7 * len(starts))
    for ax, (label, found) in zip(axes, bars.items(), strict=True):
        for stage, level in found:
            ax.barh(level, stage.seconds, left=stage.start, height=0.78, color=colour[stage.name])
            _label(ax, stage, level, longest)
        ax.set_title(label, loc="left", fontsize=10, fontweight="bold")
        ax.set_xlim(0, longest * 1.02)
        ax.set_ylim(max(level for _, level in found) + 0.6, -0.6)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    save(figure, path)


def _label(ax: Any, stage: Stage, level: int, longest: float) -> None:
    """After the bar, or before it, or in it, where there is room."""
    text, gap = f"{stage.name}, {stage.seconds:.1f} s", 0.006 * longest
    how = {"va": "center", "fontsize": 8}
    if stage.end < 0.72 * longest:
        ax.text(stage.end + gap, level, text, ha="left", **how)
    elif stage.start > 0.28 * longest:
        ax.text(stage.start - gap, level, text, ha="right", **how)
    else:
        ax.text(stage.end - gap, level, text, ha="right", color="white", **how)


def _levels(rows: Sequence[Stage], lanes: Sequence[str]) -> list[tuple[Stage, int]]:
    """A line of its own for each stage that can be seen, lane by lane, as they begin."""
    seen = [stage for stage in rows if stage.seconds >= 0.05]
    ordered = sorted(seen, key=lambda s: (lanes.index(s.lane), s.start, s.end))
    return [(stage, level) for level, stage in enumerate(ordered)]


def curves(
    series: Mapping[str, Mapping[int, tuple[float, float, float]]],
    labels: tuple[str, str],
    path: Path,
    level: float | None = None,
) -> None:
    """Lines by size with their least and most, on a logarithmic scale of sizes."""
    figure, (ax,) = canvas([1], 6.5, 3.4)
    for n, (name, points) in enumerate(series.items()):
        xs = sorted(points)
        middle = [points[x][0] for x in xs]
        low = [points[x][0] - points[x][1] for x in xs]
        high = [points[x][2] - points[x][0] for x in xs]
        beside = [x * 1.06**n for x in xs]  # so that no bar hides another
        colour = COLOURS[n % len(COLOURS)]
        ax.errorbar(beside, middle, [low, high], label=name, color=colour, marker="o", capsize=3)
    if level is not None:
        ax.axhline(level, color=INK, linewidth=0.8, linestyle=":")
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ticks = sorted({x for points in series.values() for x in points})
    ax.set_xticks(ticks, [f"{x:,}" for x in ticks])
    ax.minorticks_off()
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.legend(frameon=False, loc="best")
    figure.tight_layout()
    save(figure, path)
