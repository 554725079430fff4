"""What later parts find out about the frames of a report: subclasses, causes, samples. Values that merge.

What lives here: the values and their laws. What must not: finding them (analyzer/classify, analyzer/causes.py).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from analyzer.model.classes import CLASS_COUNT, FrameClass

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

SENDERS_KEPT: Final = 3
"""MACs that are named of those that sent to one foreign MAC what the guest made use of."""

SAMPLES_KEPT: Final = 8
"""Samples that a report keeps of each class: the earliest."""


class Subclass(msgspec.Struct, frozen=True, order=True):
    """Frames of one class that have something more in common (``arp_for_others``).

    ``is_unrelated`` says that they are demonstrably for others; those of a class that are have no frame in common.
    """

    kind: FrameClass
    name: str
    is_unrelated: bool
    frames: int
    octets: int


class Cause(msgspec.Struct, frozen=True):
    """Why foreign unicast reaches the tap: one sentence with its evidence, the frames it explains, and its remedy."""

    name: str
    sentence: str
    evidence: tuple[str, ...]
    remedy: str | None
    risk: str | None
    frames: int
    octets: int


class Sample(msgspec.Struct, frozen=True, order=True):
    """One frame described for people. The text holds what was on the wire: whoever shows it escapes it."""

    ts_ns: int
    kind: FrameClass
    src: int
    dst: int
    octets: int
    text: str


UNSEEN: Final = "not_looked_at"
"""The subclass of frames that were counted in the kernel alone."""
UNSEEN_CLASSES: Final = FrameClass.UNICAST_TO_GUEST, FrameClass.FROM_GUEST


def unseen(counts: Sequence[Sequence[int]]) -> list[Subclass]:
    """Give the subclasses of what nobody looked at: (frames, octets) of each of ``UNSEEN_CLASSES``."""
    return [
        Subclass(kind, UNSEEN, is_unrelated=False, frames=frames, octets=octets)
        for kind, (frames, octets) in zip(UNSEEN_CLASSES, counts, strict=True)
        if frames
    ]


class UsedMac(msgspec.Struct, frozen=True):
    """A foreign MAC with the frames by which the guest made use of what went there: answers, and packets sent on.

    ``both_ways`` of them may be for a packet that reached the guest by its own MAC, or by a group or broadcast, as
    well. ``senders`` are the source MACs of what went to ``mac``, the first few.
    """

    mac: int
    answered: int
    forwarded: int
    both_ways: int = 0
    senders: tuple[int, ...] = ()

    def merge(self, other: UsedMac) -> UsedMac:
        """Give what two looks at the same MAC found together."""
        senders = tuple(dict.fromkeys((*self.senders, *other.senders)))[:SENDERS_KEPT]
        return UsedMac(
            self.mac,
            self.answered + other.answered,
            self.forwarded + other.forwarded,
            self.both_ways + other.both_ways,
            senders,
        )


def merge_subclasses(found: Iterable[Subclass]) -> tuple[Subclass, ...]:
    """Give each subclass once, with the sum of its counts, in order."""
    listed = tuple(found)
    frames, octets = _sums([((one.kind, one.name, one.is_unrelated), one.frames, one.octets) for one in listed])
    kinds = {(one.kind, one.name, one.is_unrelated): one for one in listed}
    return tuple(sorted(replace(one, frames=frames[key], octets=octets[key]) for key, one in kinds.items()))


def merge_causes(found: Iterable[Cause]) -> tuple[Cause, ...]:
    """Give each cause once, with the sum of its counts, in order."""
    bare = [(replace(one, frames=0, octets=0), one.frames, one.octets) for one in found]
    frames, octets = _sums(bare)
    causes = sorted({one for one, _, _ in bare}, key=_words)
    return tuple(replace(one, frames=frames[one], octets=octets[one]) for one in causes)


def _words(one: Cause) -> tuple[object, ...]:
    return one.name, one.sentence, one.evidence, one.remedy is None, one.remedy, one.risk is None, one.risk


def merge_samples(found: Iterable[Sample]) -> tuple[Sample, ...]:
    """Give the ``SAMPLES_KEPT`` earliest of each class, in order of time; of those alike but for the text, one."""
    kept: dict[tuple[int, ...], Sample] = {}
    room = [SAMPLES_KEPT] * CLASS_COUNT
    for one in sorted(set(found)):
        key = one.ts_ns, one.kind, one.src, one.dst, one.octets
        if room[one.kind] and key not in kept:
            room[one.kind] -= 1
            kept[key] = one
    return tuple(kept.values())


def _sums(rows: Iterable[tuple[Hashable, int, int]]) -> tuple[Counter[Hashable], Counter[Hashable]]:
    frames: Counter[Hashable] = Counter()
    octets: Counter[Hashable] = Counter()
    for key, some_frames, some_octets in rows:
        frames[key] += some_frames
        octets[key] += some_octets
    return frames, octets
