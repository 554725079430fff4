"""The document of a suggestion, ``nwscan.suggestion/1``: what ``suggest --json`` prints. Unknown is null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.report.times import format_time
from generator.evaluate.prediction_document import to_document as prediction_document
from generator.nwfilter.xml import write_filter
from generator.suggest.alternatives import to_document as beside_document
from generator.suggest.by_hand import by_hand
from generator.suggest.profiles import interface_xml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.model.identity import GuestIdentity
    from generator.evaluate.prediction import Sample
    from generator.nwfilter.model import Filter
    from generator.suggest.evidence import RuleEvidence
    from generator.suggest.suggestion import Suggestion

SCHEMA: Final = "nwscan.suggestion/1"


def to_document(
    suggestion: Suggestion, *, library: Mapping[str, Filter] | None = None, connect: str | None = None
) -> dict[str, Any]:
    """Give the suggestion as JSON values; ``library`` and ``connect`` as for ``by_hand``."""
    filter_set, card = suggestion.filter_set, suggestion.card
    live, inactive = interface_xml(filter_set, card) if card else (None, None)
    recipe = by_hand(filter_set, suggestion.identity.name, card=card, library=library, connect=connect)
    return {
        "schema": SCHEMA,
        "guest": _guest(suggestion.identity),
        "profile": suggestion.profile,
        "refused": suggestion.is_refused,
        "refusals": [
            {"kind": each.kind.value, "reason": each.reason, "hint": each.hint, "can_force": each.can_force}
            for each in suggestion.refusals
        ],
        "filters": [{"name": each.name, "uuid": each.uuid, "xml": write_filter(each)} for each in filter_set.filters],
        "reference": {
            "filter": filter_set.reference.filter,
            "parameters": [{"name": name, "value": value} for name, value in filter_set.reference.parameters],
        },
        "previous_filter": filter_set.previous,
        "attached": filter_set.attached,
        "interface": {"live": live, "config": inactive},
        "evidence": [_evidence(each) for each in suggestion.evidence],
        "prediction_basis": None if suggestion.prediction is None else suggestion.basis.value,
        "prediction": None if suggestion.prediction is None else prediction_document(suggestion.prediction),
        **beside_document(suggestion.beside, suggestion.foreign),
        "risks": list(suggestion.risks),
        "notes": list(suggestion.notes),
        "by_hand": {
            "files": [{"name": name, "text": text} for name, text in recipe.files],
            "install": list(recipe.install),
            "undo": list(recipe.undo),
        },
    }


def _guest(identity: GuestIdentity) -> dict[str, Any]:
    return {
        "name": identity.name,
        "uuid": identity.uuid,
        "tap": identity.tap,
        "bridge": identity.bridge,
        "card": identity.card,
        "macs": [format_mac(mac) for mac in identity.macs],
        "identity_source": identity.source.value,
    }


def _evidence(each: RuleEvidence) -> dict[str, Any]:
    return {
        "filter": each.filter,
        "priority": each.priority,
        "action": each.action.value,
        "text": each.text,
        "frames": each.frames,
        "octets": each.octets,
        "first": _time(each.first_ns),
        "last": _time(each.last_ns),
        "wrong": each.wrong,
        "wrong_share_below": each.wrong_share_below,
        "samples": [_sample(sample) for sample in each.samples],
    }


def _time(ns: int | None) -> str | None:
    return None if ns is None else format_time(ns)


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "frame": sample.frame,
        "class": FrameClass(sample.frame_class).key,
        "src": format_mac(sample.src),
        "dst": format_mac(sample.dst),
        "ethertype": sample.ethertype,
        "t": format_time(sample.ts_ns),
    }
