"""The rules of the judgement, one by one, and the sentence that each gives."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.compare import Verdict, WindowCounts, judge
from analyzer.compare.comparison import GuardCounts, GuardState
from analyzer.compare.document import to_document
from analyzer.compare.judgement import judge_guard, reading_allowance
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from analyzer.model.frames import I64

MAC = 0x525400000001
OTHER_MAC = 0x525400000002


def meter(own: int = 0, multicast: int = 0, broadcast: int = 0, foreign: int = 0) -> I64:
    frames = np.array([own, multicast, broadcast, foreign, 0, 0], np.int64)
    return np.stack([frames, frames * 100], axis=1)


def window(
    own: int = 600, multicast: int = 120, broadcast: int = 60, foreign: int = 0, *, seconds: int = 60, start_s: int = 0
) -> WindowCounts:
    counts = meter(own, multicast, broadcast, foreign)
    edges = np.arange(seconds + 1).reshape(-1, 1) * counts[:, 0] // seconds
    return WindowCounts(
        counts=counts,
        duration_s=float(seconds),
        macs=(MAC,),
        bins=np.diff(edges, axis=0),
        start_ns=start_s * 10**9,
        end_ns=(start_s + seconds) * 10**9,
        frames_lost=0,
        direction_source="packet_type",
    )


BEFORE = window(foreign=3000)
AFTER = window(start_s=100)
OFFERED = meter(600, 120, 60, 3000)
DELIVERED = meter(600, 120, 60, 0)


def test_all_foreign_dropped_and_all_else_delivered_is_effective() -> None:
    comparison = judge(BEFORE, AFTER, OFFERED, DELIVERED)

    assert comparison.verdict is Verdict.EFFECTIVE
    assert comparison.why == (
        "0 of 3,000 frames of foreign unicast offered were delivered (at most 0.1 % pass, 95 % bound); "
        "all 600 frames of own unicast offered were delivered; all 120 frames of multicast offered were delivered; "
        "all 60 frames of broadcast offered were delivered"
    )
    assert {guard.state for guard in comparison.guards} == {GuardState.HELD}


def test_the_meter_alone_is_enough() -> None:
    assert judge(None, AFTER, OFFERED, DELIVERED).verdict is Verdict.EFFECTIVE


def test_thirty_offered_are_enough_and_twenty_nine_are_not() -> None:
    assert judge(None, AFTER, meter(1, foreign=30), meter(1)).verdict is Verdict.EFFECTIVE
    assert judge(None, AFTER, meter(1, foreign=29), meter(1)).verdict is Verdict.INCONCLUSIVE


def test_a_flood_that_stopped_by_itself_is_inconclusive() -> None:
    comparison = judge(BEFORE, AFTER, meter(600, 120, 60, 0), meter(600, 120, 60, 0))

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.why == "0 frames of foreign unicast were offered in the window, 30 are needed"


def test_a_filter_that_drops_nothing_has_no_effect() -> None:
    comparison = judge(BEFORE, window(foreign=3000, start_s=100), OFFERED, OFFERED)

    assert comparison.verdict is Verdict.NO_EFFECT
    assert comparison.why == "all 3,000 frames of foreign unicast offered were delivered"


def test_a_filter_that_drops_a_part_is_not_effective_and_says_how_much() -> None:
    comparison = judge(BEFORE, AFTER, OFFERED, meter(600, 120, 60, 1500))

    assert comparison.verdict is Verdict.NO_EFFECT
    assert "1,500 of 3,000 frames of foreign unicast offered were delivered" in comparison.why


def test_a_share_around_the_limit_is_inconclusive() -> None:
    comparison = judge(None, AFTER, meter(600, foreign=50), meter(600, foreign=4))

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "too few to tell" in comparison.why


@pytest.mark.parametrize("kind", ["own", "multicast", "broadcast"])
def test_a_wanted_class_that_is_dropped_is_harm_whatever_the_effect(kind: str) -> None:
    counts = {"own": 600, "multicast": 120, "broadcast": 60, "foreign": 3000}
    passed = counts | {kind: 0, "foreign": 0}

    comparison = judge(BEFORE, AFTER, meter(**counts), meter(**passed))

    assert comparison.verdict is Verdict.HARMFUL
    assert f"{counts[kind]} of {counts[kind]} frames of" in comparison.why


def test_what_a_filter_drops_on_purpose_is_no_harm() -> None:
    thinned = frozenset({FrameClass.MULTICAST, FrameClass.BROADCAST})

    comparison = judge(BEFORE, AFTER, OFFERED, meter(600, 20, 10), thinned=thinned)

    assert comparison.verdict is Verdict.EFFECTIVE
    assert [guard.counts.name for guard in comparison.guards] == ["own unicast"]
    assert sum("on purpose" in remark for remark in comparison.remarks) == 2
    assert judge(BEFORE, AFTER, OFFERED, meter(300, 20, 10), thinned=thinned).verdict is Verdict.HARMFUL


def test_one_missing_frame_of_a_slow_class_is_harm() -> None:
    assert judge(None, window(20), meter(20, foreign=100), meter(19)).verdict is Verdict.HARMFUL


def test_a_frame_between_two_readings_of_a_fast_class_is_no_harm() -> None:
    comparison = judge(None, AFTER, meter(600_000, foreign=100), meter(599_990))

    assert comparison.verdict is Verdict.EFFECTIVE
    assert "599990 of 600000 frames of own unicast delivered, the rest between two readings" in comparison.why


def test_nothing_wanted_offered_shows_no_harm_and_so_proves_nothing() -> None:
    comparison = judge(BEFORE, AFTER, meter(foreign=3000), meter())

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "nothing the guest needs was offered" in comparison.why


def test_a_class_that_was_not_offered_is_remarked() -> None:
    comparison = judge(BEFORE, AFTER, meter(0, 120, 60, 3000), meter(0, 120, 60, 0))

    assert comparison.verdict is Verdict.EFFECTIVE
    assert "no own unicast was offered, so harm to it could not be seen" in comparison.remarks


def test_more_delivered_than_offered_is_a_contradiction() -> None:
    comparison = judge(BEFORE, AFTER, meter(600, foreign=100), meter(700))

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.why.startswith("the meter contradicts itself: 700 frames of own unicast delivered, 600 offered")


def test_frames_that_bypass_the_meter_reach_the_guest_all_the_same() -> None:
    comparison = judge(BEFORE, window(foreign=3000, start_s=100), meter(600, foreign=100), meter(600))

    assert comparison.verdict is Verdict.NO_EFFECT
    assert "3000 of them past all filters" in comparison.why


def test_segments_of_metered_super_frames_are_no_bypass() -> None:
    comparison = judge(BEFORE, window(foreign=450, start_s=100), meter(600, foreign=1000), meter(600, foreign=10))

    assert comparison.verdict is Verdict.EFFECTIVE
    assert comparison.passage is not None
    assert comparison.passage.bypassed == 0


def test_an_older_filter_that_drops_as_before_does_no_harm() -> None:
    baseline = (meter(600, foreign=3000), meter(300, foreign=3000))

    comparison = judge(BEFORE, AFTER, meter(600, foreign=3000), meter(300), baseline=baseline)

    assert comparison.verdict is Verdict.EFFECTIVE
    assert "300 of 600 frames of own unicast were dropped; before, 50 % of it were" in comparison.why


def test_a_smaller_fall_under_an_older_filter_is_doubtful() -> None:
    baseline = (meter(600, foreign=3000), meter(500, foreign=3000))

    comparison = judge(BEFORE, AFTER, meter(600, foreign=3000), meter(350), baseline=baseline)

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "less of what the guest needs passes than before" in comparison.why


def test_less_than_half_of_what_an_older_filter_let_pass_is_harm() -> None:
    baseline = (meter(600, foreign=3000), meter(500, foreign=3000))

    assert judge(BEFORE, AFTER, OFFERED, meter(100, 120, 60), baseline=baseline).verdict is Verdict.HARMFUL


def test_where_all_passed_before_one_lost_frame_is_harm() -> None:
    counts = GuardCounts("ARP replies", offered=3, delivered=2, offered_before=5, delivered_before=5)

    assert judge_guard(counts, 10.0).state is GuardState.FELL


@pytest.mark.parametrize(("peak_fps", "frames"), [(0.0, 0), (2.0, 0), (3.0, 1), (100.0, 2), (100_000.0, 237)])
def test_the_allowance_between_readings_follows_the_busiest_second(peak_fps: float, frames: int) -> None:
    assert reading_allowance(GuardCounts("x", 0, 0, peak_fps=peak_fps), 60.0) == frames
    assert reading_allowance(GuardCounts("x", 600, 600, peak_fps=peak_fps), 0.0) == frames


# Without the meter --------------------------------------------------------------------------------------------------


def test_before_and_after_alone_are_at_most_consistent_with_an_effect() -> None:
    comparison = judge(BEFORE, AFTER)

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.is_consistent
    assert comparison.why == (
        "consistent with an effect: foreign unicast went from 50 to 0 frames/s (ratio between 0 and 0.00123, 95 % "
        "interval); without the meter a flood that stopped by itself looks the same"
    )


def test_a_flood_that_goes_on_is_no_effect() -> None:
    assert judge(BEFORE, window(foreign=3000, start_s=100)).verdict is Verdict.NO_EFFECT


def test_a_fall_of_all_traffic_is_not_consistent_with_an_effect() -> None:
    comparison = judge(BEFORE, window(30, 6, 3, 0, start_s=100))

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert not comparison.is_consistent
    assert comparison.why.startswith("wanted traffic fell as well")


def test_a_quiet_window_before_says_nothing() -> None:
    comparison = judge(window(foreign=29), AFTER)

    assert comparison.why == "29 frames of foreign unicast were seen before, 30 are needed"


def test_a_wide_interval_is_inconclusive() -> None:
    comparison = judge(window(foreign=40), window(foreign=4, start_s=100))

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.why.startswith("the interval is too wide to tell")


def test_short_windows_are_not_compared_by_blocks() -> None:
    comparison = judge(window(foreign=3000, seconds=9), window(seconds=60, start_s=100))

    assert comparison.why == "the shorter window has 9 whole bins of time, 10 are needed"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (None, AFTER, "there is no window before"),
        (replace(BEFORE, macs=(OTHER_MAC,)), AFTER, "they are of different guests"),
        (replace(BEFORE, frames_lost=500), AFTER, "the window before lost 500 frames beside 3780 seen"),
        (BEFORE, replace(AFTER, frames_lost=5), "the window after lost 5 frames beside 780 seen"),
        (BEFORE, replace(AFTER, snaplen=8), "the window after kept 8 octets a frame, too few for its addresses"),
        (BEFORE, replace(AFTER, direction_source="source_mac"), "the direction was known from packet_type before"),
        (BEFORE, replace(AFTER, start_ns=BEFORE.start_ns), "begins before the end of the window before"),
        (BEFORE, replace(AFTER, duration_s=0.0), "the length of the window after is not known"),
        (window(0, 0, 0, 0), AFTER, "the window before holds no frame"),
    ],
)
def test_windows_that_cannot_be_compared_are_refused(
    before: WindowCounts | None, after: WindowCounts, reason: str
) -> None:
    comparison = judge(before, after)

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert reason in "; ".join(comparison.refusals)
    assert reason in comparison.why
    assert all(row.before is None and row.ratio is None for row in comparison.classes)


def test_the_direction_of_a_live_window_and_of_a_file_of_ours_tell_the_same() -> None:
    assert not judge(BEFORE, replace(AFTER, direction_source="epb_flags")).refusals


def test_a_refused_window_before_does_not_spoil_what_the_meter_shows() -> None:
    comparison = judge(replace(BEFORE, frames_lost=500), AFTER, OFFERED, DELIVERED)

    assert comparison.verdict is Verdict.EFFECTIVE
    assert comparison.refusals


def test_small_losses_unknown_losses_and_early_ends_are_remarked() -> None:
    before = replace(BEFORE, frames_lost=1)
    after = replace(AFTER, frames_lost=None, stopped_early="the tap vanished")

    assert judge(before, after).remarks == (
        "whether frames were lost in the window after is not known",
        "the window after ended early: the tap vanished",
        "1 frame was lost in the window before",
    )


def test_bins_of_different_width_are_compared_at_the_wider() -> None:
    wide = replace(BEFORE, bins=BEFORE.bins.reshape(30, 2, 6).sum(axis=1), bin_s=2.0)

    assert judge(wide, AFTER).is_consistent
    assert not judge(replace(wide, bin_s=1.5), AFTER).is_consistent


# Side by side, and the document -------------------------------------------------------------------------------------


def test_prediction_and_measurement_stand_side_by_side() -> None:
    comparison = judge(BEFORE, AFTER, OFFERED, DELIVERED, predicted=[0.0, 0.0, 0.0, 1.0, None, None])

    foreign = comparison.classes[FrameClass.FOREIGN_UNICAST]
    assert (foreign.predicted_share, foreign.dropped_share) == (1.0, 1.0)
    assert comparison.classes[FrameClass.UNICAST_TO_GUEST].dropped_share == 0.0
    assert comparison.classes[FrameClass.FROM_GUEST].dropped_share is None


def test_the_document_holds_the_comparison_and_no_infinity() -> None:
    document = to_document(judge(window(), window(foreign=50, start_s=100), OFFERED, DELIVERED))

    assert document["schema"] == "nwscan.verdict/1"
    assert document["verdict"] == "effective"
    assert document["meter"]["foreign_offered"] == 3000
    foreign = document["classes"][3]
    assert foreign["class"] == "foreign_unicast"
    assert foreign["ratio"] is None
    assert foreign["ratio_interval"]["upper"] is None
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_what_was_not_measured_is_null_in_the_document() -> None:
    document = to_document(judge(None, AFTER))

    assert document["meter"] is None
    assert document["guards"] == []
    assert document["classes"][0]["before"] is None
    assert document["not_compared"] == ["there is no window before"]
