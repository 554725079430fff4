"""From a report to what a comparison needs of it."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.compare import window_counts
from analyzer.compare.windows import MAX_BINS
from analyzer.model.classes import DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.report import Report
from analyzer.report.timeline import Timeline

S = 10**9
IDENTITY = GuestIdentity((0x525400000001,), Provenance.COMMAND_LINE)


def report(*windows: CaptureWindow, bin_s: int = 1, **frames_of_bins: int) -> Report:
    """Make a report of ``windows`` with own unicast in the named bins (``b100=7``: 7 frames in bin 100)."""
    bins = tuple((int(name[1:]), (frames, frames * 100, *(0,) * 10)) for name, frames in frames_of_bins.items())
    total = sum(frames_of_bins.values())
    counts = ((total, total * 100), *((0, 0),) * 5)
    return Report(IDENTITY, DirectionSource.EPB_FLAGS, windows, counts, timeline=Timeline(bin_s, bins))


def window(start_ns: int | None, end_ns: int | None, lost: int | None = 0, snaplen: int = 0) -> CaptureWindow:
    return CaptureWindow("vnet0", start_ns, end_ns, 0, lost, snaplen)


def test_bins_that_a_window_covers_in_part_are_left_out() -> None:
    counts = window_counts(report(window(100 * S + 1, 104 * S - 1), b100=9, b101=1, b102=2, b103=9))

    assert counts.bins[:, 0].tolist() == [1, 2]
    assert counts.frames_seen == 21
    assert counts.duration_s == pytest.approx(4.0)


def test_bins_without_a_frame_count() -> None:
    assert window_counts(report(window(100 * S, 105 * S), b102=4)).bins[:, 0].tolist() == [0, 0, 4, 0, 0]


def test_the_gap_between_two_windows_does_not_count() -> None:
    counts = window_counts(report(window(10 * S, 12 * S, 1, 128), window(20 * S, 21 * S, 2, 96), b10=1, b20=3))

    assert counts.bins[:, 0].tolist() == [1, 0, 3]
    assert (counts.start_ns, counts.end_ns, counts.duration_s) == (10 * S, 21 * S, 3.0)
    assert (counts.frames_lost, counts.snaplen) == (3, 96)


def test_a_long_window_gets_wider_bins() -> None:
    counts = window_counts(report(window(0, 3 * MAX_BINS * S), b0=1, b1=2, b3=4, b4=8))

    assert counts.bin_s == 4.0
    assert len(counts.bins) == 3 * MAX_BINS // 4
    assert counts.bins[:2, 0].tolist() == [7, 8]


def test_a_report_of_unknown_times_has_no_bins() -> None:
    counts = window_counts(report(window(None, None, None), b5=1))

    assert counts.bins.shape == (0, 6)
    assert counts.bins.dtype == np.int64
    assert (counts.duration_s, counts.start_ns, counts.frames_lost) == (0.0, None, None)


def test_identity_and_direction_come_along() -> None:
    counts = window_counts(report(window(0, S)))

    assert counts.macs == IDENTITY.macs
    assert counts.direction_source == "epb_flags"
