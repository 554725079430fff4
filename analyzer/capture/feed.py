"""The octets of an input as one buffer to walk: a window that slides over a file or a stream.

What lives here: getting octets, in bounded memory. What must not: the format of what they say. Called by the readers.
Opening paths belongs to the caller; only open files come in.

Files are read, not mapped: a window that stays in the cache was measured to be faster than faulting pages in (43
against 72 ns a frame with decoding), and a file that its writer cuts while it is read (tcpdump -W does so) ends a
read, where it would end a process that has it mapped.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import numpy as np

from analyzer.errors import InputError

if TYPE_CHECKING:
    from analyzer.model.frames import U8

WINDOW_OCTETS: Final = 1 << 20
"""What is read from a stream at once: some ten thousand small frames, and half of what a core's own cache holds."""

_FIRST_OCTETS: Final = 1 << 16
"""What is read first: of many files that are open, each has no more than this in memory until its turn comes."""

MAX_WINDOW_OCTETS: Final = 1 << 25
"""How far the window over a stream may grow for one block; more is asked for by corrupt or hostile files only."""


class Octets(Protocol):
    """Where a stream gets its octets: a file, or what decompresses one."""

    octets_total: int | None

    @property
    def octets_read(self) -> int:
        """Octets of the input, as it lies on disk, that were read."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Put up to ``len(buffer)`` octets into ``buffer``, give how many; 0 at the end, None where none are ready."""


class Closable(Protocol):
    """What octets lie in: the file itself, or the feed of the packed ones."""

    def close(self) -> None:
        """Let go of it."""


class Feed:
    """A window that slides over a stream: the octets from ``at`` to ``stop`` of ``data`` are there and unread.

    ``base`` is the offset of ``data[0]`` in the (unpacked) input; ``failure`` says why the input ended early.
    ``octets_read`` of ``octets_total`` (None where there is no telling) octets of the input, as it lies on disk, were
    read. The window grows for a large block, up to MAX_WINDOW_OCTETS. A batch that a reader ``lends`` of it stays as it
    is until ``windows`` more are lent.
    """

    def __init__(self, octets: Octets, owner: Closable, windows: int = 1) -> None:
        self._octets = octets
        self._owner = owner
        self._buffer = bytearray(min(_FIRST_OCTETS, WINDOW_OCTETS))
        self._others = [bytearray() for _ in range(windows - 1)]
        self.data = _readonly(self._buffer)
        self.at = 0
        self.stop = 0
        self.base = 0
        self.failure: str | None = None
        self.octets_total = octets.octets_total
        self._ended = False
        self._is_lent = False

    @property
    def octets_read(self) -> int:
        """Octets of the input that were read."""
        return self._octets.octets_read

    def require(self, octets: int) -> bool:
        """Have ``octets`` unread ones, or give False where the input has no more; what ``data`` holds may move."""
        if octets <= self.stop - self.at:
            return True
        if octets > MAX_WINDOW_OCTETS:
            return False
        self._make_room(octets)
        while self.stop - self.at < octets and not self._ended:
            self._read()
        while self.octets_total is not None and self.stop < len(self._buffer) and not self._ended:
            self._read()  # what is packed comes in small parts
        return self.stop - self.at >= octets

    def lend(self) -> U8:
        """Give ``data`` for a batch of frames that lie in it."""
        self._is_lent = True
        return self.data

    def skip(self, octets: int) -> bool:
        """Go on behind the next ``octets``, reading them where they are not there yet."""
        while octets > self.stop - self.at:
            octets -= self.stop - self.at
            self.at = self.stop
            if not self.require(1):
                return False
        self.at += octets
        return True

    def close(self) -> None:
        """Let go of the window and of the file."""
        self.data = np.empty(0, np.uint8)
        self._buffer = bytearray()
        self._others = []
        self.at = self.stop = 0
        self._ended = True
        self._owner.close()

    def _make_room(self, octets: int) -> None:
        unread = self.stop - self.at
        before = target = self._buffer
        if self._is_lent:
            self._others.append(before)
            target = self._others.pop(0)
            self._is_lent = False
        wanted = WINDOW_OCTETS if octets <= WINDOW_OCTETS else min(1 << octets.bit_length(), MAX_WINDOW_OCTETS)
        if len(target) < wanted:
            target = bytearray(wanted)
        if target is not before or self.at:
            with memoryview(before) as source, memoryview(target) as room:
                room[:unread] = source[self.at : self.stop]
        if target is not before:
            self._buffer = target
            self.data = _readonly(target)
        self.base += self.at
        self.at = 0
        self.stop = unread

    def _read(self) -> None:
        try:
            with memoryview(self._buffer) as view, view[self.stop :] as room:
                count = self._octets.readinto(room)
        except (InputError, OSError) as error:
            self.failure = error.what if isinstance(error, InputError) else f"reading failed: {error.strerror}"
            self._ended = True
            return
        if count is None:
            time.sleep(0.01)  # a descriptor that does not block, with nothing there yet
        elif count == 0:
            self._ended = True
        else:
            self.stop += count


class FileOctets:
    """The octets of a file as they come: a pipe gives what is there and does not wait for more."""

    def __init__(self, file: BinaryIO) -> None:
        self._readinto = getattr(file, "readinto1", None) or getattr(file, "readinto")  # noqa: B009 - BinaryIO lacks it
        self.octets_total = regular_size(file)
        self.octets_read = 0

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Put what the next read gives into ``buffer``."""
        count: int | None = self._readinto(buffer)
        self.octets_read += count or 0
        return count


def regular_size(file: BinaryIO) -> int | None:
    """Give the size of a regular file in octets, None for pipes, devices and what only looks like a file."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _readonly(buffer: bytearray) -> U8:
    view = np.frombuffer(buffer, np.uint8)
    view.flags.writeable = False
    return view
