"""Where frames come from: one protocol for a tap, a file and standard input.

What lives here: the protocol, and the choice of a reader by what an input begins with. What must not: opening paths
(the caller does), decoding. Called by the worker and the pipeline.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from analyzer.capture import compression, pcap, pcapng
from analyzer.capture.feed import Feed, FileOctets, Stream
from analyzer.capture.mapping import map_file
from analyzer.capture.pcap import PcapReader
from analyzer.capture.pcapng import PcapngReader
from analyzer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import CaptureInterface, RawFrames
    from analyzer.model.identity import GuestIdentity
    from analyzer.model.window import CaptureWindow


class FrameSource(Protocol):
    """Frames in batches, from wherever.

    ``interfaces`` grows while a pcapng file is read. ``identity`` is what a file of ours says of the guest, else None;
    it is there when the source is. ``has_direction`` says that the directions are as seen from the tap and can be
    trusted: live, and in files that nwscan wrote. ``octets_read`` of ``octets_total`` (None where that is not
    known) are behind us: octets of the input as it lies on disk, compressed or not.
    """

    name: str
    identity: GuestIdentity | None
    has_direction: bool

    @property
    def interfaces(self) -> tuple[CaptureInterface, ...]:
        """The interfaces known so far."""

    @property
    def octets_read(self) -> int:
        """Octets of the input that are behind us."""

    @property
    def octets_total(self) -> int | None:
        """Octets of the input, None where that is not known."""

    def batches(self) -> Iterator[RawFrames]:
        """Yield batches until the end; each holds until the thread that asked for it asks for the next.

        To be called once.
        """

    def fetch_ahead(self) -> None:
        """Bring near what the next batches will be made of; any thread may ask, while another one asks for a batch."""

    def window(self) -> CaptureWindow:
        """Give what was covered; complete when batches() has ended."""

    def close(self) -> None:
        """Let go of descriptors and memory."""


_FOREIGN: Final = {
    b"snoop\0\0\0": "a snoop capture (Solaris)",
    b"\xfd7zXZ\0": "xz-compressed data",
    b"BZh": "bzip2-compressed data",
    b"\x04\x22\x4d\x18": "lz4-compressed data",
    b"PK\x03\x04": "a zip archive",
    b"GMBU": "a Network Monitor capture",
    b"RTSS": "a Network Monitor capture",
    b"TRSNIFF data": "a Sniffer capture",
    b"XCP\0": "a NetXRay capture",
    b"{": "a JSON document",
    b"<": "markup",
    b"\x7fELF": "a program",
}
"""What people hand over instead, by its first octets."""

_HINTS: Final = {
    b"snoop\0\0\0": "convert it: editcap -F pcapng FILE OUT.pcapng",
    b"\xfd7zXZ\0": "unpack it: xz -dc FILE | nwscan analyze -",
    b"BZh": "unpack it: bzip2 -dc FILE | nwscan analyze -",
    b"\x04\x22\x4d\x18": "unpack it: lz4 -dc FILE | nwscan analyze -",
    b"PK\x03\x04": "unpack it first",
    b"{": "show a report with: nwscan report FILE",
}
_HINT: Final = "give a pcap or pcapng file, plain or compressed with gzip or zstd; editcap converts others"

_MAGIC_OCTETS: Final = 16
_COARSE_OCTETS: Final = 512
"""A record, from which on a file is mapped: most of what smaller ones hold is looked at, and reading is faster."""


def open_capture(file: BinaryIO | int, name: str) -> FrameSource:
    """Give the reader that fits what ``file`` (an open file, or a descriptor that is taken over) begins with.

    Reads forward only, so a pipe will do. A batch holds until the thread that asked for it asks for the next.
    ``name`` is what messages call it. Raises InputError where it is no capture, naming what it is where that is known.
    """
    opened = os.fdopen(file, "rb", buffering=0) if isinstance(file, int) else file
    octets = FileOctets(opened)
    start = 0 if octets.octets_total is None else opened.tell()
    feed: Feed = Stream(octets, opened)
    try:
        packed = compression.unpacker(feed)
        if packed is not None:
            feed = Stream(packed, feed)
        elif octets.octets_total is not None and _octets_a_record(feed) > _COARSE_OCTETS:
            feed = map_file(opened, start) or feed
        return _reader(feed, name, packed.kind if packed else None)
    except BaseException:
        feed.close()
        raise


def _octets_a_record(feed: Feed) -> float:
    """Estimate, by what was read first, how many octets a record has; 0 where that cannot be told."""
    head = bytes(feed.data[feed.at : feed.stop])
    if head[:4] in pcap.MAGICS:
        return pcap.octets_a_record(head)
    return pcapng.octets_a_block(head) if head[:4] == pcapng.MAGIC else 0.0


def _reader(feed: Feed, name: str, packed: str | None) -> FrameSource:
    feed.require(_MAGIC_OCTETS)
    head = bytes(feed.data[feed.at : min(feed.stop, feed.at + _MAGIC_OCTETS)])
    within = f" in {packed} data" if packed else ""
    if head[:4] in pcap.MAGICS:
        return PcapReader(feed, name)
    if head[:4] == pcapng.MAGIC:
        return PcapngReader(feed, name)
    if not head:
        failed = f"nothing could be unpacked: {feed.failure}" if packed else f"nothing could be read: {feed.failure}"
        what = failed if feed.failure else "an empty file is no capture" + within
        raise InputError(what, name, "nothing was captured, or it was not written yet")
    if packed and compression.is_packed(head):
        raise InputError("compressed twice", name, "unpack it once and try again")
    for magic, kind in _FOREIGN.items():
        if head.lstrip().startswith(magic) if len(magic) == 1 else head.startswith(magic):
            raise InputError(f"not a pcap or pcapng capture but {kind}{within}", name, _HINTS.get(magic, _HINT))
    raise InputError(f"not a capture: begins with {head[:8].hex(' ')}{within}", name, _HINT)
