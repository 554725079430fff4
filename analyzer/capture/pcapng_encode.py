"""Encode frames as enhanced packet blocks: the rows of a batch in, octets out.

What lives here: the EPB with direction, reception type and GSO size, the stripped tag put back. What must not: files,
sections. Called by pcapng_writer.py. Hot: compiled with the types in pcapng_encode.pxd; the same file runs uncompiled.

Memory is safe by construction: a frame is read only where it lies inside ``data``, a block is written only where all
of it fits below ``room``. Source: draft-ietf-opsawg-pcapng, section 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from analyzer.model.columns import Column

ROW: Final = 0
"""In ``state``: the row that is next."""
USED: Final = 1
"""In ``state``: octets of ``out`` that are used."""
STATE_LENGTH: Final = 2

_ADDRESSES = 12  # the tag stands behind the two addresses: IEEE 802.1Q-2018, 9.1
_TAG_OCTETS = 4
_FIXED = 32  # header and trailer of an EPB
_FLAGS_OCTETS = 12  # epb_flags and the end of the options
_GSO_OCTETS = 28  # a comment of 16 + 5 digits, padded, with its code and length
_GSO_TEXT = b"nwscan.gso_size="


def encode(  # noqa: C901, PLR0917 - one loop: a call costs more than a frame
    data: Column,
    offsets: Column,
    captured: Column,
    original: Column,
    ts_ns: Column,
    direction: Column,
    tag: Column,
    gso_size: Column,
    wanted: Column,
    reception: Column,
    rows: int,
    snaplen: int,
    out: Column,
    room: int,
    state: Column,
) -> int:
    """Encode the wanted rows from ``state[ROW]`` on while they fit into ``out[:room]``, and give how many were.

    ``reception`` is the reception type of each row (0 to 4), ``snaplen`` what is kept of a frame, 0 for all. Ends at
    ``rows``, or at the first frame that does not fit. About 10 ns a frame, and the copy.
    """
    row = state[0]
    at = state[1]
    size = data.shape[0]
    count = 0
    while row < rows:
        if not wanted[row]:
            row += 1
            continue
        first = offsets[row]
        kept = captured[row]
        if first < 0 or first + kept > size:  # a fault of the source, never of the frames
            row += 1
            continue
        length = original[row]
        tagged = tag[row] != 0 and kept >= _ADDRESSES
        if tagged:
            kept += _TAG_OCTETS
            length += _TAG_OCTETS
        if snaplen and kept > snaplen:
            kept = snaplen
        padded = (kept + 3) // 4 * 4
        block = _FIXED + padded + _FLAGS_OCTETS
        if gso_size[row]:
            block += _GSO_OCTETS
        if block > room - at:
            break
        put_header(out, at, block, ts_ns[row], kept, length)
        end = at + 28 + padded
        if padded:
            put32(out, end - 4, 0)  # the padding, where there is any; the frame is copied over the rest
        if tagged:
            copy_tagged(data, first, tag[row], kept, out, at + 28)
        else:
            copy(data, first, kept, out, at + 28)
        put32(out, end, 2 | 4 << 16)  # epb_flags, a word
        put32(out, end + 4, direction[row] | reception[row] << 2)
        end += 8
        if gso_size[row]:
            put_gso_size(out, end, gso_size[row])
            end += _GSO_OCTETS
        put32(out, end, 0)
        put32(out, end + 4, block)
        at += block
        row += 1
        count += 1
    state[0] = row
    state[1] = at
    return count


def put_header(out: Column, at: int, block: int, ts_ns: int, kept: int, length: int) -> None:
    """Put in what stands ahead of the octets of a frame; a time before 1970 becomes 1970, pcapng has none."""
    time = max(ts_ns, 0)
    put32(out, at, 6)
    put32(out, at + 4, block)
    put32(out, at + 8, 0)
    put32(out, at + 12, time >> 32)
    put32(out, at + 16, time & 0xFFFF_FFFF)
    put32(out, at + 20, kept)
    put32(out, at + 24, length)


def copy(data: Column, first: int, count: int, out: Column, at: int) -> None:
    """Copy ``count`` octets of ``data`` to ``out``."""
    i = 0
    while i < count:
        out[at + i] = data[first + i]
        i += 1


def copy_tagged(data: Column, first: int, tag: int, count: int, out: Column, at: int) -> None:
    """Copy a frame with ``tag`` put in behind its addresses; ``count`` octets of the result."""
    addresses = min(count, _ADDRESSES)
    copy(data, first, addresses, out, at)
    i = 0
    while i < _TAG_OCTETS and _ADDRESSES + i < count:
        out[at + _ADDRESSES + i] = tag >> (24 - 8 * i) & 0xFF
        i += 1
    if count > _ADDRESSES + _TAG_OCTETS:
        copy(data, first + _ADDRESSES, count - _ADDRESSES - _TAG_OCTETS, out, at + _ADDRESSES + _TAG_OCTETS)


def put_gso_size(out: Column, at: int, value: int) -> None:
    """Put in the comment ``nwscan.gso_size=N``: pcapng has no option for it. Zeros in front make it five digits."""
    put32(out, at, 1 | 21 << 16)  # opt_comment, 21 octets
    i = 0
    while i < 16:  # noqa: PLR2004 - the length of the text
        out[at + 4 + i] = _GSO_TEXT[i]
        i += 1
    i = 4
    while i >= 0:
        out[at + 20 + i] = 48 + value % 10
        value //= 10
        i -= 1
    out[at + 25] = 0
    out[at + 26] = 0
    out[at + 27] = 0


def put32(out: Column, at: int, value: int) -> None:
    """Put a 32-bit number, least significant octet first."""
    out[at] = value & 0xFF
    out[at + 1] = value >> 8 & 0xFF
    out[at + 2] = value >> 16 & 0xFF
    out[at + 3] = value >> 24 & 0xFF
