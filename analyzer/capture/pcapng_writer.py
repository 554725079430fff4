"""Writing frames as pcapng, with direction, reception type and the guest's identity.

What lives here: one section with one interface, as nwscan keeps and exports frames. What must not: opening paths.
Called by the worker. Source: draft-ietf-opsawg-pcapng; what epb_flags mean on a tap: 1 inbound is from the guest, 2
outbound is to it; reception type 1 own unicast, 2 multicast, 3 broadcast, 4 promiscuous, which is foreign unicast.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import numpy as np

from analyzer.capture import pcapng_blocks as blocks
from analyzer.capture import pcapng_encode
from analyzer.capture.identity_comment import Note, write_comment
from analyzer.errors import HostError
from analyzer.model.classes import CLASS_COUNT, FrameClass
from analyzer.model.columns import column

if TYPE_CHECKING:
    import numpy.typing as npt

    from analyzer.model.columns import Column
    from analyzer.model.frames import I64, U8, CaptureInterface, RawFrames
    from analyzer.model.identity import GuestIdentity

_CHUNK_OCTETS: Final = 1 << 20
"""What is encoded before it is written."""

_LARGEST_BLOCK_OCTETS: Final = (1 << 18) + 256
_NANOSECONDS: Final = 9
"""if_tsresol: 10**-9 seconds."""

_ADDRESSES_OCTETS: Final = 12
_TAG_OCTETS: Final = 4
_FRAME_OCTETS: Final = 44
"""What an enhanced packet block takes beside the frame: header, epb_flags, end of options, trailer."""
_GSO_OCTETS: Final = 28
"""The comment that holds a GSO size."""

_RECEPTION: Final[U8] = np.zeros(CLASS_COUNT, np.uint8)
_RECEPTION[FrameClass.UNICAST_TO_GUEST] = 1
_RECEPTION[FrameClass.MULTICAST] = 2
_RECEPTION[FrameClass.BROADCAST] = 3
_RECEPTION[FrameClass.FOREIGN_UNICAST] = 4


class PcapngWriter:
    """Writes one interface's frames to ``file``, which may be a pipe; the headers are written when it is made.

    ``snaplen`` cuts frames (0: not at all); with ``limit_octets`` the file never grows beyond it, and ``full`` says
    that frames were left out. ``has_direction`` says in the file that directions are as seen from the tap. A reader
    restores ``identity`` from it. Raises HostError where writing fails; ``octets``, ``frames_written`` and ``sha256``
    are then of the blocks that were written whole, so that cutting the file to ``octets`` repairs it.
    """

    def __init__(
        self,
        file: BinaryIO,
        interface: CaptureInterface,
        identity: GuestIdentity | None,
        snaplen: int = 0,
        limit_octets: int | None = None,
        *,
        has_direction: bool = True,
        application: str = "nwscan",
    ) -> None:
        self.frames_written = 0
        self.octets = 0
        self.full = False
        self._file = file
        self._interface = interface
        self._snaplen = snaplen
        self._digest = hashlib.sha256()
        self._chunk = memoryview(bytearray(_CHUNK_OCTETS))
        self._state: I64 = np.zeros(pcapng_encode.STATE_LENGTH, np.int64)
        note = Note(identity, has_direction)
        header = _section_block(application, note) + _interface_block(interface, identity, snaplen)
        self._room = None if limit_octets is None else limit_octets - len(header) - len(_statistics_block(0, (0, 0)))
        self._put(header)

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, raw: RawFrames, classes: U8 | None, mask: npt.NDArray[np.bool_] | None = None) -> int:
        """Write the frames of ``raw`` that ``mask`` selects (all without one) and give how many were written.

        ``classes`` are their n FrameClass values, None where they have none. Frames of another link type than
        the file's are left out.
        """
        if self.full:
            return 0
        n = len(raw)
        reception = np.zeros(n, np.uint8) if classes is None else _RECEPTION[classes]
        wanted = self._wanted(raw, mask)
        state = self._state
        state[:] = 0
        written = 0
        while state[pcapng_encode.ROW] < n and not self.full:
            room = _CHUNK_OCTETS if self._room is None else max(0, min(_CHUNK_OCTETS, self._room))
            count = self._encode(raw, wanted, reception, room)
            used = int(state[pcapng_encode.USED])
            self._put(self._chunk[:used])
            self.frames_written += count
            if self._room is not None:
                self._room -= used
            self.full = state[pcapng_encode.ROW] < n and used == 0
            state[pcapng_encode.USED] = 0
            written += count
        return written

    def sizes(self, raw: RawFrames) -> I64:
        """Give the octets that each of the n frames of ``raw`` takes in the file, int64[n]."""
        tagged = (raw.tag != 0) & (raw.captured >= _ADDRESSES_OCTETS)
        kept: I64 = raw.captured.astype(np.int64) + np.where(tagged, _TAG_OCTETS, 0)
        if self._snaplen:
            kept = np.minimum(kept, self._snaplen)
        blocks_octets: I64 = (kept + 3) // 4 * 4 + _FRAME_OCTETS
        return blocks_octets + np.where(raw.gso_size != 0, _GSO_OCTETS, 0)

    def finish(self, frames_lost: int | None, window_ns: tuple[int, int] | None = None) -> None:
        """Write the statistics of the interface and flush.

        That is the frames that the kernel dropped, and when capturing began and ended, each where it is known. A file
        that was ``full`` does not cover its window, and says no times.
        """
        self._put(_statistics_block(frames_lost, None if self.full else window_ns))
        try:
            self._file.flush()
        except OSError as error:
            raise _cannot_write(error) from error

    def _wanted(self, raw: RawFrames, mask: npt.NDArray[np.bool_] | None) -> U8:
        wanted: U8 = np.ones(len(raw), np.uint8) if mask is None else mask.astype(np.uint8)
        kinds = np.array([interface.linktype == self._interface.linktype for interface in raw.interfaces], np.uint8)
        if not kinds.all():
            wanted &= kinds[raw.interface]
        return wanted

    def _encode(self, raw: RawFrames, wanted: U8, reception: U8, room: int) -> int:
        return pcapng_encode.encode(
            column(raw.data),
            column(raw.offsets),
            column(raw.captured),
            column(raw.original),
            column(raw.ts_ns),
            column(raw.direction),
            column(raw.tag),
            column(raw.gso_size),
            column(wanted),
            column(reception),
            len(raw),
            self._snaplen,
            cast("Column", self._chunk),
            room,
            column(self._state),
        )

    def _put(self, octets: bytes | memoryview) -> None:
        rest = memoryview(octets)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            raise _cannot_write(error) from error
        self._digest.update(octets)
        self.octets += len(octets)


def _cannot_write(error: OSError) -> HostError:
    return HostError(f"cannot write frames: {error.strerror}", "the capture file", "make room, or write elsewhere")


def _section_block(application: str, note: Note) -> bytes:
    body = struct.pack("<IHHq", blocks.BYTE_ORDER_MAGIC, 1, 0, -1)
    options = ((blocks.SHB_USERAPPL, application.encode()), (blocks.OPT_COMMENT, write_comment(note)))
    return _block(0x0A0D0D0A, body, options)


def _interface_block(interface: CaptureInterface, identity: GuestIdentity | None, snaplen: int) -> bytes:
    limits = [limit for limit in (snaplen, interface.snaplen) if limit]
    options: list[tuple[int, bytes]] = []
    for code, text in (
        (blocks.IF_NAME, (identity.tap if identity else None) or interface.name),
        (blocks.IF_DESCRIPTION, interface.description or (identity.name if identity else None)),
    ):
        if text:
            options.append((code, text.encode()[: blocks.MAX_TEXT_OCTETS]))
    if interface.filter:
        options.append((blocks.IF_FILTER, b"\0" + interface.filter.encode()[: blocks.MAX_TEXT_OCTETS]))
    if identity and identity.macs:
        options.append((blocks.IF_MACADDR, identity.macs[0].to_bytes(6, "big")))
    options.append((blocks.IF_TSRESOL, bytes([_NANOSECONDS])))
    return _block(1, struct.pack("<HHI", interface.linktype, 0, min(limits, default=0)), options)


def _statistics_block(frames_lost: int | None, window_ns: tuple[int, int] | None) -> bytes:
    options = [] if frames_lost is None else [(blocks.ISB_IFDROP, struct.pack("<Q", frames_lost))]
    end = bytes(8)
    if window_ns is not None:
        start, end = (struct.pack("<II", time_ns >> 32 & 0xFFFF_FFFF, time_ns & 0xFFFF_FFFF) for time_ns in window_ns)
        options = [(blocks.ISB_STARTTIME, start), (blocks.ISB_ENDTIME, end), *options]
    return _block(5, struct.pack("<I", 0) + end, options)


def _block(kind: int, body: bytes, options: list[tuple[int, bytes]] | tuple[tuple[int, bytes], ...]) -> bytes:
    for code, value in options:
        body += struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
    if options:
        body += bytes(4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
