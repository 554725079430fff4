from __future__ import annotations

import contextlib
import gzip
import io
import os
import threading
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard

from analyzer.capture import compression, feed
from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from tests.capture_octets import epb, frames_of, idb, pcap_header, pcap_record, read_all, shb, source_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OCTETS = bytes(range(60))
PCAP = pcap_header() + b"".join(pcap_record(OCTETS, second=i) for i in range(1000))
PCAPNG = shb() + idb() + b"".join(epb(OCTETS, ticks=i) for i in range(1000))
BOTH = pytest.mark.parametrize("octets", [PCAP, PCAPNG], ids=["pcap", "pcapng"])


def zstd(octets: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(octets)


def pack_in_parts(octets: bytes) -> list[bytes]:
    middle = len(octets) // 2
    return [
        gzip.compress(octets),
        gzip.compress(octets[:middle]) + gzip.compress(octets[middle:]),
        gzip.compress(octets) + bytes(512),
        gzip.compress(b"") + gzip.compress(octets) + gzip.compress(b""),
        zstd(octets),
        zstd(octets[:middle]) + zstd(octets[middle:]),
        b"\x28\xb5\x2f\xfd" + zstandard.ZstdCompressor(write_content_size=False).compress(octets)[4:],
    ]


@BOTH
def test_packed_is_the_same_as_plain(octets: bytes) -> None:
    expected = read_all(source_of(octets))
    assert len(expected) == 1000
    for packed in pack_in_parts(octets):
        source = source_of(packed)
        assert read_all(source) == expected
        assert source.window().stopped_early is None


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("record", [pcap_record, epb])
def test_a_cut_packed_file_gives_what_is_there(pack: object, record: object) -> None:
    assert callable(pack)
    assert callable(record)
    head = pcap_header() if record is pcap_record else shb() + idb()
    packed = pack(head + b"".join(record(os.urandom(1000)) for _ in range(1000)))
    for cut in (1, 9, 1000, len(packed) // 2):
        source = source_of(packed[:-cut])
        assert 0 < len(read_all(source)) <= 1000
        assert "data are cut" in (source.window().stopped_early or "")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_corrupt_packed_data_are_told(pack: object) -> None:
    assert callable(pack)
    packed = bytearray(pack(pcap_header() + b"".join(pcap_record(os.urandom(60)) for _ in range(20_000))))
    packed[len(packed) // 2 : len(packed) // 2 + 200] = bytes(200)
    source = source_of(bytes(packed))
    read_all(source)
    assert source.window().stopped_early is not None


def octet_by_octet(packed: bytes) -> bytes:
    """Unpack gzip data up to the place where they are corrupt."""
    member, unpacked = zlib.decompressobj(31), b""
    with contextlib.suppress(zlib.error):
        for at in range(len(packed)):
            unpacked += member.decompress(packed[at : at + 1])
    return unpacked


@pytest.mark.parametrize("where", [20_000, 200_000])
def test_what_lies_before_a_corrupt_place_in_gzip_data_is_read(where: int) -> None:
    """Also where it was to be unpacked in one go with the corrupt place: zlib drops it with the error."""
    packed = bytearray(gzip.compress(os.urandom(300_000).hex().encode()))
    packed[where : where + 200] = b"\xff" * 200
    unpacker = compression.unpacker(feed.Stream(feed.FileOctets(io.BytesIO(packed)), io.BytesIO()))
    assert unpacker is not None
    found, room = b"", bytearray(feed.WINDOW_OCTETS)

    def read_on() -> None:
        nonlocal found
        while count := unpacker.readinto(memoryview(room)):
            found += room[:count]

    with pytest.raises(InputError, match="corrupt gzip data"):
        read_on()
    expected = octet_by_octet(bytes(packed))
    assert len(expected) > where
    assert expected[:-1] == found[: len(expected) - 1]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_bomb_is_unpacked_by_the_window(pack: object) -> None:
    assert callable(pack)
    bomb = pack(shb() + idb() + (0xBAD).to_bytes(4, "little") + (400 << 20).to_bytes(4, "little") + bytes(200 << 20))
    source = source_of(bomb)
    read_all(source)
    assert "cut in the middle of a block" in (source.window().stopped_early or "")


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "empty file"),
        (b"x", "not a capture: begins with 78"),
        (b"snoop\0\0\0" + bytes(100), "snoop"),
        (b"\xfd7zXZ\0" + bytes(100), "xz"),
        (b"PK\x03\x04", "zip"),
        (b' \n{"schema": 1}', "JSON"),
        (gzip.compress(b"hello"), "not a capture: begins with 68 65 6c 6c 6f in gzip data"),
        (gzip.compress(gzip.compress(PCAP)), "compressed twice"),
        (gzip.compress(b""), "empty"),
        (zstd(b"snoop\0\0\0"), "snoop capture (Solaris) in zstd data"),
        (b"\x1f\x8b", "nothing could be unpacked"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "nothing could be unpacked"),
        (b"\x1b[31mred", "not a capture"),
    ],
)
def test_what_is_no_capture_is_named(octets: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        source_of(octets, "some.file")
    assert said in caught.value.what
    assert caught.value.where == "some.file"
    assert caught.value.hint


def test_a_zstd_window_beyond_the_limit_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(InputError, match="window of more than 64 MiB"):
        source_of(packed.compress(PCAP) + packed.flush())


@BOTH
def test_a_pipe_gives_frames_as_they_come(octets: bytes) -> None:
    """What tcpdump has written so far is there before it writes more."""
    ours, theirs = os.pipe()
    first_seen = threading.Event()
    size = len(octets) // 2 + 7

    def write() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as pipe:
            pipe.write(octets[:size])
            assert first_seen.wait(20)
            pipe.write(octets[size:])

    writer = threading.Thread(target=write)
    writer.start()
    source = open_capture(ours, "-")
    assert source.octets_total is None
    seen = 0
    for raw in source.batches():
        seen += len(raw)
        first_seen.set()
    writer.join()
    source.close()
    assert seen == 1000
    assert source.octets_read == len(octets)


class Dribble(io.RawIOBase):
    """Gives one octet at a time, and nothing now and then, as a descriptor that does not block."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0
        self._calls = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
        self._calls += 1
        if self._calls % 100 == 0:
            return None
        part = self._octets[self._at : self._at + 1]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


@BOTH
def test_octet_by_octet_is_the_same(octets: bytes) -> None:
    octets = octets[:3000]
    source = open_capture(Dribble(octets), "drip")  # type: ignore[arg-type]
    assert read_all(source) == read_all(source_of(octets))


@BOTH
def test_a_small_window_is_the_same(octets: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_all(source_of(octets))
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 100)
    assert read_all(source_of(octets)) == expected


def test_a_file_that_is_still_being_written_gives_its_whole_frames(tmp_path: Path) -> None:
    path = tmp_path / "growing.pcap"
    path.write_bytes(PCAP[:1000])
    with path.open("rb", buffering=0) as file:
        source = open_capture(file, str(path))
        found = [frame for raw in source.batches() for frame in frames_of(raw)]
    assert len(found) == (1000 - 24) // 76
    assert "cut in the middle of a record" in (source.window().stopped_early or "")


def test_a_file_that_is_cut_while_it_is_read_ends_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 1000)
    path = tmp_path / "rotated.pcap"
    path.write_bytes(PCAP)
    with path.open("rb", buffering=0) as file:
        source = open_capture(file, str(path))
        batches = source.batches()
        next(batches)
        os.truncate(path, 100)
        assert sum(len(raw) for raw in batches) == 0
    assert "cut in the middle" in (source.window().stopped_early or "")


def test_progress_is_in_octets_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap.gz"
    path.write_bytes(gzip.compress(PCAP))
    source = open_capture(path.open("rb"), str(path))
    assert source.octets_total == path.stat().st_size
    read_all(source)
    assert source.octets_read == source.octets_total


def test_a_failing_read_is_told() -> None:
    class Failing(Dribble):
        def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
            if self._at > 500:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    source = open_capture(Failing(PCAP), "disk")  # type: ignore[arg-type]
    assert len(read_all(source)) == 6
    assert "reading failed: Input/output error" in (source.window().stopped_early or "")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_how_much_of_a_packed_file_was_read_is_told(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(PCAP)
    source = source_of(packed)
    assert len(read_all(source)) == 1000
    assert source.octets_read == len(packed)
