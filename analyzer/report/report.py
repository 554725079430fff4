"""The report: what one card saw, from however many windows. A value that merges.

What lives here: the report and how it is built from batches. What must not: files, documents (store.py), pandas
(views.py). Built by the pipeline.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.classify.description import describe_frames
from analyzer.model.classes import CLASS_COUNT, TO_GUEST_CLASSES, DirectionSource, FrameClass
from analyzer.model.columns import column
from analyzer.model.frames import BATCH_FRAMES
from analyzer.report import tables
from analyzer.report.findings import (
    UNSEEN,
    UNSEEN_CLASSES,
    Cause,
    Sample,
    Subclass,
    merge_causes,
    merge_samples,
    merge_subclasses,
    unseen,
)
from analyzer.report.identities import merge_identities
from analyzer.report.observed import Observed
from analyzer.report.observing import Observer
from analyzer.report.plain_frames import PlainFrames, counts_of, of_class
from analyzer.report.split import unrelated
from analyzer.report.talkers import Hitters, HitterTable
from analyzer.report.timeline import COUNTS, Timeline, TimelineCounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.classify.classifier import Classifier
    from analyzer.model.frames import I64, U8, FrameBatch, RawFrames
    from analyzer.model.identity import GuestIdentity
    from analyzer.model.window import CaptureWindow
    from analyzer.report.sampling import Describe

ClassCounts = tuple[tuple[int, int], ...]
"""Frames and octets of each class, in the order of FrameClass."""

Tally = tuple[tuple[int, int, int], ...]
"""A number (ethertype, VLAN ID) with its frames and octets, in the order of the numbers."""

NO_COUNTS: Final[ClassCounts] = ((0, 0),) * CLASS_COUNT
_NO_HITTERS: Final = Hitters()
_NO_TIMELINE: Final = Timeline()
_NOTHING_OBSERVED: Final = Observed()


@dataclass(frozen=True, slots=True)
class FramesFile:
    """The kept frames of a report: where, their SHA-256, and the share of the window's frames that they are."""

    path: str
    sha256: str
    covers: float


@dataclass(frozen=True, slots=True)
class Report:
    """What the card of ``identity`` saw.

    ``class_counts`` partition the frames: they add up to the frames seen in ``windows``. ``talkers`` are the (source,
    destination) pairs of foreign unicast, ``groups`` the destinations of multicast, ``senders`` the source MACs of what
    the guest sent. ``ethertypes`` and ``vlans`` are of what is to the guest. ``segments`` are the frames on a wire that
    the frames stand for. ``subclasses`` are those that single frames tell; split.py gives all of them. ``causes`` are
    empty where nobody has looked for them. ``observed`` is what the traffic tells of the guest; nobody may trust it.
    ``frames_file`` is known for a report of one window only.
    """

    identity: GuestIdentity
    direction_source: DirectionSource
    windows: tuple[CaptureWindow, ...] = ()
    class_counts: ClassCounts = NO_COUNTS
    segments: int = 0
    talkers: Hitters = _NO_HITTERS
    groups: Hitters = _NO_HITTERS
    senders: Hitters = _NO_HITTERS
    ethertypes: Tally = ()
    vlans: Tally = ()
    timeline: Timeline = _NO_TIMELINE
    subclasses: tuple[Subclass, ...] = ()
    causes: tuple[Cause, ...] = ()
    samples: tuple[Sample, ...] = ()
    observed: Observed = _NOTHING_OBSERVED
    frames_file: FramesFile | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def empty(cls, identity: GuestIdentity, direction_source: DirectionSource) -> Report:
        """Give the neutral element of ``merge`` for this card."""
        return cls(identity, direction_source)

    @property
    def counts(self) -> I64:
        """The class counts as int64[6, 2]: FrameClass x (frames, octets)."""
        return np.array(self.class_counts, np.int64)

    @property
    def frames_seen(self) -> int:
        """All frames of all classes."""
        return sum(frames for frames, _ in self.class_counts)

    @property
    def seen_by_guest(self) -> tuple[int, int]:
        """Frames and octets of the four classes that go to the guest."""
        rows = [self.class_counts[kind] for kind in TO_GUEST_CLASSES]
        return sum(frames for frames, _ in rows), sum(octets for _, octets in rows)

    @property
    def foreign_share(self) -> tuple[float | None, float | None]:
        """Foreign unicast's share of the frames and of the octets that the guest sees, None where it sees none."""
        foreign, seen = self.class_counts[FrameClass.FOREIGN_UNICAST], self.seen_by_guest
        return (foreign[0] / seen[0] if seen[0] else None), (foreign[1] / seen[1] if seen[1] else None)

    @property
    def unrelated(self) -> tuple[int, int]:
        """Frames and octets that are demonstrably for others: foreign unicast, and such multicast and broadcast."""
        return unrelated(self)

    @property
    def has_unseen(self) -> bool:
        """Say whether frames of the guest's own were counted in the kernel and not looked at."""
        return any(one.name == UNSEEN for one in self.subclasses)

    @property
    def duration_s(self) -> float:
        """Length of all windows together, in seconds."""
        return sum(window.duration_s for window in self.windows)

    @property
    def frames_lost(self) -> int | None:
        """What the kernel dropped in all windows; None where one does not know."""
        lost = [window.frames_lost for window in self.windows]
        known = [count for count in lost if count is not None]
        return sum(known) if len(known) == len(lost) else None

    def merge(self, other: Report) -> Report:
        """Give the report of both; associative and commutative, ``empty`` of the same card is neutral.

        For the two parts of a capture it is the report of the whole, but for the windows, which stay two, and for which
        of the frames alike in time, class, MACs and length is described.

        Raises UsageError where the two are of different cards.
        """
        windows = windows_in_order((*self.windows, *other.windows))
        return Report(
            identity=merge_identities(self.identity, other.identity),
            direction_source=_weaker(self, other),
            windows=windows,
            class_counts=tuple(
                (one[0] + two[0], one[1] + two[1])
                for one, two in zip(self.class_counts, other.class_counts, strict=True)
            ),
            segments=self.segments + other.segments,
            talkers=self.talkers.merge(other.talkers),
            groups=self.groups.merge(other.groups),
            senders=self.senders.merge(other.senders),
            ethertypes=merge_tallies((*self.ethertypes, *other.ethertypes)),
            vlans=merge_tallies((*self.vlans, *other.vlans)),
            timeline=self.timeline.merge(other.timeline),
            subclasses=merge_subclasses((*self.subclasses, *other.subclasses)),
            causes=merge_causes((*self.causes, *other.causes)),
            samples=merge_samples((*self.samples, *other.samples)),
            observed=self.observed.merge(other.observed),
            frames_file=(self.frames_file or other.frames_file) if len(windows) == 1 else None,
            notes=tuple(sorted({*self.notes, *other.notes})),
        )


