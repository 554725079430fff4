"""A regular file as one buffer to walk: mapped, so that what nobody looks at is never copied.

Of full-size frames that is most of the file. What lives here: the mapping, what becomes of it when somebody cuts the
file or goes on writing it, and which files are mapped at all. What must not: the format of what they say.

Only files are mapped that nobody can write but the user who runs this, and root: octets that change between one look
and the next would be a way into the compiled readers. A file that is cut meanwhile ends there: its size is looked at
before and behind each walk, and where a page goes in between, zeros take its place (page_guard.py).
"""

from __future__ import annotations

import mmap
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from analyzer.capture import page_guard
from analyzer.capture.feed import MAX_WINDOW_OCTETS
from analyzer.model.columns import column

if TYPE_CHECKING:
    from analyzer.model.frames import U8

_LEAST_OCTETS: Final = 1 << 20
"""Smaller files are read: to map one takes as long."""
_KEPT_OCTETS: Final = 1 << 26
"""What stays mapped behind the place where it is read."""
_PIECE_OCTETS: Final = 1 << 26
"""What has its pages fetched ahead of the place where it is read, by a thread that is about to wait for its turn."""
_GROWTHS_MOST: Final = 16
"""How often it is looked whether a file that is still written has more."""
_CUT: Final = "the file was cut while it was read"
_FAILED: Final = "reading failed: Input/output error"


class MappedFeed:
    """The octets of a mapped file from ``at`` to ``stop`` of ``data``; as feed.Feed has it."""

    base = 0
    batch_frames = 20_000
    """Full-size ones take half of a piece: a batch of 65,536 would touch pages that nobody has fetched."""

    def __init__(self, file: BinaryIO, at: int, octets: int) -> None:
        self.at = at
        self.stop = octets
        self.data: U8
        self.failure: str | None = None
        self._owner = file
        self._descriptor = file.fileno()
        self._guards: list[int] = []
        self._growths = 0
        self._is_over = False
        self._given_back = 0
        self._fetched = 0
        self._map(octets)

    @property
    def octets_read(self) -> int:
        """Octets of the file that are behind us."""
        return self.at

    @property
    def octets_total(self) -> int:
        """Octets of the file."""
        return len(self.data)

    def require(self, octets: int) -> bool:
        """Say whether there are ``octets`` unread ones, also where they have just been written."""
        if octets <= self.stop - self.at:
            return True
        if octets > MAX_WINDOW_OCTETS or self._is_over:
            return False
        self._grow()
        return octets <= self.stop - self.at

    def was_cut(self) -> bool:
        """Say whether the file has become shorter than it was: what was just walked is to be walked again."""
        size, gone = os.fstat(self._descriptor).st_size, page_guard.gone(self._guards[-1])
        end = min(size, gone) if gone >= 0 else size
        if end >= self.stop:
            return False
        self._is_over = True
        self.stop = max(self.at, end)
        if gone >= 0:
            self.failure = _CUT if size < len(self.data) else _FAILED
        return True

    def lend(self) -> U8:
        """Give ``data`` for a batch of frames that lie in it."""
        self._give_back(_KEPT_OCTETS)  # where nobody fetches ahead, which does so earlier
        return self.data

    def fetch_ahead(self) -> None:
        """Fetch the pages of the next piece, unless a whole one is ahead, and give back those far behind.

        Without the interpreter's lock, and two threads may ask at a time: it is what they do before they read in turn.
        """
        begin = max(self._fetched, self.at)
        if begin - self.at < _PIECE_OCTETS:
            self._fetched = begin + _PIECE_OCTETS
            page_guard.populate(column(self.data), begin, _PIECE_OCTETS)
        self._give_back(_KEPT_OCTETS // 2)

    def skip(self, octets: int) -> bool:
        """Go on behind the next ``octets``; False where the file ends before."""
        if octets > self.stop - self.at:
            self._grow()
        is_there = octets <= self.stop - self.at
        self.at = self.at + octets if is_there else self.stop
        return is_there

    def close(self) -> None:
        """Let go of the file; what was lent stays mapped until it is let go of."""
        for number in self._guards:
            page_guard.leave(number)
        self._guards = []
        self.data = np.empty(0, np.uint8)
        self.at = self.stop = 0
        del self._mapped
        self._owner.close()

    def _map(self, octets: int) -> None:
        self._mapped = mmap.mmap(self._descriptor, octets, mmap.MAP_SHARED, mmap.PROT_READ)
        data = np.frombuffer(self._mapped, np.uint8)
        number = page_guard.guard(column(data))
        if number < 0:
            raise OSError("too many files are mapped")
        self._guards.append(number)
        self.data, self.stop = data, octets

    def _give_back(self, least: int) -> None:
        """Give back the pages that are far behind, where those are at least ``least`` octets."""
        begin, behind = self._given_back, self.at - _KEPT_OCTETS
        if behind - begin >= least:
            self._given_back = behind
            page_guard.give_back(column(self.data), begin, behind - begin)

    def _grow(self) -> None:
        """Map anew what has become longer; what was lent lies in the mapping before."""
        size = os.fstat(self._descriptor).st_size
        if size <= self.stop or self._is_over or self._growths == _GROWTHS_MOST:
            return
        self._growths += 1
        try:
            self._map(size)
        except OSError:
            self._is_over = True


def map_file(file: BinaryIO, at: int) -> MappedFeed | None:
    """Give the feed of a regular file that is read from ``at`` on; None where it is not mapped but read."""
    try:
        status = os.fstat(file.fileno())
        is_ours = status.st_uid in {0, os.geteuid()} and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISREG(status.st_mode) or status.st_size < _LEAST_OCTETS or not is_ours:
            return None
        return MappedFeed(file, at, status.st_size)
    except (OSError, ValueError):  # a file system that maps nothing
        return None
