"""What was measured behind each rule, and what the ``mac`` profile does according to the counts of a report alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.prediction import WANTED, Counts, Prediction, Sample
from generator.nwfilter.model import Action
from generator.suggest.rules import Purpose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.report.report import Report
    from generator.evaluate.prediction import RulePrediction
    from generator.nwfilter.model import Filter
    from generator.suggest.profiles import FilterSet
    from generator.suggest.rules import PlannedRule

WANTED_TO_GUEST: Final = (FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.BROADCAST)
"""What the ``mac`` profile must leave alone on the way to the guest."""


class Basis(StrEnum):
    """What a prediction was made from."""

    FRAMES = "frames"
    """The filter was tried on every frame that was kept."""
    CLASS_COUNTS = "class_counts"
    """The counts of a report: enough for ``mac``, whose rules ask for nothing else than the class of a frame."""


@dataclass(frozen=True, slots=True)
class RuleEvidence:
    """What was measured behind one rule of ours.

    ``frames`` and ``octets`` are what it matched, None where nobody can tell; ``first_ns`` and ``last_ns`` (since the
    epoch) bound what it decided. For a rule that drops, ``wrong`` are the frames of classes that it is not there to
    drop, and ``wrong_share_below`` the upper bound at 95 % of their share where none was seen: 3/n of n (the rule of
    three).
    """

    filter: str
    priority: int
    action: Action
    text: str
    frames: int | None = None
    octets: int | None = None
    first_ns: int | None = None
    last_ns: int | None = None
    wrong: int | None = None
    wrong_share_below: float | None = None
    samples: tuple[Sample, ...] = ()


def gather(filter_set: FilterSet, report: Report, prediction: Prediction | None, basis: Basis) -> list[RuleEvidence]:
    """Give the evidence behind each rule of ours, chain by chain in the order in which they act."""
    planned = filter_set.planned
    bare = [RuleEvidence(found.name, each.rule.priority, each.rule.action, each.text) for found, _, each in planned]
    if prediction is None:
        return bare
    if basis is Basis.CLASS_COUNTS:
        purposes = [each.purpose for *_, each in planned]
        return _from_counts(list(zip(bare, purposes, strict=True)), filter_set, report, prediction)
    ours = our_rules(filter_set, prediction)
    return [_from_rule(each, rule, found) for each, (rule, found) in zip(bare, ours, strict=True)]


def our_rules(filter_set: FilterSet, prediction: Prediction) -> list[tuple[PlannedRule, RulePrediction]]:
    """Give each rule of ours with its part of a prediction. Raises UsageError where it is of another filter.

    A rule of ours becomes one command, and is found by its filter and its place in it.
    """
    found = {_origin(each): each for each in prediction.rules}
    own = {each.name for each in filter_set.filters}
    pairs = [(each, found.get(_origin_of(filter_, place))) for filter_, place, each in filter_set.planned]
    matching = [(each, rule) for each, rule in pairs if rule is not None and _acts(each, rule)]
    count = sum(filter_ in own for filter_, _ in found)
    if prediction.filter != filter_set.root.name or len(matching) != len(pairs) or count != len(pairs):
        raise UsageError(
            f"the prediction is of {prediction.filter}, not of {filter_set.root.name} with these MACs and addresses",
            hint="predict with the filters that are suggested",
        )
    return matching


def dropped_by_ours(filter_set: FilterSet, prediction: Prediction) -> Counts:
    """Give what the filters of this set drop, whatever its class."""
    return _sum(counts for rule in _our_drops(filter_set, prediction) for counts in rule.decided)


def meant_drops(filter_set: FilterSet, prediction: Prediction, kind: FrameClass) -> Counts:
    """Give the frames of one class that rules of ours would drop on purpose."""
    drops = [(each, rule) for each, rule in our_rules(filter_set, prediction) if each.purpose is Purpose.DROP]
    return _sum(rule.decided[kind] for each, rule in drops if kind in each.means)


def wrong_drops(filter_set: FilterSet, prediction: Prediction, basis: Basis) -> dict[FrameClass, Counts]:
    """Give what the filters of this set would drop of classes that they are not there to drop, where there is any."""
    if basis is Basis.CLASS_COUNTS:
        dropped = {kind: prediction.of(kind, Verdict.DROP) for kind in WANTED_TO_GUEST}
    else:
        means = {_origin_of(filter_, place): each.means for filter_, place, each in filter_set.planned}
        drops = [(rule, means.get(_origin(rule), frozenset())) for rule in _our_drops(filter_set, prediction)]
        dropped = {kind: _sum(rule.decided[kind] for rule, meant in drops if kind not in meant) for kind in WANTED}
    return {kind: counts for kind, counts in dropped.items() if counts.frames}


def _our_drops(filter_set: FilterSet, prediction: Prediction) -> list[RulePrediction]:
    return [
        rule for rule in prediction.rules if rule.command.endswith("-j DROP") and _origin(rule)[0] in filter_set.brings
    ]


def _origin(rule: RulePrediction) -> tuple[str, str]:
    """Give filter and place of a rule, from the text that Origin gives it; a jump has none."""
    head, _, tail = rule.text.rpartition("#")
    return head, tail.partition(" ")[0]


def _origin_of(found: Filter, place: int) -> tuple[str, str]:
    return found.name, str(place)


def _acts(each: PlannedRule, rule: RulePrediction) -> bool:
    """Say whether the command does what the rule of ours says, to the same addresses."""
    match = each.rule.match
    named = [match.get(name) for name in ("dstmacaddr", "dstipaddr", "arpdstipaddr")] if match else []
    target = f"-j {each.rule.action.upper()}"
    return rule.command.endswith(target) and all(value is None or value in rule.command for value in named)


def predict_from_counts(report: Report, filter_set: FilterSet) -> Prediction:
    """Give what the ``mac`` profile does according to the class counts of ``report``; it says nothing rule by rule.

    What was counted as foreign and goes to a MAC that ``filter_set`` lets pass does so, as far as the table of talkers
    knows it.
    The filter that is on the card already was in front of the tap, so it let all of this pass. Raises UsageError where
    the report counts further MACs as the guest's own: what goes to which is not in the counts.
    """
    further = [format_mac(mac) for mac in report.identity.macs if not filter_set.passes(mac)]
    if further:
        raise UsageError(
            f"the report counts what goes to {', '.join(further)} as the guest's own, and the filter would drop it",
            report.identity.label,
            "let it pass with --also-mac",
        )
    counts = {kind: Counts(*report.class_counts[kind]) for kind in FrameClass}
    passing = _sum(
        Counts(entry.frames, entry.octets) for entry in report.talkers.entries if filter_set.passes(entry.second)
    )
    foreign, nothing = counts[FrameClass.FOREIGN_UNICAST], Counts()
    rows = {kind: (counts[kind], nothing, nothing) for kind in FrameClass}
    dropped = Counts(foreign.frames - passing.frames, foreign.octets - passing.octets)
    rows[FrameClass.FOREIGN_UNICAST] = (passing, dropped, nothing)
    rows[FrameClass.UNCLASSIFIED] = (nothing, nothing, counts[FrameClass.UNCLASSIFIED])
    unread = counts[FrameClass.UNCLASSIFIED].frames
    sent = counts[FrameClass.FROM_GUEST]
    return Prediction(
        filter=filter_set.root.name,
        counts=tuple(rows[kind] for kind in FrameClass),
        rules=(),
        end=tuple(sent if kind is FrameClass.FROM_GUEST else nothing for kind in FrameClass),
        reasons=tuple(unread if reason is Reason.NO_ETHERNET else 0 for reason in Reason),
    )


def _from_counts(
    bare: list[tuple[RuleEvidence, Purpose]], filter_set: FilterSet, report: Report, prediction: Prediction
) -> list[RuleEvidence]:
    """Give what the counts tell: which of several own or kept MACs was meant is not among it."""
    foreign = prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP)
    groups = _sum(prediction.of(kind, Verdict.ACCEPT) for kind in (FrameClass.MULTICAST, FrameClass.BROADCAST))
    own = prediction.of(FrameClass.UNICAST_TO_GUEST, Verdict.ACCEPT)
    seen = [entry for entry in report.talkers.entries if not filter_set.passes(entry.second)]
    found = []
    for each, purpose in bare:
        if purpose is Purpose.OWN and len(filter_set.macs) == 1:
            found.append(replace(each, frames=own.frames, octets=own.octets))
        elif purpose is Purpose.GROUP:
            found.append(replace(each, frames=groups.frames, octets=groups.octets))
        elif purpose is Purpose.DROP:
            dropping = replace(
                each,
                frames=foreign.frames,
                octets=foreign.octets,
                first_ns=min((entry.first_ns for entry in seen), default=None),
                last_ns=max((entry.last_ns for entry in seen), default=None),
                wrong=0,
                wrong_share_below=_share_below(0, foreign.frames),
            )
            found.append(dropping)
        else:
            found.append(each)
    return found


def _from_rule(bare: RuleEvidence, planned: PlannedRule, found: RulePrediction) -> RuleEvidence:
    decided = _sum(found.decided)
    told = decided.frames == found.matched.frames  # else a later rule decided some, at times that nobody noted
    filled = replace(
        bare,
        frames=found.matched.frames,
        octets=found.matched.octets,
        first_ns=found.first_ns if told else None,
        last_ns=found.last_ns if told else None,
        samples=found.samples,
    )
    if bare.action is not Action.DROP:
        return filled
    wrong = sum(found.decided[kind].frames for kind in WANTED if kind not in planned.means)
    return replace(filled, wrong=wrong, wrong_share_below=_share_below(wrong, decided.frames))


def _share_below(wrong: int, frames: int) -> float | None:
    """Give the upper 95 % bound of a share of which none was seen among ``frames``: the rule of three."""
    return min(1.0, 3 / frames) if frames and not wrong else None


def _sum(each: Iterable[Counts]) -> Counts:
    frames = octets = 0
    for counts in each:
        frames, octets = frames + counts.frames, octets + counts.octets
    return Counts(frames, octets)
