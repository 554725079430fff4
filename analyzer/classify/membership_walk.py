"""Read membership reports and queries: IGMP versions 1 to 3, MLD versions 1 and 2.

What lives here: one pass over frames whose network layer is decoded. What must not: what a guest is a member of
(analyzer/report/observed.py). Hot, since a guest may send as many reports as it likes: types in membership_walk.pxd;
the same file runs uncompiled.

Any octets are read without error, none beyond what was captured of the frame, which never exceeds the buffer. ``rows``
are rows of the batch; ``service`` and the other columns of decoded frames have a row for each of them. A frame fills
no more than EVENTS_PER_FRAME rows of events, for which the caller has room. A report says the least that it can mean:
sources are passed over, since a card's filter knows only groups.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from analyzer.model.network import Service

if TYPE_CHECKING:
    from analyzer.model.columns import Column


class Event(IntEnum):
    """What a frame says of memberships."""

    JOIN = 1
    LEAVE = 2
    ANSWER_IPV4 = 3
    """A whole report of version 3 that tells the current state: an answer to a query (RFC 3376, 4.2.12)."""
    ANSWER_IPV6 = 4
    """The same of MLD version 2 (RFC 3810, 5.2.12)."""
    CUT_IPV4 = 5
    """A report of which not all records could be read: the guest may be a member of more."""
    CUT_IPV6 = 6
    QUERY_IPV4 = 7
    """A general query: each group has to be told (RFC 3376, 4.1.9)."""
    QUERY_IPV6 = 8


RECORDS_LIMIT: Final = 256
"""Records of one report that are read; an IGMP report has room for 183 of them in 1500 octets, one of MLD for 72."""

EVENTS_PER_FRAME: Final = RECORDS_LIMIT + 1

_JOIN = int(Event.JOIN)
_LEAVE = int(Event.LEAVE)
_ANSWER = int(Event.ANSWER_IPV4)
_CUT = int(Event.CUT_IPV4)
_QUERY = int(Event.QUERY_IPV4)
_RECORDS_LIMIT = RECORDS_LIMIT
_IGMP = int(Service.IGMP)
_MLD = int(Service.MLD)

# RFC 3376, 4 and RFC 3810, 5: types of messages.
_IGMP_QUERY = 0x11
_IGMP1_REPORT = 0x12
_IGMP2_REPORT = 0x16
_IGMP2_LEAVE = 0x17
_IGMP3_REPORT = 0x22
_MLD_QUERY = 130
_MLD_REPORT = 131
_MLD_DONE = 132
_MLD2_REPORT = 143

# RFC 3376, 4.2.12 and RFC 3810, 5.2.12: types of records.
_MODE_IS_INCLUDE = 1
_MODE_IS_EXCLUDE = 2
_CHANGE_TO_INCLUDE = 3
_CHANGE_TO_EXCLUDE = 4
_ALLOW_NEW_SOURCES = 5

_IPV4_GROUPS = 0x01005E000000  # RFC 1112, 6.4
_IPV6_GROUPS = 0x333300000000  # RFC 2464, 7
_NO_MAC = 0


def walk_memberships(  # noqa: PLR0917 - one parameter a column
    data: Column,
    offsets: Column,
    captured: Column,
    rows: Column,
    service: Column,
    upper: Column,
    icmp_type: Column,
    is_from_guest: Column,
    start: int,
    stop: int,
    groups: Column,
    events: Column,
    event_rows: Column,
) -> int:
    """Fill events from the frames ``rows[start:stop]``; gives how many there are.

    Reports count where the guest sent them, queries where it did not. ``groups`` are MACs, 0 where an event is of no
    one group. Room for EVENTS_PER_FRAME events a frame is needed.
    """
    n = 0
    for i in range(start, stop):
        if service[i] not in (_IGMP, _MLD) or upper[i] < 0:
            continue
        row = rows[i]
        at = offsets[row] + upper[i]
        end = min(offsets[row] + captured[row], data.shape[0])
        is_mld = service[i] == _MLD
        size = 16 if is_mld else 4
        group_at = at + (8 if is_mld else 4)
        kind = icmp_type[i]
        if not is_from_guest[i]:
            if kind == (_MLD_QUERY if is_mld else _IGMP_QUERY) and is_zero(data, group_at, size, end):
                groups[n] = _NO_MAC
                events[n] = _QUERY + is_mld
                event_rows[n] = row
                n += 1
            continue
        if kind == (_MLD2_REPORT if is_mld else _IGMP3_REPORT):
            n = walk_records(data, at, end, is_mld, row, groups, events, event_rows, n)
            continue
        is_leave = kind == (_MLD_DONE if is_mld else _IGMP2_LEAVE)
        is_report = kind == _MLD_REPORT if is_mld else kind in (_IGMP1_REPORT, _IGMP2_REPORT)
        mac = group_mac(data, group_at, size, end) if is_leave or is_report else _NO_MAC
        if mac:
            groups[n] = mac
            events[n] = _LEAVE if is_leave else _JOIN
            event_rows[n] = row
            n += 1
    return n


def walk_records(
    data: Column,
    at: int,
    end: int,
    is_mld: int,
    row: int,
    groups: Column,
    events: Column,
    event_rows: Column,
    n: int,
) -> int:
    """Fill events from the records of a report at ``at``: RFC 3376, 4.2, and RFC 3810, 5.2; gives their number."""
    size = 16 if is_mld else 4
    is_answer = 0
    left = data[at + 6] << 8 | data[at + 7] if at + 8 <= end else 1
    at += 8
    read = 0
    while left and read < _RECORDS_LIMIT and at + 4 + size <= end:
        kind = data[at]
        sources = data[at + 2] << 8 | data[at + 3]
        mac = group_mac(data, at + 4, size, end)
        if kind in (_MODE_IS_INCLUDE, _MODE_IS_EXCLUDE):
            is_answer = 1
        if mac and _MODE_IS_INCLUDE <= kind <= _ALLOW_NEW_SOURCES:
            is_exclude = kind in (_MODE_IS_EXCLUDE, _CHANGE_TO_EXCLUDE)
            if is_exclude or sources or kind in (_MODE_IS_INCLUDE, _CHANGE_TO_INCLUDE):
                groups[n] = mac
                events[n] = _JOIN if is_exclude or sources else _LEAVE
                event_rows[n] = row
                n += 1
        at += 4 + size + sources * size + 4 * data[at + 1]
        left -= 1
        read += 1
    if left or is_answer:
        groups[n] = _NO_MAC
        events[n] = (_CUT if left else _ANSWER) + (1 if is_mld else 0)
        event_rows[n] = row
        n += 1
    return n


def group_mac(data: Column, at: int, size: int, end: int) -> int:
    """Give the MAC of the group address at ``at``; 0 where it is cut or none: RFC 1112, 6.4, and RFC 2464, 7."""
    if at + size > end:
        return _NO_MAC
    last = at + size - 4
    high = data[last] << 8 | data[last + 1]
    low = high << 16 | data[last + 2] << 8 | data[last + 3]
    if size == 4:  # noqa: PLR2004 - octets of an IPv4 address
        return _IPV4_GROUPS | (low & 0x7FFFFF) if data[at] >> 4 == 0xE else _NO_MAC  # noqa: PLR2004 - RFC 1112, 4
    return _IPV6_GROUPS | low if data[at] == 0xFF else _NO_MAC  # noqa: PLR2004 - RFC 4291, 2.7


def is_zero(data: Column, at: int, size: int, end: int) -> int:
    """Say whether the ``size`` octets at ``at`` were captured and are all 0; of IGMP version 1 this is so as well."""
    if at + size > end:
        return 0
    for k in range(size):
        if data[at + k]:
            return 0
    return 1
