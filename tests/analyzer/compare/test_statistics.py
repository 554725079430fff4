"""The intervals against scipy, and the laws of the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from analyzer.compare import statistics
from analyzer.compare.statistics import (
    Interval,
    beta_cdf,
    beta_quantile,
    block_length,
    bootstrap_ratio_intervals,
    poisson_ratio_interval,
    poisson_upper_count,
    resampled_sums,
    share_interval,
)

COUNTS = [(0, 1), (1, 1), (0, 30), (1, 30), (15, 30), (30, 30), (3, 100_000), (499, 1000), (40_000, 90_000)]


@settings(max_examples=300, deadline=None)
@given(
    st.floats(0.0, 1.0),
    st.floats(0.5, 1e5),
    st.floats(0.5, 1e5),
)
def test_the_beta_function_is_that_of_scipy(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("probability", [0.025, 0.05, 0.5, 0.975])
@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 30), (2, 5), (400, 3), (5000, 70_000)])
def test_the_beta_quantile_is_that_of_scipy(probability: float, a: float, b: float) -> None:
    assert beta_quantile(probability, a, b) == pytest.approx(stats.beta.ppf(probability, a, b), rel=1e-8)


@pytest.mark.parametrize(("hits", "trials"), COUNTS)
def test_a_share_has_the_bounds_of_clopper_and_pearson(hits: int, trials: int) -> None:
    exact = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")

    bounds = share_interval(hits, trials, 0.025)

    assert (bounds.lower, bounds.upper) == pytest.approx((exact.low, exact.high), rel=1e-8)


def test_a_share_of_huge_counts_is_bounded_by_the_normal_approximation() -> None:
    hits, trials = 30_000_000, 90_000_000
    exact = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")

    bounds = share_interval(hits, trials, 0.025)

    assert (bounds.lower, bounds.upper) == pytest.approx((exact.low, exact.high), rel=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1e-4, 0.004, 0.2, 3.0, 49.0, 51.0, 2000.0])
@pytest.mark.parametrize("tail", [0.005, 0.05])
def test_the_upper_count_of_a_poisson_variable_is_that_of_scipy(mean: float, tail: float) -> None:
    exact = int(stats.poisson.isf(tail, mean)) if mean else 0

    assert exact <= poisson_upper_count(mean, tail) <= exact + (2 if mean > 50 else 0)


def test_no_trials_bound_nothing() -> None:
    assert share_interval(0, 0, 0.05) == Interval(0.0, 1.0)


def test_none_of_thirty_is_below_a_tenth_and_none_of_twenty_eight_is_not() -> None:
    assert share_interval(0, 30, 0.05).upper < 0.1 < share_interval(0, 28, 0.05).upper


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 5), (5, 0), (30, 0), (12, 40), (3000, 10)])
def test_a_ratio_of_counts_has_the_exact_conditional_bounds(before: int, after: int) -> None:
    bounds = poisson_ratio_interval(before, 60.0, after, 30.0)

    low, high = (0.0, 1.0)
    if before + after:
        exact = stats.binomtest(after, before + after).proportion_ci(0.95, method="exact")
        low, high = exact.low, exact.high
    assert bounds.lower == pytest.approx(low / (1 - low) * 2.0, rel=1e-8)
    assert bounds.upper == (math.inf if high == 1.0 else pytest.approx(high / (1 - high) * 2.0, rel=1e-8))


@given(st.integers(1, 500), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_resamples_of_a_constant_series_are_constant(bins: int, columns: int) -> None:
    series = np.full((bins, columns), 7, np.int64)

    sums = resampled_sums(series, np.random.default_rng(1))

    assert sums.shape == (statistics.RESAMPLES, columns)
    assert (sums == 7 * bins).all()


def test_resamples_have_the_mean_of_the_series() -> None:
    series = np.arange(60, dtype=np.int64).reshape(-1, 1)

    assert resampled_sums(series, np.random.default_rng(1)).mean() == pytest.approx(series.sum(), rel=0.01)


def test_a_block_is_a_quarter_of_the_window() -> None:
    assert [block_length(bins) for bins in (1, 4, 10, 60, 61)] == [1, 1, 3, 15, 16]


def test_the_bootstrap_knows_nothing_of_a_class_without_frames() -> None:
    none, some = np.zeros((20, 1), np.int64), np.ones((20, 1), np.int64)

    assert bootstrap_ratio_intervals(none, some) == (None,)
    assert bootstrap_ratio_intervals(some, none) == (None,)


def test_a_steady_fall_to_a_tenth_has_the_ratio_a_tenth() -> None:
    (interval,) = bootstrap_ratio_intervals(np.full((60, 1), 100, np.int64), np.full((60, 1), 10, np.int64))

    assert interval is not None
    assert (interval.lower, interval.upper) == pytest.approx((0.1, 0.1))


def test_bursts_make_the_interval_wider_than_counting_noise() -> None:
    bursty = np.repeat(np.array([0, 300, 0, 0, 300, 0], np.int64), 10).reshape(-1, 1)

    (interval,) = bootstrap_ratio_intervals(bursty, bursty)

    exact = poisson_ratio_interval(6000, 60.0, 6000, 60.0)
    assert interval is not None
    assert interval.upper / interval.lower > 10 * exact.upper / exact.lower


def test_the_same_counts_always_give_the_same_interval() -> None:
    series = np.random.default_rng(3).poisson(20, (60, 6)).astype(np.int64)

    assert bootstrap_ratio_intervals(series, series) == bootstrap_ratio_intervals(series, series)


def test_an_interval_without_an_end_is_infinite() -> None:
    before = np.zeros((20, 1), np.int64)
    before[0] = 1

    (interval,) = bootstrap_ratio_intervals(before, np.ones((20, 1), np.int64))

    assert interval is not None
    assert interval.upper == math.inf
