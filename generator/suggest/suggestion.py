"""A suggestion: the filter for one card, what was measured behind each of its rules, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer.errors import UsageError
from analyzer.host.guests import GuestCard
from analyzer.model.addresses import format_mac, is_group, parse_mac
from analyzer.model.classes import DirectionSource, FrameClass
from generator.evaluate.fields import Verdict
from generator.nwfilter.model import FilterRef
from generator.suggest.alternatives import Beside, beside, without_bridge
from generator.suggest.document import to_document
from generator.suggest.evidence import Basis, dropped_by_ours, gather, predict_from_counts
from generator.suggest.profiles import (
    PROFILES,
    FilterSet,
    card_identity,
    card_reference,
    profile_filters,
    stated_ipv6,
)
from generator.suggest.refusals import Case, Refusal, lost_share, refusals
from generator.suggest.tree import closure, read_tree
from generator.suggest.virtual_macs import shared_macs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.causes.observation import Observation
    from analyzer.model.identity import GuestIdentity
    from analyzer.report.findings import UsedMac
    from analyzer.report.report import Report
    from generator.evaluate.prediction import Prediction
    from generator.nwfilter.model import Filter
    from generator.suggest.evidence import RuleEvidence
    from generator.suggest.tree import TreeReading
    from generator.suggest.virtual_macs import SharedMac

__all__ = ["PROFILES", "Suggestion", "filters_to_predict", "interface_variables", "suggest", "to_document"]


NOTHING_BESIDE = Beside()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The filters for one card, with the evidence.

    ``card`` is what libvirt says about it, None where only files are known. ``prediction`` was made from ``basis``, and
    is None where the report is of something else. ``refusals`` is empty where nothing stands against it; ``risks`` are
    what a person should think of first, ``notes`` what the figures do not cover.
    """

    identity: GuestIdentity
    profile: str
    filter_set: FilterSet
    evidence: tuple[RuleEvidence, ...]
    prediction: Prediction | None
    basis: Basis
    risks: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    card: GuestCard | None = None
    beside: Beside = NOTHING_BESIDE
    """What would help that is no filter, predicted on the same report."""
    foreign: tuple[int, int] = (0, 0)
    """Frames and octets of foreign unicast in the report."""
    shared: tuple[SharedMac, ...] = ()
    """Virtual MACs that it would not let pass: whether the guest takes part, a person has to say."""

    @property
    def is_refused(self) -> bool:
        """Say whether anything stands against it."""
        return bool(self.refusals)

    @property
    def can_force(self) -> bool:
        """Say whether a person may overrule every refusal that there is."""
        return all(refusal.can_force for refusal in self.refusals)


def filters_to_predict(
    filter_set: FilterSet, library: Mapping[str, Filter], variables: Mapping[str, Sequence[str]] | None = None
) -> tuple[Filter, ...]:
    """Give the root of ``filter_set`` and all that it refers to, the root first: what an evaluator needs.

    With the ``variables`` of the interface, the filter that stays is left out where nobody can tell what it does.
    """
    root, previous = filter_set.root, filter_set.previous
    if previous is not None and variables is not None:
        tree = read_tree(previous, library, variables, filter_set.first_priority)
        if not _can_be_told(tree, filter_set):
            others = (each for each in root.entries if not (isinstance(each, FilterRef) and each.filter == previous))
            root = replace(root, entries=tuple(others))
    return closure((root, *filter_set.filters[:-1]), library)


def _can_be_told(tree: TreeReading, filter_set: FilterSet) -> bool:
    """Say whether a tree can be evaluated: all of it is known, it lacks no parameter, and it does not come back."""
    return not (tree.absent or tree.lacking or {each.name for each in filter_set.filters} & set(tree.names))


def interface_variables(identity: GuestIdentity, filter_set: FilterSet) -> dict[str, tuple[str, ...]]:
    """Give the variables as libvirt has them for the interface: the card's MAC, and the interface's parameters."""
    return {"MAC": (format_mac(identity.macs[0]),), **filter_set.reference.variables}


def suggest(
    target: GuestCard | GuestIdentity,
    report: Report,
    prediction: Prediction | None = None,
    *,
    library: Mapping[str, Filter] | None = None,
    also_macs: tuple[int, ...] = (),
    profile: str = "mac",
    keep: tuple[str, ...] = (),
    used: tuple[UsedMac, ...] = (),
    observation: Observation | None = None,
) -> Suggestion:
    """Give the filter for a card, judged by what ``report`` saw on it.

    ``prediction`` is that of ``profile_filters`` with the same arguments, on the frames of the report; None: for the
    profile ``mac`` it is made from the report's counts, the others are refused. ``library`` holds the host's filters by
    name; ``used`` are the foreign MACs whose frames the guest answers or sends on; ``observation`` is what was seen of
    the card's bridge. Raises UsageError for a prediction of something else, and whatever ``profile_filters`` raises.
    """
    known, identity = library or {}, card_identity(target)
    filter_set = profile_filters(target, profile, also_macs, keep, library=known)
    basis = Basis.CLASS_COUNTS if prediction is None else Basis.FRAMES
    if prediction is None and profile == "mac" and _counts_fit(identity, report, filter_set):
        prediction = predict_from_counts(report, filter_set)
    tree = None
    if filter_set.previous is not None:
        variables = interface_variables(identity, filter_set)
        tree = read_tree(filter_set.previous, known, variables, filter_set.first_priority)
    other = without_bridge(report) if observation is None else beside(observation)
    existing = card_reference(target)
    case = Case(
        target,
        identity,
        report,
        filter_set,
        prediction,
        basis,
        known,
        existing,
        tree,
        used,
        other.behind,
        other.virtual,
    )
    return Suggestion(
        identity,
        profile,
        filter_set,
        tuple(gather(filter_set, report, prediction, basis)),
        prediction,
        basis,
        tuple(_risks(case)),
        refusals(case),
        (*_notes(case), *other.notes),
        target if isinstance(target, GuestCard) else None,
        other,
        report.class_counts[FrameClass.FOREIGN_UNICAST],
        _shared(case),
    )


