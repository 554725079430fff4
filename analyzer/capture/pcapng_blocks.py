"""The structure of a pcapng file: its sections, its interfaces with their clocks, its statistics.

What lives here: the blocks without frames, as values. What must not: frames (pcapng_walk.py), reading. Called by
pcapng.py. Source: draft-ietf-opsawg-pcapng, sections 3.5, 4.1, 4.2, 4.6.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from analyzer.capture.span import MAX_SNAPLEN
from analyzer.model.frames import CaptureInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import I64, U64

BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
OPT_COMMENT: Final = 1
SHB_USERAPPL: Final = 4
IF_NAME: Final = 2
IF_DESCRIPTION: Final = 3
IF_MACADDR: Final = 6
IF_TSRESOL: Final = 9
IF_FILTER: Final = 11
IF_FCSLEN: Final = 13
IF_TSOFFSET: Final = 14
ISB_STARTTIME: Final = 2
ISB_ENDTIME: Final = 3
ISB_IFDROP: Final = 5
ISB_OSDROP: Final = 7

MAX_TEXT_OCTETS: Final = 1024
"""How much of a name, a description or a filter is kept."""

_SECOND_NS: Final = 1_000_000_000
UNKNOWN_NS: Final = 2**63 - 1
"""What a time that int64 does not hold (before 1677 or after 2262) ends at, with either sign: no true one."""


class Clock(msgspec.Struct, frozen=True):
    """How the ticks of an interface become time: ``numerator/denominator`` ns a tick, counted from ``offset_s``."""

    numerator: int = 1000
    denominator: int = 1
    offset_s: int = 0

    @classmethod
    def of(cls, resolution: int, offset_s: int) -> Clock:
        """Give the clock of an ``if_tsresol``: 10**-n seconds, or 2**-n where the top bit is set."""
        exponent = resolution & 0x7F
        if resolution & 0x80:
            return cls(_SECOND_NS, 1 << exponent, offset_s)
        if exponent <= 9:  # noqa: PLR2004 - nanoseconds
            return cls(10 ** (9 - exponent), 1, offset_s)
        return cls(1, 10 ** (exponent - 9), offset_s)

    def times_ns(self, ticks: U64) -> I64:
        """Give nanoseconds since the epoch, rounded down; UNKNOWN_NS for times that int64 does not hold."""
        ts_ns: I64 = np.empty(len(ticks), np.int64)
        self.fill_ns(ticks, ts_ns)
        return ts_ns

    def fill_ns(self, ticks: U64, ts_ns: I64) -> None:
        """Fill ``ts_ns``, of the length of ``ticks``, with what ``times_ns`` gives."""
        largest = int(ticks.max(initial=0))
        offset_ns = self.offset_s * _SECOND_NS
        if largest * self.numerator // self.denominator + offset_ns <= UNKNOWN_NS and offset_ns > -UNKNOWN_NS:
            whole = ts_ns.view(np.uint64)
            if self.denominator == 1:
                np.multiply(ticks, np.uint64(self.numerator), out=whole)
                ts_ns += offset_ns
                return
            if self.numerator == 1 and self.denominator <= UNKNOWN_NS:
                np.floor_divide(ticks, np.uint64(self.denominator), out=whole)
                ts_ns += offset_ns
                return
        exact = (tick * self.numerator // self.denominator + offset_ns for tick in ticks.tolist())
        ts_ns[:] = [max(-UNKNOWN_NS, min(UNKNOWN_NS, value)) for value in exact]


class InterfaceBlock(msgspec.Struct, frozen=True):
    """An IDB: the interface, its clock, and the octets of FCS at the end of its frames."""

    interface: CaptureInterface
    clock: Clock
    fcs_octets: int


class SectionBlock(msgspec.Struct, frozen=True):
    """An SHB: the byte order of what follows (``<`` or ``>``), and who wrote it."""

    order: str
    version: tuple[int, int]
    application: str
    comments: tuple[bytes, ...]


class StatisticsBlock(msgspec.Struct, frozen=True):
    """An ISB: its interface, the frames lost there, and when capturing began and ended, in ticks of its clock."""

    interface: int
    lost: int | None
    start_ticks: int | None
    end_ticks: int | None


def options(body: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield code and value of each option; what is malformed ends them."""
    at = 0
    while len(body) - at >= 4:  # noqa: PLR2004 - code and length
        code, length = struct.unpack_from(order + "HH", body, at)
        at += 4
        if code == 0 or length > len(body) - at:
            return
        yield code, body[at : at + length]
        at += (length + 3) // 4 * 4


