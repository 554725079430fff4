"""The columns of one batch of raw frames, allocated once per source and filled again and again.

What lives here: memory for the index of a batch. Called by the readers of files and by the ring of a tap.
"""

from __future__ import annotations

from threading import get_ident

import numpy as np

from analyzer.model.frames import BATCH_FRAMES, FILE_BATCH_FRAMES, I64, U8, U16, U32, CaptureInterface, RawFrames

_NO_U8: U8 = np.zeros(FILE_BATCH_FRAMES, np.uint8)
_NO_U16: U16 = np.zeros(FILE_BATCH_FRAMES, np.uint16)
_NO_U32: U32 = np.zeros(FILE_BATCH_FRAMES, np.uint32)
for _column in (_NO_U8, _NO_U16, _NO_U32):
    _column.flags.writeable = False


class Columns:
    """Room for the index of ``frames`` frames. What a format does not have is one shared column of zeros."""

    def __init__(
        self, frames: int = BATCH_FRAMES, *, has_directions: bool, has_interfaces: bool, has_tags: bool, has_gso: bool
    ) -> None:
        self.offsets: I64 = np.zeros(frames, np.int64)
        self.captured: U32 = np.zeros(frames, np.uint32)
        self.original: U32 = np.zeros(frames, np.uint32)
        self.ts_ns: I64 = np.zeros(frames, np.int64)
        self.direction: U8 = np.zeros(frames, np.uint8) if has_directions else _NO_U8
        self.tag: U32 = np.zeros(frames, np.uint32) if has_tags else _NO_U32
        self.gso_size: U16 = np.zeros(frames, np.uint16) if has_gso else _NO_U16
        self.interface: U16 = np.zeros(frames, np.uint16) if has_interfaces else _NO_U16

    def batch(self, data: U8, n: int, interfaces: tuple[CaptureInterface, ...]) -> RawFrames:
        """Give the first ``n`` rows as a batch of frames that lie in ``data``; views, not copies."""
        return RawFrames(
            data=data,
            offsets=self.offsets[:n],
            captured=self.captured[:n],
            original=self.original[:n],
            ts_ns=self.ts_ns[:n],
            direction=self.direction[:n],
            tag=self.tag[:n],
            gso_size=self.gso_size[:n],
            interface=self.interface[:n],
            interfaces=interfaces,
        )


class Rooms:
    """Columns for files, some of each thread that asks for batches: what it writes stays in the cache of its core."""

    def __init__(self, *, has_directions: bool, has_interfaces: bool, has_tags: bool, has_gso: bool) -> None:
        self._has = has_directions, has_interfaces, has_tags, has_gso
        self._columns: dict[int, Columns] = {}

    def of_thread(self) -> Columns:
        """Give the columns of the thread that asks, made where it has none yet."""
        found = self._columns.get(get_ident())
        if found is None:
            directions, interfaces, tags, gso = self._has
            found = self._columns[get_ident()] = Columns(
                FILE_BATCH_FRAMES,
                has_directions=directions,
                has_interfaces=interfaces,
                has_tags=tags,
                has_gso=gso,
            )
        return found
