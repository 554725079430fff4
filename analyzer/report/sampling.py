"""A few frames of each class for people to look at: the earliest, their first octets kept, described at the end.

What must not live here: the description itself (analyzer/classify/description.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer.classify.description import HEAD_OCTETS, describe_frames
from analyzer.model.classes import CLASS_COUNT, FrameClass
from analyzer.model.frames import FrameFlag
from analyzer.report.findings import SAMPLES_KEPT, Sample, merge_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from analyzer.model.frames import I64, U8, FrameBatch

    Describe = Callable[[Sequence[bytes]], list[str]]

_LATEST: Final = 2**63 - 1
_TAG_AT: Final = 12  # behind the two addresses: IEEE 802.1Q-2018, 9.3

_Key = tuple[int, int, int, int]


class SampleKeeper:
    """Keeps the earliest frames of each class; of frames alike in time, MACs and octets it keeps one."""

    def __init__(self) -> None:
        self.limits: I64 = np.full(CLASS_COUNT, _LATEST, np.int64)
        """Frames of a class later than its limit need not be offered."""
        self._kept: tuple[dict[_Key, bytes | str], ...] = tuple({} for _ in FrameClass)

    def offer(self, batch: FrameBatch, classes: U8, rows: I64) -> None:
        """Take those of ``rows`` that are early enough."""
        for kind in np.flatnonzero(np.bincount(classes[rows])).tolist():
            self._offer(batch, kind, rows[classes[rows] == kind])

    def _offer(self, batch: FrameBatch, kind: int, rows: I64) -> None:
        kept = self._kept[kind]
        if len(kept) == SAMPLES_KEPT:
            rows = rows[comes_before(batch, rows, max(kept))]
        columns = batch.raw.ts_ns[rows], batch.src[rows], batch.dst[rows], batch.octets[rows]
        order = np.lexsort(columns[::-1])
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
        for k in order[is_new][:SAMPLES_KEPT].tolist():
            ts_ns, src, dst, octets = (int(column[k]) for column in columns)
            kept.setdefault((ts_ns, src, dst, octets), told_of(batch, int(rows[k])))
        for key in sorted(kept)[SAMPLES_KEPT:]:
            del kept[key]
        if len(kept) == SAMPLES_KEPT:
            self.limits[kind] = max(kept)[0]

    def heads(self) -> list[bytes]:
        """Give the first octets of the samples that are to be described, in the order of ``finish``."""
        return [told for kept in self._kept for told in kept.values() if isinstance(told, bytes)]

    def finish(self, describe: Describe = describe_frames) -> tuple[Sample, ...]:
        """Give the samples with their descriptions, as ``describe`` gives them for the first octets of frames."""
        kept = [(key, kind, told) for kind in FrameClass for key, told in self._kept[kind].items()]
        texts = iter(describe(self.heads()))
        return merge_samples(
            Sample(ts_ns, kind, src, dst, octets, told if isinstance(told, str) else next(texts))
            for (ts_ns, src, dst, octets), kind, told in kept
        )


def comes_before(batch: FrameBatch, rows: I64, key: _Key) -> npt.NDArray[np.bool_]:
    """Say which rows come before ``key`` in the order of time, MACs and octets."""
    found: npt.NDArray[np.bool_] = np.zeros(len(rows), np.bool_)
    is_same = np.ones(len(rows), np.bool_)
    columns: tuple[npt.NDArray[Any], ...] = (batch.raw.ts_ns, batch.src, batch.dst, batch.octets)
    for column, value in zip(columns, key, strict=True):
        found |= is_same & (column[rows] < value)
        is_same &= column[rows] == value
    return found


def told_of(batch: FrameBatch, row: int) -> bytes | str:
    """Give what a frame is described by: its first octets, or words where they are no Ethernet header."""
    if not batch.flags[row] & FrameFlag.NOT_ETHERNET:
        return head_of(batch, row)
    number, interfaces = int(batch.raw.interface[row]), batch.raw.interfaces
    linktype = interfaces[number].linktype if number < len(interfaces) else "unknown"
    return f"(not Ethernet: link type {linktype})"


def head_of(batch: FrameBatch, row: int) -> bytes:
    """Give the first octets of a frame, a tag that the kernel stripped put back."""
    raw = batch.raw
    start, tag = int(raw.offsets[row]), int(raw.tag[row])
    if start < 0:
        return b""
    octets = raw.data[start : start + min(int(raw.captured[row]), HEAD_OCTETS)].tobytes()
    if tag and len(octets) > _TAG_AT:
        octets = octets[:_TAG_AT] + tag.to_bytes(4, "big") + octets[_TAG_AT:]
    return octets[:HEAD_OCTETS]
