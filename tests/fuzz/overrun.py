"""Write behind an array on purpose: whoever watches memory has to end this. Run by tools/sanitize.py alone."""

from __future__ import annotations

import numpy as np

from analyzer.model.columns import column
from generator.evaluate.engine import Engine


def overrun() -> None:
    """Judge one frame with room for one field, where the engine fills all of them."""
    none, byte = np.zeros(1, np.int32), np.zeros(1, np.uint8)
    wide = np.zeros(1, np.uint64)
    items = [column(each) for each in (byte, none, none, none)]
    tests = [column(each) for each in (byte, byte, byte, wide, wide, wide, wide)]
    scratch = [column(each) for each in (wide, byte, np.zeros(2, np.int64))]
    engine = Engine(items, tests, column(np.zeros(12, np.int32)), scratch)
    lengths = column(np.full(1, 60, np.uint32))
    of_tag = column(np.zeros(1, np.uint32))
    answers = (column(np.zeros(1, np.uint8)), column(np.zeros(1, np.int32)), column(np.zeros(1, np.uint8)))
    octets = column(np.zeros(60, np.uint8))
    engine.run(octets, column(np.zeros(1, np.int64)), lengths, lengths, of_tag, lengths, column(byte), *answers)


if __name__ == "__main__":
    overrun()
