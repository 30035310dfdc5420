"""Whether one arm keeps up with another, judged on pairs that were measured in turn."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000
SEED = 1  # the same pairs give the same interval


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over pairs, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    count: int = 0  # pairs

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def verdict(self, target: float, more_is_better: bool) -> str:
        """``met`` or ``missed`` where the whole interval is; else ``undecided``."""
        worst, best = (self.low, self.high) if more_is_better else (self.high, self.low)

        def good(value: float) -> bool:
            return value >= target if more_is_better else value <= target

        return "met" if good(worst) else "undecided" if good(best) else "missed"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of ours to theirs, pair by pair; the interval by bootstrap over the pairs."""
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    draw = random.Random(SEED)  # noqa: S311 - statistics, not secrets
    means = sorted(statistics.fmean(draw.choices(logs, k=len(logs))) for _ in range(RESAMPLES))
    low, high = means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]
    return Ratio(math.exp(statistics.fmean(logs)), math.exp(low), math.exp(high), len(logs))
