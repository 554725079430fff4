"""Build RawFrames from octets, as a source would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.model.frames import CaptureInterface, RawFrames

if TYPE_CHECKING:
    from collections.abc import Sequence


def raw_frames(
    frames: Sequence[bytes],
    *,
    original: Sequence[int] | None = None,
    direction: Sequence[int] | None = None,
    tag: Sequence[int] | None = None,
    gso_size: Sequence[int] | None = None,
    interface: Sequence[int] | None = None,
    interfaces: tuple[CaptureInterface, ...] = (CaptureInterface(),),
    gap: bytes = b"\xee" * 3,
) -> RawFrames:
    """Give ``frames`` as one batch, ``gap`` before, between and behind them, so that reading too far is seen."""
    n = len(frames)
    offsets = np.zeros(n, np.int64)
    data = bytearray(gap)
    for i, frame in enumerate(frames):
        offsets[i] = len(data)
        data += frame + gap
    captured = np.array([len(frame) for frame in frames], np.uint32)
    return RawFrames(
        data=np.frombuffer(bytes(data), np.uint8),
        offsets=offsets,
        captured=captured,
        original=captured.copy() if original is None else np.array(original, np.uint32),
        ts_ns=np.arange(n, dtype=np.int64),
        direction=np.array(direction or [0] * n, np.uint8),
        tag=np.array(tag or [0] * n, np.uint32),
        gso_size=np.array(gso_size or [0] * n, np.uint16),
        interface=np.array(interface or [0] * n, np.uint16),
        interfaces=interfaces,
    )
