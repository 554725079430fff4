"""The explanation of a window: its foreign frames by cause, each with a sentence, evidence, share and remedies."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.causes.observation import Destination, Observation, destinations
from analyzer.causes.remedies import Remedy, remedies
from analyzer.causes.rules import CauseName, Certainty, Finding, decide
from analyzer.model.addresses import format_mac
from analyzer.model.virtual_macs import virtual_kind
from analyzer.report.findings import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.causes.remedies import Case

SHOWN: Final = 5
"""Destinations whose evidence is spelled out for each cause; the document lists all."""

_AT_FAULT: Final = (CauseName.HUB, CauseName.LEARNING_OFF)
"""The bridge is not set up to learn; in all other cases it does what a bridge does."""

_SENTENCES: Final = {
    CauseName.HUB: "{bridge} is a hub: its ageing time is 0, so it learns nothing and floods every unicast frame to "
    "every port",
    CauseName.LEARNING_OFF: "{bridge} does not learn at {ports} (learning off), so frames to {who} are flooded",
    CauseName.AGED_OUT: "{who} aged out of the FDB of {bridge} ({ageing:g} s): silent hosts that others still send to "
    "(an asymmetric route, an ARP cache that outlives the FDB), so frames to them are flooded",
    CauseName.NEVER_LEARNT: "{who} was never learnt by {bridge}, as far as can be told, so frames to it are flooded "
    "until it speaks",
    CauseName.FLUSHED: "{who} was deleted from the FDB of {bridge} before its time (by hand, a port that went down, a "
    "topology change of STP), so frames to it are flooded until it speaks again",
    CauseName.VIRTUAL_MAC: "{who} is a virtual MAC ({virtual}) that nobody sends from, so {bridge} never learns it and "
    "floods frames to it",
    CauseName.MOVED_MAC: "{who} moved: {bridge} has sent its frames to {tap}, and it is elsewhere now",
    CauseName.BEHIND_GUEST: "{who} is used behind {tap} itself (a nested guest, a macvlan, a bridge, a virtual MAC "
    "in {guest}), so {bridge} rightly sends these frames here",
    CauseName.MIRROR: "frames to {who} are mirrored to {tap}: {bridge} did not send them here",
    CauseName.UNKNOWN: "why frames to {who} reach {tap} cannot be told from what was seen",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """One cause: the destinations that it explains, most frames first, with the finding of each.

    ``rest`` are frames whose destination the report does not list (a table has 1,024 rows), with UNKNOWN alone.
    """

    name: CauseName
    certainty: Certainty
    is_bridge_at_fault: bool
    sentence: str
    evidence: tuple[str, ...]
    limits: tuple[str, ...]
    frames: int
    octets: int
    cases: tuple[Case, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why foreign unicast reaches a tap: the causes, the bridge's own faults first, then most frames first."""

    observation: Observation
    causes: tuple[Explained, ...]
    notes: tuple[str, ...]

    @property
    def is_bridge_at_fault(self) -> bool:
        """Whether the bridge is not set up to learn, and foreign frames come of it."""
        return any(cause.is_bridge_at_fault for cause in self.causes)

    def share(self, cause: Explained) -> float:
        """Give the share of the foreign frames that a cause explains."""
        return cause.frames / self.observation.foreign[0]


def explain(seen: Observation) -> Explanation:
    """Join what was observed to causes; each foreign frame is in exactly one."""
    by_name: dict[CauseName, list[Case]] = defaultdict(list)
    for each in destinations(seen):
        finding = decide(each, seen)
        by_name[finding.name].append((each, finding))
    listed = [
        sum(getattr(each, key) for cases in by_name.values() for each, _ in cases) for key in ("frames", "octets")
    ]
    rest = (seen.foreign[0] - listed[0], seen.foreign[1] - listed[1])
    if rest[0] > 0 and CauseName.UNKNOWN not in by_name:
        by_name[CauseName.UNKNOWN] = []
    causes = [_explained(name, tuple(cases), seen, rest) for name, cases in by_name.items()]
    causes.sort(key=lambda cause: (not cause.is_bridge_at_fault, -cause.frames, cause.name))
    return Explanation(seen, tuple(causes), tuple(_notes(seen)))


