"""Capture and meter of one window: when they agree, by what, and what a difference is."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.compare import WindowCounts
from analyzer.compare.agreement import Agreement, agreements, sentences
from analyzer.compare.document import agreement_document
from analyzer.model.classes import FrameClass

OWN, GROUP, FOREIGN = FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.FOREIGN_UNICAST


def of(row: FrameClass, captured: tuple[int, int], delivered: tuple[int, int]) -> Agreement:
    """Give what is said of one class in a window of a minute; nothing else came."""
    counts, metered = np.zeros((6, 2), np.int64), np.zeros((6, 2), np.int64)
    counts[row], metered[row] = captured, delivered
    bins = np.zeros((60, 6), np.int64)
    (found,) = (one for one in agreements(WindowCounts(counts, 60.0, (1,), bins), metered) if one.frame_class is row)
    return found


def test_the_same_frames_agree_to_the_frame() -> None:
    found = of(OWN, (100, 6000), (100, 6000))
    assert found == Agreement(OWN, "frames", 100, 100)
    assert sentences((found,)) == ["Capture and meter agree to the frame."]


@pytest.mark.parametrize("row", [GROUP, FrameClass.BROADCAST])
def test_group_frames_that_only_the_tap_saw_were_never_offered(row: FrameClass) -> None:
    found = of(row, (116, 100 * 60 + 14 * 46 + 2 * 52), (100, 6000))
    assert found == Agreement(row, "frames", 100, 116, never_offered=16)
    (line,) = sentences((found,))
    assert line.startswith("16 frames of ")
    assert "never offered to any filter: the bridge makes" in line


def test_segments_of_super_frames_are_compared_by_octets() -> None:
    """406 super-frames of TCP in 13,925 segments: each further segment brings 66 octets of headers."""
    found = of(OWN, (13_925, 19_000_000 + 66 * (13_925 - 406)), (406, 19_000_000))
    assert found == Agreement(OWN, "octets", 406, 13_925)
    assert "13,925 segments of 406" in sentences((found,))[0]


def test_whole_frames_that_the_meter_missed_are_no_segments() -> None:
    found = of(FOREIGN, (150, 150 * 1000), (100, 100 * 1000))
    assert found == Agreement(FOREIGN, "frames", 100, 150, never_offered=50)


def test_unicast_of_which_the_meter_saw_nothing_is_no_segment_of_anything() -> None:
    assert of(FOREIGN, (20, 20 * 60), (0, 0)).never_offered == 20


def test_frames_that_did_not_come_to_the_capture_are_missing() -> None:
    found = of(OWN, (90, 5400), (100, 6000))
    assert found == Agreement(OWN, "frames", 100, 90, missing=10)
    assert "10 of 100 frames of own unicast" in sentences((found,))[0]


def test_what_fell_between_the_ends_of_the_two_windows_is_no_difference() -> None:
    """At 1,000 frames a second the meter was read 20 ms after the capture had ended."""
    counts, metered, bins = np.zeros((6, 2), np.int64), np.zeros((6, 2), np.int64), np.zeros((60, 6), np.int64)
    counts[OWN], metered[OWN], bins[:, OWN] = (60_000, 60_000), (60_018, 60_018), 1000
    window = WindowCounts(counts, 60.0, (1,), bins, start_ns=0, end_ns=60_000_000_000)
    late = agreements(window, metered, (0, 60_020_000_000))
    assert not any(one.missing or one.never_offered for one in late)
    assert sentences(late) == ["Capture and meter agree, but for frames between the ends of their windows."]
    at_once = agreements(window, metered, (0, 60_000_000_000))
    assert [one.missing for one in at_once if one.frame_class is OWN] == [18]


def test_unicast_that_was_never_offered_is_not_laid_to_the_bridge() -> None:
    (line,) = sentences((of(FOREIGN, (20, 20 * 60), (0, 0)),))
    assert line == "20 frames of foreign unicast on the tap were never offered to any filter."


def test_the_document_of_a_class_says_all_of_it() -> None:
    assert agreement_document(of(OWN, (90, 5400), (100, 6000))) == {
        "class": "unicast_to_guest",
        "compared_by": "frames",
        "delivered": 100,
        "captured": 90,
        "never_offered": 0,
        "missing": 10,
    }
