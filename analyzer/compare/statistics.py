"""Intervals for counts: exact ones for shares and rate ratios, a block bootstrap for traffic that comes in bursts.

Pure NumPy and the standard library; scipy is the oracle in the tests. Every function gives the same answer for the
same counts: the bootstrap draws from a generator with a fixed seed. Nothing here knows frames, classes or verdicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from analyzer.model.frames import I64

RESAMPLES: Final = 2000
"""Bootstrap resamples: the 2.5 % quantile then rests on 50 of them."""

SEED: Final = 2015
"""Fixed, so that the same windows are judged the same way each time."""

EXACT_LIMIT: Final = 1_000_000
"""Where both counts are above this, the normal approximation stands in for the exact bound (relative error below
1e-5)."""

BLOCKS: Final = 4
"""Blocks in a window. Few long ones: bursts as long as a quarter of the window stay whole."""

SPREAD: Final = 3.182446 / 1.959964 * math.sqrt(BLOCKS / (BLOCKS - 1))
"""What a percentile interval from so few blocks is too narrow by: Student's t with 3 degrees of freedom against the
normal quantile, and the bias of a variance estimated from 4 values."""

_TINY = 1e-300
_LARGEST_LOG = 700.0
_PRECISION = 1e-14
_STEPS = 200
_NORMAL_MEAN = 50.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; ``upper`` is infinite where the counts set no bound."""

    lower: float
    upper: float

    def hull(self, other: Interval) -> Interval:
        """Give the smallest interval that holds both."""
        return Interval(min(self.lower, other.lower), max(self.upper, other.upper))


def beta_cdf(x: float, a: float, b: float) -> float:
    """Give the regularised incomplete beta function I_x(a, b) for a, b > 0.

    By the continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, evaluated with Lentz's
    method; about sqrt(min(a, b)) terms.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast on the other side only
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Give the continued fraction of the incomplete beta function."""
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    step, m = 0.0, 0
    while abs(step - 1.0) > _PRECISION:
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            step *= c * d
        value *= step
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Give x with I_x(a, b) = ``probability``: Newton's method, halving the bracket where a step leaves it."""
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(_STEPS):
        excess = beta_cdf(x, a, b) - probability
        low, high = (low, x) if excess > 0.0 else (x, high)
        slope = math.exp(_log_beta_density(x, a, b))
        following = x - excess / slope if slope > _TINY else low
        if not low < following < high:
            following = (low + high) / 2.0
        if abs(following - x) <= 1e-13 * x:
            break
        x = following
    return x


def _log_beta_density(x: float, a: float, b: float) -> float:
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return log_scale + (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x)


def poisson_upper_count(mean: float, tail: float) -> int:
    """Give the largest count that a Poisson variable of ``mean`` does not exceed with probability ``tail`` or more.

    That is the smallest k with P(X > k) <= tail; from a mean of 50 on by the normal approximation, rounded up.
    """
    if mean > _NORMAL_MEAN:
        return math.ceil(mean + NormalDist().inv_cdf(1.0 - tail) * math.sqrt(mean) + 0.5)
    count, term = 0, math.exp(-mean)
    beyond = 1.0 - term
    while beyond > tail:
        count += 1
        term *= mean / count
        beyond -= term
    return count


def share_interval(hits: int, trials: int, tail: float) -> Interval:
    """Give bounds of a share, each of which fails with probability ``tail`` at most (Clopper and Pearson, 1934).

    ``hits`` of ``trials`` were seen. A tail of 0.05 gives one-sided 95 % bounds, 0.025 a two-sided 95 % interval.
    No trials bound nothing: [0, 1].
    """
    if trials <= 0:
        return Interval(0.0, 1.0)
    misses = trials - hits
    if min(hits, misses) > EXACT_LIMIT:
        return _wilson_interval(hits, trials, tail)
    lower = 0.0 if hits <= 0 else beta_quantile(tail, hits, misses + 1)
    upper = 1.0 if misses <= 0 else beta_quantile(1.0 - tail, hits + 1, misses)
    return Interval(lower, upper)


