"""Unpacking what was compressed with gzip or zstd, recognised by magic, in bounded memory.

What lives here: octets in, octets out, as many as the caller has room for. What must not: captures. Called by
source.open_capture.
Sources: RFC 1952 (gzip), RFC 8878 (zstd). A bomb costs time, never memory: output is asked for by the window.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, TypeAlias

import zstandard

from analyzer.errors import InputError

if TYPE_CHECKING:
    from analyzer.capture.feed import Feed

MAX_ZSTD_WINDOW_OCTETS: Final = 1 << 26
"""What unpacking zstd may keep of the past; only files made with --ultra -22 or --long=27 need more."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP_INPUT_OCTETS: Final = 1 << 16
_ZSTD_INPUT_OCTETS: Final = 1 << 10
"""Taken in at once: unpacked in one go, since the library has no bound; a run of RLE blocks gives at most 32 MiB."""

_GZIP_WBITS: Final = 31
"""zlib: 15 for the largest window, 16 for a gzip header."""


class GzipOctets:
    """The unpacked octets of a gzip stream, all its members one after the other."""

    kind = "gzip"

    def __init__(self, feed: Feed) -> None:
        self.octets_total = feed.octets_total
        self._feed = feed
        self._member = zlib.decompressobj(_GZIP_WBITS)
        self._pending = b""
        self._damage: InputError | None = None

    @property
    def octets_read(self) -> int:
        """Octets of the packed input that were read."""
        return self._feed.octets_read

    def readinto(self, buffer: memoryview, /) -> int:
        """Unpack up to ``len(buffer)`` octets into ``buffer``; InputError where the stream is cut or corrupt."""
        while True:
            if self._damage is not None:
                raise self._damage
            packed = self._pending or _take(self._feed, _GZIP_INPUT_OCTETS)
            before = self._member.copy()
            try:
                octets = self._member.decompress(packed, len(buffer))
            except zlib.error as error:
                self._damage = InputError(f"corrupt gzip data ({error})")
                self._damage.__cause__ = error
                self._member = before
                octets = _before_damage(before, packed, len(buffer))
                if not octets:
                    continue
                buffer[: len(octets)] = octets
                return len(octets)
            self._pending = self._member.unconsumed_tail
            if self._member.eof:
                self._next_member()
            elif not packed and not octets:
                raise InputError(self._feed.failure or "the gzip data are cut")
            if octets:
                buffer[: len(octets)] = octets
                return len(octets)
            if self._member.eof:
                return 0

    def _next_member(self) -> None:
        """Begin the next member, if there is one; what else stands behind the last one is padding."""
        rest = self._member.unused_data or _take(self._feed, _GZIP_INPUT_OCTETS)
        if len(rest) < len(_GZIP):
            rest += _take(self._feed, _GZIP_INPUT_OCTETS)
        if rest.startswith(_GZIP):
            self._member = zlib.decompressobj(_GZIP_WBITS)
            self._pending = rest


def _before_damage(member: zlib._Decompress, packed: bytes, limit: int) -> bytes:
    """Unpack what lies before the corrupt place of ``packed``, less than ``limit`` octets: zlib drops it.

    The place is found by halving, so that it costs twenty times the unpacking at the most, once a file.
    """
    good, bad = 0, limit
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            member.copy().decompress(packed, middle)
        except zlib.error:
            bad = middle
        else:
            good = middle
    return member.copy().decompress(packed, good) if good else b""  # 0 would mean no limit


class ZstdOctets:
    """The unpacked octets of zstd frames, one after the other, skippable ones skipped."""

    kind = "zstd"

    def __init__(self, feed: Feed) -> None:
        self.octets_total = feed.octets_total
        self._feed = feed
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_OCTETS)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._pending = b""
        self._unpacked = memoryview(b"")

    @property
    def octets_read(self) -> int:
        """Octets of the packed input that were read."""
        return self._feed.octets_read

    def readinto(self, buffer: memoryview, /) -> int:
        """Unpack up to ``len(buffer)`` octets into ``buffer``; InputError where the stream is cut or corrupt."""
        while not self._unpacked:
            packed = self._pending or _take(self._feed, _ZSTD_INPUT_OCTETS)
            if not packed:
                if self._frame is not None:
                    raise InputError(self._feed.failure or "the zstd data are cut")
                return 0
            self._unpack(packed)
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def _unpack(self, packed: bytes) -> None:
        frame = self._frame or self._unpacker.decompressobj()
        try:
            self._unpacked = memoryview(frame.decompress(packed))
        except zstandard.ZstdError as error:
            if "too much memory" in str(error):
                raise InputError(
                    f"the zstd data need a window of more than {MAX_ZSTD_WINDOW_OCTETS >> 20} MiB",
                    hint="unpack it: zstd -dc --long=31 FILE | nwscan analyze -",
                ) from error
            raise InputError(f"corrupt zstd data ({error})") from error
        self._pending = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame


Unpacker: TypeAlias = GzipOctets | ZstdOctets


def is_packed(head: bytes) -> bool:
    """Say whether what begins with ``head`` is compressed in a way that can be unpacked here."""
    return head.startswith((_GZIP, _ZSTD))


def unpacker(feed: Feed) -> Unpacker | None:
    """Give what unpacks ``feed``, None where it is not compressed."""
    feed.require(len(_ZSTD))
    head = bytes(feed.data[feed.at : min(feed.stop, feed.at + len(_ZSTD))])
    if head.startswith(_GZIP):
        return GzipOctets(feed)
    return ZstdOctets(feed) if head == _ZSTD else None


def _take(feed: Feed, octets: int) -> bytes:
    """Take up to ``octets`` of what is there; b"" at the end."""
    if not feed.require(1):
        return b""
    taken = bytes(feed.data[feed.at : min(feed.stop, feed.at + octets)])
    feed.at += len(taken)
    return taken