_BY_TRUST: Final = (DirectionSource.SOURCE_MAC, DirectionSource.EPB_FLAGS, DirectionSource.PACKET_TYPE)


def _weaker(one: Report, other: Report) -> DirectionSource:
    """Give the direction source that can be trusted less, of those that counted any window."""
    sources = [report.direction_source for report in (one, other) if report.windows]
    sources = sources or [one.direction_source, other.direction_source]
    return min(sources, key=_BY_TRUST.index)


def windows_in_order(windows: tuple[CaptureWindow, ...]) -> tuple[CaptureWindow, ...]:
    """Give windows in order of time, those of unknown time first."""
    return tuple(sorted(windows, key=lambda window: [(value is not None, value) for value in _values(window)]))


def _values(window: CaptureWindow) -> tuple[object, ...]:
    return (
        window.start_ns,
        window.end_ns,
        window.source,
        window.frames_seen,
        window.frames_lost,
        window.snaplen,
        window.stopped_early,
    )


def merge_tallies(rows: Iterable[tuple[int, int, int]]) -> Tally:
    """Give each number once, with the sum of its counts, in order."""
    frames: Counter[int] = Counter()
    octets: Counter[int] = Counter()
    for number, some_frames, some_octets in rows:
        frames[number] += some_frames
        octets[number] += some_octets
    return tuple((number, frames[number], octets[number]) for number in sorted(frames))


