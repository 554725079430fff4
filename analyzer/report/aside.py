"""Frames set aside for a deeper look: the few of each batch, copied until they are many enough to be worth a look.

What lives here: the copy. What must not: the look (observing.py). A look costs the same for a few frames as for a
thousand. Hot: types in aside.pxd; the same file runs uncompiled.

Memory is safe by construction: an octet is read within the buffer alone (``frame_octets``), and one is written only
where there is room for the whole frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython
import numpy as np

from analyzer.model.columns import column
from analyzer.model.frames import I64, U8, U16, U32, U64, FrameBatch, RawFrames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.columns import Column

ASIDE_FRAMES: Final = 4096
ASIDE_OCTETS: Final = 1 << 19
"""Twice what the longest frame of a capture has (MAX_SNAPLEN)."""

_FRAMES = 0
_OCTETS = 1


class FramesAside:
    """Room for frames of any batches; what is not needed for a deeper look is 0."""

    def __init__(self) -> None:
        n = ASIDE_FRAMES
        self._data: U8 = np.zeros(ASIDE_OCTETS, np.uint8)
        self._offsets: I64 = np.zeros(n, np.int64)
        self._captured: U32 = np.zeros(n, np.uint32)
        self._ts_ns: I64 = np.zeros(n, np.int64)
        self._tag: U32 = np.zeros(n, np.uint32)
        self._ethertype: U16 = np.zeros(n, np.uint16)
        self._tags: U8 = np.zeros(n, np.uint8)
        self._network = np.zeros(n, np.int32)
        self._octets: U32 = np.zeros(n, np.uint32)
        self._classes: U8 = np.zeros(n, np.uint8)
        self._rows: I64 = np.arange(n)
        self._none: U64 = np.zeros(n, np.uint64)
        self._state: I64 = np.zeros(2, np.int64)

    def add(self, batch: FrameBatch, classes: U8, rows: I64) -> Iterator[tuple[FrameBatch, U8, I64]]:
        """Set ``rows`` aside; yields batches, classes and rows to look at, as often as room is needed."""
        at = 0
        while at < len(rows):
            taken = self._take(batch, classes, rows, at)
            if taken < len(rows):
                if not self._state[_FRAMES]:  # longer than any frame that a reader gives: looked at where it lies
                    yield batch, classes, rows[taken : taken + 1]
                    taken += 1
                yield from self.empty()
            at = taken

    def empty(self) -> Iterator[tuple[FrameBatch, U8, I64]]:
        """Yield what is aside, if anything, and have the room again."""
        n = int(self._state[_FRAMES])
        if n:
            yield self._batch(n), self._classes[:n], self._rows[:n]
            self._state[:] = 0

    def _take(self, batch: FrameBatch, classes: U8, rows: I64, at: int) -> int:
        raw = batch.raw
        return set_aside(
            column(rows),
            at,
            column(raw.data),
            column(raw.offsets),
            column(raw.captured),
            column(raw.ts_ns),
            column(raw.tag),
            column(batch.ethertype),
            column(batch.tags),
            column(batch.network),
            column(batch.octets),
            column(classes),
            column(self._data),
            column(self._offsets),
            column(self._captured),
            column(self._ts_ns),
            column(self._tag),
            column(self._ethertype),
            column(self._tags),
            column(self._network),
            column(self._octets),
            column(self._classes),
            column(self._state),
        )

    def _batch(self, n: int) -> FrameBatch:
        none = self._none[:n]
        return FrameBatch(
            raw=RawFrames(
                data=self._data[: int(self._state[_OCTETS])],
                offsets=self._offsets[:n],
                captured=self._captured[:n],
                original=self._octets[:n],
                ts_ns=self._ts_ns[:n],
                direction=none.astype(np.uint8),
                tag=self._tag[:n],
                gso_size=none.astype(np.uint16),
                interface=none.astype(np.uint16),
            ),
            dst=none,
            src=none,
            outer_type=self._ethertype[:n],
            ethertype=self._ethertype[:n],
            tags=self._tags[:n],
            vlan=none.astype(np.uint16),
            network=self._network[:n],
            octets=self._octets[:n],
            segments=none.astype(np.uint16),
            flags=none.astype(np.uint8),
        )


def set_aside(  # noqa: PLR0917 - one parameter a column
    rows: Column,
    start: int,
    data: Column,
    offsets: Column,
    captured: Column,
    ts_ns: Column,
    tag: Column,
    ethertype: Column,
    tags: Column,
    network: Column,
    octets: Column,
    classes: Column,
    to_data: Column,
    to_offsets: Column,
    to_captured: Column,
    to_ts_ns: Column,
    to_tag: Column,
    to_ethertype: Column,
    to_tags: Column,
    to_network: Column,
    to_octets: Column,
    to_classes: Column,
    state: Column,
) -> int:
    """Copy the frames ``rows[start:]`` while there is room; gives the place in ``rows`` of the first that has none.

    ``state`` holds how many frames and octets are there already, and is set to how many there are then.
    """
    n = state[_FRAMES]
    end = state[_OCTETS]
    k = start
    with cython.nogil:
        while k < rows.shape[0] and n < to_offsets.shape[0]:
            i = rows[k]
            first = offsets[i]
            length = frame_octets(first, captured[i], data.shape[0])
            if length > to_data.shape[0] - end:
                break
            for at in range(length):
                to_data[end + at] = data[first + at]
            to_offsets[n] = end
            to_captured[n] = length
            to_ts_ns[n] = ts_ns[i]
            to_tag[n] = tag[i]
            to_ethertype[n] = ethertype[i]
            to_tags[n] = tags[i]
            to_network[n] = network[i]
            to_octets[n] = octets[i]
            to_classes[n] = classes[i]
            end += length
            n += 1
            k += 1
    state[_FRAMES] = n
    state[_OCTETS] = end
    return k


def frame_octets(start: int, captured: int, size: int) -> int:
    """Give how many octets of a frame lie within a buffer of ``size``."""
    if start < 0 or start > size:
        return 0
    return min(size - start, captured)
