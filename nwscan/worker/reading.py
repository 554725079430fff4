"""The worker's work on files: whose they are, which way their frames went, and their report."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import numpy as np

from analyzer.capture.source import open_capture
from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import GROUP_BIT
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import LINKTYPE_ETHERNET, FrameFlag
from analyzer.pipeline import Measurement, drain
from analyzer.report.report import Report
from analyzer.report.store import encode
from nwscan.worker.describing import describer
from nwscan.worker.messages import Candidate, Candidates, Measured, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture.source import FrameSource
    from analyzer.model.identity import GuestIdentity
    from analyzer.pipeline import Consumer
    from analyzer.two_threads import Helper
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Analyze

_CANDIDATES_LIMIT: Final = 4096
"""Distinct MACs that are kept while looking for candidates; a flood of random ones must not fill the memory."""
_LINK_TYPES_NAMED: Final = 8


def analyze(
    request: Analyze, descriptors: list[int], link: Link, helper: Helper | None = None
) -> Measured | Candidates:
    """Measure the files into one report, or say whose they could be where nobody knows.

    Of several files those without any Ethernet frame are left out, and the report says so.
    """
    sources = [open_source(*each) for each in zip(descriptors, request.names, strict=True)]
    identity = request.identity or common_identity(sources)
    if identity is None:
        return candidates_of(sources, link)
    measured = [(source, _measure(source, identity, request.captured_on, link, helper)) for source in sources]
    left_out = [source for source in sources if not _may_have_ethernet(source)]
    if len(left_out) == len(sources) and not request.is_part:
        refuse_other_link_types(sources[0])
    counted = (one for source, one in measured if source not in left_out)
    nothing = Report.empty(identity, DirectionSource.SOURCE_MAC)
    report = reduce(lambda one, other: one.merge(other), counted, nothing)
    notes = (f"{source.name} is left out: it has no Ethernet frames ({_link_types_of(source)})." for source in left_out)
    return Measured((encode(replace(report, notes=tuple(sorted({*report.notes, *notes})))),))


def open_source(descriptor: int, name: str) -> FrameSource:
    """Give the source behind an open descriptor."""
    return open_capture(cast("BinaryIO", os.fdopen(descriptor, "rb")), name)


def common_identity(sources: list[FrameSource]) -> GuestIdentity | None:
    """Give the guest that files of nwscan's own name; None where a file names none.

    Raises UsageError where two files name different cards: their frames cannot be one report.
    """
    identities = [source.identity for source in sources]
    known = [identity for identity in identities if identity is not None]
    if len(known) < len(identities):
        return None
    if len({identity.macs for identity in known}) > 1:
        raise UsageError(
            "the files were captured for different guests",
            ", ".join(f"{source.name}: {source.identity.label}" for source in sources if source.identity),
            "analyze them one by one, or say whose traffic counts with --mac",
        )
    return known[0]


def direction_of(source: FrameSource, captured_on: str | None) -> DirectionSource:
    """Say which rule decides the direction of a file's frames: its own flags only where they can be trusted."""
    trusted = source.has_direction or captured_on is not None
    return DirectionSource.EPB_FLAGS if trusted else DirectionSource.SOURCE_MAC


def measurement_of(
    source: FrameSource, identity: GuestIdentity, captured_on: str | None, consumers: tuple[Consumer, ...] = ()
) -> Measurement:
    """Give the measurement that fits a file."""
    on_guest = captured_on == "guest" and not source.has_direction
    return Measurement(identity, direction_of(source, captured_on), captured_on_guest=on_guest, consumers=consumers)


def progress_of(source: FrameSource, measurement: Measurement) -> Progress:
    """Give the progress on a file."""
    total = source.octets_total
    share = min(source.octets_read / total, 1.0) if total else None
    return Progress(measurement.frames, measurement.class_frames(), None, share)


def _measure(
    source: FrameSource, identity: GuestIdentity, captured_on: str | None, link: Link, helper: Helper | None
) -> Report:
    measurement = measurement_of(source, identity, captured_on)
    for _ in drain(source, measurement, helper):
        if link.progress(lambda: progress_of(source, measurement)):
            break
    report = measurement.finish((source.window(),), notes=notes_on_link_types(source), describe=describer(link))
    source.close()
    return report


def notes_on_link_types(source: FrameSource) -> tuple[str, ...]:
    """Say which interfaces of a file have frames that no class can be told of, beside those of Ethernet."""
    others = sorted({interface.linktype for interface in source.interfaces} - {LINKTYPE_ETHERNET})
    if not others:
        return ()
    return (f"{source.name} also has {link_types(others)}: without an Ethernet header such frames are unclassified.",)


def link_types(numbers: Sequence[int]) -> str:
    """Give link types as people read them, not more than a few."""
    more = f" and {len(numbers) - _LINK_TYPES_NAMED} more" if len(numbers) > _LINK_TYPES_NAMED else ""
    return f"link type {', '.join(map(str, numbers[:_LINK_TYPES_NAMED]))}{more}"


def _link_types_of(source: FrameSource) -> str:
    return link_types(sorted({interface.linktype for interface in source.interfaces}))


def _may_have_ethernet(source: FrameSource) -> bool:
    """Say whether an interface has Ethernet frames; of a file that ends before it names one, that is not known."""
    return not source.interfaces or any(one.linktype == LINKTYPE_ETHERNET for one in source.interfaces)


def refuse_other_link_types(source: FrameSource) -> None:
    """Raise InputError where no interface of the file has Ethernet frames: no destination MAC, no class."""
    if not _may_have_ethernet(source):
        raise InputError(
            f"no Ethernet frames in this capture: {_link_types_of(source)}",
            source.name,
            "capture on the guest's tap itself (a cooked capture, as of -i any, holds no destination MAC)",
        )


def candidates_of(sources: list[FrameSource], link: Link) -> Candidates:
    """Count for each unicast MAC how often it sends and receives; bounded."""
    sent: dict[int, int] = {}
    received: dict[int, int] = {}
    frames = 0
    for source in sources:
        for raw in source.batches():
            batch = decode(raw)
            sound = (batch.flags & (FrameFlag.TOO_SHORT | FrameFlag.CUT_HEADER | FrameFlag.NOT_ETHERNET)) == 0
            for counts, column in ((sent, batch.src[sound]), (received, batch.dst[sound])):
                macs, times = np.unique(column, return_counts=True)
                for mac, count in zip(macs.tolist(), times.tolist(), strict=True):
                    if not mac & GROUP_BIT and (mac in counts or len(counts) < _CANDIDATES_LIMIT):
                        counts[mac] = counts.get(mac, 0) + count
            frames += len(batch)
            if link.progress(lambda done=frames: Progress(done, (), None)):  # type: ignore[misc]
                break
    if not any(map(_may_have_ethernet, sources)):
        refuse_other_link_types(sources[0])
    ordered = sorted({*sent, *received}, key=lambda mac: -(sent.get(mac, 0) + received.get(mac, 0)))
    return Candidates(tuple(Candidate(mac, sent.get(mac, 0), received.get(mac, 0)) for mac in ordered))
