from __future__ import annotations

import tracemalloc

import numpy as np

from analyzer.model.classes import FrameClass
from analyzer.report.hitter_table import HitterTable
from analyzer.report.talkers import KEPT, MERGED, Entry, Hitters
from tests.frame_batches import Row, frame_batch


def table_of(macs: list[int]) -> Hitters:
    table = HitterTable(FrameClass.FOREIGN_UNICAST, "src", "dst")
    for start in range(0, len(macs), 4096):
        table.add(*frame_batch([Row(src=mac) for mac in macs[start : start + 4096]]))
    return table.finish()


def test_counts_are_exact_up_to_the_bound() -> None:
    macs = [2 * mac for mac in range(KEPT)]
    hitters = table_of(macs * 3)
    assert hitters.error == 0
    assert [entry.first for entry in hitters.entries] == macs
    assert {(entry.frames, entry.error) for entry in hitters.entries} == {(3, 0)}


def test_a_flood_of_random_macs_neither_hides_a_talker_nor_fills_the_memory() -> None:
    rng = np.random.default_rng(1)
    heavy = 0x020000000001
    table = HitterTable(FrameClass.FOREIGN_UNICAST, "src", "dst")
    batches = 100
    tracemalloc.start()
    try:
        for _ in range(batches):
            macs = rng.integers(0, 2**46, 4096) * 4
            macs[::64] = heavy
            table.add(*frame_batch([Row(src=int(mac)) for mac in macs]))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        hitters = table.finish()
        assert before < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert len(hitters.entries) == KEPT
    assert 0 < hitters.error <= batches * 4096 / KEPT
    first = hitters.by_size()[0]
    assert first.first == heavy
    assert first.frames <= batches * 64 <= first.most


def test_a_talker_that_was_there_from_the_start_stays_exact_in_a_flood() -> None:
    flood = [4 * mac for mac in range(1, 20_000)]
    hitters = table_of([1, *([1] * 500), *flood, 1])
    assert next(entry for entry in hitters.entries if entry.first == 1)[2:] == (502, 502 * 64, 0, 0, 0)
    assert hitters.error > 0


def test_merging_is_bounded_and_says_what_it_dropped() -> None:
    half = MERGED // 2
    one, two = (
        Hitters(tuple(Entry(first, 0, 2, 128, 0, 0) for first in range(start, start + half))) for start in (0, half)
    )
    assert one.merge(two).error == 0
    more = Hitters((Entry(MERGED, 0, 9, 576, 0, 0),))
    merged = one.merge(two).merge(more)
    assert len(merged.entries) == MERGED
    assert merged.error == 2
    assert merged.by_size()[0].first == MERGED


def test_an_entry_that_one_side_lacks_carries_its_error() -> None:
    one = Hitters((Entry(1, 2, 10, 640, 3, 9, 1),), error=2)
    two = Hitters((Entry(4, 5, 1, 64, 1, 1),), error=4)
    assert one.merge(two) == Hitters((Entry(1, 2, 10, 640, 3, 9, 5), Entry(4, 5, 1, 64, 1, 1, 2)), error=6)
