"""The plain frames of a live tap: gathered into flows and counted as such; what else there is goes the long way.

Why: a batch of a flood is some thousand frames of a few flows, whose columns nobody needs. Only for frames whose times
nobody can choose (the kernel's on a tap): each second of a batch costs a pass of its own. Part of the report's builder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.model.classes import CLASS_COUNT
from analyzer.model.columns import column
from analyzer.model.frames import BATCH_FRAMES
from analyzer.report import flows
from analyzer.report.times import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.classify.classifier import Classifier
    from analyzer.model.frames import I64, RawFrames

_ROOM: Final = 4096
_PLACES: Final = 2 * _ROOM


class Gathered(NamedTuple):
    """Flows, int64[n, 8], the number of the time bin that all their frames lie in, and its width in seconds."""

    bin: int
    bin_s: int
    flows: I64


class PlainFrames:
    """Gathers plain frames; ``limits`` are the sample keeper's, which change from batch to batch."""

    def __init__(self, classifier: Classifier, limits: I64, *, judges_addresses: bool) -> None:
        self.rest: I64 = np.zeros(0, np.int64)
        """Rows of the last batch that are not plain."""
        self._classifier = classifier
        self._limits = limits
        self._judges_addresses = judges_addresses
        self._seed = int.from_bytes(os.urandom(8))
        self._places: I64 = np.zeros(_PLACES, np.int64)
        self._flows: I64 = np.zeros(_ROOM * flows.FLOW_LENGTH, np.int64)
        self._rows: I64 = np.zeros(BATCH_FRAMES, np.int64)
        self._state: I64 = np.zeros(flows.STATE_LENGTH, np.int64)
        self._bin = self._begin_ns = self._end_ns = 0
        self._bin_s = 1

    def gather(self, raw: RawFrames, bin_s: int) -> Iterator[Gathered]:
        """Gather the frames of a batch; yields flows, as ``take`` gives them, as often as there is no room for more."""
        if len(raw) > len(self._rows):
            self._rows = np.zeros(len(raw), np.int64)
        state = self._state
        state[flows.ROW] = state[flows.REST] = 0
        while state[flows.ROW] < len(raw):
            if not state[flows.FLOWS]:
                bin_ns = bin_s * NS_PER_S
                number = int(raw.ts_ns[state[flows.ROW]]) // bin_ns
                self._bin, self._begin_ns, self._end_ns = number, number * bin_ns, (number + 1) * bin_ns
                self._bin_s = bin_s
            self._gather(raw, self._begin_ns, self._end_ns)
            if state[flows.ROW] < len(raw):
                yield from self.take()
        self.rest = self._rows[: int(state[flows.REST])]

    def take(self) -> Iterator[Gathered]:
        """Yield the flows gathered so far; there are none afterwards."""
        if count := int(self._state[flows.FLOWS]):
            yield Gathered(self._bin, self._bin_s, self._flows.reshape(-1, flows.FLOW_LENGTH)[:count])
            self._places[:] = 0
            self._state[flows.FLOWS] = 0

    def _gather(self, raw: RawFrames, begin_ns: int, end_ns: int) -> None:
        own = self._classifier
        flows.gather_flows(
            column(raw.data),
            column(raw.offsets),
            column(raw.captured),
            column(raw.original),
            column(raw.ts_ns),
            column(raw.direction),
            column(raw.tag),
            column(raw.gso_size),
            column(own.macs),
            own.from_guest,
            own.to_guest,
            column(self._limits),
            self._judges_addresses,
            begin_ns,
            end_ns,
            self._seed,
            column(self._places),
            column(self._flows),
            column(self._rows),
            column(self._state),
        )


def by_second(gathered: I64) -> Iterator[Gathered]:
    """Yield flows, int64[n, 8], whose eighth value is the second that they lie in, as the ns at which it begins."""
    for second_ns in np.unique(gathered[:, _SECOND]).tolist():
        yield Gathered(second_ns // NS_PER_S, 1, gathered[gathered[:, _SECOND] == second_ns])


def counts_of(gathered: I64, ethertypes: I64, vlans: I64, sent_vlans: I64) -> I64:
    """Count flows by type and VLAN into the tables given, and give their 12 counts by class."""
    counts: I64 = np.zeros(2 * CLASS_COUNT, np.int64)
    flows.count_flows(
        column(gathered.reshape(-1)),
        len(gathered),
        column(counts),
        column(ethertypes),
        column(vlans),
        column(sent_vlans),
    )
    return counts


def of_class(gathered: I64, kind: int) -> I64:
    """Give the flows of a class."""
    found: I64 = gathered[gathered[:, flows.KIND] >> _KIND_BITS == kind]
    return found


_KIND_BITS: Final = 48
_SECOND: Final = 7
