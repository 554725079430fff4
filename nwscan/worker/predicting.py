"""The worker's work on a filter: what it would have done to the frames of a file, and who sent what it drops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.report.foreign_use import ForeignUse
from analyzer.report.hitter_table import HitterTable
from analyzer.report.store import encode
from generator.evaluate.fields import Verdict
from generator.evaluate.prediction import PredictionBuilder
from generator.evaluate.prediction_document import to_document
from generator.evaluate.program import instantiate
from generator.nwfilter.xml import read_filter
from nwscan.worker.exporting import FrameExport
from nwscan.worker.messages import Candidates, DroppedTalker, Predicted
from nwscan.worker.reading import (
    candidates_of,
    measurement_of,
    notes_on_link_types,
    open_source,
    progress_of,
    refuse_other_link_types,
)

if TYPE_CHECKING:
    from analyzer.capture.source import FrameSource
    from analyzer.model.frames import U8, FrameBatch
    from generator.evaluate.program import Program
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Predict

_NO_CLASS = 255


def predict(request: Predict, descriptors: list[int], link: Link) -> Predicted | Candidates:
    """Run the filter over the file's frames; nothing is applied anywhere."""
    source = open_source(descriptors[0], request.name)
    identity = request.identity or source.identity
    if identity is None:
        return candidates_of([source], link)
    filters = [read_filter(text).filter for text in request.filters]
    variables = {"MAC": tuple(map(format_mac, identity.macs[:1])), **request.variables}
    program = instantiate(filters[0], {known.name: known for known in filters}, variables)
    export = FrameExport(descriptors[1], identity) if request.export else None
    trial = _Trial(program, source, export)
    measurement = measurement_of(source, identity, request.captured_on, consumers=(trial,))
    for raw in source.batches():
        measurement.add(raw)
        if link.progress(lambda: progress_of(source, measurement)):
            break
    refuse_other_link_types(source)
    report = encode(measurement.finish((source.window(),), notes=notes_on_link_types(source)))
    found = trial.finish(report)
    source.close()
    return found


class _Trial:
    """A consumer that tries a program on every batch: who sent what it drops, and what of it the guest makes use of."""

    def __init__(self, program: Program, source: FrameSource, export: FrameExport | None) -> None:
        self._builder = PredictionBuilder(program)
        self._source = source
        self._export = export
        self._use = ForeignUse()
        self._tables = {kind: HitterTable(kind, "src", "dst") for kind in FrameClass}

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Try the program on the n frames of ``batch``."""
        verdicts = self._builder.add(batch, classes).verdict
        if self._export is not None:
            self._export.add(self._source, batch, classes, verdicts == Verdict.DROP)
        self._use.add(batch, classes)
        dropped: U8 = np.where(verdicts == Verdict.DROP, classes, _NO_CLASS).astype(np.uint8)
        for kind in np.flatnonzero(np.bincount(dropped)).tolist():
            if kind != _NO_CLASS:
                self._tables[FrameClass(kind)].add(batch, dropped)

    def finish(self, report: bytes) -> Predicted:
        """Give what was found."""
        tables = {kind: table.finish() for kind, table in self._tables.items()}
        talkers = [
            DroppedTalker(int(kind), entry.first, entry.second, entry.frames, entry.octets, entry.error)
            for kind, table in tables.items()
            for entry in table.entries
        ]
        return Predicted(
            msgspec.json.encode(to_document(self._builder.finish())),
            report,
            tuple(sorted(talkers, key=lambda one: (-one.frames, one.src, one.dst, one.frame_class))),
            max(table.error for table in tables.values()),
            None if self._export is None else self._export.finish(self._source)[1],
            self._use.finish(),
        )
