"""What else would help beside the filter: the remedies of ``explain``, predicted on the frames of the same report.

A frame that the bridge floods is one that it would not flood once it knew, or was told not to: how many of the frames
in the report that takes away has a lower and an upper bound, since a report does not tell everything that was said on
the bridge. Pure functions over what was observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analyzer.causes.explanation import explain
from analyzer.causes.observation import destinations
from analyzer.causes.remedies import Remedy, flood_off
from analyzer.causes.rules import CauseName
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.model.virtual_macs import virtual_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.causes.explanation import Explained, Explanation
    from analyzer.causes.observation import Destination, Observation
    from analyzer.causes.remedies import Case
    from analyzer.report.report import Report

TAP_PLACEHOLDER: Final = "TAP"
_THE_FILTER: Final = "filter"
_HERE: Final = frozenset({CauseName.MIRROR, CauseName.BEHIND_GUEST, CauseName.MOVED_MAC})
"""What reaches the tap without being flooded to it: to flood less takes none of that away."""


@dataclass(frozen=True, slots=True)
class Removal:
    """How much of the foreign unicast in the report a remedy takes away, at the least and at the most."""

    frames_at_least: int
    frames_at_most: int
    octets_at_least: int
    octets_at_most: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """One remedy that is no filter. ``cause`` is what it is for, None where nobody looked at the bridge.

    ``removes`` is None for what only looks.
    """

    remedy: Remedy
    cause: CauseName | None
    removes: Removal | None


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside the filter: the remedies, those for a fault of the bridge first, and what else was seen there.

    ``fault`` says what is wrong with the bridge, None where nothing is or nobody looked. ``bridge`` is its name.
    ``behind`` are MACs that the bridge has learnt at the guest's own tap, ``virtual`` the virtual MACs that it has
    learnt elsewhere, with their ports.
    """

    remedies: tuple[Alternative, ...] = ()
    bridge: str | None = None
    fault: str | None = None
    behind: tuple[int, ...] = ()
    virtual: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()


def without_bridge(report: Report) -> Beside:
    """Give the one remedy that fits any bridge, for a report of which nobody knows the bridge."""
    foreign = report.class_counts[FrameClass.FOREIGN_UNICAST]
    if not foreign[0] or not report.identity.macs:
        return Beside()
    remedy = flood_off(report.identity.macs, report.identity.tap or TAP_PLACEHOLDER, report.identity.macs)
    note = "what the bridge knows stands in no capture: nwscan explain GUEST, on its host, tells which remedy fits"
    return Beside((Alternative(remedy, None, Removal(0, foreign[0], 0, foreign[1])),), notes=(note,))


def beside(seen: Observation) -> Beside:
    """Give what stands beside the filter for a card whose bridge was looked at.

    With one look only, that was after the window, and whether frames were mirrored cannot be told from it.
    """
    explanation = explain(seen)
    found: dict[tuple[str, ...], Alternative] = {}
    for cause in explanation.causes:
        if cause.name is CauseName.MIRROR and len(seen.looks) == 1:
            continue
        for remedy in cause.remedies:
            if remedy.name != _THE_FILTER:
                found.setdefault(remedy.commands, Alternative(remedy, cause.name, _removal(remedy, cause, seen)))
    faults = [cause.sentence for cause in explanation.causes if cause.is_bridge_at_fault]
    own = {*seen.identity.macs, *(mac for card in seen.cards for mac in card.macs)}
    learnt = [entry for entry in seen.looks[-1].fdb if entry.state == "dynamic" and entry.mac not in own]
    return Beside(
        tuple(found.values()),
        seen.bridge.name,
        "; ".join(faults) or None,
        tuple(dict.fromkeys(entry.mac for entry in learnt if entry.port == seen.tap)),
        tuple((each.mac, each.port) for each in learnt if each.port != seen.tap and virtual_kind(each.mac)),
        ("the bridge was looked at after the window; nwscan explain measures both at once",)
        if len(seen.looks) == 1 and found
        else (),
    )


def removal(remedy: Remedy, explanation: Explanation) -> Removal | None:
    """Give what one remedy of an explanation takes away, None for what only looks."""
    cases = next((cause.cases for cause in explanation.causes if remedy in cause.remedies), ())
    bounds = _BOUNDS.get(remedy.name)
    return None if bounds is None else bounds(cases, explanation.observation)


