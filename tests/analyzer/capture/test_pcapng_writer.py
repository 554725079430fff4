from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.errors import HostError
from analyzer.model.classes import FrameClass
from analyzer.model.frames import CaptureInterface, RawFrames
from analyzer.model.identity import Address, GuestIdentity, Provenance
from tests.capture_octets import Frame, read_all, source_of

IDENTITY = GuestIdentity(
    macs=(0x525400000001, 0x525400000002),
    source=Provenance.LIBVIRT_XML,
    name="vm1 \x1b[31m<b>é",
    uuid="7b1c0e0a-0000-4000-8000-000000000001",
    card=1,
    tap="vnet0",
    bridge="virbr0",
    addresses=(Address("192.0.2.1", Provenance.LEASE, trusted=True),),
    macs_seen=(Address("02:00:00:00:00:01", Provenance.TRAFFIC, trusted=False),),
    groups=(0x01005E000001,),
    vlans=(5, 6),
)
NOW_NS = 1_700_000_000_123_456_789


def raw_frames(*frames: Frame, interfaces: tuple[CaptureInterface, ...] = (CaptureInterface(),)) -> RawFrames:
    data = b"".join(frame.octets for frame in frames)
    sizes = [len(frame.octets) for frame in frames]
    return RawFrames(
        data=np.frombuffer(data, np.uint8),
        offsets=np.cumsum([0, *sizes[:-1]]).astype(np.int64)[: len(frames)],
        captured=np.array(sizes, np.uint32),
        original=np.array([frame.original for frame in frames], np.uint32),
        ts_ns=np.array([frame.ts_ns for frame in frames], np.int64),
        direction=np.array([frame.direction for frame in frames], np.uint8),
        tag=np.array([frame.tag for frame in frames], np.uint32),
        gso_size=np.array([frame.gso_size for frame in frames], np.uint16),
        interface=np.array([frame.interface for frame in frames], np.uint16),
        interfaces=interfaces,
    )


def some_frames(count: int, octets: int = 60) -> list[Frame]:
    return [
        Frame(NOW_NS + i, octets + i % 3, i.to_bytes(4, "big").ljust(octets, b"\xa5"), 1 + i % 2) for i in range(count)
    ]


def write(*frames: Frame, **arguments: object) -> tuple[bytes, PcapngWriter]:
    file = io.BytesIO()
    writer = PcapngWriter(file, CaptureInterface(name="vnet0"), IDENTITY, **arguments)  # type: ignore[arg-type]
    writer.write(raw_frames(*frames), None)
    writer.finish(7, (NOW_NS, NOW_NS))
    return file.getvalue(), writer


def test_what_is_written_is_read_back() -> None:
    frames = [*some_frames(10), Frame(0, 9000, b"x" * 61, 2), Frame(NOW_NS, 60, b"", 0)]
    octets, writer = write(*frames)
    source = source_of(octets)
    assert source.identity == replace(IDENTITY, source=Provenance.FILE)
    assert source.has_direction
    assert read_all(source) == frames
    assert source.interfaces == (CaptureInterface(name="vnet0", description=IDENTITY.name),)
    assert source.window().frames_lost == 7
    assert (writer.frames_written, writer.octets, writer.full) == (12, len(octets), False)
    assert writer.sha256 == hashlib.sha256(octets).hexdigest()


def test_unknown_losses_stay_unknown() -> None:
    file = io.BytesIO()
    PcapngWriter(file, CaptureInterface(), None).finish(None)
    source = source_of(file.getvalue())
    read_all(source)
    assert source.window().frames_lost is None
    assert source.identity is None


def window_of(octets: bytes) -> tuple[int | None, int | None, int]:
    source = source_of(octets)
    read_all(source)
    window = source.window()
    return window.start_ns, window.end_ns, window.frames_seen


def test_the_window_survives_where_it_was_silent() -> None:
    frames = raw_frames(*some_frames(3))
    window_ns = NOW_NS - 5_000_000_000, NOW_NS + 60_000_000_001
    for written, expected in ((frames, 3), (None, 0)):
        file = io.BytesIO()
        writer = PcapngWriter(file, CaptureInterface(), IDENTITY)
        if written is not None:
            writer.write(written, None)
        writer.finish(0, window_ns)
        assert window_of(file.getvalue()) == (*window_ns, expected)


def test_a_file_that_is_full_does_not_claim_its_window() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, CaptureInterface(), IDENTITY, limit_octets=1500)
    written = writer.write(raw_frames(*some_frames(100)), None)
    writer.finish(0, (NOW_NS - 1, NOW_NS + 1_000_000_000))
    assert 0 < written < 100
    assert window_of(file.getvalue()) == (NOW_NS, NOW_NS + written - 1, written)
    assert len(file.getvalue()) <= 1500


@pytest.mark.parametrize("window_ns", [(NOW_NS + 9, NOW_NS), (0, 2**64 - 1)])
def test_a_window_that_cannot_be_is_left_alone(window_ns: tuple[int, int]) -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, CaptureInterface(), IDENTITY)
    writer.write(raw_frames(*some_frames(3)), None)
    writer.finish(None, window_ns)
    assert window_of(file.getvalue()) == (NOW_NS, NOW_NS + 2, 3)


@pytest.mark.parametrize("kept", [11, 12, 13, 14, 60])
def test_a_stripped_tag_is_put_back(kept: int) -> None:
    octets = bytes(range(60))[:kept]
    (found,) = read_all(source_of(write(Frame(NOW_NS, 60, octets, 2, 0, 0x88A8_2005))[0]))
    if kept < 12:
        assert found.octets == octets
    else:
        assert found.octets == octets[:12] + b"\x88\xa8\x20\x05" + octets[12:]
        assert found.original == 64