def _counts_fit(identity: GuestIdentity, report: Report, filter_set: FilterSet) -> bool:
    return identity.macs[0] in report.identity.macs and all(map(filter_set.passes, report.identity.macs))


def _shared(case: Case) -> tuple[SharedMac, ...]:
    return shared_macs(case.report.talkers, case.filter_set.passes, case.virtual)


def _risks(case: Case) -> list[str]:
    passes = case.filter_set.passes
    risks = [f"{each.seen}: if the guest takes part, add --also-mac {format_mac(each.mac)}" for each in _shared(case)]
    risks += [
        f"{format_mac(mac)} was seen in use by the guest: if it is its own, add --also-mac {format_mac(mac)}"
        for mac in _macs_seen(case)
        if not passes(mac)
    ]
    if case.filter_set.addresses:
        risks.append("an address that the guest takes later (failover, a further one) gets nothing until it is stated")
    risks.append(
        "a MAC that the guest takes into use later (macvlan, bridge or guests inside it, a new bond) gets no unicast "
        "until the filter knows it"
    )
    if case.tree is not None:
        if case.tree.early:
            names = ", ".join(case.tree.early)
            risks.append(f"rules of {names} act before the new ones and let pass: foreign unicast may go on coming")
        if not case.filter_set.attached:
            name = case.filter_set.previous
            risks.append(f"while the filter is attached, {name} is off for about 0.3 s, and what it keeps away passes")
    if case.identity.name is not None:
        risks.append("a host that the guest is migrated to must have the filters too")
    return risks


def _macs_seen(case: Case) -> list[int]:
    """Give the further MACs that the identities tell; files may say anything, so what is no unicast MAC is left out."""
    found: dict[int, None] = {}
    for address in (*case.identity.macs_seen, *case.report.identity.macs_seen):
        try:
            mac = parse_mac(address.value)
        except UsageError:
            continue
        if not is_group(mac):
            found[mac] = None
    return list(found)


def _notes(case: Case) -> list[str]:
    report, filter_set = case.report, case.filter_set
    notes = []
    if report.frames_seen and not report.class_counts[FrameClass.FOREIGN_UNICAST][0]:
        notes.append(f"no foreign unicast was seen in {report.duration_s:.0f} s: the filter would have dropped nothing")
    if filter_set.previous is not None:
        notes.append(f"the filter {filter_set.previous} stays and goes on acting, with the same parameters")
        if case.tree is not None and not _can_be_told(case.tree, filter_set):
            notes.append(f"what {filter_set.previous} does with the frames cannot be told, and is left out here")
    if lost_share(report) is None and report.windows:
        notes.append("how many frames were lost while measuring is not known")
    if filter_set.profile in {"ip", "strict"} and filter_set.addresses and not stated_ipv6(case.identity):
        notes.append("IPv6 is not filtered by address: a guest makes up addresses; --ip with all of them changes that")
    notes += [f"{window.source}: {window.stopped_early}" for window in report.windows if window.stopped_early]
    if report.direction_source is DirectionSource.SOURCE_MAC:
        notes.append("what the guest sent was told by its MAC, so further MACs that it sends from could not be seen")
    return notes + _prediction_notes(case)


def _prediction_notes(case: Case) -> list[str]:
    report, prediction = case.report, case.prediction
    if prediction is None:
        return []
    if case.basis is Basis.CLASS_COUNTS:
        notes = ["predicted from the counts of the classes: no frames were looked at"]
        if report.talkers.error and set(case.filter_set.macs) - set(report.identity.macs):
            notes.append("what goes to the further MACs was not counted exactly: more of it passes than predicted")
        return notes
    notes = []
    if prediction.frames < report.frames_seen:
        share = prediction.frames / report.frames_seen
        notes.append(f"predicted from the frames that were kept: {share:.1%} of those seen")
    ours = dropped_by_ours(case.filter_set, prediction).frames
    dropped = sum(prediction.of(kind, Verdict.DROP).frames for kind in FrameClass)
    if dropped > ours:
        notes.append(f"{dropped - ours} of the frames are dropped by {case.filter_set.previous}, now as before")
    if prediction.unknown.frames:
        notes.append(f"what becomes of {prediction.unknown.frames} of the frames cannot be told")
    return notes
