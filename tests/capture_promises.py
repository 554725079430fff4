"""What every reading of a capture promises, whatever octets it is given: for fuzzing and the tests of laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.errors import InputError
from analyzer.model.frames import FILE_BATCH_FRAMES
from tests.capture_octets import source_of

if TYPE_CHECKING:
    from analyzer.model.frames import RawFrames

_PACKED = {b"\x1f\x8b", b"\x28\xb5"}
_LEAST_OCTETS = 12
"""Of a frame in a file: a block of pcapng without content."""


def check_reading(octets: bytes) -> int:
    """Read ``octets`` and hold what every reading promises; give the frames read."""
    try:
        source = source_of(octets)
    except InputError as error:
        if error.what and error.where == "test":
            return 0
        raise AssertionError(f"an error that does not tell what or where: {error!r}") from error
    seen = 0
    for raw in source.batches():
        check_batch(raw)
        seen += len(raw)
    window = source.window()
    source.close()
    assert window.frames_seen == seen
    assert seen * _LEAST_OCTETS <= len(octets) or octets[:2] in _PACKED
    return seen


def check_batch(raw: RawFrames) -> None:
    """Hold that each frame lies inside the buffer and names an interface that there is."""
    assert 0 < len(raw) <= FILE_BATCH_FRAMES
    assert np.all(raw.offsets >= 0)
    assert np.all(raw.offsets + raw.captured <= len(raw.data))
    assert int(raw.interface.max()) < len(raw.interfaces)
    assert int(raw.direction.max()) <= 2
