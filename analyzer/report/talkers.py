"""Who is heard most: addresses counted in bounded memory, with a stated error.

Up to the bound every count is exact. Beyond it, room is made as Misra and Gries do (1982; a median at a time, as in
Anderson et al., "A High-Performance Algorithm for Identifying Frequent Items in Data Streams", 2017): an address that
is not there had at most ``error`` frames, whatever addresses are sent, and one that comes back carries that as its own
error. The ``error`` of one window is at most a 1024th of the frames counted.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

KEPT: Final = 1024
"""Entries that a report keeps of each table; with no more than this many addresses every count is exact."""

MERGED: Final = 16 * KEPT
"""Entries that merged reports keep of each table: below, merging drops nothing."""


class Entry(NamedTuple):
    """One address (pair): ``first`` and ``second`` are MACs (``second`` 0 where one is counted alone), times in ns.

    All are of the frames counted since the entry was there; before, there were at most ``error`` frames.
    """

    first: int
    second: int
    frames: int
    octets: int
    first_ns: int
    last_ns: int
    error: int = 0

    @property
    def most(self) -> int:
        """The frames that there were at the most."""
        return self.frames + self.error


class Hitters(msgspec.Struct, frozen=True):
    """A table of addresses, each once, in their order. An address that is not there had at most ``error`` frames."""

    entries: tuple[Entry, ...] = ()
    error: int = 0

    def merge(self, other: Hitters) -> Hitters:
        """Give the table of both. Beyond ``MERGED`` entries the smallest go into the error; below, nothing is lost."""
        mine, theirs = ({(entry.first, entry.second): entry for entry in table.entries} for table in (self, other))
        merged = (_sum(key, mine.get(key), self.error, theirs.get(key), other.error) for key in mine.keys() | theirs)
        return Hitters(tuple(sorted(merged)), self.error + other.error).largest(MERGED)

    def largest(self, count: int = KEPT) -> Hitters:
        """Give the ``count`` entries that may be largest; the error covers those that are dropped."""
        if len(self.entries) <= count:
            return self
        ordered = sorted(self.entries, key=lambda entry: (-entry.most, entry))
        return Hitters(tuple(sorted(ordered[:count])), max(self.error, ordered[count].most))

    def by_size(self) -> list[Entry]:
        """Give the entries, most frames first."""
        return sorted(self.entries, key=_by_size)


def _by_size(entry: Entry) -> tuple[int, int, int]:
    return -entry.frames, entry.first, entry.second


def _sum(key: tuple[int, int], one: Entry | None, one_error: int, two: Entry | None, two_error: int) -> Entry:
    """Give the entry of both tables; where one lacks it, that table's error may hide frames of it."""
    entries = [entry for entry in (one, two) if entry is not None]
    return Entry(
        *key,
        sum(entry.frames for entry in entries),
        sum(entry.octets for entry in entries),
        min(entry.first_ns for entry in entries),
        max(entry.last_ns for entry in entries),
        (one_error if one is None else one.error) + (two_error if two is None else two.error),
    )
