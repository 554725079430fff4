"""Classic pcap files: both byte orders, micro- and nanoseconds, the dialects that libpcap reads.

What lives here: the file header and the way through the records (pcap_walk.py has the hot loop). What must not: opening
paths, decoding frames. Called by source.open_capture.
Source: draft-ietf-opsawg-pcap; where it is silent, libpcap's sf-pcap.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.capture import pcap_walk
from analyzer.capture.span import MAX_SNAPLEN, Span
from analyzer.errors import InputError
from analyzer.model.columns import column
from analyzer.model.frame_columns import Columns, Rooms
from analyzer.model.frames import CaptureInterface
from analyzer.model.window import CaptureWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.feed import Feed
    from analyzer.model.frames import I64, RawFrames
    from analyzer.model.identity import GuestIdentity

_HEADER_OCTETS: Final = 24
_RECORD_OCTETS: Final = 16
_MODIFIED_RECORD_OCTETS: Final = 24
"""Kuznetzov's variant (magic 0xa1b2cd34) adds interface index, protocol and packet type to each record."""

_MAGICS: Final = {0xA1B2C3D4: (1000, _RECORD_OCTETS), 0xA1B23C4D: (1, _RECORD_OCTETS), 0xA1B2CD34: (1000, 24)}
"""Magic number to the unit of the fraction in ns and the size of a record header."""

_AS_STATED: Final = 0
_SWAPPED: Final = 1
_WHICHEVER_FITS: Final = 2

MAGICS: Final = frozenset(struct.pack(order + "I", magic) for order in "<>" for magic in _MAGICS)
"""What such a file begins with."""


class PcapReader:
    """A FrameSource over a pcap file; the header is read when it is made.

    Raises InputError where the header is cut or of a version that nobody wrote.
    """

    identity: GuestIdentity | None = None
    has_direction = False

    def __init__(self, feed: Feed, name: str) -> None:
        if not feed.require(_HEADER_OCTETS):
            raise InputError(
                f"a pcap file of {feed.stop - feed.at} octets, its header alone has {_HEADER_OCTETS}",
                name,
                "the file was cut; capture it again",
            )
        self.name = name
        self._feed = feed
        header = bytes(feed.data[feed.at : feed.at + _HEADER_OCTETS])
        self._order = "<" if struct.unpack("<I", header[:4])[0] in _MAGICS else ">"
        magic, major, minor, _, _, snaplen, linkword = struct.unpack(self._order + "IHHiIII", header)
        self._nanoseconds, self._record_octets = _MAGICS[magic]
        self._length_order = _length_order(major, minor, name)
        self._fcs_octets = (linkword >> 28) * 2 if linkword & 1 << 26 else 0  # counted in 16-bit words
        self._snaplen = snaplen if 0 < snaplen <= MAX_SNAPLEN else 0
        self.interfaces: tuple[CaptureInterface, ...] = (
            CaptureInterface(linktype=linkword & 0xFFFF, snaplen=self._snaplen),
        )
        self._span = Span()
        self._stopped_early: str | None = None
        feed.at += _HEADER_OCTETS

    def batches(self) -> Iterator[RawFrames]:
        """Yield the frames in batches of up to as many as the feed says, each valid until its thread asks for more."""
        rooms = Rooms(has_directions=False, has_interfaces=False, has_tags=False, has_gso=False)
        columns = rooms.of_thread()
        state: I64 = np.zeros(2, np.int64)
        feed = self._feed
        while feed.require(1):
            n = self._walk(columns, state)
            if feed.was_cut():
                continue
            feed.at = int(state[0])
            if n:
                self._span.add(columns.ts_ns[:n], n)
                yield columns.batch(feed.lend(), n, self.interfaces)
                columns = rooms.of_thread()
            elif state[1] == pcap_walk.BOGUS or not self._complete_record(state):
                break
        self._finish(int(state[1]))

    def fetch_ahead(self) -> None:
        """Bring near what the next batches will be made of."""
        self._feed.fetch_ahead()

    def window(self) -> CaptureWindow:
        """Give what was covered so far; complete when batches() has ended. A pcap file says nothing of lost frames."""
        return CaptureWindow(
            source=self.name,
            start_ns=self._span.start_ns,
            end_ns=self._span.end_ns,
            frames_seen=self._span.frames,
            frames_lost=None,
            snaplen=self._snaplen,
            stopped_early=self._stopped_early,
        )

    def close(self) -> None:
        """Let go of the input."""
        self._feed.close()

    @property
    def octets_read(self) -> int:
        """Octets of the input that are behind us."""
        return self._feed.octets_read

    @property
    def octets_total(self) -> int | None:
        """Octets of the input, None where that is not known."""
        return self._feed.octets_total

    def _walk(self, columns: Columns, state: I64) -> int:
        feed = self._feed
        return pcap_walk.walk(
            column(feed.data),
            feed.at,
            feed.stop,
            self._order == ">",
            self._record_octets,
            self._nanoseconds,
            self._length_order,
            self._fcs_octets,
            column(columns.offsets),
            column(columns.captured),
            column(columns.original),
            column(columns.ts_ns),
            feed.batch_frames,
            column(state),
        )

    def _complete_record(self, state: I64) -> bool:
        """Have the whole next record in the window; False where the input ends inside it or no record is that long."""
        if not self._feed.require(self._record_octets):
            return False
        at = self._feed.at
        lengths = struct.unpack(self._order + "II", bytes(self._feed.data[at + 8 : at + 16]))
        kept = lengths[1] if self._length_order == _SWAPPED else lengths[0]
        kept = min(lengths) if self._length_order == _WHICHEVER_FITS else kept
        if kept > MAX_SNAPLEN:
            state[1] = pcap_walk.BOGUS
            return False
        return self._feed.require(self._record_octets + kept)

    def _finish(self, status: int) -> None:
        feed = self._feed
        feed.was_cut()  # as the last batch was looked at
        where = f"at octet {feed.base + feed.at} after {self._span.frames} frames"
        if feed.failure:
            self._stopped_early = f"{feed.failure}, {where}"
        elif status == pcap_walk.BOGUS:
            self._stopped_early = (
                f"a record states more than {MAX_SNAPLEN} captured octets {where}: the file is corrupt"
            )
        elif feed.at < feed.stop:
            self._stopped_early = f"cut in the middle of a record {where}"


def _length_order(major: int, minor: int, name: str) -> int:
    """Give the order of the two lengths in a record header: it changed with version 2.3 (sf-pcap.c of libpcap)."""
    if (major, minor) == (543, 0):  # DG/UX tcpdump
        return _SWAPPED
    if major != 2:  # noqa: PLR2004 - the one version since 1990
        raise InputError(
            f"pcap version {major}.{minor} is not known", name, "the header is corrupt, or of another tool"
        )
    return _SWAPPED if minor < 3 else _WHICHEVER_FITS if minor == 3 else _AS_STATED  # noqa: PLR2004 - 2.3, 2.4


def octets_a_record(head: bytes) -> float:
    """Give the octets that a record has on average, by the ``head`` of a file; 0 where it holds none."""
    order = "<" if struct.unpack("<I", head[:4])[0] in _MAGICS else ">"
    header_octets = _MAGICS[struct.unpack(order + "I", head[:4])[0]][1]
    at, records = _HEADER_OCTETS, 0
    while at + header_octets <= len(head):
        at += header_octets + struct.unpack_from(order + "I", head, at + 8)[0]
        records += 1
    return (at - _HEADER_OCTETS) / records if records else 0.0
