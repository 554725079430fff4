"""How fast over time, as a chart shows it: only where something was measured, in no more points than there is room."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer.report.times import NS_PER_S, format_time

if TYPE_CHECKING:
    from analyzer.model.frames import I64
    from analyzer.report.report import Report

_SCATTERED: Final = 0.3
"""Where windows cover less of the time than this, they are shown each by itself."""

_LIMIT_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Pace:
    """n stretches of time, in order: int64[n] starts and ends in ns, float64[n, 6] frames a second by class."""

    start_ns: I64
    end_ns: I64
    fps: np.ndarray[Any, np.dtype[np.float64]]
    is_scattered: bool = False
    bin_s: int = 1

    @property
    def words(self) -> str:
        """When, and how finely."""
        first, last = (f"{format_time(int(ns))[:19]}Z" for ns in (self.start_ns[0], self.end_ns[-1]))
        each = "one value a window" if self.is_scattered else f"in bins of {self.bin_s} s"
        return f"from {first} to {last}, {each}"

    def runs(self) -> list[slice]:
        """Give the stretches that follow each other without a gap."""
        breaks = np.flatnonzero(self.start_ns[1:] != self.end_ns[:-1]) + 1
        ends = [0, *breaks.tolist(), len(self.start_ns)]
        return [slice(start, end) for start, end in pairwise(ends) if end > start]

    def at_most(self, points: int) -> Pace:
        """Give the same in no more than about ``points`` stretches; neighbours become one at their mean rate."""
        step = -(-len(self.start_ns) // max(points, 1))
        if step <= 1:
            return self
        runs = [slice(0, len(self.start_ns))] if self.is_scattered else self.runs()
        cuts = np.array([at for run in runs for at in range(run.start, run.stop, step)], np.int64)
        seconds = (self.end_ns / NS_PER_S) - (self.start_ns / NS_PER_S)
        frames = np.add.reduceat(self.fps * seconds[:, None], cuts)
        ends = np.append(cuts[1:], len(self.start_ns)) - 1
        lengths = np.add.reduceat(seconds, cuts)
        return Pace(self.start_ns[cuts], self.end_ns[ends], frames / lengths[:, None], self.is_scattered, self.bin_s)


def pace_of(report: Report) -> Pace:
    """Give how fast it went in each bin of the report's timeline that lies in a window, if only in part.

    Where the windows are far apart it is one value a window.
    """
    starts_ns, counts = report.timeline.rows()
    width_ns = report.timeline.bin_s * NS_PER_S
    measured = _within(starts_ns, width_ns, report)
    starts_ns, counts = starts_ns[measured], counts[measured]
    ends_ns = np.minimum(starts_ns, _LIMIT_NS - width_ns) + width_ns
    pace = Pace(starts_ns, ends_ns, counts[:, :, 0] / float(report.timeline.bin_s), bin_s=report.timeline.bin_s)
    runs = pace.runs()
    span_ns = float(ends_ns[-1]) - float(starts_ns[0]) if len(starts_ns) else 0.0
    if len(runs) < 2 or len(starts_ns) * width_ns >= _SCATTERED * span_ns:  # noqa: PLR2004 - one run has no gap
        return pace
    first = np.array([run.start for run in runs], np.int64)
    last = np.array([run.stop for run in runs], np.int64) - 1
    frames = np.add.reduceat(counts[:, :, 0], first).astype(np.float64)
    seconds = ends_ns[last] / NS_PER_S - starts_ns[first] / NS_PER_S
    return Pace(
        starts_ns[first], ends_ns[last], frames / seconds[:, None], is_scattered=True, bin_s=report.timeline.bin_s
    )


def _within(starts_ns: I64, width_ns: int, report: Report) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say which bins overlap a window; all of them where the time of a window is not known."""
    spans = [(window.start_ns, window.end_ns) for window in report.windows]
    known = [(start, end) for start, end in spans if start is not None and end is not None]
    if len(known) < len(spans) or not known:
        return np.ones(len(starts_ns), np.bool_)
    measured = np.zeros(len(starts_ns), np.bool_)
    for start, end in known:
        low = np.searchsorted(starts_ns, max(start - width_ns, -_LIMIT_NS), "right")
        measured[low : np.searchsorted(starts_ns, max(end, min(start, _LIMIT_NS - 1) + 1), "left")] = True
    return measured
