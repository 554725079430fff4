"""The worker's work on chosen frames: those of one class, or those that a filter drops, into a capture file."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, cast

from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.errors import InputError
from analyzer.model.classes import FrameClass
from analyzer.model.frames import CaptureInterface
from nwscan.worker.messages import Exported
from nwscan.worker.reading import measurement_of, open_source, progress_of, refuse_other_link_types

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from analyzer.capture.source import FrameSource
    from analyzer.model.frames import U8, FrameBatch
    from analyzer.model.identity import GuestIdentity
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Export


class FrameExport:
    """Writes chosen frames as they stand in their source; the header waits for the first source to tell its own."""

    def __init__(self, descriptor: int, identity: GuestIdentity) -> None:
        self._file = cast("BinaryIO", os.fdopen(descriptor, "wb"))
        self._identity = identity
        self._writer: PcapngWriter | None = None

    def add(self, source: FrameSource, batch: FrameBatch, classes: U8, mask: npt.NDArray[np.bool_]) -> None:
        """Write those of the n frames of ``batch`` that ``mask`` selects."""
        self._opened(source).write(batch.raw, classes, mask)

    def finish(self, source: FrameSource) -> tuple[int, str]:
        """Complete the file and give its number of frames and its SHA-256."""
        writer = self._opened(source)
        writer.finish(None)
        self._file.close()
        return writer.frames_written, writer.sha256

    def _opened(self, source: FrameSource) -> PcapngWriter:
        if self._writer is None:
            known = source.interfaces
            interface = next((one for one in known if one.linktype == 1), CaptureInterface())
            self._writer = PcapngWriter(self._file, interface, self._identity, has_direction=source.has_direction)
        return self._writer


class _OneClass:
    """A consumer that exports the frames of one class."""

    def __init__(self, file: FrameExport, source: FrameSource, wanted: FrameClass) -> None:
        self._file, self._source, self._wanted = file, source, wanted

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Write those of the n frames of ``batch`` that are of the class."""
        self._file.add(self._source, batch, classes, classes == self._wanted)


def export(request: Export, descriptors: list[int], link: Link) -> Exported:
    """Write the frames of one class of the files into one file.

    Raises InputError where a file is not the one that its report speaks of.
    """
    *inputs, output = descriptors
    file, read = FrameExport(output, request.identity), 0
    source = None
    for descriptor, name, sha256 in zip(inputs, request.names, request.sha256s, strict=True):
        _check(descriptor, name, sha256)
        source = open_source(descriptor, name)
        consumer = _OneClass(file, source, FrameClass(request.frame_class))
        measurement = measurement_of(source, request.identity, None, consumers=(consumer,))
        for raw in source.batches():
            measurement.add(raw)
            if link.progress(lambda at=source, done=measurement: progress_of(at, done)):  # type: ignore[misc]
                break
        refuse_other_link_types(source)
        read += measurement.frames
    if source is None:
        raise InputError("no frames to choose from", request.identity.label)
    written, sha256 = file.finish(source)
    return Exported(read, written, sha256)


def _check(descriptor: int, name: str, sha256: str) -> None:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
    if found != sha256:
        raise InputError(
            "these are not the frames that the report speaks of: the SHA-256 is another one",
            name,
            "the report or the file was changed: measure again",
        )