def byte_order(magic: bytes) -> str | None:
    """Give ``<`` or ``>`` for the byte-order magic of an SHB, None where it is none."""
    if magic == struct.pack("<I", BYTE_ORDER_MAGIC):
        return "<"
    return ">" if magic == struct.pack(">I", BYTE_ORDER_MAGIC) else None


def read_section(block: bytes, order: str) -> SectionBlock:
    """Read an SHB, given whole; it has at least 28 octets."""
    major, minor = struct.unpack_from(order + "HH", block, 12)
    application = ""
    comments: list[bytes] = []
    for code, value in options(block[24:-4], order):
        if code == OPT_COMMENT:
            comments.append(value)
        elif code == SHB_USERAPPL:
            application = text(value) or ""
    return SectionBlock(order, (major, minor), application, tuple(comments))


def read_interface(block: bytes, order: str) -> InterfaceBlock:
    """Read an IDB, given whole; it has at least 20 octets. Options that make no sense are as if they were not there."""
    linktype, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    found: dict[int, bytes] = {}
    for code, value in options(block[16:-4], order):
        found.setdefault(code, value)
    resolution, offset, fcs = found.get(IF_TSRESOL, b""), found.get(IF_TSOFFSET, b""), found.get(IF_FCSLEN, b"")
    clock = Clock.of(
        resolution[0] if len(resolution) == 1 else 6,  # the default is microseconds
        struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0,  # noqa: PLR2004 - a 64-bit number
    )
    interface = CaptureInterface(
        linktype=linktype,
        name=text(found.get(IF_NAME)),
        snaplen=snaplen if snaplen <= MAX_SNAPLEN else 0,
        description=text(found.get(IF_DESCRIPTION)),
        filter=text(found.get(IF_FILTER, b"")[1:]) if found.get(IF_FILTER, b"").startswith(b"\0") else None,
    )
    return InterfaceBlock(interface, clock, _fcs_octets(fcs))


def read_statistics(block: bytes, order: str) -> StatisticsBlock:
    """Read an ISB, given whole; it has at least 24 octets. Options that make no sense are as if they were not there."""
    (which,) = struct.unpack_from(order + "I", block, 8)
    lost: int | None = None
    times: dict[int, int] = {}
    for code, value in options(block[20:-4], order):
        if len(value) != 8:  # noqa: PLR2004 - a 64-bit number, or two halves of one
            continue
        if code in (ISB_IFDROP, ISB_OSDROP):
            lost = (lost or 0) + int(struct.unpack(order + "Q", value)[0])
        elif code in (ISB_STARTTIME, ISB_ENDTIME):
            high, low = struct.unpack(order + "II", value)
            times[code] = high << 32 | low
    return StatisticsBlock(which, lost, times.get(ISB_STARTTIME), times.get(ISB_ENDTIME))


def text(value: bytes | None) -> str | None:
    """Give the text of an option, None where it is empty; what is no UTF-8 is replaced, never an error."""
    return (value or b"")[:MAX_TEXT_OCTETS].decode("utf-8", "replace").rstrip("\0") or None


def _fcs_octets(value: bytes) -> int:
    """Give the length of the FCS; the draft counts bits, writers octets: 8 bits and more are bits."""
    length = value[0] if len(value) == 1 else 0
    return length // 8 if length >= 8 else length  # noqa: PLR2004 - bits of an octet
