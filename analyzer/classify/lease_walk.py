"""Read the addresses in DHCP and DHCPv6: what a server gives to the guest, and what the guest says that it has.

What lives here: one pass over frames whose network layer is decoded. What must not: trusting any of it
(analyzer/report/observed.py). Hot, since anybody may send as many replies as they like: types in lease_walk.pxd; the
same file runs uncompiled.

Any octets are read without error, none beyond what was captured of the frame, which never exceeds the buffer. ``rows``
are rows of the batch; ``service`` and the other columns of decoded frames have a row for each of them. A frame fills
no more than ADDRESSES_PER_FRAME rows of addresses, for which the caller has room.

Sources: RFC 2131, RFC 2132, RFC 8415.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.model.network import Service

if TYPE_CHECKING:
    from analyzer.model.columns import Column

ADDRESSES_PER_FRAME: Final = 8
"""Addresses of one DHCPv6 reply that are read: a guest asks for one, or for one and a temporary one."""

_ADDRESSES_PER_FRAME = ADDRESSES_PER_FRAME
_DHCP = int(Service.DHCP)
_DHCPV6 = int(Service.DHCPV6)
_UDP_OCTETS = 8

# RFC 2131, 2: the fields of a message, the options behind its magic cookie.
_REQUEST = 1
_REPLY = 2
_ETHERNET = 1
_MAC_OCTETS = 6
_CIADDR = 12
_YIADDR = 16
_CHADDR = 28
_OPTIONS = 240
_FIXED_OCTETS = 34  # up to the end of the client's MAC

# RFC 2132, 9.6, and its options that have no length.
_MESSAGE_TYPE = 53
_ACK = 5
_PAD = 0
_END = 255
_NO_TYPE = 0

# RFC 8415, 7.3 and 21.4 to 21.6.
_V6_REPLY = 7
_IA_NA = 3
_IA_TA = 4
_IA_ADDRESS = 5
_IA_NA_OCTETS = 12
_IA_TA_OCTETS = 4
_VALID_LIFETIME = 20
_IA_ADDRESS_OCTETS = 24


def walk_leases(  # noqa: PLR0917 - one parameter a column
    data: Column,
    offsets: Column,
    captured: Column,
    rows: Column,
    service: Column,
    upper: Column,
    is_from_guest: Column,
    is_to_guest: Column,
    macs: Column,
    start: int,
    stop: int,
    versions: Column,
    high: Column,
    low: Column,
    places: Column,
) -> int:
    """Fill addresses from the frames ``rows[start:stop]``; gives how many there are.

    ``macs`` are the guest's. An address is its ``versions`` (4 or 6), upper and lower 64 bits, and the place of its
    frame in ``rows``. Of DHCP: what a reply to one of the MACs gives, unless it is known to be something else than an
    acknowledgement (the message type lies beyond a short snaplen), and what the guest says that it has. Of DHCPv6:
    what a reply to the guest gives for some time. Room for ADDRESSES_PER_FRAME addresses a frame is needed.
    """
    n = 0
    for i in range(start, stop):
        if upper[i] < 0:
            continue
        row = rows[i]
        at = offsets[row] + upper[i] + _UDP_OCTETS
        end = min(offsets[row] + captured[row], data.shape[0])
        if service[i] == _DHCP:
            address = leased_ipv4(data, at, end, is_from_guest[i], macs)
            if address:
                versions[n] = 4
                high[n] = 0
                low[n] = address
                places[n] = i
                n += 1
        elif service[i] == _DHCPV6 and is_to_guest[i] and at + 4 <= end and data[at] == _V6_REPLY:
            n = walk_options(data, at + 4, end, i, versions, high, low, places, n)
    return n


def leased_ipv4(data: Column, at: int, end: int, from_guest: int, macs: Column) -> int:
    """Give the address of the DHCP message at ``at``, 0 where it tells none: RFC 2131, table 1."""
    if at + _FIXED_OCTETS > end or data[at + 1] != _ETHERNET or data[at + 2] != _MAC_OCTETS:
        return 0
    mac = number_at(data, at + _CHADDR, _MAC_OCTETS)
    for k in range(macs.shape[0]):
        if macs[k] == mac:
            if from_guest:
                return number_at(data, at + _CIADDR, 4) if data[at] == _REQUEST else 0
            if data[at] == _REPLY and message_type(data, at + _OPTIONS, end) in (_ACK, _NO_TYPE):
                return number_at(data, at + _YIADDR, 4)
            return 0
    return 0


def message_type(data: Column, at: int, end: int) -> int:
    """Give the DHCP message type among the options at ``at``; 0 where there is none or it was not captured."""
    while at + 3 <= end and data[at] != _END:
        if data[at] == _PAD:
            at += 1
        elif data[at] == _MESSAGE_TYPE:
            return data[at + 2]
        else:
            at += 2 + data[at + 1]
    return _NO_TYPE


def walk_options(
    data: Column,
    at: int,
    end: int,
    place: int,
    versions: Column,
    high: Column,
    low: Column,
    places: Column,
    n: int,
) -> int:
    """Fill addresses from the options at ``at``, those of associations too: RFC 8415, 21.4 to 21.6."""
    found = 0
    while at + 4 <= end and found < _ADDRESSES_PER_FRAME:
        code = number_at(data, at, 2)
        if code == _IA_NA:  # go on inside of it
            at += 4 + _IA_NA_OCTETS
            continue
        if code == _IA_TA:
            at += 4 + _IA_TA_OCTETS
            continue
        is_whole = at + 4 + _IA_ADDRESS_OCTETS <= end
        if code == _IA_ADDRESS and is_whole and number_at(data, at + 4 + _VALID_LIFETIME, 4):
            versions[n] = 6
            high[n] = number_at(data, at + 4, 8)
            low[n] = number_at(data, at + 12, 8)
            places[n] = place
            n += 1
            found += 1
        at += 4 + number_at(data, at + 2, 2)
    return n


def number_at(data: Column, at: int, size: int) -> int:
    """Give the ``size`` octets at ``at`` as a number, the first one on the wire being the most significant."""
    value = 0
    for k in range(size):
        value = value << 8 | data[at + k]
    return value
