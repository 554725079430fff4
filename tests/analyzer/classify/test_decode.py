from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.classify import decode as compiled
from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.frames import CaptureInterface, FrameBatch, FrameFlag, RawFrames
from tests.interpreted import is_compiled
from tests.raw_frames import raw_frames

DST = bytes.fromhex("525400000001")
SRC = bytes.fromhex("feaabbccddee")
C_TAG = bytes.fromhex("81000064")
S_TAG = bytes.fromhex("88a8a00a")
SNAP = bytes.fromhex("aaaa03000000")


def decode_one(frame: bytes, **columns: Any) -> FrameBatch:  # noqa: ANN401 - passed on
    return decode(raw_frames([frame], **columns))


def test_is_compiled() -> None:
    assert is_compiled(compiled)


def test_ethernet_ii() -> None:
    batch = decode_one(DST + SRC + b"\x08\x00" + bytes(46))
    assert batch.dst[0] == parse_mac("52:54:00:00:00:01")
    assert batch.src[0] == parse_mac("fe:aa:bb:cc:dd:ee")
    assert (batch.outer_type[0], batch.ethertype[0], batch.tags[0], batch.vlan[0]) == (0x800, 0x800, 0, 0)
    assert (batch.network[0], batch.octets[0], batch.segments[0], batch.flags[0]) == (14, 60, 1, 0)


def test_dtypes_are_those_of_the_model() -> None:
    batch = decode_one(DST + SRC + b"\x08\x00" + bytes(46))
    dtypes = {
        "dst": np.uint64,
        "src": np.uint64,
        "outer_type": np.uint16,
        "ethertype": np.uint16,
        "tags": np.uint8,
        "vlan": np.uint16,
        "network": np.int32,
        "octets": np.uint32,
        "segments": np.uint16,
        "flags": np.uint8,
    }
    assert {name: getattr(batch, name).dtype for name in dtypes} == dtypes


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
def test_vlan_tags_of_any_depth(depth: int) -> None:
    batch = decode_one(DST + SRC + S_TAG + C_TAG * (depth - 1) + b"\x86\xdd" + bytes(40))
    assert (batch.outer_type[0], batch.ethertype[0], batch.tags[0], batch.vlan[0]) == (0x88A8, 0x86DD, depth, 0xA00A)
    assert batch.network[0] == 14 + 4 * depth


def test_tag_that_the_kernel_stripped_counts_as_the_outermost() -> None:
    batch = decode_one(DST + SRC + C_TAG + b"\x08\x06" + bytes(28), tag=[0x88A8_0123])
    assert (batch.outer_type[0], batch.ethertype[0], batch.tags[0], batch.vlan[0]) == (0x88A8, 0x806, 2, 0x123)
    assert (batch.network[0], batch.octets[0]) == (18, 50)


def test_more_tags_than_the_column_holds() -> None:
    batch = decode_one(DST + SRC + C_TAG * 300 + b"\x08\x00" + bytes(20))
    assert (batch.tags[0], batch.ethertype[0], batch.network[0]) == (255, 0x800, 14 + 1200)


def test_llc_has_no_ethertype_and_its_network_is_the_llc_header() -> None:
    batch = decode_one(DST + SRC + b"\x00\x26\x42\x42\x03" + bytes(43))
    assert (batch.outer_type[0], batch.ethertype[0], batch.network[0], batch.flags[0]) == (0x26, 0, 14, 0)


def test_snap_of_oui_0_has_an_ethertype() -> None:
    batch = decode_one(DST + SRC + b"\x00\x24" + SNAP + b"\x08\x06" + bytes(28))
    assert (batch.outer_type[0], batch.ethertype[0], batch.network[0]) == (0x24, 0x806, 22)


def test_snap_of_another_oui_has_none() -> None:
    batch = decode_one(DST + SRC + b"\x00\x24" + bytes.fromhex("aaaa0300000c2000") + bytes(28))
    assert (batch.ethertype[0], batch.network[0]) == (0, 14)


@pytest.mark.parametrize("kept", range(14))
def test_shorter_than_a_header(kept: int) -> None:
    batch = decode_one((DST + SRC + b"\x08\x00")[:kept])
    assert batch.flags[0] == FrameFlag.TOO_SHORT | FrameFlag.NO_ADDRESSES
    assert (batch.dst[0], batch.src[0], batch.network[0], batch.octets[0]) == (0, 0, -1, kept)


@pytest.mark.parametrize("kept", range(14))
def test_header_cut_by_the_capture(kept: int) -> None:
    batch = decode_one((DST + SRC + b"\x08\x00")[:kept], original=[60])
    assert batch.flags[0] == FrameFlag.CUT_HEADER | FrameFlag.NO_ADDRESSES
    assert (batch.dst[0], batch.octets[0]) == (0, 60)


