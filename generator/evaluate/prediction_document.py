"""A prediction as a document: ``nwscan.prediction/1``, in which classes, verdicts and reasons are named."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import format_mac, parse_mac
from analyzer.model.classes import FrameClass
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.prediction import Counts, Prediction, RulePrediction, Sample

SCHEMA: Final = "nwscan.prediction/1"


def to_document(prediction: Prediction) -> dict[str, Any]:
    """Give the JSON document of a prediction; classes, verdicts and reasons are named in it."""
    return {
        "schema": SCHEMA,
        "filter": prediction.filter,
        "frames": prediction.frames,
        "classes": {
            frame_class.key: {verdict.key: _plain(prediction.of(frame_class, verdict)) for verdict in Verdict}
            for frame_class in FrameClass
        },
        "wanted_dropped": {
            **_plain(prediction.wanted_dropped),
            "samples": [_plain_sample(sample) for sample in prediction.wanted_samples],
        },
        "unknown": {
            **_plain(prediction.unknown),
            "reasons": {reason.name.lower(): prediction.reasons[reason] for reason in Reason if reason},
        },
        "end": _by_class(prediction.end),
        "rules": [
            {
                "rule": rule.rule,
                "text": rule.text,
                "command": rule.command,
                "to_guest": rule.to_guest,
                "matched": _plain(rule.matched),
                "decided": _by_class(rule.decided),
                "first_ns": rule.first_ns,
                "last_ns": rule.last_ns,
                "samples": [_plain_sample(sample) for sample in rule.samples],
            }
            for rule in prediction.rules
        ],
    }


def _plain(counts: Counts) -> dict[str, int]:
    return {"frames": counts.frames, "octets": counts.octets}


def _by_class(counts: tuple[Counts, ...]) -> dict[str, dict[str, int]]:
    return {frame_class.key: _plain(counts[frame_class]) for frame_class in FrameClass}


def _plain_sample(sample: Sample) -> dict[str, Any]:
    return {
        "frame": sample.frame,
        "class": FrameClass(sample.frame_class).key,
        "src": format_mac(sample.src),
        "dst": format_mac(sample.dst),
        "ethertype": sample.ethertype,
        "ts_ns": sample.ts_ns,
    }


class _SampleDocument(msgspec.Struct, forbid_unknown_fields=False):
    frame: int
    src: str
    dst: str
    ethertype: int
    ts_ns: int
    frame_class: str = msgspec.field(name="class")


class _RuleDocument(msgspec.Struct):
    rule: int
    text: str
    command: str
    to_guest: bool
    matched: Counts
    decided: dict[str, Counts]
    first_ns: int | None
    last_ns: int | None
    samples: list[_SampleDocument]


class _WantedDocument(msgspec.Struct):
    samples: list[_SampleDocument]


class _UnknownDocument(msgspec.Struct):
    reasons: dict[str, int]


class _Document(msgspec.Struct):
    schema: str
    filter: str
    classes: dict[str, dict[str, Counts]]
    wanted_dropped: _WantedDocument
    unknown: _UnknownDocument
    end: dict[str, Counts]
    rules: list[_RuleDocument]


def from_document(document: object) -> Prediction:
    """Give the prediction of a document; raises InputError where it is none of ours."""
    try:
        read = msgspec.convert(document, _Document)
        if read.schema != SCHEMA:
            raise InputError(f"a prediction of the unknown schema {read.schema!r}", hint=f"this release reads {SCHEMA}")
        return Prediction(
            filter=read.filter,
            counts=tuple(
                tuple(read.classes[frame_class.key][verdict.key] for verdict in Verdict) for frame_class in FrameClass
            ),
            rules=tuple(_read_rule(rule) for rule in read.rules),
            end=_read_classes(read.end),
            reasons=(0, *(read.unknown.reasons[reason.name.lower()] for reason in Reason if reason)),
            wanted_samples=tuple(_read_sample(sample) for sample in read.wanted_dropped.samples),
        )
    except (msgspec.ValidationError, KeyError, UsageError) as error:
        raise InputError(f"the document is no prediction: {error}") from error


def _read_classes(named: dict[str, Counts]) -> tuple[Counts, ...]:
    return tuple(named[frame_class.key] for frame_class in FrameClass)


def _read_sample(read: _SampleDocument) -> Sample:
    kind = FrameClass[read.frame_class.upper()]
    return Sample(read.frame, int(kind), parse_mac(read.src), parse_mac(read.dst), read.ethertype, read.ts_ns)


def _read_rule(read: _RuleDocument) -> RulePrediction:
    return RulePrediction(
        rule=read.rule,
        text=read.text,
        command=read.command,
        to_guest=read.to_guest,
        matched=read.matched,
        decided=_read_classes(read.decided),
        first_ns=read.first_ns,
        last_ns=read.last_ns,
        samples=tuple(_read_sample(sample) for sample in read.samples),
    )
