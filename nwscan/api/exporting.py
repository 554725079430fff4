"""Export: the kept frames of one class as a capture file. Opens and writes; a worker reads the frames."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.errors import InputError, UsageError
from nwscan import kept
from nwscan.api.documents import by_card
from nwscan.api.measure import Unwatched, Watcher
from nwscan.worker import parent
from nwscan.worker.messages import Export, Exported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.classes import FrameClass


@dataclass(frozen=True, slots=True)
class Exportation:
    """What was exported. ``counted`` are the frames of the class that the reports counted, kept or not."""

    path: Path
    frames: int
    counted: int
    sha256: str


def export(
    reports: Sequence[kept.KeptReport], wanted: FrameClass, path: Path, *, watcher: Watcher | None = None
) -> Exportation:
    """Write the frames of the class ``wanted`` that are kept beside reports of one card, in order of time.

    Raises UsageError where the reports are of several cards, InputError where a report's frames are not there, or are
    others than it says.
    """
    cards = by_card([one.report for one in reports])
    if len(cards) > 1:
        names = ", ".join(card.identity.label for card in cards)
        raise UsageError("one file holds the frames of one card", names, "name the reports of one card")
    ordered = sorted(reports, key=lambda one: [window.start_ns or 0 for window in one.report.windows])
    with ExitStack() as stack, ExitStack() as inputs:
        places: list[str] = []
        sha256s: list[str] = []
        descriptors: list[int] = []
        for report in ordered:
            place, sha256, descriptor = _frames_of(report)
            inputs.callback(os.close, descriptor)
            places.append(place)
            sha256s.append(sha256)
            descriptors.append(descriptor)
        output = stack.enter_context(kept.new_file(path, map(Path, places)))
        request = Export(tuple(places), tuple(sha256s), cards[0].identity, int(wanted))
        watcher = watcher or Unwatched()
        handed = [*descriptors, output]
        reply = parent.run(request, handed, on_handed_over=inputs.close, on_progress=watcher.progress)
        if not isinstance(reply, Exported):
            raise TypeError(reply)
    return Exportation(path, reply.frames_written, cards[0].class_counts[wanted][0], reply.sha256)


def _frames_of(report: kept.KeptReport) -> tuple[str, str, int]:
    """Give name, SHA-256 and descriptor of the frames beside a report, else of where it says that they are."""
    known = report.report.frames_file
    if known is None:
        raise InputError("no frames are kept with this report", str(report.path), "capture keeps them; name its report")
    place = report.frames_path or Path(known.path)
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not make us wait
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"the kept frames are not there: {why}", str(place), "they are deleted after a time"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError("the kept frames are no regular file", str(place), "name a report that nwscan wrote")
    return str(place), known.sha256, descriptor
