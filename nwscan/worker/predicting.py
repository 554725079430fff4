"""The worker's work on a filter: what it would have done to the frames of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from generator.evaluate.prediction import PredictionBuilder, to_document
from generator.evaluate.program import instantiate
from generator.nwfilter.xml import read_filter
from nwscan.worker.messages import Predicted, Progress
from nwscan.worker.reading import measurement_of, open_source

if TYPE_CHECKING:
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Predict


def predict(request: Predict, descriptors: list[int], link: Link) -> Predicted:
    """Run the filter over the file's frames; nothing is applied anywhere."""
    filters = [read_filter(text).filter for text in request.filters]
    program = instantiate(filters[0], {known.name: known for known in filters}, request.variables)
    source = open_source(descriptors[0], request.name)
    builder = PredictionBuilder(program)
    measurement = measurement_of(source, request.identity, request.captured_on, consumers=(builder,))
    for raw in source.batches():
        measurement.add(raw)
        if link.progress(lambda: Progress(measurement.frames, measurement.class_frames(), None)):
            break
    source.close()
    return Predicted(msgspec.json.encode(to_document(builder.finish())))
