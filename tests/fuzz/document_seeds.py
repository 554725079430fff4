"""What fuzzing of XML, of the evaluator and of documents starts from."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from analyzer import pipeline
from analyzer.capture.source import open_capture
from analyzer.classify.decode import decode
from analyzer.model.classes import DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.store import encode
from generator.deploy.deadline import Deadline
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.plan_file import encode_plans
from generator.evaluate.prediction import PredictionBuilder
from generator.evaluate.prediction_document import to_document
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Filter
from generator.nwfilter.xml import write_filter
from tests.capture_octets import frames_of
from tests.generator.deploy.file_door import plan_for
from tests.generator.deploy.hosts import GUEST, HOSTS, OTHER
from tests.nwfilter_values import VARIABLES, every_single_condition
from tests.raw_frames import raw_frames
from tests.shared_data import SHARED_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.report.report import Report

_SAMPLES: Final = Path(__file__).parents[2] / "captures"
_RULES_AT_ONCE: Final = 12
_EACH: Final = 3
_CARDS: Final = """<domain type='kvm'>
  <name>vm1</name>
  <uuid>8c1b5b4a-0000-4000-8000-000000000001</uuid>
  <metadata>
    <keep xmlns='urn:nwscan:keep:1' mac='52:54:00:00:00:01'>it listens</keep>
  </metadata>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <source network='lan' portid='1' bridge='br0'/>
      <virtualport type='openvswitch'/>
      <target dev='vnet0'/>
      <model type='virtio'/>
      <filterref filter='clean-traffic'>
        <parameter name='IP' value='192.0.2.1'/>
        <parameter name='IP' value='192.0.2.2'/>
      </filterref>
    </interface>
    <interface type='network'><mac address='52:54:00:00:00:02'/><!-- <filterref filter='x'/> --></interface>
    <interface type='user'/>
  </devices>
</domain>
"""
_CARD: Final = """<interface type='bridge'>
  <mac address='52:54:00:00:00:01'/>
  <source bridge="a>b"/>
  <filterref filter='one'/>
  <filterref filter='two'><parameter name='IP' value='192.0.2.1'/></filterref>
  <![CDATA[ </interface> ]]>
</interface>
"""
_BINDING: Final = """<filterbinding>
  <owner><name>vm1</name><uuid>8c1b5b4a-0000-4000-8000-000000000001</uuid></owner>
  <portdev name='vnet0'/>
  <mac address='52:54:00:00:00:01'/>
  <filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.1'/></filterref>
</filterbinding>
"""
_SUGGESTION: Final = {
    "schema": "nwscan.suggestion/1",
    "guest": {"name": "vm1", "macs": ["52:54:00:00:00:01"]},
    "profile": "mac",
    "refused": False,
    "refusals": [{"reason": "a guess", "hint": "name it"}],
    "filters": [{"name": "nwscan-vm1", "xml": "<filter name='nwscan-vm1'/>"}],
    "evidence": [{"text": "a rule", "frames": 5, "octets": None, "wrong": 0, "wrong_share_below": 0.01}],
    "risks": ["none"],
    "notes": [],
    "by_hand": {"install": ["virsh nwfilter-define x"], "undo": []},
}
_VERDICT: Final = {
    "schema": "nwscan.verdict/1",
    "verdict": "effective",
    "why": "it is gone",
    "classes": [],
    "guards": [{"name": "arp", "state": "kept", "why": "", "offered": 5, "delivered": 5}],
    "remarks": ["a"],
    "consistent_with_effect": True,
    "guest": {"name": "vm1"},
}


@cache
def small_report() -> Report:
    """Give a report of a few frames of each kind: what a document of some thousand octets holds."""
    identity = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, name="vm1", tap="vnet0")
    measurement = pipeline.Measurement(identity, DirectionSource.SOURCE_MAC)
    path = _SAMPLES / "before.pcapng"
    with path.open("rb") as file:
        source = open_capture(file, path.name)
        some = [one.octets for raw in source.batches() for one in frames_of(raw)][:3]
        measurement.add(raw_frames(some, direction=[0] * len(some)))
        return measurement.finish((replace(source.window(), frames_seen=len(some)),))


def filters() -> Iterator[bytes]:
    """Yield filters: libvirt's own, and ours of every condition there is."""
    for path in sorted((SHARED_DATA / "libvirt-nwfilter").rglob("*.xml")):
        yield path.read_bytes()
    yield from (write_filter(one).encode() for one in _own_filters())


def _own_filters() -> Iterator[Filter]:
    rules = every_single_condition()
    for start in range(0, len(rules), _RULES_AT_ONCE):
        yield Filter(f"own-{start}", entries=tuple(rules[start : start + _RULES_AT_ONCE]))


def trees(frames: list[bytes]) -> Iterator[bytes]:
    """Yield trees of filters with frames behind them; ``frames`` are inputs of the decoder's target."""
    for number, octets in enumerate(list(filters())[::_EACH]):
        text = octets.partition(b"?>")[2] if octets.startswith(b"<?xml") else octets
        child = b"<filter name='child' chain='ipv4-x' priority='-500'><rule action='drop' direction='inout'/></filter>"
        yield (
            b"<filters>"
            + text.replace(b"</filter>", b"<filterref filter='child'/></filter>")
            + child
            + (b"</filters>\0" + frames[number % len(frames)])
        )


def cards() -> Iterator[bytes]:
    """Yield domains, cards and bindings."""
    yield from (text.encode() for text in (_CARDS, _CARD, _BINDING))


def documents() -> Iterator[bytes]:
    """Yield reports, alone, merged and several in one file, a suggestion and a verdict."""
    report = small_report()
    later = replace(report, windows=tuple(replace(one, start_ns=1, end_ns=2) for one in report.windows))
    yield encode(report)
    yield encode(report.merge(later))
    yield encode(report) + b"\n" + encode(later)
    suggestion = _SUGGESTION | {"prediction": _prediction()}
    yield from (json.dumps(one).encode() for one in (suggestion, _VERDICT))


def _prediction() -> dict[str, Any]:
    """Give what a filter of a few rules does to a few frames, as a document."""
    value = Filter("own", entries=tuple(every_single_condition()[:3]))
    builder = PredictionBuilder(instantiate(value, {}, VARIABLES))
    frames = decode(raw_frames([bytes(60)] * 3))
    builder.add(frames, np.array([0, 3, 4], np.uint8))
    return to_document(builder.finish())


def journals() -> Iterator[bytes]:
    """Yield plans, and journals in every state."""
    for host in HOSTS.values():
        plan = plan_for(host, GUEST)
        yield encode_plans([plan])
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder) / "journal")
            record = journal.create(plan)
            yield record.path.read_bytes()
            for step in range(len(plan.steps)):
                record = journal.begin(record, step)
            record = journal.reach(record, State.APPLIED, deadline=Deadline("boot", 5, "2026-01-01T00:00:00+00:00"))
            yield record.path.read_bytes()
            record = journal.reach(journal.undo(record, 0), State.UNDONE, why="harm")
            yield record.path.read_bytes()
    two = plan_for(HOSTS["off"], GUEST)
    yield encode_plans([two, msgspec.structs.replace(two, guest=OTHER)])
