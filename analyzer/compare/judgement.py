"""The judgement: did a filter work, did it hurt, and what the counts cannot tell.

The rules stand in docs/verify-method.md, with their error rates. In short: only counts from ahead of the filter and
behind it, in the same window, prove an effect or a harm. Before and after alone never do, since a flood that stops
by itself looks the same. Called by the verbs and the confirmation watch; values in, a value out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from analyzer.compare.comparison import Comparison, Guard, GuardCounts, GuardState, Passage, Verdict
from analyzer.compare.side_by_side import MINIMUM_BINS, side_by_side
from analyzer.compare.statistics import Interval, poisson_upper_count, share_interval
from analyzer.compare.windows import WindowCounts, common_bins, obstacles, reservations
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from analyzer.compare.comparison import ClassComparison
    from analyzer.model.frames import I64

MINIMUM_OFFERED: Final = 30
"""Foreign frames that must be offered: with 0 of 30 delivered, the 95 % bound of the share just falls below a
tenth."""

DELIVERED_LIMIT: Final = 0.1
"""The share of foreign frames that may still be delivered, at its 95 % bound, for a filter to be called effective."""

ONE_SIDED: Final = 0.05
"""Tail of a one-sided 95 % bound."""

READING_SKEW_S: Final = 0.002
"""The time between the readings of the counters ahead of the filter and behind it: frames in it are in one only."""

SKEW_TAIL: Final = 0.005
"""How seldom more frames than allowed for come between two readings, in a second as busy as the busiest one seen."""

CONTRADICTION_SHARE: Final = 0.01
"""Share of the offered frames that may be delivered in excess, beyond the allowance, before the meter is doubted."""

SEGMENTS_LIMIT: Final = 128
"""Frames on the tap that one metered GSO super-frame may stand for: 64 KiB in segments of 536 octets, the smallest
usual."""

GUARDED: Final = (FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.BROADCAST)
"""The classes that a filter of foreign unicast must leave alone."""

PLAIN_NAMES: Final = {
    FrameClass.UNICAST_TO_GUEST: "own unicast",
    FrameClass.MULTICAST: "multicast",
    FrameClass.BROADCAST: "broadcast",
    FrameClass.FOREIGN_UNICAST: "foreign unicast",
}


def judge(
    before: WindowCounts | None,
    after: WindowCounts,
    offered: I64 | None = None,
    delivered: I64 | None = None,
    *,
    baseline: tuple[I64, I64] | None = None,
    predicted: Sequence[float | None] | None = None,
    thinned: Collection[FrameClass] = (),
) -> Comparison:
    """Judge a filter by the windows ``before`` and ``after`` it came and by the meter's counts of the window after.

    ``offered`` and ``delivered`` are int64[6, 2] (FrameClass x frames, octets) ahead of the filter and behind it
    over the window ``after``; without both there is no meter. ``baseline`` is the same pair over the window before:
    with an older filter on the card it tells what that one drops already. ``predicted`` is the share of each
    class's frames that the filter was said to drop. ``thinned`` are classes of which the filter drops a part on
    purpose: that less of them is delivered is no harm, and what was wanted among it is not judged.
    """
    refusals = obstacles(before, after) if before is not None else ("there is no window before",)
    remarks = reservations(after, "after") + ([] if before is None else reservations(before, "before"))
    metered = None if offered is None or delivered is None else (offered, delivered)
    classes = side_by_side(None if refusals else before, after, metered, predicted)
    if metered is None:
        bins = 0 if before is None else min(map(len, common_bins(before, after)))
        verdict, why, is_consistent = _without_meter(classes, refusals, bins)
        return Comparison(verdict, why, classes, None, (), refusals, tuple(remarks), is_consistent)
    kinds = _metered_counts(metered, baseline, after)
    guards = tuple(judge_guard(kinds[row], after.duration_s) for row in GUARDED if row not in thinned)
    passage = _passage(kinds[FrameClass.FOREIGN_UNICAST], after)
    verdict, why = _with_meter(passage, guards, _contradiction(kinds.values(), after.duration_s))
    remarks += [guard.why for guard in guards if guard.state is GuardState.UNTESTED]
    remarks += [
        f"the filter drops a part of {PLAIN_NAMES[row]} on purpose, so harm to the rest of it could not be seen"
        for row in GUARDED
        if row in thinned
    ]
    return Comparison(verdict, why, classes, passage, guards, refusals, tuple(remarks))


# With the meter -----------------------------------------------------------------------------------------------------


def reading_allowance(counts: GuardCounts, duration_s: float) -> int:
    """Give how many frames may be in one reading of the meter and not in the other.

    A Poisson count over READING_SKEW_S, at the mean rate or that of the busiest second, whichever is higher; 0 for
    up to 2 frames a second, so that there a single missing frame counts.
    """
    mean_fps = max(counts.offered, counts.delivered) / duration_s if duration_s > 0.0 else 0.0
    return poisson_upper_count(max(mean_fps, counts.peak_fps) * READING_SKEW_S, SKEW_TAIL)


def _contradiction(kinds: Iterable[GuardCounts], duration_s: float) -> str | None:
    """Say where more was delivered than offered: a counter was reset, or the two are not of one window."""
    for kind in kinds:
        excess = kind.delivered - kind.offered - CONTRADICTION_SHARE * kind.offered
        if excess > reading_allowance(kind, duration_s):
            return f"{kind.delivered} frames of {kind.name} delivered, {kind.offered} offered"
    return None


def _metered_counts(
    metered: tuple[I64, I64], baseline: tuple[I64, I64] | None, after: WindowCounts
) -> dict[FrameClass, GuardCounts]:
    peaks = after.bins.max(axis=0, initial=0) / after.bin_s
    return {
        row: GuardCounts(
            name=name,
            offered=int(metered[0][row, 0]),
            delivered=int(metered[1][row, 0]),
            offered_before=None if baseline is None else int(baseline[0][row, 0]),
            delivered_before=None if baseline is None else int(baseline[1][row, 0]),
            peak_fps=float(peaks[row]),
        )
        for row, name in PLAIN_NAMES.items()
    }


def judge_guard(counts: GuardCounts, duration_s: float) -> Guard:
    """Judge one kind of wanted traffic over a window of ``duration_s``.

    Where all of it passed before, or that is not known, any frame missing beyond the skew of the readings is harm.
    Where an older filter dropped a part already, less than half of the former share must pass for harm, and a
    smaller fall is doubtful: one class holds many kinds of frames, and their mix changes.
    """
    if counts.offered <= 0:
        return Guard(counts, GuardState.UNTESTED, f"no {counts.name} was offered, so harm to it could not be seen")
    lost = counts.offered - counts.delivered
    if lost <= reading_allowance(counts, duration_s):
        return Guard(counts, GuardState.HELD, _held_fact(counts))
    fact = f"{lost} of {counts.offered} frames of {counts.name} were dropped"
    former = _former_share(counts)
    if former is None:
        return Guard(counts, GuardState.FELL, fact)
    share = share_interval(counts.delivered, counts.offered, ONE_SIDED)
    known = f"{fact}; before, {_percent(1.0 - former[1])} of it were"
    if share.upper < former[0] / 2.0:
        return Guard(counts, GuardState.FELL, known)
    return Guard(counts, GuardState.DOUBTFUL if share.upper < former[0] else GuardState.HELD, known)


def _held_fact(counts: GuardCounts) -> str:
    if counts.delivered < counts.offered:
        return (
            f"{counts.delivered} of {counts.offered} frames of {counts.name} delivered, the rest between two readings"
        )
    return f"{_all(counts.offered)} of {counts.name} offered {_was(counts.offered)} delivered"


def _former_share(counts: GuardCounts) -> tuple[float, float] | None:
    """Give the lower bound and the value of the share that passed before, None where all did or nothing is known."""
    offered, delivered = counts.offered_before, counts.delivered_before
    if offered is None or delivered is None or delivered >= offered:
        return None
    return share_interval(delivered, offered, ONE_SIDED).lower, delivered / offered


def _passage(foreign: GuardCounts, after: WindowCounts) -> Passage:
    """Give what became of foreign unicast, with what a capture behind the filter saw beside the meter."""
    captured = int(after.counts[FrameClass.FOREIGN_UNICAST, 0])
    beyond = captured - SEGMENTS_LIMIT * foreign.delivered
    bypassed = beyond if beyond > reading_allowance(foreign, after.duration_s) else 0
    trials = foreign.offered + bypassed
    hits = min(foreign.delivered + bypassed, trials)
    return Passage(
        offered=foreign.offered,
        delivered=foreign.delivered,
        bypassed=bypassed,
        share=hits / trials if trials else None,
        bounds=share_interval(hits, trials, ONE_SIDED),
    )


def _with_meter(passage: Passage, guards: tuple[Guard, ...], contradiction: str | None) -> tuple[Verdict, str]:
    """Give the verdict of one metered window: the first rule that holds decides."""
    total = passage.offered + passage.bypassed
    fact = _passage_fact(passage)
    harm, doubts, held = (_those(guards, state) for state in (GuardState.FELL, GuardState.DOUBTFUL, GuardState.HELD))
    rules = (
        (contradiction is not None, Verdict.INCONCLUSIVE, f"the meter contradicts itself: {contradiction}"),
        (bool(harm), Verdict.HARMFUL, f"the filter drops what the guest needs: {harm}"),
        (
            total < MINIMUM_OFFERED,
            Verdict.INCONCLUSIVE,
            f"{_frames(total)} of foreign unicast {_was(total)} offered in the window, {MINIMUM_OFFERED} are needed",
        ),
        (passage.bounds.lower > DELIVERED_LIMIT, Verdict.NO_EFFECT, fact),
        (
            passage.bounds.upper > DELIVERED_LIMIT,
            Verdict.INCONCLUSIVE,
            f"{fact}: too few to tell whether more than {_percent(DELIVERED_LIMIT)} pass",
        ),
        (bool(doubts), Verdict.INCONCLUSIVE, f"{fact}, but less of what the guest needs passes than before: {doubts}"),
        (not held, Verdict.INCONCLUSIVE, f"{fact}, but nothing the guest needs was offered to show that it passes"),
    )
    return _first(rules) or (Verdict.EFFECTIVE, f"{fact}; {held}")


def _those(guards: tuple[Guard, ...], state: GuardState) -> str:
    return "; ".join(guard.why for guard in guards if guard.state is state)


def _passage_fact(passage: Passage) -> str:
    """Say in one clause what became of foreign unicast."""
    total, delivered = passage.offered + passage.bypassed, passage.delivered + passage.bypassed
    apart = f" ({passage.bypassed} of them past all filters, unseen by the meter)" if passage.bypassed else ""
    if delivered >= total:
        return f"all {_frames(total)} of foreign unicast offered were delivered{apart}"
    bound = f"at most {_percent(passage.bounds.upper)} pass, 95 % bound"
    return f"{delivered:,} of {_frames(total)} of foreign unicast offered {_was(delivered)} delivered{apart} ({bound})"


# Without the meter --------------------------------------------------------------------------------------------------


def _without_meter(
    classes: tuple[ClassComparison, ...], refusals: tuple[str, ...], bins: int
) -> tuple[Verdict, str, bool]:
    """Give the verdict of two windows, by the first rule that holds, and whether they look as an effect would.

    It is never effective and never harmful.
    """
    foreign = classes[FrameClass.FOREIGN_UNICAST]
    old = 0 if foreign.before is None else foreign.before[0]
    bounds = Interval(0.0, math.inf) if foreign.interval is None else foreign.interval
    fact = _rates_fact(foreign)
    fallen = "; ".join(_rates_fact(classes[row]) for row in GUARDED if _has_fallen(classes[row]))
    unknown, needed = Verdict.INCONCLUSIVE, f"{MINIMUM_OFFERED} are needed"
    rules = (
        (bool(refusals), unknown, f"before and after cannot be compared: {'; '.join(refusals)}"),
        (old < MINIMUM_OFFERED, unknown, f"{_frames(old)} of foreign unicast {_was(old)} seen before, {needed}"),
        (bins < MINIMUM_BINS, unknown, f"the shorter window has {bins} whole bins of time, {MINIMUM_BINS} are needed"),
        (bounds.lower > DELIVERED_LIMIT, Verdict.NO_EFFECT, f"foreign unicast still arrives: {fact}"),
        (bounds.upper > DELIVERED_LIMIT, unknown, f"the interval is too wide to tell: {fact}"),
        (bool(fallen), unknown, f"wanted traffic fell as well: {fact}; {fallen}"),
    )
    decided = _first(rules)
    if decided is not None:
        return *decided, False
    return (
        unknown,
        f"consistent with an effect: {fact}; without the meter a flood that stopped by itself looks the same",
        True,
    )


def _first(rules: Iterable[tuple[bool, Verdict, str]]) -> tuple[Verdict, str] | None:
    """Give verdict and sentence of the first rule that holds, None where none does."""
    return next(((verdict, why) for holds, verdict, why in rules if holds), None)


def _has_fallen(row: ClassComparison) -> bool:
    return row.interval is not None and row.interval.upper < 1.0


def _rates_fact(row: ClassComparison) -> str:
    """Say in one clause how the rate of one class changed."""
    bounds = row.interval
    upper = "unknown" if bounds is None or math.isinf(bounds.upper) else f"{bounds.upper:.3g}"
    lower = "unknown" if bounds is None else f"{bounds.lower:.3g}"
    return (
        f"{PLAIN_NAMES[row.frame_class]} went from {row.before_fps or 0.0:.4g} to {row.after_fps or 0.0:.4g} frames/s "
        f"(ratio between {lower} and {upper}, 95 % interval)"
    )


# Words --------------------------------------------------------------------------------------------------------------


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"


def _all(count: int) -> str:
    return "the 1 frame" if count == 1 else f"all {count:,} frames"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _percent(share: float) -> str:
    """Give a share in per cent with two significant digits, an exact 0 or 1 without."""
    return f"{100.0 * share:.2g} %" if 0.0 < share < 1.0 else f"{100.0 * share:.0f} %"
