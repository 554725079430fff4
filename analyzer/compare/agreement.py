"""Whether the capture on the tap and the meter behind the filter saw the same, and what a difference is.

Both are behind the filter, so they must agree to the frame, but for two things. Frames that the bridge makes itself
(IGMP and MLD queries, STP) meet neither the meter nor any filter: they are to groups, and only the capture has them.
And a GSO super-frame is one frame for the meter, while a tap without offloads gets its segments: then octets are
compared, of which the segments have more by their headers alone. Values in, values out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from analyzer.compare.judgement import PLAIN_NAMES, READING_SKEW_S, SKEW_TAIL
from analyzer.compare.statistics import poisson_upper_count
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from analyzer.compare.windows import WindowCounts
    from analyzer.model.frames import I64

SHORTEST_HEADERS: Final = 42
"""Octets of headers that each segment repeats at least: Ethernet, IPv4, UDP."""

LONGEST_HEADERS: Final = 134
"""The same at most: Ethernet, two tags, IPv6 with an extension, TCP with all its options."""

NEAR_BINS: Final = 2
"""Whole bins at each end of a window that tell how many frames come there."""

_TO_GROUPS: Final = frozenset({FrameClass.MULTICAST, FrameClass.BROADCAST})


@dataclass(frozen=True, slots=True)
class Agreement:
    """One class: frames that the meter delivered, and those that the capture has.

    ``compared_by`` says what was compared. ``never_offered`` are frames on the tap that no filter was asked about.
    ``missing`` are frames that were delivered and did not come to the capture.
    """

    frame_class: FrameClass
    compared_by: Literal["frames", "octets"]
    delivered: int
    captured: int
    never_offered: int = 0
    missing: int = 0


def agreements(window: WindowCounts, delivered: I64, read_ns: tuple[int, int] | None = None) -> tuple[Agreement, ...]:
    """Compare a window's capture with what the meter delivered in it, int64[6, 2], class by class.

    ``read_ns`` is when the meter was read at both ends of the window: as many frames as usually come in the time
    between that and the capture's own ends may be in one and not in the other.
    """
    return tuple(_agreement(row, window, delivered, _apart_s(window, read_ns)) for row in PLAIN_NAMES)


def _apart_s(window: WindowCounts, read_ns: tuple[int, int] | None) -> float:
    """Give the seconds that are in one window and not in the other."""
    if read_ns is None or window.start_ns is None or window.end_ns is None:
        return READING_SKEW_S
    return READING_SKEW_S + (abs(read_ns[0] - window.start_ns) + abs(read_ns[1] - window.end_ns)) / 1e9


def _allowance(row: FrameClass, window: WindowCounts, apart_s: float) -> int:
    """Give how many frames may fall between the ends of the two windows, by what came near them."""
    near = np.concatenate([window.bins[:NEAR_BINS, row], window.bins[-NEAR_BINS:, row]])
    mean_fps = int(window.counts[row, 0]) / window.duration_s if window.duration_s > 0.0 else 0.0
    fps = float(near.max()) / window.bin_s if len(near) else mean_fps
    return poisson_upper_count(fps * apart_s, SKEW_TAIL)


def _agreement(row: FrameClass, window: WindowCounts, delivered: I64, apart_s: float) -> Agreement:
    metered, captured = int(delivered[row, 0]), int(window.counts[row, 0])
    allowance = _allowance(row, window, apart_s)
    more = captured - metered
    if abs(more) <= allowance:
        return Agreement(row, "frames", metered, captured)
    if more < 0:
        return Agreement(row, "frames", metered, captured, missing=-more)
    octets = int(window.counts[row, 1]) - int(delivered[row, 1])
    if metered and row not in _TO_GROUPS and SHORTEST_HEADERS * more <= octets <= LONGEST_HEADERS * more:
        return Agreement(row, "octets", metered, captured)
    return Agreement(row, "frames", metered, captured, never_offered=more)


def sentences(found: tuple[Agreement, ...]) -> list[str]:
    """Say for people where the two differ, and by what they were compared; one sentence where they agree."""
    told = []
    for one in found:
        name = PLAIN_NAMES[one.frame_class]
        if one.compared_by == "octets":
            told.append(
                f"Of {name} the tap got {one.captured:,} segments of {one.delivered:,} metered (super-)frames: "
                "compared by octets, capture and meter agree."
            )
        elif one.never_offered and one.frame_class in _TO_GROUPS:
            told.append(
                f"{one.never_offered:,} frames of {name} on the tap were never offered to any filter: the bridge makes "
                "such frames itself (IGMP and MLD queries, STP)."
            )
        elif one.never_offered:
            told.append(f"{one.never_offered:,} frames of {name} on the tap were never offered to any filter.")
        elif one.missing:
            told.append(
                f"{one.missing:,} of {one.delivered:,} frames of {name} behind the filter did not come to the capture: "
                "the tap was away, or its queue full."
            )
    if told:
        return told
    if all(one.delivered == one.captured for one in found):
        return ["Capture and meter agree to the frame."]
    return ["Capture and meter agree, but for frames between the ends of their windows."]
