"""Which way each tap is counted: by the eBPF classifier where it can be, by the nft meter where it must.

The classifier (analyzer/host/tap_counter.py) knows what was delivered, for a small part of the meter's cost on the way
of a frame. Where no filter acts, that is what was offered as well. Where one acts, the meter counts both sides of it;
it counts all taps where the kernel takes no program (no CAP_BPF, an old kernel, no libbpf), and this says why.
The meter's table is there only while it counts a tap: its hooks would cost every frame of every bridge.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from analyzer.errors import HostError
from analyzer.host.meter import Meter, MeterReading
from analyzer.host.tap_counter import MACS_MOST, TapCounter
from analyzer.host.tap_hooks import remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class CountedBy(StrEnum):
    """What counts on a tap."""

    CLASSIFIER = "classifier"
    METER = "meter"


@dataclass(frozen=True, slots=True)
class CountedTap:
    """What is to be counted on a tap: the MACs that are the guest's, and whether a filter acts there."""

    macs: tuple[int, ...]
    is_filtered: bool


class TapCounters:
    """Counts from ``open`` to ``close``; ``ways`` says how each tap is counted. For one thread at a time."""

    def __init__(self) -> None:
        self._unusable: str | None = None
        self._refusals: dict[str, str] = {}
        self.ways: dict[str, CountedBy] = {}
        self._classifier: TapCounter | None = None
        self._meter: Meter | None = None

    def open(self) -> None:
        """Begin, with no tap. Raises HostError where the kernel lets neither of them count."""
        classifier = TapCounter()
        try:
            classifier.open()
        except HostError as error:
            self._unusable = error.what
            self._meter_change({}, ())
        else:
            self._classifier = classifier
            if not classifier.goes_with_its_process:
                with contextlib.suppress(HostError):  # doctor tells of them
                    remove_leftovers()

    @property
    def fallback(self) -> str | None:
        """Say why the meter counts what the classifier should; None where it need not."""
        return self._unusable or next(iter(self._refusals.values()), None)

    @property
    def has_choice(self) -> bool:
        """Say whether it matters if a filter acts on a tap."""
        return self._classifier is not None

    def way(self, tap: CountedTap) -> CountedBy:
        """Say which way is to count such a tap."""
        needs_meter = self._classifier is None or tap.is_filtered or len(tap.macs) > MACS_MOST
        return CountedBy.METER if needs_meter else CountedBy.CLASSIFIER

    def change(self, add: Mapping[str, CountedTap], remove: Collection[str]) -> None:
        """Take taps out, with their counts, and put taps in, which count from 0 on. A tap may be in both.

        Raises HostError where the kernel refuses, and then changes nothing.
        """
        ways = {tap: self.way(wanted) for tap, wanted in add.items()}
        gone = {tap: self.ways[tap] for tap in remove if tap in self.ways}
        taken_over = {tap for tap in gone if ways.get(tap) is gone[tap] is CountedBy.CLASSIFIER}
        fresh = {tap for tap, way in ways.items() if way is CountedBy.CLASSIFIER} - taken_over
        refused = self._refused({tap: add[tap].macs for tap in fresh})
        ways |= dict.fromkeys(refused, CountedBy.METER)
        metered = {tap: add[tap].macs for tap, way in ways.items() if way is CountedBy.METER}
        try:
            self._meter_change(metered, [tap for tap, way in gone.items() if way is CountedBy.METER])
        except HostError:
            self._classifier_change({}, fresh - refused)
            raise
        self._classifier_change(
            {tap: add[tap].macs for tap in taken_over},
            [tap for tap, way in gone.items() if way is CountedBy.CLASSIFIER],
        )
        self.ways = {tap: way for tap, way in self.ways.items() if tap not in gone} | ways
        self._refusals = {tap: why for tap, why in self._refusals.items() if tap in refused or tap not in remove}
        self._rest_meter()

    def follow(self) -> None:
        """Count on interfaces that came back under a tap's name. The meter goes by names and does so by itself."""
        if self._classifier is not None:
            self._classifier.follow()

    def read(self) -> dict[str, MeterReading]:
        """Give the counts of each tap since it was put in. Raises HostError where the meter's table is gone."""
        found = {} if self._classifier is None else self._classifier.read()
        delivered = {tap: MeterReading(counts, counts) for tap, counts in found.items()}
        return delivered if self._meter is None else delivered | self._meter.read()

    def close(self) -> None:
        """End. A second call does nothing."""
        classifier, self._classifier = self._classifier, None
        meter, self._meter = self._meter, None
        self.ways = {}
        if meter is not None:
            meter.close()
        if classifier is not None:
            classifier.close()

    def _refused(self, add: Mapping[str, tuple[int, ...]]) -> set[str]:
        """Have the classifier count taps that it did not, and give those that take no program: they are metered."""
        refused = set()
        for tap, macs in add.items():
            try:
                self._classifier_change({tap: macs}, ())
            except HostError as error:  # no more descriptors, or too many programs on the tap
                self._refusals[tap] = error.what
                refused.add(tap)
        return refused

    def _classifier_change(self, add: Mapping[str, tuple[int, ...]], remove: Collection[str]) -> None:
        if self._classifier is not None and (add or remove):
            self._classifier.change(add, remove)

    def _meter_change(self, add: Mapping[str, tuple[int, ...]], remove: Collection[str]) -> None:
        if self._meter is not None:
            self._meter.change(add, remove)
        elif add or self._classifier is None:
            meter = Meter(add)
            meter.open()
            self._meter = meter

    def _rest_meter(self) -> None:
        """Take the meter's table out while it counts no tap."""
        if self._meter is not None and self._classifier is not None and CountedBy.METER not in self.ways.values():
            self._meter.close()
            self._meter = None
