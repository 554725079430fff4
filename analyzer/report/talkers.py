"""Who is heard most: addresses counted in bounded memory, with a stated error.

Up to the bound every count is exact. Beyond it, room is made as Misra and Gries do (1982; a median at a time, as in
Anderson et al., "A High-Performance Algorithm for Identifying Frequent Items in Data Streams", 2017): an address that
is not there had at most ``error`` frames, whatever addresses are sent, and one that comes back carries that as its own
error. The ``error`` of one window is at most a 1024th of the frames counted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.model.columns import column
from analyzer.report import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.classes import FrameClass
    from analyzer.model.frames import I64, U8, U32, U64, FrameBatch

KEPT: Final = 1024
"""Entries that a report keeps of each table; with no more than this many addresses every count is exact."""

MERGED: Final = 16 * KEPT
"""Entries that merged reports keep of each table: below, merging drops nothing."""

_LIMIT: Final = 2 * KEPT
_SLOTS: Final = 2 * _LIMIT


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


@dataclass(frozen=True, slots=True)
class Hitters:
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


class HitterTable:
    """Counts the frames of one class by an address, or by a pair.

    ``keys`` names one or two columns of FrameBatch, none where columns are given.
    """

    def __init__(self, wanted: FrameClass, *keys: str) -> None:
        self._wanted = int(wanted)
        self._keys = keys
        self._seed = int.from_bytes(os.urandom(8))
        self._error = 0
        self._used: I64 = np.zeros(1, np.int64)
        self._table: I64 = np.zeros(_SLOTS * tables.SLOT_LENGTH, np.int64)

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Count the frames of its class in one batch, whose classes they are."""
        self.add_rows(batch, np.flatnonzero(classes == self._wanted))

    def add_rows(self, batch: FrameBatch, rows: I64) -> None:
        """Count those frames of one batch."""
        self.add_columns(rows, [getattr(batch, key) for key in self._keys], batch.octets, batch.raw.ts_ns)

    def add_columns(self, rows: I64, keys: Sequence[U64], octets: U32, ts_ns: I64) -> None:
        """Count ``rows`` of one or two columns of any keys below 2**63."""
        at = self._absorb(rows, keys, octets, ts_ns, 0)
        while at < len(rows):
            self._make_room()
            at = self._absorb(rows, keys, octets, ts_ns, at)

    def _absorb(self, rows: I64, keys: Sequence[U64], octets: U32, ts_ns: I64, start: int) -> int:
        return tables.absorb(
            column(rows),
            start,
            len(rows),
            column(keys[0]),
            column(keys[-1]),
            len(keys) > 1,
            column(octets),
            column(ts_ns),
            self._seed,
            self._error,
            column(self._table),
            _LIMIT,
            column(self._used),
        )

    def add_sums(self, first: I64, second: I64, frames: I64, octets: I64, first_ns: I64, last_ns: I64) -> None:
        """Count what was summed up by address (pair), one row each; ``second`` is 0 where one is counted alone."""
        one, two, three, four, five, six = (
            column(np.ascontiguousarray(values)) for values in (first, second, frames, octets, first_ns, last_ns)
        )
        at = 0
        while at < len(first):
            if self._used[0] == _LIMIT:
                self._make_room()
            at = tables.absorb_sums(
                one,
                two,
                three,
                four,
                five,
                six,
                at,
                self._seed,
                self._error,
                column(self._table),
                _LIMIT,
                column(self._used),
            )

    def finish(self) -> Hitters:
        """Give the largest entries counted so far."""
        slots = self._filled()
        return Hitters(tuple(sorted(Entry(*values) for values in slots.tolist())), self._error).largest()

    def _filled(self) -> I64:
        slots = self._table.reshape(-1, tables.SLOT_LENGTH)
        filled: I64 = slots[slots[:, _FRAMES] > 0]
        return filled

    def _make_room(self) -> None:
        """Let at least half of the entries go, those that may be smallest; the error is what they had at the most."""
        slots = self._filled()
        most = slots[:, _FRAMES] + slots[:, _ERROR]
        self._error = int(np.partition(most, len(most) // 2)[len(most) // 2])
        left = np.ascontiguousarray(slots[most > self._error])
        self._used[0] = len(left)
        self._table[:] = 0
        tables.lay(column(left.reshape(-1)), self._seed, column(self._table))


_FRAMES: Final = Entry._fields.index("frames")
_ERROR: Final = Entry._fields.index("error")