def report_causes(explanation: Explanation) -> tuple[Cause, ...]:
    """Give the causes as a report holds them, with the advised remedy."""
    return tuple(
        Cause(
            name=str(cause.name),
            sentence=cause.sentence,
            evidence=(*cause.evidence, *cause.limits),
            remedy="; ".join(cause.remedies[0].commands) if cause.remedies else None,
            risk=cause.remedies[0].risk if cause.remedies else None,
            frames=cause.frames,
            octets=cause.octets,
        )
        for cause in explanation.causes
    )


def _explained(name: CauseName, cases: tuple[Case, ...], seen: Observation, rest: tuple[int, int]) -> Explained:
    frames, octets = sum(each.frames for each, _ in cases), sum(each.octets for each, _ in cases)
    evidence = [_evidence(each, finding, seen) for each, finding in cases[:SHOWN]]
    limits = list(dict.fromkeys(finding.limit for _, finding in cases if finding.limit))
    if name is CauseName.UNKNOWN and rest[0] > 0:
        frames, octets = frames + rest[0], octets + max(rest[1], 0)
        limits.append(f"{rest[0]} frames went to addresses beyond the report's table of destinations")
    if len(cases) > SHOWN:
        evidence.append(f"and {len(cases) - SHOWN} more destinations")
    order = (Certainty.CERTAIN, Certainty.LIKELY, Certainty.UNKNOWN)
    certainty = max((finding.certainty for _, finding in cases), key=order.index, default=Certainty.UNKNOWN)
    return Explained(
        name=name,
        certainty=certainty,
        is_bridge_at_fault=name in _AT_FAULT,
        sentence=_sentence(name, cases, seen),
        evidence=tuple(evidence),
        limits=tuple(limits),
        frames=frames,
        octets=octets,
        cases=cases,
        remedies=remedies(name, cases, seen) if cases else (),
    )


def _sentence(name: CauseName, cases: tuple[Case, ...], seen: Observation) -> str:
    ports = sorted({port for _, finding in cases for port in finding.ports})
    kinds = sorted({kind.name for each, _ in cases if (kind := virtual_kind(each.mac)) is not None})
    return _SENTENCES[name].format(
        bridge=seen.bridge.name,
        ageing=min(look.bridge.ageing_time_s for look in seen.looks),
        tap=seen.tap,
        guest=seen.identity.label,
        who=_who(cases, seen),
        ports=", ".join(ports),
        virtual=", ".join(kinds),
    )


def _who(cases: tuple[Case, ...], seen: Observation) -> str:
    if not cases:
        return "further addresses"
    first = cases[0][0].mac
    owner = seen.owner_of(first)
    named = format_mac(first) + (f" ({owner.label})" if owner else "")
    return named if len(cases) == 1 else f"{named} and {len(cases) - 1} more"


def _evidence(each: Destination, finding: Finding, seen: Observation) -> str:
    """Give what was seen of one destination: how much, from whom and when, then what decided."""
    source = each.sources[0]
    ports = seen.ports_of(source)
    told = f"{format_mac(source)}" + (f" at {', '.join(ports)}" if ports else "")
    more = f" and {len(each.sources) - 1} more" if len(each.sources) > 1 else ""
    when = f"{seen.at_s(each.first_ns):.1f} s to {seen.at_s(each.last_ns):.1f} s of the window"
    facts = "; ".join(finding.evidence)
    return f"{format_mac(each.mac)}: {each.frames:,} frames from {told}{more}, {when}; {facts}"


def _notes(seen: Observation) -> Iterator[str]:
    """Say what else is to be known of the bridge and the window."""
    lost = seen.report.frames_lost
    if lost:
        yield f"the kernel dropped {lost:,} frames of the capture: the shares are of what was captured"
    offered, delivered = seen.offered_foreign, seen.metered_foreign
    if offered is not None and delivered is not None and offered > delivered:
        yield f"the filter of this card dropped {offered - delivered} more foreign frames: they are not explained here"
    if seen.bridge.ageing_time_s == 0:
        yield f"{seen.bridge.name} is a hub: its ageing time is 0"
    deaf = sorted(port.name for port in seen.looks[-1].ports if port.learning is False)
    if deaf:
        yield f"learning is off at {', '.join(deaf)}"
    if seen.speakers is None:
        yield "nobody could listen who speaks from which port: nftables refused; only the FDB tells"