def _removal(remedy: Remedy, cause: Explained, seen: Observation) -> Removal | None:
    bounds = _BOUNDS.get(remedy.name)
    return None if bounds is None else bounds(cause.cases, seen)


def _flooded(_: tuple[Case, ...], seen: Observation) -> Removal:
    """Count everything that is flooded; what is beyond the report's table of destinations at the most."""
    here = [case for cause in explain(seen).causes if cause.name in _HERE for case in cause.cases]
    stays = {each.mac for each, _ in here}
    sure = _sum(each for each in destinations(seen) if each.mac not in stays)
    kept = _sum(each for each, _ in here)
    return Removal(sure[0], seen.foreign[0] - kept[0], sure[1], seen.foreign[1] - kept[1])


def _placed(cases: tuple[Case, ...], seen: Observation) -> Removal:
    frames, octets = _sum(each for each, finding in cases if finding.port not in {None, seen.tap})
    return Removal(frames, frames, octets, octets)


def _all_of_them(cases: tuple[Case, ...], _: Observation) -> Removal:
    frames, octets = _sum(each for each, _ in cases)
    return Removal(frames, frames, octets, octets)


def _learnt(cases: tuple[Case, ...], seen: Observation) -> Removal:
    """Count what went to a machine after it had spoken, as far as that reached this tap; at the most all."""
    spoke_ns: dict[int, int] = {}
    for entry in seen.report.talkers.entries:
        spoke_ns[entry.first] = min(entry.first_ns, spoke_ns.get(entry.first, entry.first_ns))
    wanted = {each.mac for each, _ in cases}
    after = [
        entry
        for entry in seen.report.talkers.entries
        if entry.second in wanted and entry.first_ns > spoke_ns.get(entry.second, entry.first_ns)
    ]
    frames, octets = _sum(each for each, _ in cases)
    return Removal(sum(entry.frames for entry in after), frames, sum(entry.octets for entry in after), octets)


def _relearnt(cases: tuple[Case, ...], seen: Observation) -> Removal:
    """Count what went to addresses whose entries are deleted; it is flooded all the same until they speak."""
    here = {entry.mac for entry in seen.looks[-1].fdb if entry.port == seen.tap}
    frames, octets = _sum(each for each, _ in cases if each.mac in here)
    return Removal(0, frames, 0, octets)


def _sum(each: Iterable[Destination]) -> tuple[int, int]:
    pairs = [(one.frames, one.octets) for one in each]
    return sum(frames for frames, _ in pairs), sum(octets for _, octets in pairs)


_BOUNDS: Final[dict[str, Callable[[tuple[Case, ...], Observation], Removal]]] = {
    "flood_off": _flooded,
    "mac_table_manager": _flooded,
    "static_entry": _placed,
    "ageing": _learnt,
    "learning_on": _learnt,
    "isolation": _all_of_them,
    "stale_entry": _relearnt,
}
"""By the name of the remedy; what is not here only looks."""


def to_document(found: Beside, foreign: tuple[int, int]) -> dict[str, Any]:
    """Give the keys ``bridge`` and ``remedies`` of a suggestion's document; ``foreign`` is all that there was."""
    return {
        "bridge": {
            "name": found.bridge,
            "at_fault": None if found.bridge is None else found.fault is not None,
            "fault": found.fault,
            "behind_the_tap": [format_mac(mac) for mac in found.behind],
            "virtual_macs": [{"mac": format_mac(mac), "port": port} for mac, port in found.virtual],
        },
        "remedies": [
            {
                "name": each.remedy.name,
                "title": each.remedy.title,
                "cause": each.cause and str(each.cause),
                "removes": None if each.removes is None else removes_document(each.removes, foreign),
                "effect": each.remedy.effect,
                "risk": each.remedy.risk,
                "migration": each.remedy.migration,
                "commands": list(each.remedy.commands),
                "undo": list(each.remedy.undo),
            }
            for each in found.remedies
        ],
    }


def removes_document(removal: Removal, foreign: tuple[int, int]) -> dict[str, Any]:
    """Give what a remedy removes as JSON; ``foreign`` is all that there was."""
    return {
        "of": {"frames": foreign[0], "octets": foreign[1]},
        "at_least": {"frames": removal.frames_at_least, "octets": removal.octets_at_least},
        "at_most": {"frames": removal.frames_at_most, "octets": removal.octets_at_most},
    }