def _wilson_interval(hits: int, trials: int, tail: float) -> Interval:
    """Give the score interval (Wilson, 1927), which the exact one approaches for large counts."""
    z = NormalDist().inv_cdf(1.0 - tail)
    share = hits / trials
    centre = share + z * z / (2.0 * trials)
    half = z * math.sqrt(share * (1.0 - share) / trials + z * z / (4.0 * trials * trials))
    scale = 1.0 + z * z / trials
    return Interval((centre - half) / scale, (centre + half) / scale)


def poisson_ratio_interval(before: int, before_s: float, after: int, after_s: float, tail: float = 0.025) -> Interval:
    """Give bounds of the rate ratio after / before of two Poisson counts over ``before_s`` and ``after_s`` seconds.

    Exact, from the conditional distribution: given the sum of both, ``after`` is binomial (Przyborowski and Wilenski,
    1940). It is right for frames that come independently, and too narrow for bursts.
    """
    share = share_interval(after, before + after, tail)
    return Interval(_odds(share.lower) * before_s / after_s, _odds(share.upper) * before_s / after_s)


def _odds(share: float) -> float:
    return math.inf if share >= 1.0 else share / (1.0 - share)


def block_length(bins: int) -> int:
    """Give the length of a bootstrap block for a series of ``bins``: a quarter of it, rounded up."""
    return max(1, -(-bins // BLOCKS))


def resampled_sums(series: I64, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Give the sums of moving-block resamples of ``series`` (bins x columns): an array of RESAMPLES x columns.

    Blocks of consecutive bins are drawn with replacement until the series is as long as it was; its end is joined
    to its start, so that each bin is drawn equally often (Politis and Romano, 1992). All columns share the blocks:
    what rose and fell together does so in the resamples.
    """
    bins = len(series)
    length = block_length(bins)
    whole, rest = divmod(bins, length)
    running = np.concatenate([np.zeros((1, series.shape[1]), np.int64), np.cumsum(np.tile(series, (2, 1)), axis=0)])
    starts = generator.integers(0, bins, (RESAMPLES, whole + 1))
    ends = starts + np.array([length] * whole + [rest])
    sums: I64 = (running[ends] - running[starts]).sum(axis=1)
    return sums.astype(np.float64)


def bootstrap_ratio_intervals(before: I64, after: I64) -> tuple[Interval | None, ...]:
    """Give a 95 % interval of the rate ratio after / before for each column of two series of counts (bins x columns).

    The bins of both are equally long. The 2.5 % and 97.5 % quantiles of the log ratio over moving-block resamples
    of both series (Kuensch, 1989), their distance from the measured log ratio stretched by SPREAD. A column without
    a frame in one of the windows has no log ratio, and so no interval: None.
    """
    generator = np.random.default_rng(SEED)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.log(resampled_sums(after, generator) / len(after)) - np.log(
            resampled_sums(before, generator) / len(before)
        )
        measured = np.log(after.sum(axis=0) / len(after)) - np.log(before.sum(axis=0) / len(before))
    return tuple(_stretched(column, float(centre)) for column, centre in zip(drawn.T, measured, strict=True))


def _stretched(drawn: npt.NDArray[np.float64], centre: float) -> Interval | None:
    """Give the percentile interval of one column of log ratios, as a ratio, stretched around its ``centre``."""
    if not math.isfinite(centre):
        return None
    tail = math.floor(0.025 * (RESAMPLES - 1))
    low = float(np.sort(np.where(np.isnan(drawn), -math.inf, drawn))[tail])
    high = float(np.sort(np.where(np.isnan(drawn), math.inf, drawn))[RESAMPLES - 1 - tail])
    return Interval(_exp(centre - SPREAD * (centre - low)), _exp(centre + SPREAD * (high - centre)))


def _exp(value: float) -> float:
    return math.exp(value) if value < _LARGEST_LOG else math.inf
