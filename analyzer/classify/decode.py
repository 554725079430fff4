"""Decode the link layer: octets in, columns out.

What lives here: Ethernet II and IEEE 802.3 headers, VLAN tags of any depth, LLC and SNAP as far as the ethertype, the
count of wire segments in a GSO super-frame. What must not: classes, guests, anything above the ethertype (network.py).
Called by the pipeline once per batch. Hot: compiled with the types in decode.pxd; the same file runs uncompiled.

Any octets decode. A frame that is short, cut or of another link type becomes a row with flags, never an exception.
Memory is safe by construction: an octet is read only below ``end``, which never exceeds the buffer, and a row of the
columns only below n, which is checked once per batch. Compiled, ``be48`` loads eight octets: wherever it is called,
eight are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cython
import numpy as np

from analyzer.model.columns import column
from analyzer.model.frames import LINKTYPE_ETHERNET, U8, FrameBatch, FrameFlag, RawFrames

if TYPE_CHECKING:
    from analyzer.model.columns import Column

# Constants of the hot functions are C integers where this is compiled (decode.pxd), hence private.
_MAX_ORIGINAL_OCTETS = 262_144  # nothing on a tap is longer: MAXIMUM_SNAPLEN of libpcap, four IPv4 GSO super-frames
_HEADER_OCTETS = 14  # IEEE 802.3-2018, 3.1.1: two addresses and the length or type field
_TYPE_OFFSET = 12
_TAG_OCTETS = 4  # IEEE 802.1Q-2018, 9.3
_MAX_TAGS = 255  # what the column holds; deeper ones are skipped as well, but not counted
_MAX_SEGMENTS = 65_535
_ETHERTYPE_MIN = 0x600  # IEEE 802.3-2018, 3.2.6: below it the field is a length
_SNAP_OCTETS = 8
_SNAP_OF_ETHERTYPE = 0xAAAA_0300_0000  # RFC 1042: DSAP, SSAP, UI, OUI 0
_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPE_IPV6 = 0x86DD
_IPV4_OCTETS = 20
_IPV6_OCTETS = 40
_TCP_OCTETS = 20
_UDP_OCTETS = 8
_PROTOCOL_TCP = 6
_PROTOCOL_UDP = 17
_TOO_SHORT = int(FrameFlag.TOO_SHORT)
_CUT_HEADER = int(FrameFlag.CUT_HEADER)
_NOT_ETHERNET = int(FrameFlag.NOT_ETHERNET)
_IMPOSSIBLE_LENGTH = int(FrameFlag.IMPOSSIBLE_LENGTH)
_NO_ADDRESSES = int(FrameFlag.NO_ADDRESSES)


def decode(raw: RawFrames) -> FrameBatch:
    """Give the link-layer columns of ``raw``.

    Each column has n elements of the dtype that FrameBatch states. Raises ValueError where the columns of ``raw`` are
    not of one length, which is a fault of its maker, never of the frames. About 10 ns a frame.
    """
    n = len(raw.offsets)
    if any(
        len(part) != n
        for part in (raw.captured, raw.original, raw.ts_ns, raw.direction, raw.tag, raw.gso_size, raw.interface)
    ):
        raise ValueError("the columns of a batch of raw frames differ in length")
    batch = FrameBatch(
        raw=raw,
        dst=np.empty(n, np.uint64),
        src=np.empty(n, np.uint64),
        outer_type=np.empty(n, np.uint16),
        ethertype=np.empty(n, np.uint16),
        tags=np.empty(n, np.uint8),
        vlan=np.empty(n, np.uint16),
        network=np.empty(n, np.int32),
        octets=np.empty(n, np.uint32),
        segments=np.empty(n, np.uint16),
        flags=np.empty(n, np.uint8),
    )
    decode_frames(
        column(raw.data),
        column(raw.offsets),
        column(raw.captured),
        column(raw.original),
        column(raw.tag),
        column(raw.gso_size),
        column(raw.interface),
        column(ethernet_interfaces(raw)),
        column(batch.dst),
        column(batch.src),
        column(batch.outer_type),
        column(batch.ethertype),
        column(batch.tags),
        column(batch.vlan),
        column(batch.network),
        column(batch.octets),
        column(batch.segments),
        column(batch.flags),
    )
    return batch


def ethernet_interfaces(raw: RawFrames) -> U8:
    """Give one element per interface of ``raw``: 1 where its link type is Ethernet."""
    return np.array([interface.linktype == LINKTYPE_ETHERNET for interface in raw.interfaces], np.uint8)


def decode_frames(  # noqa: PLR0917 - one parameter a column
    data: Column,
    offsets: Column,
    captured: Column,
    original: Column,
    tag: Column,
    gso_size: Column,
    interface: Column,
    ethernet: Column,
    dst: Column,
    src: Column,
    outer_type: Column,
    ethertype: Column,
    tags: Column,
    vlan: Column,
    network: Column,
    octets: Column,
    segments: Column,
    flags: Column,
) -> None:
    """Fill the columns of a batch. The lock is let go of once: each time costs two threads more than a short loop."""
    with cython.nogil:
        decode_lengths(captured, original, tag, interface, ethernet, octets, flags)
        decode_headers(
            data, offsets, captured, tag, dst, src, outer_type, ethertype, tags, vlan, network, flags,
        )  # fmt: skip
        decode_segments(data, offsets, captured, original, gso_size, ethertype, network, segments)


def decode_lengths(
    captured: Column,
    original: Column,
    tag: Column,
    interface: Column,
    ethernet: Column,
    octets: Column,
    flags: Column,
) -> None:
    """Fill ``octets`` and begin ``flags``: what the lengths and the link type alone tell."""
    for i in range(octets.shape[0]):
        length = original[i]
        state = 0
        if length < captured[i] or length > _MAX_ORIGINAL_OCTETS:
            state = _IMPOSSIBLE_LENGTH
            length = captured[i]
        if interface[i] >= ethernet.shape[0] or not ethernet[interface[i]]:
            state |= _NOT_ETHERNET | _NO_ADDRESSES
        elif length < _HEADER_OCTETS:
            state |= _TOO_SHORT | _NO_ADDRESSES
        flags[i] = state
        octets[i] = length + _TAG_OCTETS if tag[i] else length


def decode_headers(  # noqa: PLR0917 - one parameter a column
    data: Column,
    offsets: Column,
    captured: Column,
    tag: Column,
    dst: Column,
    src: Column,
    outer_type: Column,
    ethertype: Column,
    tags: Column,
    vlan: Column,
    network: Column,
    flags: Column,
) -> None:
    """Fill the columns that the octets tell, zeros for the rows that ``flags`` says have no Ethernet header."""
    for i in range(dst.shape[0]):
        start = offsets[i]
        end = frame_end(start, captured[i], data.shape[0])
        network[i] = -1
        if not flags[i] & _NO_ADDRESSES and end - start < _HEADER_OCTETS:
            flags[i] |= _CUT_HEADER | _NO_ADDRESSES
        if flags[i] & _NO_ADDRESSES:
            dst[i] = src[i] = outer_type[i] = ethertype[i] = tags[i] = vlan[i] = 0
            continue
        dst[i] = be48(data, start)
        src[i] = be48(data, start + 6)
        at = behind_tags(data, start + _TYPE_OFFSET, end)
        depth = (at - start - _TYPE_OFFSET) // _TAG_OCTETS
        if tag[i]:
            depth += 1
            outer_type[i] = tag[i] >> 16
            vlan[i] = tag[i] & 0xFFFF
        else:
            outer_type[i] = be16(data, start + _TYPE_OFFSET)
            vlan[i] = be16(data, start + _TYPE_OFFSET + 2) if depth and start + _TYPE_OFFSET + 4 <= end else 0
        tags[i] = min(_MAX_TAGS, depth)
        if at + 2 > end:
            flags[i] |= _CUT_HEADER
            ethertype[i] = 0
            continue
        ethertype[i] = be16(data, at)
        at += 2
        if ethertype[i] < _ETHERTYPE_MIN:
            if ethertype[i] >= _SNAP_OCTETS and is_snap(data, at, end):
                ethertype[i] = be16(data, at + 6)
                at += _SNAP_OCTETS
            else:
                ethertype[i] = 0
        if at < end:
            network[i] = at - start


def decode_segments(
    data: Column,
    offsets: Column,
    captured: Column,
    original: Column,
    gso_size: Column,
    ethertype: Column,
    network: Column,
    segments: Column,
) -> None:
    """Fill ``segments``: the frames on a wire that each frame stands for, 1 where it is no GSO super-frame."""
    for i in range(segments.shape[0]):
        segments[i] = 1
        if not gso_size[i] or network[i] < 0 or original[i] > _MAX_ORIGINAL_OCTETS:
            continue
        start = offsets[i]
        end = frame_end(start, captured[i], data.shape[0])
        headers = behind_transport(data, start + network[i], end, ethertype[i]) - start
        if original[i] > headers:
            count = (original[i] - headers + gso_size[i] - 1) // gso_size[i]
            segments[i] = min(_MAX_SEGMENTS, count)


def frame_end(start: int, captured: int, size: int) -> int:
    """Give the offset behind the captured octets of a frame, within a buffer of ``size``; ``start`` if outside."""
    if start < 0 or start > size:
        return start
    return start + captured if captured < size - start else size


if not cython.compiled:  # compiled, each is an instruction or two of octets.h
    from analyzer.octets import be16, be48


def behind_tags(data: Column, at: int, end: int) -> int:
    """Give the offset of the type field behind all VLAN tags from that of the first one; it may lie beyond ``end``."""
    while at + 2 <= end and is_tpid(be16(data, at)):
        at += _TAG_OCTETS
    return at


def is_tpid(value: int) -> bool:
    """Say whether a type field begins a VLAN tag: IEEE 802.1Q-2018, 9.5, and the older QinQ ones of vendors."""
    return value in (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)


def is_snap(data: Column, at: int, end: int) -> bool:
    """Say whether a SNAP header whose OUI is 0 and the ethertype behind it lie at ``at``: RFC 1042."""
    return at + _SNAP_OCTETS <= end and be48(data, at) == _SNAP_OF_ETHERTYPE and be16(data, at + 6) >= _ETHERTYPE_MIN


def behind_transport(data: Column, at: int, end: int, ethertype: int) -> int:
    """Give the offset of the payload that GSO cuts, ``at`` being that of the network header.

    IPv4 with its options or IPv6 without extension headers, TCP with its options or UDP; what was not kept counts as
    its smallest size (RFC 791, 8200, 9293, 768).
    """
    protocol = 0
    if ethertype == _ETHERTYPE_IPV4 and at + _IPV4_OCTETS <= end:
        protocol = data[at + 9]
        at += 4 * (data[at] & 0xF)
    elif ethertype == _ETHERTYPE_IPV6 and at + _IPV6_OCTETS <= end:
        protocol = data[at + 6]
        at += _IPV6_OCTETS
    if protocol == _PROTOCOL_TCP:
        return at + (4 * (data[at + 12] >> 4) if at + 13 <= end else _TCP_OCTETS)
    return at + _UDP_OCTETS if protocol == _PROTOCOL_UDP else at
