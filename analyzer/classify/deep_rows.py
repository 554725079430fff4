"""Choose, of the frames of a batch, the few that need a deeper look than their link layer.

What lives here: one pass over the columns. What must not: decoding what was chosen (network.py), or what it means
(looks.py). Called once per batch. Hot: types in deep_rows.pxd; the same file runs uncompiled.

Memory is safe by construction: ``rows`` are rows of the batch, whose columns are of one length (decode.py), each once,
so that ``deep`` and ``early`` with room for all of them have room for those chosen. An octet is read only below the end
of what was captured, which never exceeds the buffer. A class is below CLASS_COUNT, the length of ``limits``; a VLAN has
12 bits, for which there are 4096 rows; a Look indexes ``counts``, made with a row for each; ``ipv6`` holds pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython

from analyzer.model.addresses import GROUP_BIT
from analyzer.model.classes import FrameClass, Look

if TYPE_CHECKING:
    from analyzer.model.columns import Column

# Constants of the hot functions are C integers where this is compiled (deep_rows.pxd), hence private.
_UNICAST_TO_GUEST = int(FrameClass.UNICAST_TO_GUEST)
_MULTICAST = int(FrameClass.MULTICAST)
_BROADCAST = int(FrameClass.BROADCAST)
_FOREIGN_UNICAST = int(FrameClass.FOREIGN_UNICAST)
_FROM_GUEST = int(FrameClass.FROM_GUEST)
_NO_LOOK = int(Look.NONE)
_OWN_ADDRESS = int(Look.OWN_ADDRESS)
_OTHER_ADDRESS = int(Look.OTHER_ADDRESS)
_GROUP_BIT = GROUP_BIT
_ARP = 0x0806
_IPV4 = 0x0800
_IPV6 = 0x86DD
_ICMPV6 = 58
_HOP_BY_HOP = 0
_NEXT_HEADER = 6  # RFC 8200, 3
_NONE = 59  # no next header: RFC 8200, 4.7
_HEADER_OCTETS = 14
_IPV4_OCTETS = 20
_IPV6_OCTETS = 40
_UDP = 17
_UDP_PORTS_OCTETS = 4  # RFC 768
_DHCP_SERVER, _DHCP_CLIENT = 67, 68  # RFC 2131, 4.1
_DHCPV6_CLIENT, _DHCPV6_SERVER = 546, 547  # RFC 8415, 7.2
_LINK_LOCAL = 0xFE80 >> 6  # fe80::/10: RFC 4291, 2.5.6
_ALL_SYSTEMS = 0x01005E000001  # 224.0.0.1, where general queries go: RFC 3376, 4.1.12
_ALL_NODES = 0x333300000001  # ff02::1: RFC 3810, 5.1.15

DEEP: Final = 0
EARLY: Final = 1
STATE_LENGTH: Final = 2
_DEEP = DEEP
_EARLY = EARLY


def choose_rows(  # noqa: C901, PLR0917 - one loop; one parameter a column
    rows: Column,
    starts: Column,
    first_ns: int,
    classes: Column,
    ethertype: Column,
    dst: Column,
    tags: Column,
    vlan: Column,
    octets: Column,
    ts_ns: Column,
    network: Column,
    offsets: Column,
    captured: Column,
    data: Column,
    ipv4: Column,
    ipv6: Column,
    limits: Column,
    vlans: Column,
    counts: Column,
    deep: Column,
    early: Column,
    state: Column,
) -> None:
    """Fill ``deep`` and ``early`` with rows, ``state`` with how many; count VLANs and own unicast by address.

    ``rows`` begin with all rows, class by class from ``starts`` on (tables.order_by_class): the order in which they are
    gone through. No time is before ``first_ns``: where that is later than the limit of foreign unicast, of which the
    time alone matters, none of it is gone through.

    Deep are broadcast ARP and IPv4; multicast that may be a general membership query; DHCP to the guest; of what the
    guest sends ARP, DHCP, multicast IP, and IPv6 that may be ICMPv6. Early are the rows whose time is at most
    ``limits`` of their class. ``vlans`` is 4096 x (frames, octets) of what the guest sends, by the outermost tag.
    ``counts`` is Look x (frames, octets) of own unicast, by whether it goes to one of the addresses ``ipv4`` (or
    ``ipv6``: pairs of upper and lower 64 bits, one behind the other); where there are none of a version, it is not
    judged.
    """
    n_deep = 0
    n_early = 0
    k = 0
    with cython.nogil:
        while k < classes.shape[0]:
            if k == starts[_FOREIGN_UNICAST] and first_ns > limits[_FOREIGN_UNICAST]:
                k = starts[_FOREIGN_UNICAST + 1]
                if k >= classes.shape[0]:
                    break
            i = rows[k]
            k += 1
            kind = classes[i]
            if ts_ns[i] <= limits[kind]:
                early[n_early] = i
                n_early += 1
            if kind == _FOREIGN_UNICAST:
                continue
            if kind == _UNICAST_TO_GUEST:
                if network[i] >= _HEADER_OCTETS and offsets[i] >= 0:
                    end = min(offsets[i] + captured[i], data.shape[0])
                    look = address_look(data, offsets[i] + network[i], end, ethertype[i], ipv4, ipv6)
                    counts[2 * look] += 1
                    counts[2 * look + 1] += octets[i]
                is_deep = holds_dhcp(data, offsets[i], network[i], captured[i], ethertype[i])
            elif kind == _FROM_GUEST:
                if tags[i]:
                    vlans[2 * (vlan[i] & 0xFFF)] += 1
                    vlans[2 * (vlan[i] & 0xFFF) + 1] += octets[i]
                at = offsets[i] + network[i] + _NEXT_HEADER
                is_kept = network[i] >= _HEADER_OCTETS and network[i] + _NEXT_HEADER < captured[i] and offsets[i] >= 0
                next_header = data[at] if is_kept and at < data.shape[0] else _NONE
                is_deep = tells_of_guest(ethertype[i], dst[i], next_header) or holds_dhcp(
                    data, offsets[i], network[i], captured[i], ethertype[i]
                )
            else:
                is_deep = needs_look(kind, ethertype[i], dst[i])
            if is_deep:
                deep[n_deep] = i
                n_deep += 1
    state[_DEEP] = n_deep
    state[_EARLY] = n_early


def tells_of_guest(ethertype: int, dst: int, next_header: int) -> bool:
    """Say whether a frame that the guest sends may tell its addresses or groups."""
    if ethertype == _ARP:
        return True
    if ethertype == _IPV6 and next_header in (_ICMPV6, _HOP_BY_HOP):
        return True
    return (dst & _GROUP_BIT) != 0 and ethertype in (_IPV4, _IPV6)


def needs_look(kind: int, ethertype: int, dst: int) -> bool:
    """Say whether a frame to everybody or to a group needs a deeper look."""
    if kind == _BROADCAST:
        return ethertype in (_ARP, _IPV4)
    if kind == _MULTICAST:
        return (dst == _ALL_SYSTEMS and ethertype == _IPV4) or (dst == _ALL_NODES and ethertype == _IPV6)
    return False


def holds_dhcp(data: Column, offset: int, network: int, captured: int, ethertype: int) -> bool:
    """Say whether a frame at ``offset`` is DHCP, or DHCPv6 without extension headers, by its destination port."""
    if network < _HEADER_OCTETS or offset < 0:
        return False
    at = offset + network
    end = min(offset + captured, data.shape[0])
    if ethertype == _IPV4 and at + _IPV4_OCTETS <= end:
        if data[at] >> 4 != 4 or data[at + 9] != _UDP or data[at + 6] & 0x1F or data[at + 7]:  # noqa: PLR2004 - IP
            return False  # no UDP, or a later fragment
        at += 4 * (data[at] & 0xF)
        low, high = _DHCP_SERVER, _DHCP_CLIENT
    elif ethertype == _IPV6 and at + _IPV6_OCTETS <= end:
        if data[at] >> 4 != 6 or data[at + _NEXT_HEADER] != _UDP:  # noqa: PLR2004 - the version of IP
            return False
        at += _IPV6_OCTETS
        low, high = _DHCPV6_CLIENT, _DHCPV6_SERVER
    else:
        return False
    return at + _UDP_PORTS_OCTETS <= end and (data[at + 2] << 8 | data[at + 3]) in (low, high)


def address_look(data: Column, at: int, end: int, ethertype: int, ipv4: Column, ipv6: Column) -> int:
    """Give the Look of own unicast whose network header is at ``at``: RFC 791, 3.1, and RFC 8200, 3."""
    if ethertype == _IPV4 and ipv4.shape[0]:
        if at + _IPV4_OCTETS <= end and data[at] >> 4 == 4:  # noqa: PLR2004 - the version of IP
            low = read_octets(data, at + 16, 4)
            for k in range(ipv4.shape[0]):
                if ipv4[k] == low:
                    return _OWN_ADDRESS
            return _OTHER_ADDRESS
    elif (
        ethertype == _IPV6 and ipv6.shape[0] and at + _IPV6_OCTETS <= end and data[at] >> 4 == 6  # noqa: PLR2004 - IP
    ):
        high = read_octets(data, at + 24, 8)
        low = read_octets(data, at + 32, 8)
        for k in range(0, ipv6.shape[0], 2):
            if ipv6[k] == high and ipv6[k + 1] == low:
                return _OWN_ADDRESS
        return _NO_LOOK if high >> 54 == _LINK_LOCAL else _OTHER_ADDRESS
    return _NO_LOOK


def read_octets(data: Column, at: int, size: int) -> int:
    """Give the ``size`` octets at ``at`` as a number, the first one on the wire being the most significant."""
    value = 0
    for k in range(size):
        value = value << 8 | data[at + k]
    return value
