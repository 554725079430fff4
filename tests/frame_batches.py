"""Build FrameBatch columns by hand, with the class of each frame."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from analyzer.model.classes import FrameClass
from analyzer.model.frames import U8, FrameBatch, RawFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

GUEST = 0x525400000001


@dataclass(frozen=True)
class Row:
    """One frame, as decoding would give it."""

    kind: FrameClass = FrameClass.FOREIGN_UNICAST
    dst: int = 0x525400000002
    src: int = 0x525400000003
    ts_ns: int = 0
    octets: int = 64
    segments: int = 1
    ethertype: int = 0x0800
    tags: int = 0
    vlan: int = 0


def frame_batch(rows: Sequence[Row]) -> tuple[FrameBatch, U8]:
    """Give ``rows`` as one batch with its classes."""
    n = len(rows)
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(Row)}
    raw = RawFrames(
        data=np.zeros(0, np.uint8),
        offsets=np.zeros(n, np.int64),
        captured=np.zeros(n, np.uint32),
        original=np.array(columns["octets"], np.uint32),
        ts_ns=np.array(columns["ts_ns"], np.int64),
        direction=np.zeros(n, np.uint8),
        tag=np.zeros(n, np.uint32),
        gso_size=np.zeros(n, np.uint16),
        interface=np.zeros(n, np.uint16),
    )
    batch = FrameBatch(
        raw=raw,
        dst=np.array(columns["dst"], np.uint64),
        src=np.array(columns["src"], np.uint64),
        outer_type=np.array(columns["ethertype"], np.uint16),
        ethertype=np.array(columns["ethertype"], np.uint16),
        tags=np.array(columns["tags"], np.uint8),
        vlan=np.array(columns["vlan"], np.uint16),
        network=np.full(n, 14, np.int32),
        octets=np.array(columns["octets"], np.uint32),
        segments=np.array(columns["segments"], np.uint16),
        flags=np.zeros(n, np.uint8),
    )
    return batch, np.array(columns["kind"], np.uint8)
