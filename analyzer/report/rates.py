"""How fast: mean rates over the windows, percentiles over the whole bins of the timeline."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import msgspec

from analyzer.model.classes import FrameClass
from analyzer.report.times import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.window import CaptureWindow
    from analyzer.report.report import Report

PERCENTILES: Final = (50, 95, 99, 100)


class Rate(msgspec.Struct, frozen=True):
    """Rates of one class: frames a second, and bits a second with eight bits an octet (no FCS, preamble, gap).

    The means are over the windows, None where their length is not known. The percentiles, one for each of PERCENTILES,
    are over time bins; None where no bin lies in a window entirely.
    """

    mean_fps: float | None
    mean_bps: float | None
    percentiles_fps: tuple[float, ...] | None
    percentiles_bps: tuple[float, ...] | None


def rates_of(report: Report) -> dict[FrameClass, Rate]:
    """Give the rates of each class.

    Percentiles are by nearest rank over all bins that lie in a window entirely, those without a frame too: the ends of
    a window would count as slow.
    """
    duration_s, bin_s = report.duration_s, report.timeline.bin_s
    spans = _whole_spans(report.windows, bin_s * NS_PER_S)
    starts = [start for start, _ in spans]
    whole = sum(end - start for start, end in spans)
    inside = [counts for number, counts in report.timeline.bins if _is_within(number, spans, starts)]
    rates = {}
    for kind in FrameClass:
        frames, octets = report.class_counts[kind]
        has_mean, has_bins = duration_s > 0, whole > 0
        rates[kind] = Rate(
            frames / duration_s if has_mean else None,
            octets * 8 / duration_s if has_mean else None,
            _percentiles([counts[2 * kind] / bin_s for counts in inside], whole) if has_bins else None,
            _percentiles([counts[2 * kind + 1] * 8 / bin_s for counts in inside], whole) if has_bins else None,
        )
    return rates


def _whole_spans(windows: Sequence[CaptureWindow], width_ns: int) -> list[tuple[int, int]]:
    """Give the numbers (first, one past the last) of the bins within a window, in order and apart from each other."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(
        (-(-window.start_ns // width_ns), window.end_ns // width_ns)
        for window in windows
        if window.start_ns is not None and window.end_ns is not None
    ):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        elif end > start:
            spans.append((start, end))
    return spans


def _is_within(number: int, spans: list[tuple[int, int]], starts: list[int]) -> bool:
    at = bisect_right(starts, number) - 1
    return at >= 0 and number < spans[at][1]


def _percentiles(values: list[float], count: int) -> tuple[float, ...]:
    """Give the percentiles of ``count`` values, of which those that are not given are 0."""
    ordered = sorted(values)
    missing = count - len(ordered)
    ranks = [-(-percentile * count // 100) - 1 - missing for percentile in PERCENTILES]
    return tuple(ordered[rank] if rank >= 0 else 0.0 for rank in ranks)
