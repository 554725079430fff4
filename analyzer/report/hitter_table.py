"""Addresses being counted: the tables of talkers.py while frames come in, in memory of a fixed size.

What lives here: room for new addresses and how it is made. What must not: the loop over frames (tables.py). The value
that comes of it, and what its error means, stand in talkers.py, which needs no arrays.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.model.classes import FrameClass
from analyzer.model.columns import column
from analyzer.report import tables
from analyzer.report.talkers import KEPT, Entry, Hitters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.frames import I64, U8, U32, U64, FrameBatch
    from analyzer.report.first_look import FirstLook

_LIMIT: Final = 2 * KEPT
_SLOTS: Final = 2 * _LIMIT
_FRAMES: Final = Entry._fields.index("frames")
_ERROR: Final = Entry._fields.index("error")


class HitterTable:
    """Counts the frames of one class by an address, or by a pair.

    ``keys`` names one or two columns of FrameBatch, none where columns are given.
    """

    def __init__(self, wanted: FrameClass, *keys: str) -> None:
        self.wanted = int(wanted)
        self._keys = keys
        self.seed = int.from_bytes(os.urandom(8))
        self.error = 0
        self.used: I64 = np.zeros(1, np.int64)
        self.slots: I64 = np.zeros(_SLOTS * tables.SLOT_LENGTH, np.int64)

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Count the frames of its class in one batch, whose classes they are."""
        self.add_rows(batch, np.flatnonzero(classes == self.wanted))

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
            self.seed,
            self.error,
            column(self.slots),
            _LIMIT,
            column(self.used),
        )

    def add_sums(self, first: I64, second: I64, frames: I64, octets: I64, first_ns: I64, last_ns: I64) -> None:
        """Count what was summed up by address (pair), one row each; ``second`` is 0 where one is counted alone."""
        one, two, three, four, five, six = (
            column(np.ascontiguousarray(values)) for values in (first, second, frames, octets, first_ns, last_ns)
        )
        at = 0
        while at < len(first):
            if self.used[0] == _LIMIT:
                self._make_room()
            at = tables.absorb_sums(
                one,
                two,
                three,
                four,
                five,
                six,
                at,
                self.seed,
                self.error,
                column(self.slots),
                _LIMIT,
                column(self.used),
            )

    def finish(self) -> Hitters:
        """Give the largest entries counted so far."""
        slots = self._filled()
        return Hitters(
            tuple(sorted(Entry(*values) for values in slots[:, : _ERROR + 1].tolist())), self.error
        ).largest()

    def _filled(self) -> I64:
        slots = self.slots.reshape(-1, tables.SLOT_LENGTH)
        filled: I64 = slots[slots[:, _FRAMES] > 0]
        return filled

    def _make_room(self) -> None:
        """Let at least half of the entries go, those that may be smallest; the error is what they had at the most."""
        slots = self._filled()
        most = slots[:, _FRAMES] + slots[:, _ERROR]
        self.error = int(np.partition(most, len(most) // 2)[len(most) // 2])
        left = np.ascontiguousarray(slots[most > self.error])
        self.used[0] = len(left)
        self.slots[:] = 0
        tables.lay(column(left.reshape(-1)), self.seed, column(self.slots))


class ClassTables:
    """The tables of a report: foreign unicast by pair, groups by destination, what the guest sent by source."""

    def __init__(self) -> None:
        self.talkers = HitterTable(FrameClass.FOREIGN_UNICAST, "src", "dst")
        self.groups = HitterTable(FrameClass.MULTICAST, "dst")
        self.senders = HitterTable(FrameClass.FROM_GUEST, "src")
        self._tables = self.talkers, self.groups, self.senders
        self._seeds: U64 = np.array([table.seed for table in self._tables], np.uint64)
        self._errors: I64 = np.zeros(len(self._tables), np.int64)
        self._state: I64 = np.zeros(len(self._tables), np.int64)
        of_tables = [array for table in self._tables for array in (table.slots, table.used)]
        self._own = tuple(column(array) for array in (self._seeds, self._errors, *of_tables, self._state))

    def add(self, batch: FrameBatch, look: FirstLook) -> None:
        """Count one batch, whose rows by class its first look gives."""
        seeds, errors, *own = self._own
        tables.absorb_three(
            column(look.order),
            column(look.starts),
            column(batch.src),
            column(batch.dst),
            column(batch.octets),
            column(batch.raw.ts_ns),
            _LIMIT,
            seeds,
            errors,
            *own,
        )
        for number, (table, at) in enumerate(zip(self._tables, self._state.tolist(), strict=True)):
            left = look.order[at : int(look.starts[table.wanted + 1])]
            if len(left):
                table.add_rows(batch, left)
                self._errors[number] = table.error

    def settle(self) -> None:
        """Take over the errors of the tables, one of which was added to alone."""
        self._errors[:] = [table.error for table in self._tables]
