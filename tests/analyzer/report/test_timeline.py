from __future__ import annotations

from analyzer.report.timeline import MAX_BINS, Timeline, TimelineCounts

ONE = (1, 60, *[0] * 10)


def bins_at(numbers: range) -> tuple[tuple[int, tuple[int, ...]], ...]:
    return tuple((number, ONE) for number in numbers)


def test_bins_widen_where_they_would_be_too_many() -> None:
    full = Timeline(1, bins_at(range(MAX_BINS)))
    assert full.merge(Timeline()) == full
    wider = full.merge(Timeline(1, bins_at(range(MAX_BINS, MAX_BINS + 1))))
    assert wider.bin_s == 2
    assert len(wider.bins) == MAX_BINS // 2 + 1
    assert wider.bins[0] == (0, (2, 120, *[0] * 10))


def test_bins_before_the_epoch_round_down() -> None:
    counts = TimelineCounts()
    counts.add(1, ((-3, ONE), (-1, ONE)))
    counts.add(2, ((0, ONE),))
    assert counts.finish() == Timeline(2, ((-2, ONE), (-1, ONE), (0, ONE)))


def test_rows_fill_gaps_with_zeros() -> None:
    starts_ns, counts = Timeline(2, ((10, ONE), (12, ONE))).rows()
    assert starts_ns.tolist() == [20_000_000_000, 22_000_000_000, 24_000_000_000]
    assert counts[:, 0].tolist() == [[1, 60], [0, 0], [1, 60]]


def test_rows_of_nothing_have_their_shape() -> None:
    starts_ns, counts = Timeline().rows()
    assert starts_ns.shape == (0,)
    assert counts.shape == (0, 6, 2)


def test_rows_are_bounded_where_times_lie_far_apart() -> None:
    starts_ns, counts = Timeline(1, ((-9_223_372_037, ONE), (9_223_372_036, ONE))).rows()
    assert starts_ns.tolist() == [-(2**63) + 1, 9_223_372_036_000_000_000]
    assert len(counts) == 2
