"""Walk the blocks of a pcapng section: octets in, the index of a batch out.

What lives here: the blocks that hold frames (EPB, SPB, and the obsolete PB) with the options that matter, and the way
over those that hold nothing of ours. What must not: sections, interfaces, clocks (pcapng.py). Called by pcapng.py. Hot:
compiled with the types in pcapng_walk.pxd; the same file runs uncompiled.

Memory is safe by construction: an octet is read only below ``stop``, a column is written only below ``capacity``, a
table is read only below ``count``. Source: draft-ietf-opsawg-pcapng, sections 3.1, 4.3, 4.4 and appendix A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython

if TYPE_CHECKING:
    from analyzer.model.columns import Column

if not cython.compiled:  # compiled, each is an instruction or two of octets.h
    from analyzer.octets import fetch, octets16, octets32

FULL: Final = 0
"""The batch is full, or the octets are used up at the end of a block."""
MORE: Final = 1
"""The block at the position is not all there; it has ``state[NEEDED]`` octets."""
STRUCTURE: Final = 2
"""The block at the position (SHB, IDB or ISB) is for the caller to read; it has ``state[NEEDED]`` octets."""
SKIP: Final = 3
"""The block at the position holds nothing of ours, is not all there, and has ``state[NEEDED]`` octets."""
BAD_LENGTH: Final = 4
"""The block's length cannot be true."""
BAD_TRAILER: Final = 5
"""The length behind the block is not the one before it."""
BAD_INTERFACE: Final = 6
"""The frame names an interface that was not described."""
BAD_CAPTURED: Final = 7
"""The frame's captured length is more than its block holds, or than any frame has."""

POSITION: Final = 0
FRAMES: Final = 1
NEEDED: Final = 2
DROPPED: Final = 3
"""Frames that the options (epb_dropcount) of this walk say were lost."""
UNTIMED: Final = 4
"""Frames that have no time."""
STATE_LENGTH: Final = 5

_FULL = 0
_MORE = 1
_STRUCTURE = 2
_SKIP = 3
_BAD_LENGTH = 4
_BAD_TRAILER = 5
_BAD_INTERFACE = 6
_BAD_CAPTURED = 7
_SHB = 0x0A0D0D0A
_IDB = 1
_PB = 2
_SPB = 3
_ISB = 5
_EPB = 6
_MIN_BLOCK = 12
_EPB_HEADER = 28  # block type to original length, as in a PB
_SPB_HEADER = 12
_TRAILER = 4
_MAX_CAPTURED = 262_144  # MAXIMUM_SNAPLEN of libpcap; tshark refuses more for Ethernet as well
_COMMENT = 1
_FLAGS = 2
_DROPCOUNT = 4
_GSO_PREFIX = 16  # len("nwscan.gso_size=")
_MAX_GSO = 65_535
_AHEAD = 1024  # octets: what small records behind this one hold is on its way when the walk gets there


def walk(  # noqa: C901, PLR0912, PLR0915, PLR0917 - one loop: a call costs more than a frame
    data: Column,
    at: int,
    stop: int,
    big_endian: bool,  # noqa: FBT001 - a flag of the inner loop, passed by position to compiled code
    ours: bool,  # noqa: FBT001 - likewise
    numbers: Column,
    snaplens: Column,
    fcs_octets: Column,
    count: int,
    offsets: Column,
    captured: Column,
    original: Column,
    ticks: Column,
    timed: Column,
    interface: Column,
    direction: Column,
    gso_size: Column,
    capacity: int,
    state: Column,
) -> int:
    """Index the frames of ``data[at:stop]`` into the rows from ``state[FRAMES]`` on, and give why the walk ended.

    ``numbers``, ``snaplens`` and ``fcs_octets`` describe the ``count`` interfaces of the section; ``numbers`` are what
    ``interface`` is filled with. ``ticks`` are in the unit of the interface. ``ours`` says that comments may hold a GSO
    size. ``state`` is updated as its indexes say. About 13 ns a frame without options.
    """
    n = state[1]
    status = 0
    with cython.nogil:
        while n < capacity:
            if stop - at < _MIN_BLOCK:
                if at < stop:
                    status = _MORE
                    state[2] = _MIN_BLOCK
                break
            fetch(data, at + _AHEAD)
            kind = octets32(data, at, big_endian)
            stated = octets32(data, at + 4, big_endian)
            length = (stated + 3) // 4 * 4  # some writers leave the padding out of the length
            status = check_block(data, at, stop, big_endian, kind, stated)
            if status:
                state[2] = length
                break
            end = at + length - _TRAILER
            if kind in (_EPB, _PB):
                which = octets32(data, at + 8, big_endian) if kind == _EPB else octets16(data, at + 8, big_endian)
                first = at + _EPB_HEADER
                kept = octets32(data, at + 20, big_endian)
                size = octets32(data, at + 24, big_endian)
                ticks[n] = join32(octets32(data, at + 12, big_endian), octets32(data, at + 16, big_endian))
                timed[n] = 1
            elif kind == _SPB:
                which = 0
                first = at + _SPB_HEADER
                size = octets32(data, at + 8, big_endian)
                kept = min(size, end - first)
                if count and snaplens[0]:
                    kept = min(kept, snaplens[0])
                ticks[n] = 0
                timed[n] = 0
                state[4] += 1
            else:
                at += length
                continue
            if which >= count:
                status = _BAD_INTERFACE
                break
            if kept > end - first or kept > _MAX_CAPTURED:
                status = _BAD_CAPTURED
                break
            direction[n] = 0
            gso_size[n] = 0
            fcs = fcs_octets[which]
            options = first + (kept + 3) // 4 * 4
            if kind != _SPB and options < end:
                found = read_options(data, options, end, big_endian, ours)
                direction[n] = found & 3
                gso_size[n] = found >> 8 & 0xFFFF
                state[3] += found >> 32
                if found & 0x3C:
                    fcs = found >> 2 & 0xF
            if fcs:
                size = size - fcs if size > fcs else 0
                kept = min(kept, size)
            offsets[n] = first
            captured[n] = kept
            original[n] = size
            interface[n] = numbers[which]
            at += length
            n += 1
    state[0] = at
    state[1] = n
    return status


