"""Walk the records of a classic pcap file: octets in, the index of a batch out.

What lives here: the record header in its dialects, and nothing else. What must not: files, link types, classes. Called
by pcap.py, a batch at a time. Hot: compiled with the types in pcap_walk.pxd; the same file runs uncompiled.

Memory is safe by construction: an octet is read only below ``stop``, a column is written only below ``capacity``.
Source: draft-ietf-opsawg-pcap, sections 4 and 5; the older dialects as libpcap's sf-pcap.c reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython

if TYPE_CHECKING:
    from analyzer.model.columns import Column

FULL: Final = 0
"""The batch is full, or the octets are used up at the end of a record."""
CUT: Final = 1
"""The record at the position is not all there."""
BOGUS: Final = 2
"""The record at the position states a captured length that no record has."""

_CUT = 1
_BOGUS = 2
_MAX_CAPTURED = 262_144  # MAXIMUM_SNAPLEN of libpcap; tshark refuses more for Ethernet as well


def walk(  # noqa: PLR0917 - the columns of a batch, passed to compiled code by position
    data: Column,
    at: int,
    stop: int,
    big_endian: bool,  # noqa: FBT001 - a flag of the inner loop, passed by position to compiled code
    header_octets: int,
    nanoseconds: int,
    length_order: int,
    fcs_octets: int,
    offsets: Column,
    captured: Column,
    original: Column,
    ts_ns: Column,
    capacity: int,
    state: Column,
) -> int:
    """Index up to ``capacity`` records of ``data[at:stop]`` and give how many.

    ``nanoseconds`` is the unit of the fraction (1000 or 1), ``length_order`` 0 for captured then original, 1 for the
    reverse, 2 for whichever makes sense (versions before 2.4). ``state[0]`` is set to the position of the first record
    that was not indexed and ``state[1]`` to why: FULL, CUT or BOGUS. About 5 ns a record.
    """
    n = 0
    status = 0
    with cython.nogil:
        while n < capacity:
            if stop - at < header_octets:
                if at < stop:
                    status = _CUT
                break
            seconds = octets32(data, at, big_endian)
            fraction = octets32(data, at + 4, big_endian)
            kept = octets32(data, at + 8, big_endian)
            length = octets32(data, at + 12, big_endian)
            if length_order == 1 or (length_order == 2 and kept > length):  # noqa: PLR2004 - 2: whichever makes sense
                kept, length = length, kept
            if kept > _MAX_CAPTURED:
                status = _BOGUS
                break
            if kept > stop - at - header_octets:
                status = _CUT
                break
            offsets[n] = at + header_octets
            ts_ns[n] = seconds * 1_000_000_000 + fraction * nanoseconds
            at += header_octets + kept
            if fcs_octets:
                length = length - fcs_octets if length > fcs_octets else 0
                kept = min(kept, length)
            captured[n] = kept
            original[n] = length
            n += 1
    state[0] = at
    state[1] = status
    return n


if not cython.compiled:  # compiled, each is an instruction or two of octets.h
    from analyzer.octets import octets32
