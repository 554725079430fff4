"""The classes before, after and at the meter, side by side, with the interval of each rate ratio.

Called by the judgement. Nothing here judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.compare.comparison import ClassComparison
from analyzer.compare.statistics import Interval, bootstrap_ratio_intervals, poisson_ratio_interval
from analyzer.compare.windows import WindowCounts, common_bins
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.frames import I64

MINIMUM_BINS: Final = 10
"""Whole bins that each window needs before its rates are compared by blocks."""


def side_by_side(
    before: WindowCounts | None,
    after: WindowCounts,
    metered: tuple[I64, I64] | None,
    predicted: Sequence[float | None] | None,
) -> tuple[ClassComparison, ...]:
    """Give each class before, after and at the meter, in the order of FrameClass.

    ``before`` is None where there is nothing to compare with. ``metered`` is offered and delivered, int64[6, 2] each.
    """
    intervals = _intervals(before, after) if before is not None else (None,) * len(FrameClass)
    rows = []
    for row, interval in zip(FrameClass, intervals, strict=True):
        old_fps = None if before is None else int(before.counts[row, 0]) / before.duration_s
        new_fps = int(after.counts[row, 0]) / after.duration_s if after.duration_s > 0.0 else None
        dropped = None
        if metered is not None and metered[0][row, 0] > 0:
            dropped = max(0.0, 1.0 - int(metered[1][row, 0]) / int(metered[0][row, 0]))
        rows.append(
            ClassComparison(
                frame_class=row,
                before=None if before is None else _pair(before.counts, row),
                after=_pair(after.counts, row),
                before_fps=old_fps,
                after_fps=new_fps,
                ratio=new_fps / old_fps if old_fps and new_fps is not None else None,
                interval=interval,
                offered=None if metered is None else _pair(metered[0], row),
                delivered=None if metered is None else _pair(metered[1], row),
                dropped_share=dropped,
                predicted_share=None if predicted is None else predicted[row],
            )
        )
    return tuple(rows)


def _pair(counts: I64, row: FrameClass) -> tuple[int, int]:
    return int(counts[row, 0]), int(counts[row, 1])


def _intervals(before: WindowCounts, after: WindowCounts) -> tuple[Interval, ...]:
    """Give the interval of each class's rate ratio: the exact Poisson one, widened to hold that of the bootstrap."""
    exact = [
        poisson_ratio_interval(
            int(before.counts[row, 0]), before.duration_s, int(after.counts[row, 0]), after.duration_s
        )
        for row in FrameClass
    ]
    old, new = common_bins(before, after)
    if min(len(old), len(new)) < MINIMUM_BINS:
        return tuple(exact)
    return tuple(
        poisson if blocks is None else poisson.hull(blocks)
        for poisson, blocks in zip(exact, bootstrap_ratio_intervals(old, new), strict=True)
    )
