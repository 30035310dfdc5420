"""How the benchmark judges: on the interval, not on the mean."""

from __future__ import annotations

import math
import random

import pytest

from bench.ratio import Ratio, ratio


def test_a_drift_that_meets_both_arms_leaves_the_ratio_alone() -> None:
    theirs = [100.0, 50.0, 200.0, 10.0] * 3
    found = ratio([0.9 * value for value in theirs], theirs)
    assert (found.mean, found.low, found.high) == pytest.approx((0.9, 0.9, 0.9))


def test_the_interval_is_as_wide_as_the_pairs_differ() -> None:
    theirs = [100.0] * 12
    calm = ratio([99.0, 101.0] * 6, theirs)
    wild = ratio([50.0, 200.0] * 6, theirs)
    assert calm.low < calm.mean < calm.high
    assert wild.mean == pytest.approx(1.0)
    assert wild.high - wild.low > 10 * (calm.high - calm.low)


@pytest.mark.parametrize("pairs", [2, 3, 5, 10, 40])
def test_one_interval_in_twenty_lies_beside_the_truth(pairs: int) -> None:
    """Be the pairs few or many."""
    draw = random.Random(7)  # noqa: S311 - statistics, not secrets
    theirs = [100.0] * pairs
    beside = 0
    for _ in range(2000):
        found = ratio([100 * math.exp(draw.gauss(0, 0.1)) for _ in theirs], theirs)
        beside += not found.low <= 1 <= found.high
    assert 60 < beside < 140


def test_one_pair_decides_nothing() -> None:
    found = ratio([300.0], [100.0])
    assert found.verdict(1.8, more_is_better=True) == "undecided"
    assert str(found) == "3.000 (one pair)"


@pytest.mark.parametrize(
    ("low", "high", "throughput", "round_trip"),
    [
        (0.98, 1.02, "met", "met"),
        (0.90, 1.02, "undecided", "met"),
        (0.90, 0.96, "missed", "met"),
        (1.01, 1.10, "met", "undecided"),
        (1.06, 1.10, "met", "missed"),
    ],
)
def test_the_verdict_is_of_the_whole_interval(
    low: float, high: float, throughput: str, round_trip: str
) -> None:
    found = Ratio(1.0, low, high)
    assert found.verdict(0.97, more_is_better=True) == throughput
    assert found.verdict(1.05, more_is_better=False) == round_trip
