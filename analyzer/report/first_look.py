"""The first look at a batch: what can be counted of it before its turn comes, by whichever thread has it.

What lives here: sums that do not depend on the order of batches, and the lists of rows that counting in order will
want. What must not: tables that are filled in order (builder.py, observing.py), or the loops (tables.py, deep_rows.py).
A look is of one thread at a time, and its sums go on from batch to batch: those of all looks together are the report's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.classify.deep_rows import DEEP, EARLY, choose_rows
from analyzer.classify.deep_rows import STATE_LENGTH as CHOICE_LENGTH
from analyzer.model.classes import CLASS_COUNT, Look
from analyzer.model.columns import column
from analyzer.model.frames import BATCH_FRAMES
from analyzer.report import tables
from analyzer.report.timeline import COUNTS

if TYPE_CHECKING:
    from analyzer.model.columns import Column
    from analyzer.model.frames import I64, U8, U64, FrameBatch

_BINS_AT_ONCE: Final = 256


class FirstLook:
    """Room for what one batch tells, and the sums of all batches that were in it.

    ``limits`` are the times of each class up to which a frame may become a sample (sampling.py); ``ipv4`` and ``ipv6``
    the guest's addresses as choose_rows takes them.
    """

    def __init__(self, limits: I64, ipv4: U64, ipv6: U64) -> None:
        self.segments = 0
        self.ethertypes: I64 = np.zeros(2 * 65536, np.int64)
        self.vlans: I64 = np.zeros(2 * 4096, np.int64)
        self.sent_vlans: I64 = np.zeros(2 * 4096, np.int64)
        self.looks: I64 = np.zeros(2 * len(Look), np.int64)
        self.bin_s = 1
        self.bins: I64 = np.zeros(_BINS_AT_ONCE, np.int64)
        self._given = ipv4, ipv6, limits
        self._bin_counts: I64 = np.zeros(_BINS_AT_ONCE * COUNTS, np.int64)
        self.starts: I64 = np.zeros(CLASS_COUNT + 1, np.int64)
        """Where in ``order`` each class begins, and where the last one ends."""
        self._state: I64 = np.zeros(tables.STATE_LENGTH, np.int64)
        self._choice: I64 = np.zeros(CHOICE_LENGTH, np.int64)
        self._make_room(BATCH_FRAMES)

    def _make_room(self, n: int) -> None:
        self.order: I64 = np.zeros(n, np.int64)
        """Room that begins with the rows of the batch, class by class."""
        self._deep: I64 = np.zeros(n, np.int64)
        self._early: I64 = np.zeros(n, np.int64)
        sums = self.sent_vlans, self.looks, self._deep, self._early, self._choice
        self._chosen: tuple[Column, ...] = tuple(column(array) for array in (*self._given, *sums))
        own = self.order, self.starts, self.ethertypes, self.vlans, self.bins, self._bin_counts, self._state
        self._counted: tuple[Column, ...] = tuple(column(array) for array in own)

    def look(self, batch: FrameBatch, classes: U8, bin_s: int) -> None:
        """Look at n frames with their n classes, which lie in time bins of ``bin_s`` seconds."""
        if len(batch) > len(self.order):
            self._make_room(len(batch))
        self.bin_s = bin_s
        raw = batch.raw
        kinds, octets, ts_ns = column(classes), column(batch.octets), column(raw.ts_ns)
        ethertype, tags, vlan = column(batch.ethertype), column(batch.tags), column(batch.vlan)
        segments = column(batch.segments)
        tables.look(kinds, octets, ts_ns, segments, ethertype, tags, vlan, bin_s, *self._counted)
        self.segments += int(self._state[tables.SEGMENTS])
        choose_rows(
            self._counted[0],
            self._counted[1],
            int(self._state[tables.FIRST_NS]),
            kinds,
            ethertype,
            column(batch.dst),
            tags,
            vlan,
            octets,
            ts_ns,
            column(batch.network),
            column(raw.offsets),
            column(raw.captured),
            column(raw.data),
            *self._chosen,
        )

    def tally(self, batch: FrameBatch, classes: U8) -> int:
        """Fill the bins anew from where they were full; gives how many there are."""
        return tables.tally(
            column(classes),
            column(batch.octets),
            column(batch.raw.ts_ns),
            self.bin_s,
            column(self.bins),
            column(self._bin_counts),
            self.tallied,
            column(self._state),
        )

    @property
    def tallied(self) -> int:
        """The rows of the batch that the bins hold so far."""
        return int(self._state[tables.ROW])

    @property
    def filled(self) -> int:
        """The bins that ``look`` filled."""
        return int(self._state[tables.BINS])

    @property
    def bin_counts(self) -> I64:
        """The counts of each bin, int64[256, 12], of which those filled are of this batch."""
        return self._bin_counts.reshape(-1, COUNTS)

    @property
    def deep(self) -> I64:
        """The rows that need a deeper look."""
        return self._deep[: int(self._choice[DEEP])]

    @property
    def early(self) -> I64:
        """The rows that may become samples."""
        return self._early[: int(self._choice[EARLY])]
