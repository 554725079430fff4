"""Walk one block of a TPACKET_V3 ring: kernel memory in, the index of a batch out.

What lives here: struct tpacket3_hdr with its sockaddr_ll and virtio_net_hdr. What must not: sockets, mappings
(packet_socket.py), decoding. Hot: compiled with the types in ring_walk.pxd; the same file runs uncompiled.

Memory is safe by construction: an octet is read only below ``stop``, a column is written only below ``capacity``.
Source: linux/if_packet.h, linux/virtio_net.h, Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython

if TYPE_CHECKING:
    from analyzer.model.columns import Column

if not cython.compiled:  # compiled, each is an instruction or two of octets.h
    from analyzer.octets import fetch, octets16, octets32

POSITION: Final = 0
"""In ``state``: where the next frame's header lies."""
STATE_LENGTH: Final = 1

_AHEAD = 16  # frames: the other core wrote them, and the walk goes from one to the next
_LINE = 64  # octets
_HEADER = 68  # struct tpacket3_hdr and sockaddr_ll
_PACKET_TYPE = 58  # of sockaddr_ll, which begins at 48
_OUTGOING = 4  # PACKET_OUTGOING: from the host into the tap, hence to the guest
_FROM_GUEST = 1
_TO_GUEST = 2
_VLAN_VALID = 0x10  # TP_STATUS_VLAN_VALID
_VLAN_TPID_VALID = 0x40
_TPID = 0x8100
_VNET_OCTETS = 10  # struct virtio_net_hdr, just ahead of the frame


def walk(  # noqa: PLR0917 - the columns of a batch, passed to compiled code by position
    data: Column,
    at: int,
    stop: int,
    left: int,
    big_endian: bool,  # noqa: FBT001 - a flag of the inner loop, passed by position to compiled code
    vnet: bool,  # noqa: FBT001 - likewise
    offsets: Column,
    captured: Column,
    original: Column,
    ts_ns: Column,
    direction: Column,
    tag: Column,
    gso_size: Column,
    row: int,
    capacity: int,
    state: Column,
) -> int:
    """Index the ``left`` frames at ``at`` of a block that ends at ``stop``, from ``row`` on, below ``capacity``.

    Gives how many. ``vnet`` says that a virtio_net_hdr stands ahead of each frame. ``state[POSITION]`` is set to where
    to go on. About 8 ns a frame.
    """
    n = row
    while n < capacity and n - row < left:
        if at < 0 or stop - at < _HEADER:
            break
        behind = octets32(data, at, big_endian)
        fetch(data, at + wide(behind) * _AHEAD)
        fetch(data, at + wide(behind) * _AHEAD + _LINE)
        kept = octets32(data, at + 12, big_endian)
        status = octets32(data, at + 20, big_endian)
        first = at + octets16(data, at + 24, big_endian)
        if first + kept > stop:
            break
        offsets[n] = first
        captured[n] = kept
        original[n] = octets32(data, at + 16, big_endian)
        ts_ns[n] = wide(octets32(data, at + 4, big_endian)) * 1_000_000_000 + octets32(data, at + 8, big_endian)
        direction[n] = _TO_GUEST if data[at + _PACKET_TYPE] == _OUTGOING else _FROM_GUEST
        tag[n] = 0
        if status & _VLAN_VALID:
            tpid = octets16(data, at + 36, big_endian) if status & _VLAN_TPID_VALID else _TPID
            tag[n] = tpid << 16 | (octets32(data, at + 32, big_endian) & 0xFFFF)
        gso_size[n] = 0
        if vnet and first - _VNET_OCTETS >= at and data[first - _VNET_OCTETS + 1]:  # gso_type
            gso_size[n] = octets16(data, first - _VNET_OCTETS + 4, big_endian)
        n += 1
        if behind == 0:
            break
        at += behind
    state[0] = at
    return n - row


def wide(value: int) -> int:
    """Give a number as one of 64 bits."""
    return value
