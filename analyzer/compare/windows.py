"""What a comparison needs of one window of measuring, and whether two of them can be compared.

Plain values: a stored report, a live window and a simulation look the same from here. Called by the judgement;
nothing here judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.model.addresses import format_mac
from analyzer.model.classes import CLASS_COUNT, DirectionSource

if TYPE_CHECKING:
    from analyzer.model.frames import I64
    from analyzer.model.window import CaptureWindow
    from analyzer.report.report import Report

LOSS_LIMIT: Final = 0.001
"""The share of frames lost by the kernel above which a window is not compared: losses come in bursts, as floods
do."""

MAX_BINS: Final = 4096
"""Bins of a window that are compared at the most; longer windows get wider ones."""

_NS_PER_S: Final = 1_000_000_000

ADDRESSES_OCTETS: Final = 12
"""What a frame must keep to be classified: both MAC addresses (IEEE 802.3-2022, 3.1.1)."""


def no_bins() -> I64:
    """Give an empty series: 0 bins of the six classes."""
    return np.zeros((0, CLASS_COUNT), np.int64)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """The counts of one window, rows being FrameClass.

    ``counts`` is int64[6, 2]: frames and octets over ``duration_s``. ``bins`` is int64[n, 6]: frames in each whole
    bin of ``bin_s`` seconds, in order, without the bins that the window covers in part. ``macs`` are the addresses
    that counted as the guest's own. ``direction_source`` says how the direction was known. ``start_ns`` and
    ``end_ns`` are None where not known; ``frames_lost`` is None where it cannot be known; ``snaplen`` 0 means no
    limit.
    """

    counts: I64
    duration_s: float
    macs: tuple[int, ...]
    bins: I64 = field(default_factory=no_bins)
    bin_s: float = 1.0
    start_ns: int | None = None
    end_ns: int | None = None
    frames_lost: int | None = None
    snaplen: int = 0
    direction_source: str = ""
    stopped_early: str | None = None

    @property
    def frames_seen(self) -> int:
        """All frames of all classes."""
        return int(self.counts[:, 0].sum())


def window_counts(report: Report) -> WindowCounts:
    """Give what a comparison needs of ``report``; several windows count as one, without the gaps between them."""
    windows = report.windows
    starts = [window.start_ns for window in windows if window.start_ns is not None]
    ends = [window.end_ns for window in windows if window.end_ns is not None]
    bin_s, bins = _whole_bins(report)
    return WindowCounts(
        counts=report.counts,
        duration_s=report.duration_s,
        macs=report.identity.macs,
        bins=bins,
        bin_s=float(bin_s),
        start_ns=min(starts, default=None),
        end_ns=max(ends, default=None),
        frames_lost=report.frames_lost,
        snaplen=min((window.snaplen for window in windows if window.snaplen), default=0),
        direction_source=str(report.direction_source),
        stopped_early="; ".join(window.stopped_early for window in windows if window.stopped_early) or None,
    )


def _whole_bins(report: Report) -> tuple[int, I64]:
    """Give the width in seconds and the frames of all bins that lie in a window entirely, those without a frame too."""
    bin_s = report.timeline.bin_s
    while True:
        spans = [_bins_within(window, bin_s * _NS_PER_S) for window in report.windows]
        if sum(map(len, spans)) <= MAX_BINS:
            break
        bin_s *= 2
    counted: dict[int, I64] = {}
    for number, counts in report.timeline.bins:
        wide = number * report.timeline.bin_s // bin_s
        counted[wide] = counted.get(wide, 0) + np.array(counts[::2], np.int64)
    none = np.zeros(CLASS_COUNT, np.int64)
    rows = [counted.get(number, none) for span in spans for number in span]
    return bin_s, np.array(rows, np.int64).reshape(-1, CLASS_COUNT)


def _bins_within(window: CaptureWindow, width_ns: int) -> range:
    if window.start_ns is None or window.end_ns is None:
        return range(0)
    return range(-(-window.start_ns // width_ns), window.end_ns // width_ns)


def obstacles(before: WindowCounts, after: WindowCounts) -> tuple[str, ...]:
    """Give the reasons why the two windows cannot be compared; none means that they can."""
    reasons = [*_own_obstacles("before", before), *_own_obstacles("after", after)]
    if set(before.macs) != set(after.macs):
        old, new = (", ".join(map(format_mac, sorted(window.macs))) or "none" for window in (before, after))
        reasons.append(f"they are of different guests: MAC addresses {old} before, {new} after")
    sources = {before.direction_source, after.direction_source}
    if DirectionSource.SOURCE_MAC in sources and len(sources) > 1:  # the two others tell the same, live and in files
        reasons.append(
            f"the direction was known from {before.direction_source} before and {after.direction_source} after"
        )
    if before.end_ns is not None and after.start_ns is not None and after.start_ns < before.end_ns:
        reasons.append("the window after begins before the end of the window before")
    return tuple(reasons)


def _own_obstacles(which: str, window: WindowCounts) -> list[str]:
    reasons = []
    if window.duration_s <= 0.0:
        reasons.append(f"the length of the window {which} is not known")
    if window.frames_seen == 0 and which == "before":
        reasons.append("the window before holds no frame")
    if window.frames_lost and window.frames_lost > LOSS_LIMIT * (window.frames_seen + window.frames_lost):
        reasons.append(f"the window {which} lost {window.frames_lost} frames beside {window.frames_seen} seen")
    if 0 < window.snaplen < ADDRESSES_OCTETS:
        reasons.append(f"the window {which} kept {window.snaplen} octets a frame, too few for its addresses")
    return reasons


def reservations(window: WindowCounts, which: str) -> list[str]:
    """Give what a reader should know of a window that can be compared: unknown losses, an early end."""
    remarks = []
    if window.frames_lost is None:
        remarks.append(f"whether frames were lost in the window {which} is not known")
    elif window.frames_lost:
        lost = "1 frame was" if window.frames_lost == 1 else f"{window.frames_lost:,} frames were"
        remarks.append(f"{lost} lost in the window {which}")
    if window.stopped_early:
        remarks.append(f"the window {which} ended early: {window.stopped_early}")
    return remarks


def common_bins(before: WindowCounts, after: WindowCounts) -> tuple[I64, I64]:
    """Give the bins of both windows at the wider of their widths; none where it is no multiple of the other."""
    width = max(before.bin_s, after.bin_s)
    return _widened(before, width), _widened(after, width)


def _widened(window: WindowCounts, bin_s: float) -> I64:
    """Give the bins of ``window`` summed to bins of ``bin_s``; a rest that does not fill one is left out."""
    factor = round(bin_s / window.bin_s)
    if factor < 1 or factor * window.bin_s != bin_s:
        return no_bins()
    whole = len(window.bins) // factor
    summed: I64 = window.bins[: whole * factor].reshape(whole, factor, window.bins.shape[1]).sum(axis=1)
    return summed
