"""A report being built from batches, in memory that no input makes grow.

What lives here: which counts are kept and how a batch enters them. What must not: the loops over frames (tables.py,
deep_rows.py), or what a report means (report.py). Used by the pipeline.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

import numpy as np

from analyzer.classify.description import describe_frames
from analyzer.model.classes import CLASS_COUNT, FrameClass
from analyzer.report.findings import UNSEEN_CLASSES, merge_subclasses, unseen
from analyzer.report.flows import FRAMES
from analyzer.report.hitter_table import ClassTables
from analyzer.report.observing import Observer, nonzero
from analyzer.report.plain_frames import Gathered, PlainFrames, by_second, counts_of, of_class
from analyzer.report.report import Report, windows_in_order
from analyzer.report.timeline import COUNTS, TimelineCounts
from analyzer.report.times import NS_PER_S

if TYPE_CHECKING:
    from analyzer.classify.classifier import Classifier
    from analyzer.model.classes import DirectionSource
    from analyzer.model.frames import I64, U8, FrameBatch, RawFrames
    from analyzer.model.identity import GuestIdentity
    from analyzer.model.window import CaptureWindow
    from analyzer.report.first_look import FirstLook
    from analyzer.report.report import FramesFile
    from analyzer.report.sampling import Describe


class ReportBuilder:
    """Counts batches into a report, in memory that no input makes grow."""

    def __init__(self, identity: GuestIdentity, direction_source: DirectionSource) -> None:
        self._identity = identity
        self._direction_source = direction_source
        self._totals: I64 = np.zeros(COUNTS, np.int64)
        self._timeline = TimelineCounts()
        self._tables = ClassTables()
        self._observer = Observer(identity)
        self._looks: dict[int, FirstLook] = {}
        self._plain: PlainFrames | None = None
        self._unseen: I64 = np.zeros((len(UNSEEN_CLASSES), 2), np.int64)

    @property
    def counts(self) -> I64:
        """The counts so far as int64[6, 2]: FrameClass x (frames, octets); a copy."""
        self._settle()
        return self._totals.reshape(CLASS_COUNT, 2).copy()

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Count n frames with their n classes."""
        self.count(batch, classes, self.look(batch, classes))

    def look(self, batch: FrameBatch, classes: U8) -> FirstLook:
        """Take the first look at n frames with their n classes; several threads may do so at once.

        What it gives holds until the same thread looks again: before, it is to be given to ``count`` with its batch,
        in the order of the batches.
        """
        look = self._look_of_thread()
        look.look(batch, classes, self._timeline.bin_s)
        return look

    def count(self, batch: FrameBatch, classes: U8, look: FirstLook) -> None:
        """Count n frames with their n classes after the first look at them."""
        self._take_bins(look, look.filled)
        while look.tallied < len(batch):
            self._take_bins(look, look.tally(batch, classes))
        self._tables.add(batch, look)
        self._observer.add(batch, classes, look)

    def _take_bins(self, look: FirstLook, filled: int) -> None:
        counts = look.bin_counts[:filled]
        self._totals += counts.sum(axis=0)
        self._timeline.add_rows(look.bins[:filled], counts, look.bin_s)

    def add_plain(self, raw: RawFrames, classifier: Classifier) -> I64:
        """Count those frames of a live tap that are plain, by their flows, and give the rows of the others."""
        observer = self._observer
        if self._plain is None:
            self._plain = PlainFrames(classifier, observer.limits, judges_addresses=observer.judges_addresses)
        for gathered in self._plain.gather(raw, self._timeline.bin_s):
            self._count_flows(gathered)
        return self._plain.rest

    def add_flows(self, flows: I64) -> int:
        """Count the flows of plain frames that the kernel gathered, each with its second, and give their frames."""
        for gathered in by_second(flows):
            self._count_flows(gathered)
        return int(flows[:, FRAMES].sum())

    def _settle(self) -> None:
        """Count what is gathered."""
        for gathered in self._plain.take() if self._plain is not None else ():
            self._count_flows(gathered)

    def _count_flows(self, gathered: Gathered) -> None:
        """Count flows of a time bin."""
        look, flows = self._look_of_thread(), gathered.flows
        counts = counts_of(flows, look.ethertypes, look.vlans, look.sent_vlans)
        self._totals += counts
        self._timeline.add_rows(np.array([gathered.bin]), counts.reshape(1, -1), gathered.bin_s)
        look.segments += int(counts[::2].sum())
        src, dst, _, *sums, _ = of_class(flows, FrameClass.FOREIGN_UNICAST).T
        self._tables.talkers.add_sums(src, dst, *sums)
        src, dst, _, *sums, _ = of_class(flows, FrameClass.FROM_GUEST).T
        self._tables.senders.add_sums(src, np.zeros_like(dst), *sums)
        self._tables.settle()

    def add_unseen(self, ts_ns: int, own: I64) -> None:
        """Count what nobody looked at: frames, octets and segments to the guest and from it, int64[2, 3], at a time."""
        counts: I64 = np.zeros((CLASS_COUNT, 2), np.int64)
        counts[list(UNSEEN_CLASSES)] = own[:, :2]
        self._unseen += own[:, :2]
        self._totals += counts.reshape(-1)
        self._look_of_thread().segments += int(own[:, 2].sum())
        bin_s = self._timeline.bin_s
        self._timeline.add_rows(np.array([ts_ns // (bin_s * NS_PER_S)]), counts.reshape(1, -1), bin_s)

    def _look_of_thread(self) -> FirstLook:
        return self._looks.get(get_ident()) or self._looks.setdefault(get_ident(), self._observer.first_look())

    def sample_heads(self) -> list[bytes]:
        """Give the first octets of the frames that ``finish`` has described, for whoever describes those of many."""
        return self._observer.sample_heads()

    def finish(
        self,
        windows: tuple[CaptureWindow, ...],
        frames_file: FramesFile | None = None,
        notes: tuple[str, ...] = (),
        describe: Describe = describe_frames,
    ) -> Report:
        """Give the report of what was added, taken in ``windows``; ``describe`` describes its samples."""
        self._settle()
        looks = tuple(self._looks.values())
        return Report(
            identity=self._identity,
            direction_source=self._direction_source,
            windows=windows_in_order(windows),
            class_counts=tuple((int(frames), int(octets)) for frames, octets in self.counts),
            segments=sum(look.segments for look in looks),
            talkers=self._tables.talkers.finish(),
            groups=self._tables.groups.finish(),
            senders=self._tables.senders.finish(),
            ethertypes=nonzero(look.ethertypes for look in looks),
            vlans=nonzero(look.vlans for look in looks),
            timeline=self._timeline.finish(),
            subclasses=merge_subclasses((*self._observer.subclasses(looks), *unseen(self._unseen.tolist()))),
            samples=self._observer.samples(describe),
            observed=self._observer.finish(looks),
            frames_file=frames_file if len(windows) == 1 else None,
            notes=tuple(sorted(set(notes))),
        )
