"""When it was: counts per class in time bins, in bounded memory.

Bins are aligned to the epoch and one second wide; where they would be more than ``MAX_BINS`` their width doubles. So
the bins of any frames are the same in whatever order and in how many parts they were counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from analyzer.model.classes import CLASS_COUNT
from analyzer.report.times import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analyzer.model.frames import I64

MAX_BINS: Final = 4096


COUNTS: Final = 2 * CLASS_COUNT
"""Counts of a bin: frames and octets of each class, in the order of FrameClass."""

Bin = tuple[int, tuple[int, ...]]


class Timeline(msgspec.Struct, frozen=True):
    """``bins`` are (number, 12 counts) in order, without empty ones; bin n begins n * ``bin_s`` s after the epoch."""

    bin_s: int = 1
    bins: tuple[Bin, ...] = ()

    def merge(self, other: Timeline) -> Timeline:
        """Give the timeline of both, at the wider width or one that fits."""
        merged = TimelineCounts()
        for timeline in (self, other):
            merged.add(timeline.bin_s, timeline.bins)
        return merged.finish()

    def rows(self) -> tuple[I64, I64]:
        """Give the start of each bin from first to last in ns, int64[n], and its counts, int64[n, 6, 2], zeros in gaps.

        Where gaps would make them more than ``MAX_BINS`` rows, the bins that are there stand alone.
        """
        import numpy as np  # noqa: PLC0415 - who only passes a report on does without arrays

        if not self.bins:
            return np.zeros(0, np.int64), np.zeros((0, CLASS_COUNT, 2), np.int64)
        numbers = [number for number, _ in self.bins]
        filled = np.array([counts for _, counts in self.bins], np.int64).reshape(-1, CLASS_COUNT, 2)
        length = numbers[-1] - numbers[0] + 1
        if length > MAX_BINS:
            return self._starts_ns(numbers), filled
        counts = np.zeros((length, CLASS_COUNT, 2), np.int64)
        counts[np.array(numbers) - numbers[0]] = filled
        return self._starts_ns(range(numbers[0], numbers[0] + length)), counts

    def _starts_ns(self, numbers: Iterable[int]) -> I64:
        """Give where the bins begin; the first may begin before int64 does."""
        import numpy as np  # noqa: PLC0415 - as above

        width_ns = self.bin_s * NS_PER_S
        return np.array([min(max(number * width_ns, -_LIMIT_NS), _LIMIT_NS) for number in numbers], np.int64)


_LIMIT_NS: Final = 2**63 - 1


class TimelineCounts:
    """A timeline being counted."""

    def __init__(self) -> None:
        self.bin_s = 1
        self._bins: dict[int, list[int]] = {}

    def add(self, bin_s: int, bins: tuple[Bin, ...]) -> None:
        """Add bins of any width that is a power of two."""
        while self.bin_s < bin_s:
            self._widen()
        for number, counts in bins:
            self._count(number // (self.bin_s // bin_s), counts)
        self._fit()

    def add_rows(self, numbers: I64, counts: I64, bin_s: int) -> None:
        """Add int64[n] bins of ``bin_s`` seconds, no wider than they are now, with their int64[n, 12] counts."""
        for number, row in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._count(number // (self.bin_s // bin_s), row)
        self._fit()

    def finish(self) -> Timeline:
        """Give what was counted."""
        return Timeline(self.bin_s, tuple((number, tuple(self._bins[number])) for number in sorted(self._bins)))

    def _count(self, number: int, counts: tuple[int, ...] | list[int]) -> None:
        row = self._bins.get(number)
        if row is None:
            self._bins[number] = list(counts)
        else:
            for index, count in enumerate(counts):
                row[index] += count

    def _fit(self) -> None:
        while len(self._bins) > MAX_BINS:
            self._widen()

    def _widen(self) -> None:
        before: Mapping[int, list[int]] = self._bins
        self._bins = {}
        self.bin_s *= 2
        for number, counts in before.items():
            self._count(number // 2, counts)
