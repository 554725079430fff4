"""compiled == interpreted for every hot loop of capturing, on files that are sound, mutated and cut."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture import pcap_walk, pcapng_encode, pcapng_walk
from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.host import ring_walk
from analyzer.model.columns import column
from analyzer.model.frame_columns import Columns
from analyzer.model.frames import CaptureInterface, RawFrames
from tests.capture_octets import epb, idb, isb, pb, pcap_header, pcap_record, read_all, shb, source_of, spb
from tests.interpreted import is_compiled, load_interpreted

if TYPE_CHECKING:
    from types import ModuleType

    from analyzer.capture.source import FrameSource

ORDERS = st.sampled_from("<>")
PAYLOADS = st.binary(max_size=80)
OPTIONS = st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 2988]), st.binary(max_size=12)), max_size=3)


@st.composite
def pcaps(draw: st.DrawFn) -> bytes:
    order = draw(ORDERS)
    version = draw(st.sampled_from([(2, 4), (2, 3), (2, 2), (543, 0)]))
    link = draw(st.sampled_from([1, 1, 113, 1 | 2 << 28 | 1 << 26]))
    header = pcap_header(order, draw(st.sampled_from([0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34])), version, link=link)
    records = draw(st.lists(st.tuples(PAYLOADS, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=12))
    return header + b"".join(pcap_record(octets, a, b, order=order) for octets, a, b in records)


@st.composite
def pcapngs(draw: st.DrawFn) -> bytes:
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        order = draw(ORDERS)
        parts += [shb(order, *draw(OPTIONS)), idb(order, (9, bytes([draw(st.integers(0, 255))])), snaplen=70)]
        for octets in draw(st.lists(PAYLOADS, max_size=8)):
            kind = draw(st.integers(0, 4))
            found, ticks = draw(OPTIONS), draw(st.integers(0, 2**64 - 1))
            if kind == 0:
                parts.append(spb(octets, order))
            elif kind == 1:
                parts.append(pb(octets, order, *found, ticks=ticks))
            elif kind == 2:
                parts.append(isb(order, *found))
            else:
                parts.append(epb(octets, order, *found, ticks=ticks))
    return b"".join(parts)


@st.composite
def mutated(draw: st.DrawFn, octets: bytes) -> bytes:
    changed = bytearray(octets)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(changed) - 1))
        changed[at : at + 1] = draw(st.binary(max_size=4))
    return bytes(changed[: draw(st.integers(0, len(changed)))]) if draw(st.booleans()) else bytes(changed)


CAPTURES = st.one_of(pcaps(), pcapngs()).flatmap(mutated)
TWINS = [
    ("analyzer.capture.pcap", "pcap_walk", pcap_walk),
    ("analyzer.capture.pcapng", "pcapng_walk", pcapng_walk),
]


def answer(octets: bytes) -> object:
    """Give all that reading ``octets`` gives: frames and window, or the error."""
    try:
        source: FrameSource = source_of(octets)
    except Exception as error:  # noqa: BLE001 - which one it is, is compared
        return str(error)
    return read_all(source), source.window(), source.interfaces


@pytest.mark.parametrize("module", [pcap_walk, pcapng_walk, pcapng_encode, ring_walk])
def test_the_hot_loops_are_compiled(module: ModuleType) -> None:
    assert is_compiled(module)


@settings(max_examples=400, deadline=None)
@given(CAPTURES)
def test_readers_compiled_equal_interpreted(octets: bytes) -> None:
    compiled = answer(octets)
    with pytest.MonkeyPatch.context() as patch:
        for reader, attribute, module in TWINS:
            patch.setattr(f"{reader}.{attribute}", load_interpreted(module.__name__))
        assert answer(octets) == compiled


@st.composite
def batches(draw: st.DrawFn) -> RawFrames:
    n = draw(st.integers(0, 6))

    def numbers(limit: int) -> list[int]:
        return draw(st.lists(st.integers(0, limit), min_size=n, max_size=n))

    data = draw(st.binary(min_size=64, max_size=200))
    return RawFrames(
        data=np.frombuffer(data, np.uint8),
        offsets=np.array(numbers(70), np.int64),
        captured=np.array(numbers(150), np.uint32),
        original=np.array(numbers(2**32 - 5), np.uint32),
        ts_ns=np.array(numbers(2**63 - 1), np.int64) * (1 if draw(st.booleans()) else -1),
        direction=np.array(numbers(2), np.uint8),
        tag=np.array(numbers(2**32 - 1), np.uint32) * np.uint32(draw(st.integers(0, 1))),
        gso_size=np.array(numbers(65_535), np.uint16) * np.uint16(draw(st.integers(0, 1))),
        interface=np.array(numbers(1), np.uint16),
        interfaces=(CaptureInterface(), CaptureInterface(linktype=113)),
    )


def written(raw: RawFrames, classes: list[int], snaplen: int, limit: int | None) -> tuple[bytes, int, bool]:
    file = io.BytesIO()
    writer = PcapngWriter(file, CaptureInterface(), None, snaplen, limit)
    writer.write(raw, np.array(classes, np.uint8))
    writer.finish(1)
    return file.getvalue(), writer.frames_written, writer.full


@settings(max_examples=300, deadline=None)
@given(batches(), st.data(), st.integers(0, 40), st.none() | st.integers(0, 1500))
def test_writing_compiled_equals_interpreted(
    raw: RawFrames, data: st.DataObject, snaplen: int, limit: int | None
) -> None:
    classes = data.draw(st.lists(st.integers(0, 5), min_size=len(raw), max_size=len(raw)))
    compiled = written(raw, classes, snaplen, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "analyzer.capture.pcapng_writer.pcapng_encode", load_interpreted("analyzer.capture.pcapng_encode")
        )
        assert written(raw, classes, snaplen, limit) == compiled
    source = source_of(compiled[0])
    assert len(read_all(source)) == compiled[1]
    assert source.window().stopped_early is None


def ring_block(frames: list[tuple[bytes, int, int, int, int]], order: str = "=", *, ends: bool = False) -> bytes:
    """Give a ring block's frames: octets, status, TCI, packet type, GSO type and size in one.

    ``ends`` has the last one name no frame behind it, as the kernel closes a block.
    """
    block = b""
    for number, (octets, status, tci, kind, gso) in enumerate(frames, start=1):
        header = struct.pack(
            order + "IIIIIIHHIIHH8x", 0, 7, 8, len(octets), len(octets) + 1, status, 82, 96, 0, tci, 0x88A8, 0
        )
        address = struct.pack(order + "HHiHBB8x", 17, 0, 3, 1, kind, 6)
        vnet = struct.pack(order + "BBHHHH", 0, gso & 1, 0, gso, 0, 0)
        frame = (header + address).ljust(72, b"\0") + vnet + octets
        frame += bytes(-len(frame) % 16)
        block += struct.pack(order + "I", 0 if ends and number == len(frames) else len(frame)) + frame[4:]
    return block


RING_FRAMES = st.lists(
    st.tuples(
        PAYLOADS,
        st.sampled_from([1, 0x11, 0x51, 0x41]),
        st.integers(0, 65_535),
        st.integers(0, 7),
        st.integers(0, 65_535),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(RING_FRAMES, st.data())
def test_ring_compiled_equals_interpreted(frames: list[tuple[bytes, int, int, int, int]], data: st.DataObject) -> None:
    octets = data.draw(mutated(ring_block(frames))) if frames else b""
    left, row = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 5))
    answers = []
    for module in (ring_walk, load_interpreted("analyzer.host.ring_walk")):
        columns = Columns(has_directions=True, has_interfaces=False, has_tags=True, has_gso=True)
        state = np.zeros(ring_walk.STATE_LENGTH, np.int64)
        arrays = (
            columns.offsets,
            columns.captured,
            columns.original,
            columns.ts_ns,
            columns.direction,
            columns.tag,
            columns.gso_size,
        )
        memory = np.frombuffer(octets, np.uint8)
        n = module.walk(
            column(memory),
            0,
            len(octets),
            left,
            False,
            True,
            *map(column, arrays),
            row,
            5,
            column(state),
        )
        assert not any(array[:row].any() for array in arrays)
        n += row
        answers.append((n, state.tolist(), [array[:n].tolist() for array in arrays]))
        ends = columns.offsets[:n] + columns.captured[:n]
        assert np.all((columns.offsets[:n] >= 0) & (ends <= len(octets)))
    assert answers[0] == answers[1]


def walked(module: ModuleType, block: bytes, *, big_endian: bool) -> tuple[int, list[list[int]]]:
    """Give how many frames a walk found, and the columns of them."""
    columns = Columns(has_directions=True, has_interfaces=False, has_tags=True, has_gso=True)
    names = ("offsets", "captured", "original", "ts_ns", "direction", "tag", "gso_size")
    arrays = [getattr(columns, name) for name in names]
    state = np.zeros(ring_walk.STATE_LENGTH, np.int64)
    memory = column(np.frombuffer(block, np.uint8))
    n = module.walk(memory, 0, len(block), 99, big_endian, True, *map(column, arrays), 0, 50, column(state))
    return n, [array[:n].tolist() for array in arrays]


def test_a_ring_is_read_in_either_order_of_octets_to_the_frame_that_names_no_other() -> None:
    frames = [(b"a" * 20, 1, 0, 0, 0), (b"b" * 30, 0x51, 0x2007, 4, 1449), (b"c" * 40, 0x11, 5, 0, 0)]
    expected = walked(ring_walk, ring_block(frames, "<"), big_endian=False)
    assert expected[0] == 3
    assert expected[1][1] == [20, 30, 40]
    assert expected[1][5] == [0, 0x88A8_2007, 0x8100_0005]
    assert expected[1][6] == [0, 1449, 0]
    for module in (ring_walk, load_interpreted("analyzer.host.ring_walk")):
        for order, big_endian in (("<", False), (">", True)):
            assert walked(module, ring_block(frames, order), big_endian=big_endian) == expected
            closed = ring_block(frames[:2], order, ends=True) + ring_block(frames, order)
            assert walked(module, closed, big_endian=big_endian)[0] == 2