@pytest.mark.parametrize("snaplen", [1, 12, 13, 14, 15, 16, 17, 59, 60, 64, 100])
def test_snaplen_cuts_after_the_tag_is_back(snaplen: int) -> None:
    octets = bytes(range(60))
    tagged = octets[:12] + b"\x81\x00\x00\x05" + octets[12:]
    frames = Frame(NOW_NS, 1500, octets), Frame(NOW_NS, 1500, octets, 0, 0, 0x8100_0005)
    found = read_all(source_of(write(*frames, snaplen=snaplen)[0]))
    assert [(frame.octets, frame.original) for frame in found] == [(octets[:snaplen], 1500), (tagged[:snaplen], 1504)]


@pytest.mark.parametrize("size", [1, 9, 1448, 65_535])
def test_gso_size_survives(size: int) -> None:
    frame = Frame(NOW_NS, 40_000, b"x" * 61, 2, 0, 0, size)
    assert read_all(source_of(write(frame)[0])) == [frame]


def test_reception_types(tmp_path: Path) -> None:
    path = tmp_path / "classes.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, CaptureInterface(), IDENTITY)
        classes = np.array(list(FrameClass), np.uint8)
        writer.write(raw_frames(*some_frames(6)), classes)
        writer.finish(0)
    flags = [int.from_bytes(part[:4], "little") for part in path.read_bytes().split(b"\x02\x00\x04\x00")[1:]]
    assert [flag >> 2 for flag in flags] == [1, 2, 3, 4, 0, 0]
    assert [flag & 3 for flag in flags] == [1, 2, 1, 2, 1, 2]


def test_mask_and_link_type_select() -> None:
    interfaces = (CaptureInterface(linktype=113), CaptureInterface())
    frames = [Frame(NOW_NS, 4, bytes([i] * 4), 0, i % 2) for i in range(8)]
    file = io.BytesIO()
    writer = PcapngWriter(file, CaptureInterface(), None)
    mask = np.array([True, True, False, False, True, True, True, True])
    assert writer.write(raw_frames(*frames, interfaces=interfaces), None, mask) == 3
    writer.finish(None)
    assert [frame.octets[0] for frame in read_all(source_of(file.getvalue()))] == [1, 5, 7]


def test_the_limit_holds_and_is_told() -> None:
    frames = some_frames(1000)
    full, _ = write(*frames)
    for limit in (0, 500, 1000, 5000, len(full) - 1, len(full), len(full) + 1):
        octets, writer = write(*frames, limit_octets=limit)
        assert writer.full == (limit < len(full))
        assert writer.octets == len(octets)
        if limit >= 1000:
            assert len(octets) <= limit
            assert read_all(source_of(octets)) == frames[: writer.frames_written]
        assert writer.write(raw_frames(*frames), None) == 0


def test_many_batches_go_through_the_chunk() -> None:
    frames = some_frames(4000, octets=1500)
    octets, _ = write(*frames)
    assert len(octets) > 6_000_000
    assert read_all(source_of(octets)) == frames


def test_the_largest_frame_fits() -> None:
    frame = Frame(NOW_NS, 262_144, os.urandom(262_144), 2)
    assert read_all(source_of(write(frame)[0])) == [frame]


def test_a_full_disk_is_told() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as file,
        pytest.raises(HostError, match="cannot write frames: No space"),
    ):
        PcapngWriter(file, CaptureInterface(), None)


def test_partial_writes_are_completed() -> None:
    class Slow(io.BytesIO):
        def write(self, octets: memoryview, /) -> int:  # type: ignore[override]
            return super().write(octets[:7])

    file = Slow()
    frames = some_frames(20)
    writer = PcapngWriter(file, CaptureInterface(), IDENTITY)
    writer.write(raw_frames(*frames), None)
    writer.finish(None)
    assert writer.octets == len(file.getvalue())
    assert read_all(source_of(file.getvalue())) == frames


def test_an_identity_too_long_for_an_option_keeps_its_macs() -> None:
    many = replace(IDENTITY, groups=tuple(range(10_000)), addresses=())
    file = io.BytesIO()
    PcapngWriter(file, CaptureInterface(), many).finish(None)
    identity = source_of(file.getvalue()).identity
    assert identity is not None
    assert (identity.macs, identity.groups) == (IDENTITY.macs, ())


@given(st.integers(0, 200), st.integers(14, 120), st.sampled_from([0, 0x81000001]), st.sampled_from([0, 1448]))
def test_sizes_are_what_frames_take(snaplen: int, octets: int, tag: int, gso_size: int) -> None:
    raw = msgspec.structs.replace(
        raw_frames(*some_frames(3, octets)), tag=np.full(3, tag, np.uint32), gso_size=np.full(3, gso_size, np.uint16)
    )
    writer = PcapngWriter(io.BytesIO(), CaptureInterface(), None, snaplen)
    before = writer.octets
    writer.write(raw, None)
    assert writer.octets - before == writer.sizes(raw).sum()


class _Full(io.BytesIO):
    """A file whose last octets find no room."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_at_the_end_is_told_of() -> None:
    with pytest.raises(HostError, match="No space left on device"):
        PcapngWriter(_Full(), CaptureInterface(), None).finish(0)


def test_the_filter_of_an_interface_is_read_back() -> None:
    file = io.BytesIO()
    PcapngWriter(file, CaptureInterface(name="vnet0", filter="arp or ip"), None).finish(0)
    source = source_of(file.getvalue())
    assert read_all(source) == []
    (interface,) = source.interfaces
    assert (interface.name, interface.filter) == ("vnet0", "arp or ip")
