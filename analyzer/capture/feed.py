"""The octets of an input as one buffer to walk: a window that slides over a stream.

What lives here: getting octets, in bounded memory. What must not: the format of what they say. Called by the readers.
Opening paths belongs to the caller; only open files come in. Large regular files are mapped instead (mapping.py).
"""

from __future__ import annotations

import os
import stat
import time
from threading import get_ident
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import numpy as np

from analyzer.errors import InputError
from analyzer.model.frames import FILE_BATCH_FRAMES

if TYPE_CHECKING:
    from analyzer.model.frames import U8

WINDOW_OCTETS: Final = 1 << 22
"""What is read from a stream at once: forty thousand small frames or three thousand full ones, so that two threads
wait for each other seldom; two of them lie in the cache that cores share."""

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


class _Window:
    """A buffer, the thread that reads into it, and those that use what lies in it."""

    def __init__(self, octets: int, home: int) -> None:
        self.buffer = bytearray(octets)
        self.data = _readonly(self.buffer)
        self.home = home
        self.users: set[int] = set()

    def grow(self, octets: int) -> None:
        """Be another buffer where this one is smaller."""
        if len(self.buffer) < octets:
            self.buffer = bytearray(octets)
            self.data = _readonly(self.buffer)


class Feed(Protocol):
    """What a reader walks: the octets from ``at`` to ``stop`` of ``data`` are there and unread.

    ``base`` is the offset of ``data[0]`` in the (unpacked) input; ``failure`` says why the input ended early.
    ``batch_frames`` are the frames of a batch at the most.
    ``octets_read`` of ``octets_total`` (None where there is no telling) octets of the input, as it lies on disk, were
    read.
    """

    at: int
    stop: int
    base: int
    data: U8
    failure: str | None
    batch_frames: int

    @property
    def octets_read(self) -> int:
        """Octets of the input that were read."""

    @property
    def octets_total(self) -> int | None:
        """Octets of the input, None where that is not known."""

    def require(self, octets: int) -> bool:
        """Have ``octets`` unread ones, or give False where the input has no more; what ``data`` holds may move."""

    def was_cut(self) -> bool:
        """Say whether the input has just lost octets at its end: what was walked is to be walked again."""

    def lend(self) -> U8:
        """Give ``data`` for a batch of frames that lie in it, for the thread that asks."""

    def fetch_ahead(self) -> None:
        """Bring near what will be asked for next; any thread may ask, while another one reads."""

    def skip(self, octets: int) -> bool:
        """Go on behind the next ``octets``, and give False where the input ends before."""

    def close(self) -> None:
        """Let go of the input."""


class Stream:
    """A Feed that is a window over a stream, which slides on as more is asked for.

    The window grows for a large block, up to MAX_WINDOW_OCTETS. What a reader ``lends`` of it to a thread stays
    as it is until that thread asks for more. Each thread has a window of its own to read into, so that its octets stay
    in the cache of its core.
    """

    batch_frames = FILE_BATCH_FRAMES

    def __init__(self, octets: Octets, owner: Closable) -> None:
        self._octets = octets
        self._owner = owner
        self._window = _Window(min(_FIRST_OCTETS, WINDOW_OCTETS), get_ident())
        self._windows = [self._window]
        self.data = self._window.data
        self.at = 0
        self.stop = 0
        self.base = 0
        self.failure: str | None = None
        self.octets_total = octets.octets_total
        self._ended = False

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
        while self.octets_total is not None and self.stop < len(self.data) and not self._ended:
            self._read()  # what is packed comes in small parts
        return self.stop - self.at >= octets

    def was_cut(self) -> bool:
        """Say that nothing is gone of what was read."""
        return False

    def lend(self) -> U8:
        """Give ``data`` for a batch of frames that lie in it, for the thread that asks."""
        self._take_back()
        self._window.users.add(get_ident())
        return self.data

    def fetch_ahead(self) -> None:
        """Leave it to the kernel, which reads ahead by itself."""

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
        self._window = _Window(0, get_ident())
        self._windows = [self._window]
        self.data = self._window.data
        self.at = self.stop = 0
        self._ended = True
        self._owner.close()

    def _make_room(self, octets: int) -> None:
        unread = self.stop - self.at
        before = self._window
        wanted = WINDOW_OCTETS if octets <= WINDOW_OCTETS else min(1 << octets.bit_length(), MAX_WINDOW_OCTETS)
        window = self._free_window()
        kept = before.buffer
        window.grow(wanted)
        if window is not before or self.at or window.buffer is not kept:
            with memoryview(kept) as source, memoryview(window.buffer) as room:
                room[:unread] = source[self.at : self.stop]
        self._window, self.data = window, window.data
        self.base += self.at
        self.at = 0
        self.stop = unread

    def _free_window(self) -> _Window:
        """Give a window that no other thread uses: the one of the thread that asks, as long as that is so."""
        self._take_back()
        me = get_ident()
        free = [window for window in self._windows if not window.users]
        mine = next((window for window in free if window.home == me), None)
        if mine is None:
            mine = _Window(0, me)
            self._windows.append(mine)
        return mine

    def _take_back(self) -> None:
        """Have back what was lent to the thread that asks: it asks for more when it is done with that."""
        for window in self._windows:
            window.users.discard(get_ident())

    def _read(self) -> None:
        try:
            with memoryview(self._window.buffer) as view, view[self.stop :] as room:
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