@pytest.mark.parametrize("kept", [14, 15, 16, 17, 18, 19])
def test_cut_within_tags_keeps_the_addresses(kept: int) -> None:
    batch = decode_one((DST + SRC + S_TAG + C_TAG)[:kept], original=[64])
    assert batch.flags[0] == FrameFlag.CUT_HEADER
    assert batch.dst[0] == parse_mac("52:54:00:00:00:01")
    assert (batch.outer_type[0], batch.ethertype[0], batch.network[0]) == (0x88A8, 0, -1)
    assert batch.vlan[0] == (0xA00A if kept >= 16 else 0)


def test_nothing_behind_the_header() -> None:
    batch = decode_one(DST + SRC + b"\x08\x00", original=[60])
    assert (batch.ethertype[0], batch.network[0], batch.flags[0]) == (0x800, -1, 0)


@pytest.mark.parametrize(
    ("original", "octets"), [(59, 60), (0, 60), (262_145, 60), (0xFFFF_FFFF, 60), (262_144, 262_144)]
)
def test_lengths_that_cannot_be_true_are_corrected(original: int, octets: int) -> None:
    batch = decode_one(DST + SRC + b"\x08\x00" + bytes(46), original=[original])
    assert batch.octets[0] == octets
    assert batch.flags[0] == (0 if original == octets else FrameFlag.IMPOSSIBLE_LENGTH)


def test_other_link_types_have_no_addresses() -> None:
    interfaces = (CaptureInterface(), CaptureInterface(linktype=113))
    frame = DST + SRC + b"\x08\x00" + bytes(46)
    batch = decode(raw_frames([frame, frame, frame], interface=[0, 1, 7], interfaces=interfaces))
    assert batch.flags.tolist() == [0, *[FrameFlag.NOT_ETHERNET | FrameFlag.NO_ADDRESSES] * 2]
    assert batch.dst.tolist()[1:] == [0, 0]
    assert batch.octets.tolist() == [60, 60, 60]


IPV4_TCP = bytes.fromhex("45000000000000004006") + bytes(22) + b"\x80" + bytes(19)
IPV6_UDP = bytes.fromhex("60000000000011ff") + bytes(40)


@pytest.mark.parametrize(
    ("frame", "original", "segments"),
    [
        (DST + SRC + b"\x08\x00" + IPV4_TCP, 14 + 20 + 32 + 1448, 1),
        (DST + SRC + b"\x08\x00" + IPV4_TCP, 14 + 20 + 32 + 1449, 2),
        (DST + SRC + b"\x08\x00" + IPV4_TCP, 14 + 20 + 32 + 45 * 1448, 45),
        (DST + SRC + C_TAG + b"\x08\x00" + IPV4_TCP, 18 + 20 + 32 + 2 * 1448, 2),
        (DST + SRC + b"\x86\xdd" + IPV6_UDP, 14 + 40 + 8 + 3 * 1448, 3),
        (DST + SRC + b"\x08\x00" + IPV4_TCP[:33], 14 + 20 + 20 + 2 * 1448, 2),
        (DST + SRC + b"\x88\xb5" + bytes(20), 14 + 2 * 1448, 2),
        (DST + SRC + b"\x08\x00" + IPV4_TCP, 60, 1),
    ],
)
def test_segments_of_a_super_frame(frame: bytes, original: int, segments: int) -> None:
    batch = decode_one(frame, original=[max(original, len(frame))], gso_size=[1448])
    assert batch.segments[0] == segments


def test_segments_without_a_gso_size_are_one() -> None:
    assert decode_one(DST + SRC + b"\x08\x00" + IPV4_TCP, original=[65_000]).segments[0] == 1


def test_no_frames() -> None:
    assert len(decode(raw_frames([]))) == 0


def test_frames_that_lie_outside_the_buffer_are_not_read() -> None:
    good = raw_frames([DST + SRC + b"\x08\x00" + bytes(46)] * 4)
    offsets = np.array([-1, len(good.data) + 1, len(good.data), len(good.data) - 5], np.int64)
    batch = decode(
        RawFrames(
            good.data, offsets, good.captured, good.original, good.ts_ns, good.direction, good.tag, good.gso_size,
            good.interface,
        )
    )  # fmt: skip
    assert batch.flags.tolist() == [FrameFlag.CUT_HEADER | FrameFlag.NO_ADDRESSES] * 4


def test_columns_of_unequal_length_are_refused() -> None:
    raw = raw_frames([DST + SRC + b"\x08\x00"] * 2)
    with pytest.raises(ValueError, match="differ in length"):
        decode(
            RawFrames(
                raw.data, raw.offsets, raw.captured[:1], raw.original, raw.ts_ns, raw.direction, raw.tag,
                raw.gso_size, raw.interface,
            )
        )  # fmt: skip
