"""Ring files: when the next file begins, and what it is called, as dumpcap (``-b``) and tcpdump (``-C -G -W``) do it.

What lives here: rules and names, as values. What must not: opening, writing or removing files. Called by the worker
(which rows still go into this file?) and by its parent (which name comes next, and what goes?).
Source: dumpcap(1) and ringbuffer.c of Wireshark; tcpdump(1) and MakeFilename of tcpdump.c.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from analyzer.model.frames import I64

_NUMBERS: Final = 100_000
"""RINGBUFFER_MAX_NUM_FILES: dumpcap's five digits begin again at 0."""


class RotationRules(msgspec.Struct, frozen=True):
    """When a file ends: after so many seconds, octets or frames, whichever comes first; None for never.

    A file ends with the frame that reaches ``octets``. With ``last`` the capture ends with that many files.
    ``restarts`` says that a file ended by its size begins a new stretch of time (dumpcap), and does not (tcpdump).
    """

    duration_s: float | None = None
    octets: int | None = None
    frames: int | None = None
    last: int | None = None
    restarts: bool = True


class FileProgress(msgspec.Struct):
    """How far one file is: when its stretch began, and what it holds."""

    rules: RotationRules
    start_ns: int
    octets: int
    frames: int = 0

    @property
    def end_ns(self) -> int | None:
        """The time from which frames belong to the next file, None for never."""
        return None if self.rules.duration_s is None else self.start_ns + int(self.rules.duration_s * 1e9)

    def is_full(self) -> bool:
        """Say whether size or frames end the file; never before it holds a frame, however long its header is."""
        octets, frames = self.rules.octets, self.rules.frames
        if not self.frames:
            return False
        return (octets is not None and self.octets >= octets) or (frames is not None and self.frames >= frames)

    def is_past(self, ts_ns: int) -> bool:
        """Say whether a frame of this time belongs to a later file."""
        return self.end_ns is not None and ts_ns >= self.end_ns

    def fitting(self, ts_ns: I64, sizes: I64) -> int:
        """Give how many of n frames, in order, still go into this file; both arrays are int64[n]."""
        import numpy as np  # noqa: PLC0415 - the parent, which has names and rules alone, does without arrays

        fit = len(ts_ns)
        if self.end_ns is not None:
            late = np.flatnonzero(ts_ns >= self.end_ns)
            fit = int(late[0]) if len(late) else fit
        if self.rules.frames is not None:
            fit = min(fit, self.rules.frames - self.frames)
        if self.rules.octets is not None:
            fit = min(fit, int(np.searchsorted(np.cumsum(sizes), self.rules.octets - self.octets)) + 1)
        return max(0, fit)

    def next_start_ns(self, now_ns: int) -> int:
        """Give when the stretch of the next file begins, where time ended this one and it is ``now_ns``.

        Stretches follow each other without a gap, but none is made up for a time in which nothing happened (or by
        which the clock was set).
        """
        end_ns = self.end_ns if self.end_ns is not None else now_ns
        is_next = end_ns <= now_ns < 2 * end_ns - self.start_ns
        return end_ns if is_next else now_ns


class DumpcapNames(msgspec.Struct):
    """``NAME_00001_YYYYMMDDhhmmss.EXT``, in local time; of ``files`` (None: all) the newest are kept."""

    path: Path
    files: int | None = None
    _number: int = 0
    _kept: list[Path] = msgspec.field(default_factory=list)

    def next(self, start_ns: int, *, by_time: bool = True) -> tuple[Path, Path | None]:  # noqa: ARG002 - as tcpdump's
        """Give the name of the next file and the name of the one that goes for it, if any."""
        self._number = (self._number + 1) % _NUMBERS
        stamp = time.strftime("%Y%m%d%H%M%S", time.localtime(start_ns / 1e9))
        name = self.path.with_name(f"{self.path.stem}_{self._number:05d}_{stamp}{self.path.suffix}")
        gone = self._kept.pop(0) if self.files is not None and len(self._kept) >= self.files else None
        self._kept.append(name)
        return name, gone


class TcpdumpNames(msgspec.Struct):
    """With ``by_size`` a number behind the name, with ``by_time`` strftime's letters in it.

    The first file by size has no number, unless ``files`` says how many there are: then the numbers have as many
    digits as the last one and begin again. A name that comes again is written over.
    """

    path: Path
    by_size: bool
    by_time: bool
    files: int | None = None
    _count: int = -1
    _stretch_ns: int = 0

    def next(self, start_ns: int, *, by_time: bool = True) -> tuple[Path, Path | None]:
        """Give the name of the next file; ``by_time`` says that time ended the one before. No other file goes."""
        if by_time:
            self._count, self._stretch_ns = 0, start_ns
        else:
            self._count += 1
            if self.files is not None and self._count >= self.files:
                self._count = 0
        name = str(self.path)
        if self.by_time:
            name = time.strftime(name, time.localtime(self._stretch_ns / 1e9)) or name
        digits = len(str(self.files - 1)) if self.files and self.by_size else 0
        is_numbered = self.by_size and (self._count or digits)
        return Path(f"{name}{self._count:0{digits}d}" if is_numbered else name), None
