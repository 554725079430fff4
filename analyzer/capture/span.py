"""What a reader of files has to remember of all its batches.

What lives here: the stretch of time and the number of frames, and the limit that all formats share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from analyzer.model.frames import I64

MAX_SNAPLEN: Final = 262_144
"""MAXIMUM_SNAPLEN of libpcap, the most octets captured of a frame; a file that states more, or 0, states no limit."""


class Span:
    """The earliest and the latest time of the frames seen so far, and how many there were."""

    def __init__(self) -> None:
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self.frames = 0

    def add(self, ts_ns: I64, frames: int) -> None:
        """Take the times of one batch of ``frames`` frames, of which those in ``ts_ns`` have one."""
        self.frames += frames
        if len(ts_ns) == 0:
            return
        self.reach(int(ts_ns.min()), int(ts_ns.max()))

    def reach(self, first: int, last: int) -> None:
        """Take the time ``first`` of the earliest frame and that of the latest one."""
        self.start_ns = first if self.start_ns is None else min(first, self.start_ns)
        self.end_ns = last if self.end_ns is None else max(last, self.end_ns)
