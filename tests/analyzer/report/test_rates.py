from __future__ import annotations

from dataclasses import replace

from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.rates import Rate, rates_of
from analyzer.report.report import Report
from analyzer.report.timeline import Timeline
from tests.frame_batches import GUEST

S = 1_000_000_000
FOREIGN = FrameClass.FOREIGN_UNICAST


def report_of(windows: list[tuple[int | None, int | None]], frames_per_bin: dict[int, int], bin_s: int = 1) -> Report:
    total = sum(frames_per_bin.values())
    counts = tuple((total, 100 * total) if kind is FOREIGN else (0, 0) for kind in FrameClass)
    bins = tuple((at, (*[0] * 6, n, 100 * n, *[0] * 4)) for at, n in sorted(frames_per_bin.items()))
    return Report(
        GuestIdentity((GUEST,), Provenance.COMMAND_LINE),
        DirectionSource.SOURCE_MAC,
        tuple(CaptureWindow("file", *window, 0, None, 0) for window in windows),
        counts,
        timeline=Timeline(bin_s, bins),
    )


def test_means_are_over_the_windows() -> None:
    rate = rates_of(report_of([(0, 10 * S), (20 * S, 30 * S)], {0: 40}))[FOREIGN]
    assert (rate.mean_fps, rate.mean_bps) == (2.0, 1600.0)


def test_idle_bins_count_and_bins_at_the_ends_do_not() -> None:
    window = (S // 2, 10 * S + S // 2)
    rate = rates_of(report_of([window], {0: 1000, 1: 10, 2: 20, 3: 30, 10: 1000}))[FOREIGN]
    assert rate.percentiles_fps == (0.0, 30.0, 30.0, 30.0)
    assert rate.percentiles_bps == (0.0, 24_000.0, 24_000.0, 24_000.0)


def test_percentiles_are_by_nearest_rank() -> None:
    rate = rates_of(report_of([(0, 100 * S)], {at: at + 1 for at in range(100)}))[FOREIGN]
    assert rate.percentiles_fps == (50.0, 95.0, 99.0, 100.0)


def test_wide_bins_give_rates_a_second() -> None:
    rate = rates_of(report_of([(0, 8 * S)], {0: 8, 1: 16}, bin_s=4))[FOREIGN]
    assert rate.percentiles_fps == (2.0, 4.0, 4.0, 4.0)


def test_windows_that_overlap_count_a_bin_once() -> None:
    rate = rates_of(report_of([(0, 3 * S), (S, 4 * S), (9 * S, 10 * S)], {0: 1, 3: 3, 5: 99, 9: 5}))[FOREIGN]
    assert rate.percentiles_fps == (1.0, 5.0, 5.0, 5.0)


def test_rates_without_a_known_length_are_unknown() -> None:
    for windows in ([], [(None, None)], [(5, 5)]):
        assert rates_of(report_of(windows, {0: 3}))[FOREIGN] == Rate(None, None, None, None)


def test_a_window_within_a_bin_has_a_mean_and_no_percentiles() -> None:
    rate = rates_of(report_of([(0, S // 2)], {0: 3}))[FOREIGN]
    assert rate == Rate(6.0, 4800.0, None, None)


def test_a_window_of_centuries_costs_nothing() -> None:
    report = report_of([(-(2**63), 2**63 - 1)], {0: 3})
    assert rates_of(replace(report))[FOREIGN].percentiles_fps == (0.0, 0.0, 0.0, 3.0)
