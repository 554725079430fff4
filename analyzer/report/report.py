"""The report: what one card saw, from however many windows. A value that merges.

What lives here: the report. What must not: how it is counted from batches (builder.py), documents (store.py), pandas
(views.py). Needs no numpy, so that a command that shows a report starts without it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from analyzer.model.classes import CLASS_COUNT, TO_GUEST_CLASSES, DirectionSource, FrameClass
from analyzer.report.findings import UNSEEN, Cause, Sample, Subclass, merge_causes, merge_samples, merge_subclasses
from analyzer.report.identities import merge_identities
from analyzer.report.observed import Observed
from analyzer.report.split import split_subclasses, unrelated
from analyzer.report.talkers import Hitters
from analyzer.report.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.model.frames import I64
    from analyzer.model.identity import GuestIdentity
    from analyzer.model.window import CaptureWindow

ClassCounts = tuple[tuple[int, int], ...]
"""Frames and octets of each class, in the order of FrameClass."""

Tally = tuple[tuple[int, int, int], ...]
"""A number (ethertype, VLAN ID) with its frames and octets, in the order of the numbers."""

NO_COUNTS: Final[ClassCounts] = ((0, 0),) * CLASS_COUNT
_NO_HITTERS: Final = Hitters()
_NO_TIMELINE: Final = Timeline()
_NOTHING_OBSERVED: Final = Observed()


class FramesFile(msgspec.Struct, frozen=True):
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
        import numpy as np  # noqa: PLC0415 - who only passes a report on does without arrays

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
        return unrelated(self, split_subclasses(self))

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
