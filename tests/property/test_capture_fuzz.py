"""Any octets at all: reading ends, with frames that lie inside the buffer, or with one clear error."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from tests.capture_promises import check_reading
from tests.shared_data import capture_files, shared_data

if TYPE_CHECKING:
    from pathlib import Path

FILES = [path for path in capture_files() if path.stat().st_size < 40_000]
INTERESTING = st.sampled_from([0, 1, 4, 8, 12, 0x7F, 0x80, 0xFF, 0xFFFF, 0x4_0000, 0x4_0001, 0x7FFF_FFFF, 0xFFFF_FFFF])


@st.composite
def mutations(draw: st.DrawFn, octets: bytes) -> bytes:
    changed = bytearray(octets)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 4)))
        how = draw(st.integers(0, 4))
        if how == 0:
            changed[at : at + 4] = draw(INTERESTING).to_bytes(4, draw(st.sampled_from(["little", "big"])))
        elif how == 1:
            changed[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == 2:
            del changed[at : at + draw(st.integers(1, 64))]
        elif how == 3:
            end = at + draw(st.integers(1, 200))
            changed[at:at] = changed[at:end]
        else:
            del changed[at:]
    return bytes(changed)


def test_there_is_something_to_mutate() -> None:
    shared_data("captures")
    assert len(FILES) > 60


@pytest.mark.skipif(not FILES, reason="no shared data to mutate")
@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_mutated_captures(data: st.DataObject) -> None:
    path: Path = data.draw(st.sampled_from(FILES))
    octets = data.draw(mutations(path.read_bytes()))
    packing = data.draw(st.sampled_from(["", "", "", "gzip", "zstd"]))
    if packing:
        octets = gzip.compress(octets) if packing == "gzip" else zstandard.compress(octets)
    check_reading(data.draw(mutations(octets)) if packing and data.draw(st.booleans()) else octets)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(
        [b"", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"]
    ),
    st.binary(max_size=300),
)
def test_any_octets(magic: bytes, octets: bytes) -> None:
    check_reading(magic + octets)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_cut_at_any_place_gives_a_prefix(path: Path) -> None:
    octets = path.read_bytes()
    with path.open("rb") as file:
        try:
            whole = sum(len(raw) for raw in open_capture(file, path.name).batches())
        except InputError:
            return
    counts = [check_reading(octets[:cut]) for cut in range(0, len(octets), max(1, len(octets) // 40))]
    assert counts == sorted(counts)
    assert counts[-1] <= whole
