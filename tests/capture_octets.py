"""Capture files made octet by octet, right or wrong in every place that a test wants."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, NamedTuple

from analyzer.capture.source import open_capture

if TYPE_CHECKING:
    from analyzer.capture.source import FrameSource
    from analyzer.model.frames import RawFrames

SECOND_NS = 1_000_000_000


class Frame(NamedTuple):
    """One frame as a source gave it."""

    ts_ns: int
    original: int
    octets: bytes
    direction: int = 0
    interface: int = 0
    tag: int = 0
    gso_size: int = 0


def frames_of(raw: RawFrames) -> list[Frame]:
    """Give the frames of a batch as Python values."""
    rows = zip(
        raw.ts_ns.tolist(),
        raw.original.tolist(),
        raw.offsets.tolist(),
        raw.captured.tolist(),
        raw.direction.tolist(),
        raw.interface.tolist(),
        raw.tag.tolist(),
        raw.gso_size.tolist(),
        strict=True,
    )
    return [
        Frame(ts, original, bytes(raw.data[at : at + kept]), direction, interface, tag, gso)
        for ts, original, at, kept, direction, interface, tag, gso in rows
    ]


def read_all(source: FrameSource) -> list[Frame]:
    """Give all frames of a source and close it."""
    found = [frame for raw in source.batches() for frame in frames_of(raw)]
    source.close()
    return found


def source_of(octets: bytes, name: str = "test") -> FrameSource:
    """Give a source over octets in memory."""
    return open_capture(io.BytesIO(octets), name)


def pcap_header(
    order: str = "<", magic: int = 0xA1B2C3D4, version: tuple[int, int] = (2, 4), snaplen: int = 65535, link: int = 1
) -> bytes:
    """Give the header of a pcap file; ``link`` is the whole link-type word."""
    return struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, link)


def pcap_record(
    octets: bytes, second: int = 1, fraction: int = 2, original: int | None = None, order: str = "<", extra: bytes = b""
) -> bytes:
    """Give one record of a pcap file."""
    length = len(octets) if original is None else original
    return struct.pack(order + "IIII", second, fraction, len(octets), length) + extra + octets


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Give a pcapng block."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def options(order: str, *found: tuple[int, bytes]) -> bytes:
    """Give pcapng options with their end."""
    parts = [struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in found]
    return b"".join(parts) + bytes(4) if parts else b""


def shb(order: str = "<", *found: tuple[int, bytes], version: tuple[int, int] = (1, 0)) -> bytes:
    """Give a section header."""
    body = struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1)
    return block(0x0A0D0D0A, body + options(order, *found), order)


def idb(order: str = "<", *found: tuple[int, bytes], linktype: int = 1, snaplen: int = 0) -> bytes:
    """Give an interface description."""
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options(order, *found), order)


def epb(
    octets: bytes,
    order: str = "<",
    *found: tuple[int, bytes],
    ticks: int = 1_000_000,
    interface: int = 0,
    original: int | None = None,
) -> bytes:
    """Give an enhanced packet block."""
    length = len(octets) if original is None else original
    head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFF_FFFF, len(octets), length)
    return block(6, head + octets + bytes(-len(octets) % 4) + options(order, *found), order)


def spb(octets: bytes, order: str = "<", original: int | None = None) -> bytes:
    """Give a simple packet block."""
    return block(3, struct.pack(order + "I", len(octets) if original is None else original) + octets, order)


def pb(octets: bytes, order: str = "<", *found: tuple[int, bytes], ticks: int = 1_000_000, interface: int = 0) -> bytes:
    """Give an obsolete packet block."""
    head = struct.pack(order + "HHIIII", interface, 7, ticks >> 32, ticks & 0xFFFF_FFFF, len(octets), len(octets))
    return block(2, head + octets + bytes(-len(octets) % 4) + options(order, *found), order)


def isb(order: str = "<", *found: tuple[int, bytes], interface: int = 0) -> bytes:
    """Give interface statistics."""
    return block(5, struct.pack(order + "III", interface, 0, 0) + options(order, *found), order)
