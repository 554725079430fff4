"""Laws of the judgement: what no counts at all can bring about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.compare import Verdict, WindowCounts, judge
from analyzer.compare.judgement import DELIVERED_LIMIT, MINIMUM_OFFERED
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from analyzer.model.frames import I64

FRAMES = st.one_of(st.integers(0, 100), st.integers(0, 10**9))
FOREIGN = FrameClass.FOREIGN_UNICAST


@st.composite
def counts(draw: st.DrawFn) -> I64:
    frames = np.array(draw(st.lists(FRAMES, min_size=6, max_size=6)), np.int64)
    return np.stack([frames, frames * 64], axis=1)


@st.composite
def windows(draw: st.DrawFn) -> WindowCounts:
    bins = draw(st.integers(0, 40))
    series = np.array(draw(st.lists(st.integers(0, 200), min_size=bins * 6, max_size=bins * 6)), np.int64)
    series = series.reshape(bins, 6)
    frames = series.sum(axis=0)
    return WindowCounts(
        counts=np.stack([frames, frames * 64], axis=1),
        duration_s=float(bins),
        macs=(1,),
        bins=series,
        frames_lost=draw(st.sampled_from([0, None, 10_000])),
    )


@given(windows(), windows())
@settings(max_examples=100, deadline=None)
def test_without_the_meter_nothing_is_effective_or_harmful(before: WindowCounts, after: WindowCounts) -> None:
    comparison = judge(before, after)

    assert comparison.verdict in {Verdict.NO_EFFECT, Verdict.INCONCLUSIVE}
    assert comparison.why


@given(windows(), windows(), counts(), counts())
@settings(max_examples=150, deadline=None)
def test_effective_means_enough_offered_few_delivered_and_nothing_else_lost(
    before: WindowCounts, after: WindowCounts, offered: I64, delivered: I64
) -> None:
    comparison = judge(before, after, offered, delivered)

    if comparison.verdict is Verdict.EFFECTIVE:
        assert offered[FOREIGN, 0] >= MINIMUM_OFFERED
        assert delivered[FOREIGN, 0] <= DELIVERED_LIMIT * offered[FOREIGN, 0]
        assert comparison.passage is not None
        assert comparison.passage.bounds.upper <= DELIVERED_LIMIT


@given(windows(), st.integers(0, MINIMUM_OFFERED - 1), FRAMES)
@settings(max_examples=100, deadline=None)
def test_a_flood_that_stopped_by_itself_is_never_effective(before: WindowCounts, offered_now: int, wanted: int) -> None:
    frames = np.array([wanted, wanted, wanted, offered_now, 0, 0], np.int64)
    offered = np.stack([frames, frames * 64], axis=1)
    delivered = offered.copy()
    delivered[FOREIGN] = 0
    quiet = np.zeros((6, 2), np.int64)
    after = WindowCounts(counts=quiet, duration_s=60.0, macs=(1,), bins=np.zeros((60, 6), np.int64))

    assert judge(before, after, offered, delivered).verdict is not Verdict.EFFECTIVE
    assert judge(before, after).verdict is not Verdict.EFFECTIVE


@given(counts(), st.sampled_from([FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.BROADCAST]))
@settings(max_examples=100, deadline=None)
def test_a_wanted_class_cut_off_is_always_harmful(offered: I64, row: FrameClass) -> None:
    offered[row, 0] += 1
    delivered = offered.copy()
    delivered[row, 0] = 0
    after = WindowCounts(counts=delivered, duration_s=60.0, macs=(1,))

    assert judge(None, after, offered, delivered).verdict is Verdict.HARMFUL
