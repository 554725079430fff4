"""What was measured behind each rule, and what the ``mac`` profile does according to the counts of a report alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.prediction import Counts, Prediction, Sample
from generator.nwfilter.model import Action
from generator.suggest.profiles import GROUP_MASK, MAC_CHAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.report.report import Report
    from generator.evaluate.prediction import RulePrediction
    from generator.nwfilter.model import Rule
    from generator.suggest.profiles import FilterSet

WANTED_TO_GUEST: Final = (FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.BROADCAST)
"""What a filter against foreign unicast must leave alone on the way to the guest."""


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
    epoch) bound what it decided. For the rule that drops, ``wrong`` are the wanted frames among them and
    ``wrong_share_below`` the upper bound at 95 % of their share where none was seen: 3/n of n (the rule of three).
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
    """Give the evidence behind each rule of our chain, in the order in which they act."""
    rules = filter_set.mac_child.rules
    bare = [RuleEvidence(filter_set.mac_child.name, rule.priority, rule.action, _text(rule)) for rule in rules]
    if prediction is None:
        return bare
    if basis is Basis.CLASS_COUNTS:
        return _from_counts(bare, filter_set, report, prediction)
    return [_from_rule(each, found) for each, found in zip(bare, our_rules(filter_set, prediction), strict=True)]


def our_rules(filter_set: FilterSet, prediction: Prediction) -> list[RulePrediction]:
    """Give the part of a prediction that is of our chain. Raises UsageError where it is of another filter."""
    found = [rule for rule in prediction.rules if f"-A O-TAP-{MAC_CHAIN} " in rule.command]
    if prediction.filter != filter_set.root.name or len(found) != len(filter_set.mac_child.rules):
        raise UsageError(
            f"the prediction is of {prediction.filter}, not of {filter_set.root.name} with these MACs",
            hint="predict with the filters that are suggested",
        )
    return found


def wrong_drops(filter_set: FilterSet, prediction: Prediction, basis: Basis) -> dict[FrameClass, Counts]:
    """Give the wanted frames to the guest that our own rules would drop, of each class that has any."""
    if basis is Basis.CLASS_COUNTS:
        dropped = {kind: prediction.of(kind, Verdict.DROP) for kind in WANTED_TO_GUEST}
    else:
        ours = [
            each
            for each, rule in zip(our_rules(filter_set, prediction), filter_set.mac_child.rules, strict=True)
            if rule.action is Action.DROP
        ]
        dropped = {kind: _sum(each.decided[kind] for each in ours) for kind in WANTED_TO_GUEST}
    return {kind: counts for kind, counts in dropped.items() if counts.frames}


def predict_from_counts(report: Report, filter_set: FilterSet) -> Prediction:
    """Give what the ``mac`` profile does according to the class counts of ``report``; it says nothing rule by rule.

    What was counted as foreign and goes to one of ``filter_set.macs`` passes, as far as the table of talkers knows it.
    The filter that is on the card already was in front of the tap, so it let all of this pass. Raises UsageError where
    the report counts further MACs as the guest's own: what goes to which is not in the counts.
    """
    further = [format_mac(mac) for mac in report.identity.macs if mac not in filter_set.macs]
    if further:
        raise UsageError(
            f"the report counts what goes to {', '.join(further)} as the guest's own, and the filter would drop it",
            report.identity.label,
            "let it pass with --also-mac",
        )
    counts = {kind: Counts(*report.class_counts[kind]) for kind in FrameClass}
    passing = _sum(
        Counts(entry.frames, entry.octets) for entry in report.talkers.entries if entry.second in filter_set.macs
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
    bare: list[RuleEvidence], filter_set: FilterSet, report: Report, prediction: Prediction
) -> list[RuleEvidence]:
    """Give what the counts tell: which of several own MACs was meant is not among it."""
    foreign = prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP)
    groups = _sum(prediction.of(kind, Verdict.ACCEPT) for kind in (FrameClass.MULTICAST, FrameClass.BROADCAST))
    *own, group, drop = bare
    if len(own) == 1:
        counted = prediction.of(FrameClass.UNICAST_TO_GUEST, Verdict.ACCEPT)
        own = [replace(own[0], frames=counted.frames, octets=counted.octets)]
    seen = [entry for entry in report.talkers.entries if entry.second not in filter_set.macs]
    drop = replace(
        drop,
        frames=foreign.frames,
        octets=foreign.octets,
        first_ns=min((entry.first_ns for entry in seen), default=None),
        last_ns=max((entry.last_ns for entry in seen), default=None),
        wrong=0,
        wrong_share_below=_share_below(0, foreign.frames),
    )
    return [*own, replace(group, frames=groups.frames, octets=groups.octets), drop]


def _from_rule(bare: RuleEvidence, found: RulePrediction) -> RuleEvidence:
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
    wrong = sum(found.decided[kind].frames for kind in WANTED_TO_GUEST)
    return replace(filled, wrong=wrong, wrong_share_below=_share_below(wrong, decided.frames))


def _share_below(wrong: int, frames: int) -> float | None:
    """Give the upper 95 % bound of a share of which none was seen among ``frames``: the rule of three."""
    return min(1.0, 3 / frames) if frames and not wrong else None


def _sum(each: Iterable[Counts]) -> Counts:
    frames = octets = 0
    for counts in each:
        frames, octets = frames + counts.frames, octets + counts.octets
    return Counts(frames, octets)


def _text(rule: Rule) -> str:
    mac = rule.match.get("dstmacaddr") if rule.match else None
    if mac is None:
        return "drop unicast to any other MAC"
    if mac == GROUP_MASK:
        return "let multicast and broadcast pass"
    return f"let unicast to {mac} pass"
