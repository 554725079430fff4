"""Is a curve flat? The growth over the whole run by a straight line through block means, with its interval.

Samples seconds apart depend on each other; means of a dozen blocks hardly do, so that Student's interval holds. A
curve is flat when even the upper end of the interval is below what is allowed: that it cannot be told is no pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import t as student

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS: Final = 12
WARM_UP: Final = 0.2
"""The share of the run at its beginning that is not judged: imports, caches, the first files."""
CONFIDENCE: Final = 0.95
ALLOWED_SHARE: Final = 0.05
ALLOWED_UNITS: Final = 1.0
"""A curve may grow by this share of its mean and so many units (MiB, descriptors, ...) over the run."""


@dataclass(frozen=True, slots=True)
class Flatness:
    """The growth over the judged part of the run, in the unit of the curve, with its 95 % interval."""

    mean: float
    growth: float
    lower: float
    upper: float

    @property
    def allowed(self) -> float:
        """The growth that is no growth."""
        return ALLOWED_SHARE * self.mean + ALLOWED_UNITS

    @property
    def is_flat(self) -> bool:
        """Say whether no more growth than allowed is compatible with the curve."""
        return self.upper < self.allowed


def judge(times_s: Sequence[float], values: Sequence[float]) -> Flatness:
    """Judge one curve, sampled at ``times_s`` from 0 on. ValueError where a block would be empty."""
    times, measured = np.asarray(times_s, float), np.asarray(values, float)
    start, end = WARM_UP * times[-1], times[-1]
    edges = np.linspace(start, end, BLOCKS + 1)
    which = np.clip(np.searchsorted(edges, times, side="right") - 1, -1, BLOCKS - 1)
    blocks = [measured[which == block] for block in range(BLOCKS)]
    if not all(map(len, blocks)):
        raise ValueError("too few samples to judge")
    means = np.array([block.mean() for block in blocks])
    middles = (edges[:-1] + edges[1:]) / 2
    centred = middles - middles.mean()
    slope = float(centred @ means / (centred @ centred))
    residuals = means - means.mean() - slope * centred
    error = float(np.sqrt(residuals @ residuals / (BLOCKS - 2) / (centred @ centred)))
    margin = float(student.ppf((1 + CONFIDENCE) / 2, BLOCKS - 2)) * error
    length = end - start
    return Flatness(float(means.mean()), slope * length, (slope - margin) * length, (slope + margin) * length)
