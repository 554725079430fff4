"""Cut a capture file between two records into two files that are whole captures themselves; knows no reader of ours."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_PCAP_HEADER_OCTETS: Final = 24
_RECORD_OCTETS: Final = {0xA1B2C3D4: 16, 0xA1B23C4D: 16, 0xA1B2CD34: 24}
"""Octets of a record's header by the magic number of the file."""
_SECTION, _STATISTICS = 0x0A0D0D0A, 5
_PB, _SPB, _EPB = 2, 3, 6
_BLOCK_OCTETS: Final = 12
"""Of a pcapng block without a body."""
_NO_TIME: Final = 1 << 31
"""The upper half of a time from here on is none, in micro- and in nanoseconds."""


class Cut(NamedTuple):
    """A place between two records: where it is, and what a file that begins there needs before it."""

    at: int
    head: bytes

    def parts(self, octets: bytes) -> tuple[bytes, bytes]:
        """Give the two files."""
        return octets[: self.at], self.head + octets[self.at :]


def cuts_of(octets: bytes) -> list[Cut]:
    """Give every place where a capture can be cut: before the first record, between any two, behind the last whole one.

    What is behind the last whole record, in a file that is itself cut, stays in the second part.
    """
    is_pcapng = octets[:4] == struct.pack(">I", _SECTION)
    return list(_pcapng_cuts(octets) if is_pcapng else _pcap_cuts(octets))


def _pcap_cuts(octets: bytes) -> Iterator[Cut]:
    head = octets[:_PCAP_HEADER_OCTETS]
    order = "<" if struct.unpack("<I", head[:4])[0] in _RECORD_OCTETS else ">"
    record_octets = _RECORD_OCTETS[struct.unpack(order + "I", head[:4])[0]]
    at = len(head)
    while at <= len(octets):
        yield Cut(at, head)
        if at + record_octets > len(octets):
            return
        at += record_octets + struct.unpack_from(order + "I", octets, at + 8)[0]


def _pcapng_cuts(octets: bytes) -> Iterator[Cut]:
    """Yield the cuts of a pcapng file; the second part begins with the section so far, without frames and statistics.

    A frame without a time takes that of the frame before it, so that none is cut from such a frame: that of a simple
    packet block, and one with a time that no clock shows.
    """
    head, waiting, is_any_timed = b"", list[Cut](), False
    for kind, at, end, is_timed in _blocks(octets):
        if kind == _SECTION:
            head = b""
        if at:
            waiting.append(Cut(at, head))
        if kind in {_PB, _SPB, _EPB}:
            if is_timed or not is_any_timed:
                yield from waiting
            waiting.clear()
            is_any_timed |= is_timed
        elif kind != _STATISTICS:
            head += octets[at:end]
        last = Cut(end, head)
    yield from (*waiting, last)


def _blocks(octets: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """Yield of each whole block its type, where it begins and ends, and whether it is a frame with a time."""
    order, at = "<", 0
    while at + _BLOCK_OCTETS <= len(octets):
        if octets[at : at + 4] == struct.pack(">I", _SECTION):
            order = "<" if octets[at + 8 : at + 12] == struct.pack("<I", 0x1A2B3C4D) else ">"
        kind, length = struct.unpack_from(order + "II", octets, at)
        if length < _BLOCK_OCTETS or at + length > len(octets):
            return
        is_timed = kind in {_PB, _EPB} and struct.unpack_from(order + "I", octets, at + 12)[0] < _NO_TIME
        yield kind, at, at + length, is_timed
        at += length