def check_block(
    data: Column,
    at: int,
    stop: int,
    big_endian: bool,  # noqa: FBT001 - see walk
    kind: int,
    stated: int,
) -> int:
    """Give why the block at ``at`` cannot be walked over here, 0 where it can: it is whole and its lengths agree."""
    if kind == _SHB:  # its length is in the byte order that it announces itself
        return _STRUCTURE
    if stated < _MIN_BLOCK:
        return _BAD_LENGTH
    if kind in (_IDB, _ISB):
        return _STRUCTURE
    least = _EPB_HEADER + _TRAILER if kind in (_EPB, _PB) else _SPB_HEADER + _TRAILER if kind == _SPB else _MIN_BLOCK
    length = (stated + 3) // 4 * 4
    if length > stop - at:
        return _MORE if kind in (_EPB, _SPB, _PB) else _SKIP
    if octets32(data, at + length - _TRAILER, big_endian) != stated:
        return _BAD_TRAILER
    return 0 if length >= least else _BAD_LENGTH


def read_options(
    data: Column,
    at: int,
    end: int,
    big_endian: bool,  # noqa: FBT001 - see walk
    ours: bool,  # noqa: FBT001 - see walk
) -> int:
    """Give what the options of a frame say, in one word: nothing is passed by reference, which would cost more.

    Bits 0-1 the direction, 2-5 the length of its FCS in octets, 8-23 the GSO size, 32-63 the drop count. What is
    malformed ends the options, not the frame.
    """
    found = wide(0)
    while end - at >= 4:  # noqa: PLR2004 - code and length
        code = octets16(data, at, big_endian)
        length = octets16(data, at + 2, big_endian)
        at += 4
        if code == 0 or length > end - at:
            break
        if code == _FLAGS and length == 4:  # noqa: PLR2004 - epb_flags is a 32-bit word
            flags = octets32(data, at, big_endian)
            found |= flags >> 3 & 0x3C
            if flags & 3 != 3:  # noqa: PLR2004 - bits 0-1; 3 is not defined
                found |= flags & 3
        elif code == _DROPCOUNT and length == 8:  # noqa: PLR2004 - epb_dropcount is a 64-bit word
            found |= wide(octets32(data, at + 4 if big_endian else at, big_endian)) << 32
        elif code == _COMMENT and ours and length > _GSO_PREFIX:
            found |= wide(read_gso_size(data, at, at + length)) << 8
        at += (length + 3) // 4 * 4
    return found


def wide(value: int) -> int:
    """Give a number as one of 64 bits."""
    return value


def read_gso_size(data: Column, at: int, end: int) -> int:
    """Give the number N of a comment ``nwscan.gso_size=N``, 0 where it is another comment."""
    if data[at] != 110 or data[at + 7] != 103 or data[at + 15] != 61:  # noqa: PLR2004 - "n", "g", "="
        return 0
    value = 0
    at += _GSO_PREFIX
    while at < end:
        digit = data[at]
        if digit < 48 or digit > 57:  # noqa: PLR2004 - "0" to "9"
            return 0
        value = value * 10 + digit - 48
        if value > _MAX_GSO:
            return 0
        at += 1
    return value


def join32(high: int, low: int) -> int:
    """Give the 64-bit number of two halves."""
    return high << 32 | low
