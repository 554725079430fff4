"""pcapng files: sections of both byte orders, many interfaces, every kind of block, our own identity.

What lives here: the way through the blocks, and what the frames of a batch have in common. What must not: opening
paths, decoding frames. Called by source.open_capture. Source: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.capture import pcapng_walk
from analyzer.capture.identity_comment import read_comment
from analyzer.capture.pcapng_blocks import UNKNOWN_NS, byte_order, read_interface, read_section, read_statistics
from analyzer.capture.span import Span
from analyzer.errors import InputError
from analyzer.model.columns import column
from analyzer.model.frame_columns import Columns, Rooms
from analyzer.model.window import CaptureWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.feed import Feed
    from analyzer.capture.pcapng_blocks import Clock, InterfaceBlock, SectionBlock, StatisticsBlock
    from analyzer.model.frames import I64, U8, U16, U32, U64, CaptureInterface, RawFrames
    from analyzer.model.identity import GuestIdentity

MAGIC: Final = b"\x0a\x0d\x0d\x0a"
"""What such a file begins with: the type of a section header block, the same in both byte orders."""

MAX_INTERFACES: Final = 16_384
"""Interfaces of one file that differ; more are in no honest file."""

MAX_BLOCK_OCTETS: Final = 1 << 24
"""Octets of a block that holds a frame or structure: as in Wireshark. Others may be longer, they are skipped."""

_SHB: Final = 0x0A0D0D0A
_IDB: Final = 1
_BLOCK_HEADER_OCTETS: Final = 12
_END: Final = ""
_CUT: Final = "cut in the middle of a block"
_MIN_OCTETS: Final = {_SHB: 28, _IDB: 20, 5: 24}
_REASONS: Final = {
    pcapng_walk.BAD_LENGTH: "a block states a length that cannot be",
    pcapng_walk.BAD_TRAILER: "a block states one length before and another behind its content",
    pcapng_walk.BAD_INTERFACE: "a frame names an interface that was not described",
    pcapng_walk.BAD_CAPTURED: "a frame states more captured octets than its block holds",
}


class _Table:
    """The interfaces of the section being read, as the hot loop needs them."""

    def __init__(self) -> None:
        self.count = 0
        self.numbers: U16 = np.zeros(16, np.uint16)
        self.snaplens: U32 = np.zeros(16, np.uint32)
        self.fcs_octets: U8 = np.zeros(16, np.uint8)

    def append(self, number: int, snaplen: int, fcs_octets: int) -> None:
        """Add the next interface: its number in the file, and what its frames need."""
        if self.count == len(self.numbers):
            more = 2 * self.count
            self.numbers = np.resize(self.numbers, more)
            self.snaplens = np.resize(self.snaplens, more)
            self.fcs_octets = np.resize(self.fcs_octets, more)
        self.numbers[self.count] = number
        self.snaplens[self.count] = snaplen
        self.fcs_octets[self.count] = fcs_octets
        self.count += 1


class PcapngReader:
    """A FrameSource over a pcapng file; the first section header is read when it is made.

    Interfaces of later sections that are the same as earlier ones share their number. Frames without a time (SPB) take
    that of the frame before them; before any frame with a time, 0. Raises InputError where the first header is no good.
    """

    def __init__(self, feed: Feed, name: str) -> None:
        self.name = name
        self.identity: GuestIdentity | None = None
        self.has_direction = False
        self._feed = feed
        self._order = "<"
        self._ours = False
        self._table = _Table()
        self._interfaces: list[CaptureInterface] = []
        self._published: tuple[CaptureInterface, ...] = ()
        self._clocks: list[Clock] = []
        self._known: dict[tuple[CaptureInterface, Clock], int] = {}
        self._span = Span()
        self._last_ns = 0
        self._section_drops: dict[int, int] = {}
        self._drops: int | None = None
        self._stopped_early: str | None = None
        self._frame_drops = 0
        self._reached = 0
        problem = self._go_on(pcapng_walk.STRUCTURE, 0) or self._structure()
        if problem:
            raise InputError(f"not a readable pcapng file: {problem}", name, "the file is cut or corrupt")

    @property
    def interfaces(self) -> tuple[CaptureInterface, ...]:
        """The interfaces described so far."""
        if len(self._published) != len(self._interfaces):
            self._published = tuple(self._interfaces)
        return self._published

    @property
    def octets_read(self) -> int:
        """Octets of the input that are behind us."""
        return self._feed.octets_read

    @property
    def octets_total(self) -> int | None:
        """Octets of the input, None where that is not known."""
        return self._feed.octets_total

    def batches(self) -> Iterator[RawFrames]:
        """Yield the frames in batches of up to as many as the feed says, each valid until its thread asks for more."""
        rooms = Rooms(has_directions=True, has_interfaces=True, has_tags=False, has_gso=True)
        columns = rooms.of_thread()
        ticks: U64 = np.zeros(self._feed.batch_frames, np.uint64)
        timed: U8 = np.zeros(self._feed.batch_frames, np.uint8)
        state: I64 = np.zeros(pcapng_walk.STATE_LENGTH, np.int64)
        problem: str | None = None
        while problem is None:
            before = self._feed.at, state.copy()
            status = self._walk(columns, ticks, timed, state)
            if self._feed.was_cut():
                self._feed.at, state[:] = before
                continue
            if status == pcapng_walk.STRUCTURE and self._is_whole():
                problem = self._structure()
                if problem is None:
                    continue
            n = int(state[pcapng_walk.FRAMES])
            if n:  # before going on, which may move the window that the frames lie in
                yield self._batch(columns, ticks[:n], timed[:n], state)
                columns = rooms.of_thread()
            needed = int(state[pcapng_walk.NEEDED])
            state[:] = 0
            problem = problem or self._go_on(status, needed)
        self._finish(problem)

    def fetch_ahead(self) -> None:
        """Bring near what the next batches will be made of."""
        self._feed.fetch_ahead()

    def window(self) -> CaptureWindow:
        """Give what was covered so far; complete when batches() has ended.

        It lasts from the first frame to the last; a file of nwscan's own says itself when capturing began and ended.
        Lost frames are those of the statistics blocks, else of the frames' drop counts, else not known.
        """
        drops = sum(self._section_drops.values()) if self._section_drops else None
        if self._drops is not None:
            drops = self._drops + (drops or 0)
        limits = [interface.snaplen for interface in self._interfaces]
        return CaptureWindow(
            source=self.name,
            start_ns=self._span.start_ns,
            end_ns=self._span.end_ns,
            frames_seen=self._span.frames,
            frames_lost=self._frame_drops or None if drops is None else drops,
            snaplen=min((limit for limit in limits if limit), default=0),
            stopped_early=self._stopped_early,
        )

    def close(self) -> None:
        """Let go of the input."""
        self._feed.close()

    def _walk(self, columns: Columns, ticks: U64, timed: U8, state: I64) -> int:
        feed, table, before = self._feed, self._table, int(state[pcapng_walk.FRAMES])
        status = pcapng_walk.walk(
            column(feed.data),
            feed.at,
            feed.stop,
            self._order == ">",
            self._ours,
            column(table.numbers),
            column(table.snaplens),
            column(table.fcs_octets),
            table.count,
            column(columns.offsets),
            column(columns.captured),
            column(columns.original),
            column(ticks),
            column(timed),
            column(columns.interface),
            column(columns.direction),
            column(columns.gso_size),
            feed.batch_frames,
            column(state),
        )
        feed.at = int(state[pcapng_walk.POSITION])
        if self.has_direction and not self._ours:  # a section that somebody else wrote: its word is not ours
            columns.direction[before : int(state[pcapng_walk.FRAMES])] = 0
        return status

    def _batch(self, columns: Columns, ticks: U64, timed: U8, state: I64) -> RawFrames:
        n = len(ticks)
        ts_ns = columns.ts_ns[:n]
        if len(set(self._clocks)) == 1:
            self._clocks[0].fill_ns(ticks, ts_ns)
        else:
            for number in np.flatnonzero(np.bincount(columns.interface[:n])).tolist():
                mine = columns.interface[:n] == number
                ts_ns[mine] = self._clocks[number].times_ns(ticks[mine])
        first, last = int(ts_ns.min()), int(ts_ns.max())
        if state[pcapng_walk.UNTIMED] or first == -UNKNOWN_NS or last == UNKNOWN_NS:
            known_times = timed.astype(np.bool_) & (np.abs(ts_ns) != UNKNOWN_NS)
            known = np.flatnonzero(known_times)
            self._span.add(ts_ns[known], n)
            latest = np.maximum.accumulate(np.where(known_times, np.arange(n), -1))
            ts_ns[:] = np.where(latest < 0, self._last_ns, ts_ns[latest])
        else:
            self._span.frames += n
            self._span.reach(first, last)
        self._last_ns = int(ts_ns[-1])
        self._frame_drops += int(state[pcapng_walk.DROPPED])
        return columns.batch(self._feed.lend(), n, self.interfaces)

    def _go_on(self, status: int, needed: int) -> str | None:
        """Have what the walk needs next in the window; give why there is nothing more, _END where all was read."""
        feed = self._feed
        self._reached = feed.base + feed.at
        if status in _REASONS:
            return _REASONS[status]
        if status == pcapng_walk.FULL:
            return None if feed.require(1) else _END
        if status == pcapng_walk.SKIP:
            return self._skip(needed)
        if status == pcapng_walk.STRUCTURE:
            if not feed.require(_BLOCK_HEADER_OCTETS):
                return _CUT
            needed = self._length()[1]
        if needed > MAX_BLOCK_OCTETS:
            return f"a block of {needed} octets is longer than any that is written"
        return None if feed.require(needed) else _CUT

    def _skip(self, length: int) -> str | None:
        """Go over a block of no interest that is larger than the window."""
        stated, _ = self._length()
        if not self._feed.skip(length - 4) or not self._feed.require(4):
            return _CUT
        (behind,) = struct.unpack(self._order + "I", self._octets(4))
        self._feed.at += 4
        return None if behind == stated else _REASONS[pcapng_walk.BAD_TRAILER]

    def _octets(self, count: int) -> bytes:
        return bytes(self._feed.data[self._feed.at : self._feed.at + count])

    def _length(self) -> tuple[int, int]:
        """Give the length that the block states and the one with padding; a section header brings its own order."""
        head = self._octets(_BLOCK_HEADER_OCTETS)
        order = (byte_order(head[8:12]) or "<") if head[:4] == MAGIC else self._order
        (stated,) = struct.unpack_from(order + "I", head, 4)
        return stated, (stated + 3) // 4 * 4

    def _is_whole(self) -> bool:
        """Say whether the structure block at the position is all there, without moving the window."""
        left = self._feed.stop - self._feed.at
        return left >= _BLOCK_HEADER_OCTETS and self._length()[1] <= min(left, MAX_BLOCK_OCTETS)

    def _structure(self) -> str | None:
        """Read the SHB, IDB or ISB at the position, which is all there; give what is wrong with it, None if nothing."""
        self._reached = self._feed.base + self._feed.at
        stated, length = self._length()
        head = self._octets(_BLOCK_HEADER_OCTETS)
        order = byte_order(head[8:12]) if head[:4] == MAGIC else self._order
        if order is None:
            return "a section header has no byte-order magic"
        (kind,) = struct.unpack_from(order + "I", head)
        if length < _MIN_OCTETS[kind]:
            return _REASONS[pcapng_walk.BAD_LENGTH]
        block = self._octets(length)
        if block[-4:] != struct.pack(order + "I", stated):
            return _REASONS[pcapng_walk.BAD_TRAILER]
        problem = None
        if kind == _SHB:
            problem = self._begin_section(read_section(block, order))
        elif kind == _IDB:
            problem = self._add_interface(read_interface(block, order))
        else:
            self._add_statistics(read_statistics(block, order))
        if problem is None:
            self._feed.at += length
        return problem

    def _begin_section(self, section: SectionBlock) -> str | None:
        if section.version[0] != 1:
            return f"pcapng version {section.version[0]}.{section.version[1]} is not known"
        is_first = self._reached == 0
        note = read_comment(section.comments) if section.application.startswith("nwscan") else None
        if is_first and note is not None:
            self.identity, self.has_direction = note.identity, note.has_direction
        elif note is not None and note.identity != self.identity:
            return "a section of another guest begins; analyze the files one by one"
        self._order = section.order
        self._ours = note is not None
        self._table = _Table()
        if self._section_drops:
            self._drops = (self._drops or 0) + sum(self._section_drops.values())
        self._section_drops = {}
        return None

    def _add_interface(self, block: InterfaceBlock) -> str | None:
        key = (block.interface, block.clock)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self._interfaces)
            self._interfaces.append(block.interface)
            self._clocks.append(block.clock)
        if max(len(self._interfaces), self._table.count) > MAX_INTERFACES:
            return f"it describes more than {MAX_INTERFACES} interfaces"
        self._table.append(number, block.interface.snaplen, block.fcs_octets)
        return None

    def _add_statistics(self, block: StatisticsBlock) -> None:
        """Take the losses, and from a section of ours the window: a tap can be silent at both ends of it."""
        if block.interface >= self._table.count:
            return
        if block.lost is not None:
            self._section_drops[block.interface] = block.lost
        if self._ours and block.start_ticks is not None and block.end_ticks is not None:
            clock = self._clocks[int(self._table.numbers[block.interface])]
            times_ns = clock.times_ns(np.array([block.start_ticks, block.end_ticks], np.uint64))
            if UNKNOWN_NS not in np.abs(times_ns) and times_ns[0] <= times_ns[1]:
                self._span.add(times_ns, 0)

    def _finish(self, problem: str) -> None:
        self._feed.was_cut()  # as the last batch was looked at
        problem = self._feed.failure or problem
        if problem != _END:
            self._stopped_early = f"{problem}, at octet {self._reached} after {self._span.frames} frames"


def octets_a_block(head: bytes) -> float:
    """Give the octets that a block has on average, by the ``head`` of a file; 0 where it holds none."""
    order = byte_order(head[8:12]) or "<"
    at, blocks = 0, 0
    while at + 8 <= len(head) and (length := struct.unpack_from(order + "I", head, at + 4)[0]) >= _BLOCK_HEADER_OCTETS:
        at += length
        blocks += 1
    return at / blocks if blocks else 0.0
