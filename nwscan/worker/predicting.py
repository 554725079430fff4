"""The worker's work on a filter: what it would have done to the frames of a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from analyzer.capture.source import open_capture
from analyzer.pipeline import Measurement
from generator.evaluate.prediction import PredictionBuilder
from generator.evaluate.program import instantiate
from generator.nwfilter.xml import read_filter
from nwscan.worker.messages import Predicted, Progress
from nwscan.worker.reading import direction_of

if TYPE_CHECKING:
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Predict


def predict(request: Predict, descriptors: list[int], link: Link) -> Predicted:
    """Run the filter over the file's frames; nothing is applied anywhere."""
    filters = [read_filter(text).filter for text in request.filters]
    program = instantiate(filters[0], {known.name: known for known in filters}, request.variables)
    source = open_capture(cast("BinaryIO", os.fdopen(descriptors[0], "rb")), request.name)
    builder = PredictionBuilder(program)
    measurement = Measurement(
        request.identity,
        direction_of(source, request.captured_on),
        captured_on_guest=request.captured_on == "guest" and not source.has_direction,
        consumers=(builder,),
    )
    for raw in source.batches():
        measurement.add(raw)
        if link.progress(lambda: Progress(measurement.frames, measurement.class_frames(), None)):
            break
    source.close()
    return Predicted(msgspec.json.encode(builder.finish().to_document()))
