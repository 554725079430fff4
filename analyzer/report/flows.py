"""Gather plain frames into flows, where they lie: most of any traffic, in one pass and without columns of their own.

A flow are frames of one class, pair of MACs, ethertype and tag beside the frame; what is counted of its frames is
counted once for all of them. Plain is a whole Ethernet II frame of one segment, unicast, without a tag in its octets,
and nothing that a deeper look could be for. Who is not surely plain goes the long way (decode, classify, count), whose
rules alone decide what a frame is: here a frame is only ever taken where they leave no question.

What must not live here: what is done with flows (plain_frames.py). Hot: types in flows.pxd; the same file runs
uncompiled.

Memory is safe by construction: an octet is read only within the captured ones of a frame that lies within the buffer
and has at least 14 of them; all columns of a batch are of one length, and ``rest`` has room for it; ``places`` has a
power of two rows, more than ``flows`` has room for, so that a search ends; a class is below CLASS_COUNT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython

from analyzer.model.addresses import GROUP_BIT
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from analyzer.model.columns import Column

if not cython.compiled:  # compiled, each is an instruction or two of octets.h
    from analyzer.octets import be16, be48, fetch

# Constants of the hot functions are C integers where this is compiled (flows.pxd), hence private.
_UNICAST_TO_GUEST = int(FrameClass.UNICAST_TO_GUEST)
_FOREIGN_UNICAST = int(FrameClass.FOREIGN_UNICAST)
_FROM_GUEST = int(FrameClass.FROM_GUEST)
_NOT_PLAIN = 255
_AHEAD = 12  # frames
_GROUP_BIT = GROUP_BIT
_MAX_ORIGINAL_OCTETS = 262_144  # as decode.py has it
_HEADER_OCTETS = 14
_TYPE_OFFSET = 12
_ETHERTYPE_MIN = 0x600
_TAG_OCTETS = 4
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_IPV4_PLAIN = 0x45  # version 4, no options: RFC 791, 3.1
_TCP, _UDP = 6, 17
_PORT = 36  # of the destination, behind an IPv4 header without options
_FIRST_PORT = 68  # up to it DHCP: RFC 2131, 4.1
_MIX = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF

FLOW_LENGTH: Final = 8
"""Values of a flow: two MACs; class, ethertype and tag in one number; frames, octets, first and last time in ns."""
SOURCE, DESTINATION, KIND, FRAMES, OCTETS, FIRST_NS, LAST_NS = range(7)
_FLOW, _SOURCE, _DESTINATION, _KIND = FLOW_LENGTH, SOURCE, DESTINATION, KIND
_FRAMES, _OCTETS, _FIRST_NS, _LAST_NS = FRAMES, OCTETS, FIRST_NS, LAST_NS

ROW, REST, FLOWS, STATE_LENGTH = range(4)
"""In ``state``: where it stopped, how many frames of the batch were not plain so far, how many flows there are."""
_ROW, _REST, _FLOWS = ROW, REST, FLOWS


def gather_flows(  # noqa: PLR0917 - one parameter a column
    data: Column,
    offsets: Column,
    captured: Column,
    original: Column,
    ts_ns: Column,
    direction: Column,
    tag: Column,
    gso_size: Column,
    macs: Column,
    from_guest: int,
    to_guest: int,
    limits: Column,
    judges_addresses: bool,  # noqa: FBT001 - a flag of the inner loop, passed by position to compiled code
    begin_ns: int,
    end_ns: int,
    seed: int,
    places: Column,
    flows: Column,
    rest: Column,
    state: Column,
) -> None:
    """Gather the frames from row ``state[ROW]`` on into ``flows``; rows that are not plain go to ``rest``.

    It stops before a plain frame whose time is not from ``begin_ns`` to before ``end_ns``, or whose flow has no room.
    ``macs`` (sorted), ``from_guest`` and ``to_guest`` as in classifier.py; ``limits`` as in deep_rows.py. With
    ``judges_addresses`` unicast IP to the guest is not plain. ``places`` says where a flow is: its number + 1, or 0.
    """
    i = state[_ROW]
    n_rest = state[_REST]
    n = state[_FLOWS]
    with cython.nogil:
        while i < offsets.shape[0]:
            at = offsets[i]
            octets = original[i]
            kind = _NOT_PLAIN
            if i + _AHEAD < offsets.shape[0]:
                fetch(data, offsets[i + _AHEAD])
            if is_whole(at, captured[i], octets, data.shape[0]) and not gso_size[i]:
                kind = kind_of(data, at, captured[i], direction[i], macs, from_guest, to_guest, judges_addresses)
            if kind == _NOT_PLAIN or ts_ns[i] <= limits[kind]:
                rest[n_rest] = i
                n_rest += 1
                i += 1
                continue
            if ts_ns[i] < begin_ns or ts_ns[i] >= end_ns:
                break
            if tag[i]:
                octets += _TAG_OCTETS
            src = be48(data, at + 6)
            dst = be48(data, at)
            key = kind << 48 | word(be16(data, at + _TYPE_OFFSET)) << 32 | tag[i]
            place = place_of(src, dst, key, seed, places, flows)
            base = (places[place] - 1) * _FLOW
            if base < 0:
                if n == flows.shape[0] // _FLOW:
                    break
                base = n * _FLOW
                n += 1
                places[place] = n
                begin_flow(flows, base, src, dst, key, ts_ns[i])
            flows[base + _FRAMES] += 1
            flows[base + _OCTETS] += octets
            flows[base + _FIRST_NS] = min(flows[base + _FIRST_NS], ts_ns[i])
            flows[base + _LAST_NS] = max(flows[base + _LAST_NS], ts_ns[i])
            i += 1
    state[_ROW] = i
    state[_REST] = n_rest
    state[_FLOWS] = n


def is_whole(at: int, kept: int, octets: int, size: int) -> bool:
    """Say that the lengths of a frame can be true, that it lies in the buffer, and that its header was kept."""
    return kept >= _HEADER_OCTETS and kept <= octets <= _MAX_ORIGINAL_OCTETS and 0 <= at <= size - kept


def kind_of(
    data: Column,
    at: int,
    kept: int,
    direction: int,
    macs: Column,
    from_guest: int,
    to_guest: int,
    judges_addresses: bool,  # noqa: FBT001 - see gather_flows
) -> int:
    """Give the class of a plain frame, or that it is not plain: in the order of classifier.py."""
    ethertype = be16(data, at + _TYPE_OFFSET)
    dst = be48(data, at)
    if dst & _GROUP_BIT or ethertype < _ETHERTYPE_MIN or is_tpid(ethertype):
        return _NOT_PLAIN
    if direction == from_guest or (direction != to_guest and holds(macs, be48(data, at + 6))):
        return _FROM_GUEST if tells_nothing(data, at, kept, ethertype) else _NOT_PLAIN
    if not holds(macs, dst):
        return _FOREIGN_UNICAST
    if judges_addresses and ethertype in (_IPV4, _IPV6):
        return _NOT_PLAIN
    return _UNICAST_TO_GUEST if tells_nothing(data, at, kept, ethertype) else _NOT_PLAIN


def begin_flow(flows: Column, base: int, src: int, dst: int, key: int, ts_ns: int) -> None:
    """Write a flow without frames."""
    flows[base] = src
    flows[base + _DESTINATION] = dst
    flows[base + _KIND] = key
    flows[base + _FRAMES] = flows[base + _OCTETS] = 0
    flows[base + _FIRST_NS] = flows[base + _LAST_NS] = ts_ns


def count_flows(
    flows: Column, count: int, counts: Column, ethertypes: Column, vlans: Column, sent_vlans: Column
) -> None:
    """Count the first ``count`` flows by class (class x (frames, octets)), by type and by VLAN.

    ``ethertypes`` (65536 x 2) and ``vlans`` (4096 x 2) are of what is to the guest, ``sent_vlans`` of what it sends.
    """
    for n in range(count):
        base = n * _FLOW
        key = flows[base + _KIND]
        kind = key >> 48
        ethertype = key >> 32 & 0xFFFF
        frames = flows[base + _FRAMES]
        octets = flows[base + _OCTETS]
        counts[2 * kind] += frames
        counts[2 * kind + 1] += octets
        if kind != _FROM_GUEST:
            ethertypes[2 * ethertype] += frames
            ethertypes[2 * ethertype + 1] += octets
        if key & 0xFFFFFFFF:
            vlan = key & 0xFFF
            if kind == _FROM_GUEST:
                sent_vlans[2 * vlan] += frames
                sent_vlans[2 * vlan + 1] += octets
            else:
                vlans[2 * vlan] += frames
                vlans[2 * vlan + 1] += octets


def tells_nothing(data: Column, at: int, kept: int, ethertype: int) -> bool:
    """Say that a unicast frame to or from the guest surely tells no address, group or lease.

    That is said of TCP, of UDP beyond the ports of DHCP (both over IPv4 without options and fragments), of TCP over
    IPv6, and of protocols that are neither IP nor ARP.
    """
    if ethertype == _IPV4:
        if kept < _PORT + 2 or data[at + 14] != _IPV4_PLAIN or data[at + 20] & 0x3F or data[at + 21]:
            return False
        if data[at + 23] == _UDP:
            return be16(data, at + _PORT) > _FIRST_PORT
        return data[at + 23] == _TCP
    if ethertype == _IPV6:
        return kept > 20 and data[at + 20] == _TCP  # noqa: PLR2004 - where the next header stands
    return ethertype != _ARP


def is_tpid(value: int) -> bool:
    """Say whether a type field begins a VLAN tag: as decode.py has it."""
    return value in (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)


def holds(macs: Column, mac: int) -> bool:
    """Say whether the guest's ``macs`` (few) hold ``mac``."""
    for k in range(macs.shape[0]):  # noqa: SIM110 - a loop in C
        if macs[k] == mac:
            return True
    return False


def word(value: int) -> int:
    """Give a number as one of 64 bits."""
    return value


def place_of(src: int, dst: int, key: int, seed: int, places: Column, flows: Column) -> int:
    """Give the place of a flow, which is free where there is none such yet.

    Who does not know ``seed`` cannot choose frames that meet.
    """
    mask = places.shape[0] - 1
    mixed = ((src ^ seed) * _MIX + dst) & _MASK
    mixed = (((mixed ^ (mixed >> 29)) + key) * (seed | 1)) & _MASK
    place = mixed >> 32 & mask
    while places[place]:
        base = (places[place] - 1) * _FLOW
        if flows[base] == src and flows[base + _DESTINATION] == dst and flows[base + _KIND] == key:
            break
        place = (place + 1) & mask
    return place
