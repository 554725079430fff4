"""Who is heard most: addresses counted in bounded memory, with a stated error.

Below the bound every count is exact. Beyond it, the median count is taken off every entry and those at nothing go
(Misra and Gries, 1982; batched as by Anderson et al., "A High-Performance Algorithm for Identifying Frequent Items in
Data Streams", 2017): a count is then too low by at most ``error``, whatever addresses are sent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.model.columns import column
from analyzer.report.tables import absorb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.model.classes import FrameClass
    from analyzer.model.frames import I64, U8, U64, FrameBatch

KEPT: Final = 1024
"""Entries that a report keeps of each table; with no more than this many addresses every count is exact."""

_LIMIT: Final = 2 * KEPT
_SLOTS: Final = 2 * _LIMIT


class Entry(NamedTuple):
    """One address (pair): ``first`` and ``second`` are MACs (``second`` 0 where one is counted alone), times in ns."""

    first: int
    second: int
    frames: int
    octets: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Hitters:
    """A table of addresses, each once, in the order of the addresses.

    ``frames`` of an entry is a lower bound: the true count is at most ``error`` more. An address that is not there had at
    most ``error`` frames. ``octets`` are those of the frames counted while the entry was there.
    """

    entries: tuple[Entry, ...] = ()
    error: int = 0

    def merge(self, other: Hitters) -> Hitters:
        """Give the table of both; counts and errors add up. Nothing is dropped: see ``largest``."""
        by_key = {(entry.first, entry.second): entry for entry in self.entries}
        for entry in other.entries:
            key = (entry.first, entry.second)
            by_key[key] = _sum(by_key[key], entry) if key in by_key else entry
        return Hitters(tuple(by_key[key] for key in sorted(by_key)), self.error + other.error)

    def largest(self, count: int = KEPT) -> Hitters:
        """Give the ``count`` largest entries; what is dropped raises the error."""
        if len(self.entries) <= count:
            return self
        ordered = sorted(self.entries, key=_by_size)
        return Hitters(tuple(sorted(ordered[:count])), self.error + ordered[count].frames)

    def by_size(self) -> list[Entry]:
        """Give the entries, most frames first."""
        return sorted(self.entries, key=_by_size)


def _by_size(entry: Entry) -> tuple[int, int, int]:
    return -entry.frames, entry.first, entry.second


def _sum(one: Entry, other: Entry) -> Entry:
    return Entry(
        one.first,
        one.second,
        one.frames + other.frames,
        one.octets + other.octets,
        min(one.first_ns, other.first_ns),
        max(one.last_ns, other.last_ns),
    )


class HitterTable:
    """Counts frames of one class by address: by ``dst`` or ``src`` alone, or by the pair (src, dst)."""

    def __init__(self, wanted: FrameClass, key: str) -> None:
        self._wanted = int(wanted)
        self._key = key
        self._seed = int.from_bytes(os.urandom(8))
        self._error = 0
        self._used: I64 = np.zeros(1, np.int64)
        self._keys: tuple[U64, U64] = (np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint64))
        self._counts: tuple[I64, ...] = tuple(np.zeros(_SLOTS, np.int64) for _ in range(4))

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Count one batch."""
        first = batch.dst if self._key == "dst" else batch.src
        at = 0
        while at < len(batch):
            at = self._absorb(batch, classes, first, at)
            if at < len(batch):
                self._make_room()

    def finish(self) -> Hitters:
        """Give the largest entries counted so far."""
        frames, octets, first_ns, last_ns = self._counts
        slots = np.flatnonzero(frames)
        columns = (*self._keys, frames, octets, first_ns, last_ns)
        entries = (Entry(*values) for values in zip(*(each[slots].tolist() for each in columns), strict=True))
        return Hitters(tuple(sorted(entries)), self._error).largest()

    def _absorb(self, batch: FrameBatch, classes: U8, first: U64, at: int) -> int:
        return absorb(
            column(classes),
            self._wanted,
            column(first),
            column(batch.dst),
            self._key == "pair",
            column(batch.octets),
            column(batch.raw.ts_ns),
            at,
            self._seed,
            column(self._keys[0]),
            column(self._keys[1]),
            *(column(counts) for counts in self._counts),
            _LIMIT,
            column(self._used),
        )

    def _make_room(self) -> None:
        """Take the median off every count and lay what is left anew: at least half of the entries go."""
        frames, octets, first_ns, last_ns = self._counts
        slots = np.flatnonzero(frames)
        median = int(np.partition(frames[slots], len(slots) // 2)[len(slots) // 2])
        self._error += median
        left = slots[frames[slots] > median]
        columns = (*self._keys, frames - median, octets, first_ns, last_ns)
        self._lay(zip(*(each[left].tolist() for each in columns), strict=True))

    def _lay(self, entries: Iterable[tuple[int, ...]]) -> None:
        kept = list(entries)
        for array in (*self._keys, *self._counts):
            array[:] = 0
        self._used[0] = len(kept)
        mask = _SLOTS - 1
        for first, second, *counts in kept:
            slot = _slot(first, second, self._seed) & mask
            while self._counts[0][slot]:
                slot = (slot + 1) & mask
            self._keys[0][slot], self._keys[1][slot] = first, second
            for array, value in zip(self._counts, counts, strict=True):
                array[slot] = value


def _slot(first: int, second: int, seed: int) -> int:
    """Give the slot before masking: the same mixing as in tables.absorb, which a test holds together."""
    mixed = ((first ^ seed) * 0x9E3779B97F4A7C15 + second) & 0xFFFF_FFFF_FFFF_FFFF
    mixed = ((mixed ^ (mixed >> 29)) * (seed | 1)) & 0xFFFF_FFFF_FFFF_FFFF
    return mixed >> 32
