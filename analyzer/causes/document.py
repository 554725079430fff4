"""The document of an explanation, ``nwscan.explain/1``: what ``explain --json`` prints. Unknown is null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analyzer.model.addresses import format_mac
from analyzer.report.times import format_time

if TYPE_CHECKING:
    from analyzer.causes.explanation import Explained, Explanation
    from analyzer.causes.observation import Observation
    from analyzer.causes.remedies import Case, Remedy

SCHEMA: Final = "nwscan.explain/1"


def to_document(explanation: Explanation, report_path: str | None = None) -> dict[str, Any]:
    """Give the explanation as JSON values; ``report_path`` is where the report of its window is kept."""
    seen = explanation.observation
    identity = seen.identity
    return {
        "schema": SCHEMA,
        "guest": {
            "name": identity.name,
            "uuid": identity.uuid,
            "card": identity.card,
            "tap": identity.tap,
            "bridge": seen.bridge.name,
            "macs": [format_mac(mac) for mac in identity.macs],
        },
        "windows": [
            {
                "start": None if window.start_ns is None else format_time(window.start_ns),
                "end": None if window.end_ns is None else format_time(window.end_ns),
                "frames_seen": window.frames_seen,
                "frames_lost": window.frames_lost,
            }
            for window in seen.report.windows
        ],
        "foreign": {"frames": seen.foreign[0], "octets": seen.foreign[1], "share": seen.report.foreign_share[0]},
        "metered_foreign": {"offered": seen.offered_foreign, "delivered": seen.metered_foreign},
        "bridge": _bridge(seen),
        "bridge_at_fault": explanation.is_bridge_at_fault,
        "causes": [_cause(explanation, cause) for cause in explanation.causes],
        "report": report_path,
        "notes": list(explanation.notes),
    }


def _bridge(seen: Observation) -> dict[str, Any]:
    last = seen.looks[-1]
    return {
        "name": last.bridge.name,
        "ageing_time_s": last.bridge.ageing_time_s,
        "stp": last.bridge.stp,
        "vlan_filtering": last.bridge.vlan_filtering,
        "looks": [format_time(look.at_ns) for look in seen.looks],
        "ports": [
            {
                "name": port.name,
                "guest": guest.name if (guest := seen.guest_at(port.name)) else None,
                "learning": port.learning,
                "flood": port.flood,
                "isolated": port.isolated,
                "state": port.state,
            }
            for port in last.ports
        ],
    }


def _cause(explanation: Explanation, cause: Explained) -> dict[str, Any]:
    return {
        "name": str(cause.name),
        "certainty": str(cause.certainty),
        "bridge_at_fault": cause.is_bridge_at_fault,
        "sentence": cause.sentence,
        "frames": cause.frames,
        "octets": cause.octets,
        "share": explanation.share(cause),
        "evidence": list(cause.evidence),
        "limits": list(cause.limits),
        "destinations": [_destination(case, explanation.observation) for case in cause.cases],
        "remedies": [_remedy(remedy) for remedy in cause.remedies],
    }


def _destination(case: Case, seen: Observation) -> dict[str, Any]:
    each, finding = case
    owner = seen.owner_of(each.mac)
    return {
        "mac": format_mac(each.mac),
        "guest": owner.name if owner else None,
        "port": finding.port,
        "spoke_from": list(seen.ports_of(each.mac)),
        "sources": [format_mac(mac) for mac in each.sources],
        "frames": each.frames,
        "octets": each.octets,
        "first_seen": format_time(each.first_ns),
        "last_seen": format_time(each.last_ns),
        "certainty": str(finding.certainty),
        "evidence": list(finding.evidence),
        "limit": finding.limit or None,
    }


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return {
        "name": remedy.name,
        "title": remedy.title,
        "commands": list(remedy.commands),
        "undo": list(remedy.undo),
        "effect": remedy.effect,
        "risk": remedy.risk,
        "migration": remedy.migration,
    }
