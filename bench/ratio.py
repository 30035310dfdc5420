"""Whether one arm keeps up with another, judged on pairs that were measured in turn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

SEED = 1  # an order of chance that is the same at each run
# Student's t at 97.5 %, by degrees of freedom from 1 (NIST/SEMATECH handbook, 1.3.6.7.2).
STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over pairs, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    count: int = 0  # pairs

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{self.mean:.3f} (one pair)"
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def verdict(self, target: float, more_is_better: bool) -> str:
        """``met`` or ``missed`` where the whole interval is; else ``undecided``."""
        worst, best = (self.low, self.high) if more_is_better else (self.high, self.low)

        def good(value: float) -> bool:
            return value >= target if more_is_better else value <= target

        return "met" if good(worst) else "undecided" if good(best) else "missed"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of ours to theirs, pair by pair; the interval is Student's, of the logarithms.

    A bootstrap of so few pairs is too narrow: of three, one in seven lies beside the truth on
    either side, where it should be one in forty. Of one pair it is all there is.
    """
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    mean, free = statistics.fmean(logs), len(logs) - 1
    if not free:
        return Ratio(math.exp(mean), 0.0, math.inf, 1)
    wide = STUDENT[min(free, len(STUDENT)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - wide), math.exp(mean + wide), len(logs))
