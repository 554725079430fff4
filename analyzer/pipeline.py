"""From a source to a report: decode, classify, count, batch by batch, in bounded memory.

One engine for a live tap and a file. Runs inside the measuring worker; opens nothing. Whoever wants more than the
report (the writer of a capture file, a prediction) is a consumer of the same batches and classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.classify.description import describe_frames
from analyzer.report.builder import ReportBuilder
from analyzer.two_threads import TwoThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.capture.source import FrameSource
    from analyzer.model.classes import DirectionSource
    from analyzer.model.frames import I64, U8, FrameBatch, RawFrames
    from analyzer.model.identity import GuestIdentity
    from analyzer.model.window import CaptureWindow
    from analyzer.report.first_look import FirstLook
    from analyzer.report.report import FramesFile, Report
    from analyzer.report.sampling import Describe
    from analyzer.two_threads import Helper


_FIRST_FRAMES: Final = 64

Looked: TypeAlias = "tuple[FrameBatch, U8, FirstLook]"
"""A batch with the class of each of its frames and what the first look told."""


class Consumer(Protocol):
    """What else wants to see each batch with the class of each of its frames."""

    def add(self, batch: FrameBatch, classes: U8) -> object:
        """Take one batch of n frames and their n classes; both hold only until the call returns."""


class Measurement:
    """The frames of one card on their way into one report."""

    def __init__(
        self,
        identity: GuestIdentity,
        direction_source: DirectionSource,
        *,
        captured_on_guest: bool = False,
        consumers: Sequence[Consumer] = (),
        counts_flows: Callable[[], bool] | None = None,
    ) -> None:
        """``counts_flows`` says whether no consumer wants frames now: then those of a live tap are counted by flow."""
        self.identity = identity
        self.frames = 0
        self._classifier = Classifier(identity, direction_source, captured_on_guest)
        self._builder = ReportBuilder(identity, direction_source)
        self._consumers = tuple(consumers)
        self._counts_flows = counts_flows or (lambda: False)

    def add(self, raw: RawFrames) -> None:
        """Decode, classify and count one batch, and hand it to the consumers."""
        if len(raw) and self._counts_flows():
            raw = self._count_flows(raw)
        if len(raw):
            self.count(self.look(raw))

    def _count_flows(self, raw: RawFrames) -> RawFrames:
        """Count the plain frames of a batch by their flows, and give the others.

        The first frames go the long way, which takes the samples: of later ones it is then known that they are none.
        """
        if self.frames == 0 and len(raw) > _FIRST_FRAMES:
            self.count(self.look(raw.take(slice(_FIRST_FRAMES))))
            raw = raw.take(slice(_FIRST_FRAMES, len(raw)))
        rest = self._builder.add_plain(raw, self._classifier)
        self.frames += len(raw) - len(rest)
        return raw if len(rest) == len(raw) else raw.take(rest)

    def look(self, raw: RawFrames) -> Looked:
        """Decode and classify one batch and look at it a first time; several threads may do so at once."""
        batch = decode(raw)
        classes = self._classifier.classify(batch)
        return batch, classes, self._builder.look(batch, classes)

    def count(self, looked: Looked) -> None:
        """Count one batch after the first look, and hand it to the consumers."""
        batch, classes, look = looked
        self._builder.count(batch, classes, look)
        for consumer in self._consumers:
            consumer.add(batch, classes)
        self.frames += len(batch)

    def count_unseen(self, ts_ns: int, own: I64) -> None:
        """Count what the kernel counted of the guest's own, as OwnCounts has it, at a time."""
        self._builder.add_unseen(ts_ns, own)
        self.frames += int(own[:, 0].sum())

    def count_flows(self, flows: I64) -> None:
        """Count plain frames by the flows that the kernel counted, as FlowTables has them."""
        self.frames += self._builder.add_flows(flows)

    def class_frames(self) -> tuple[int, ...]:
        """Give the frames counted so far per class, in the order of FrameClass."""
        return tuple(int(count) for count in self._builder.counts[:, 0])

    def sample_heads(self) -> list[bytes]:
        """Give what ``finish`` will have described."""
        return self._builder.sample_heads()

    def finish(
        self,
        windows: tuple[CaptureWindow, ...],
        frames_file: FramesFile | None = None,
        notes: tuple[str, ...] = (),
        describe: Describe = describe_frames,
    ) -> Report:
        """Give the report of everything added, taken in ``windows``; ``describe`` describes its samples."""
        return self._builder.finish(windows, frames_file=frames_file, notes=notes, describe=describe)


def drain(source: FrameSource, measurement: Measurement, helper: Helper | None = None) -> Iterator[int]:
    """Measure ``source`` to its end; yields the frames seen so far after each batch, for progress and for stopping.

    With a ``helper`` two threads share the work, and a batch of ``source`` must hold until two more are asked for; the
    result is the same.
    """
    if helper is not None:
        yield from TwoThreads(source, measurement).drain(helper)
        return
    source.fetch_ahead()
    for raw in source.batches():
        measurement.add(raw)
        yield measurement.frames
        source.fetch_ahead()
