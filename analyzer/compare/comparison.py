"""The comparison as a value: the verdict with its sentence, and everything that it rests on.

Values only. Made by the judgement, stored as a document, shown by the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.compare.statistics import Interval
    from analyzer.model.classes import FrameClass


class Verdict(StrEnum):
    """Whether the filter keeps foreign unicast away and leaves the rest alone."""

    EFFECTIVE = "effective"
    NO_EFFECT = "no_effect"
    """More than a tenth of the foreign unicast still arrives; the sentence says whether all or a part of it."""
    HARMFUL = "harmful"
    INCONCLUSIVE = "inconclusive"


class GuardState(StrEnum):
    """What became of traffic that the guest needs."""

    HELD = "held"
    FELL = "fell"
    DOUBTFUL = "doubtful"
    """More was lost than before, but something dropped a part of it already: it may be another mix."""
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class GuardCounts:
    """One kind of traffic at the meter: frames offered and delivered, now and (None: not measured) before.

    ``peak_fps`` is the rate in the busiest second of the window, 0 where it is not known.
    """

    name: str
    offered: int
    delivered: int
    offered_before: int | None = None
    delivered_before: int | None = None
    peak_fps: float = 0.0


@dataclass(frozen=True, slots=True)
class Guard:
    """One kind of wanted traffic, judged."""

    counts: GuardCounts
    state: GuardState
    why: str


@dataclass(frozen=True, slots=True)
class Passage:
    """Foreign unicast through the filter, in one window.

    ``bypassed`` are frames that a capture on the tap saw and the meter did not: they never met a filter, and count
    as offered and delivered. ``share`` is delivered of offered, with one-sided 95 % bounds.
    """

    offered: int
    delivered: int
    bypassed: int
    share: float | None
    bounds: Interval


@dataclass(frozen=True, slots=True)
class ClassComparison:
    """One class before, after and at the meter; None is what was not measured or has no meaning.

    ``interval`` is the two-sided 95 % interval of ``ratio``, after / before in frames a second.
    ``dropped_share`` is what the meter saw dropped, ``predicted_share`` what the prediction said.
    """

    frame_class: FrameClass
    before: tuple[int, int] | None
    after: tuple[int, int]
    before_fps: float | None
    after_fps: float | None
    ratio: float | None
    interval: Interval | None
    offered: tuple[int, int] | None
    delivered: tuple[int, int] | None
    dropped_share: float | None
    predicted_share: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict with the sentence why, and all that it rests on.

    ``refusals`` say why before and after were not compared. ``is_consistent`` marks the most that can be said
    without the meter: the figures are what an effect would look like.
    """

    verdict: Verdict
    why: str
    classes: tuple[ClassComparison, ...]
    passage: Passage | None
    guards: tuple[Guard, ...]
    refusals: tuple[str, ...]
    remarks: tuple[str, ...]
    is_consistent: bool = False