class ReportBuilder:
    """Counts batches into a report, in memory that no input makes grow."""

    def __init__(self, identity: GuestIdentity, direction_source: DirectionSource) -> None:
        self._identity = identity
        self._direction_source = direction_source
        self._totals: I64 = np.zeros(COUNTS, np.int64)
        self._ethertypes: I64 = np.zeros(2 * 65536, np.int64)
        self._vlans: I64 = np.zeros(2 * 4096, np.int64)
        self._state: I64 = np.zeros(tables.STATE_LENGTH, np.int64)
        self._rows: I64 = np.zeros(BATCH_FRAMES, np.int64)
        self._starts: I64 = np.zeros(CLASS_COUNT + 1, np.int64)
        self._segments = 0
        self._bins: I64 = np.zeros(_BINS_AT_ONCE, np.int64)
        self._bin_counts: I64 = np.zeros(_BINS_AT_ONCE * COUNTS, np.int64)
        self._timeline = TimelineCounts()
        self._talkers = HitterTable(FrameClass.FOREIGN_UNICAST, "src", "dst")
        self._groups = HitterTable(FrameClass.MULTICAST, "dst")
        self._senders = HitterTable(FrameClass.FROM_GUEST, "src")
        self._observer = Observer(identity)
        self._plain: PlainFrames | None = None
        self._unseen: I64 = np.zeros((len(UNSEEN_CLASSES), 2), np.int64)

    @property
    def counts(self) -> I64:
        """The counts so far as int64[6, 2]: FrameClass x (frames, octets); a copy."""
        self._settle()
        return self._totals.reshape(CLASS_COUNT, 2).copy()

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Count n frames with their n classes."""
        if len(batch) > len(self._rows):
            self._rows = np.zeros(len(batch), np.int64)
        rows = self._rows[: len(batch)]
        tables.order_by_class(column(classes), column(rows), column(self._starts))
        starts = self._starts.tolist()
        at = 0
        while at < len(batch):
            at = self._tally(batch, classes, at)
        self._tally_types(batch, rows, starts[FrameClass.FROM_GUEST])
        self._segments += int(batch.segments.sum(dtype=np.int64))
        for table, kind in (
            (self._talkers, FrameClass.FOREIGN_UNICAST),
            (self._groups, FrameClass.MULTICAST),
            (self._senders, FrameClass.FROM_GUEST),
        ):
            table.add_rows(batch, rows[starts[kind] : starts[kind + 1]])
        self._observer.add(batch, classes, rows)

    def add_plain(self, raw: RawFrames, classifier: Classifier) -> I64:
        """Count those frames of a live tap that are plain, by their flows, and give the rows of the others."""
        observer = self._observer
        if self._plain is None:
            self._plain = PlainFrames(classifier, observer.limits, judges_addresses=observer.judges_addresses)
        for number, flows in self._plain.gather(raw, self._timeline.bin_ns):
            self._count_flows(number, flows)
        return self._plain.rest

    def _count_flows(self, number: int, flows: I64) -> None:
        """Count flows of a time bin."""
        counts = counts_of(flows, self._ethertypes, self._vlans, self._observer.vlans)
        self._totals += counts
        self._timeline.add_rows(np.array([number]), counts.reshape(1, -1))
        self._segments += int(counts[::2].sum())
        src, dst, _, *sums, _ = of_class(flows, FrameClass.FOREIGN_UNICAST).T
        self._talkers.add_sums(src, dst, *sums)
        src, dst, _, *sums, _ = of_class(flows, FrameClass.FROM_GUEST).T
        self._senders.add_sums(src, np.zeros_like(dst), *sums)

    def add_unseen(self, ts_ns: int, own: I64) -> None:
        """Count what nobody looked at: frames, octets and segments to the guest and from it, int64[2, 3], at a time."""
        counts: I64 = np.zeros((CLASS_COUNT, 2), np.int64)
        counts[list(UNSEEN_CLASSES)] = own[:, :2]
        self._unseen += own[:, :2]
        self._totals += counts.reshape(-1)
        self._segments += int(own[:, 2].sum())
        self._timeline.add_rows(np.array([ts_ns // self._timeline.bin_ns]), counts.reshape(1, -1))

    def sample_heads(self) -> list[bytes]:
        """Give the first octets of the frames that ``finish`` has described, for whoever describes those of many."""
        return self._observer.sample_heads()

    def _settle(self) -> None:
        """Count what is gathered."""
        for number, flows in self._plain.take() if self._plain is not None else ():
            self._count_flows(number, flows)

    def finish(
        self,
        windows: tuple[CaptureWindow, ...],
        frames_file: FramesFile | None = None,
        notes: tuple[str, ...] = (),
        describe: Describe = describe_frames,
    ) -> Report:
        """Give the report of what was added, taken in ``windows``; ``describe`` describes its samples."""
        self._settle()
        return Report(
            identity=self._identity,
            direction_source=self._direction_source,
            windows=windows_in_order(windows),
            class_counts=tuple((int(frames), int(octets)) for frames, octets in self.counts),
            segments=self._segments,
            talkers=self._talkers.finish(),
            groups=self._groups.finish(),
            senders=self._senders.finish(),
            ethertypes=_nonzero(self._ethertypes),
            vlans=_nonzero(self._vlans),
            timeline=self._timeline.finish(),
            subclasses=merge_subclasses((*self._observer.subclasses(), *unseen(self._unseen.tolist()))),
            samples=self._observer.samples(describe),
            observed=self._observer.finish(),
            frames_file=frames_file if len(windows) == 1 else None,
            notes=tuple(sorted(set(notes))),
        )

    def _tally(self, batch: FrameBatch, classes: U8, at: int) -> int:
        rows = tables.tally(
            column(classes),
            column(batch.octets),
            column(batch.raw.ts_ns),
            self._timeline.bin_ns,
            column(self._bins),
            column(self._bin_counts),
            at,
            column(self._state),
        )
        counts = self._bin_counts.reshape(-1, COUNTS)[:rows]
        self._totals += counts.sum(axis=0)
        self._timeline.add_rows(self._bins[:rows], counts)
        return int(self._state[0])

    def _tally_types(self, batch: FrameBatch, rows: I64, stop: int) -> None:
        tables.tally_types(
            column(rows),
            stop,
            column(batch.octets),
            column(batch.ethertype),
            column(batch.tags),
            column(batch.vlan),
            column(self._ethertypes),
            column(self._vlans),
        )


_BINS_AT_ONCE: Final = 256


def _nonzero(counts: I64) -> Tally:
    pairs = counts.reshape(-1, 2)
    numbers = np.flatnonzero(pairs[:, 0])
    return tuple(zip(numbers.tolist(), *pairs[numbers].T.tolist(), strict=True))
