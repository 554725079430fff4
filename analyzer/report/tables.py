"""The counting loops: classes, types, VLANs, time bins, and bounded tables of addresses.

What lives here: loops over the columns of one batch and nothing else. What must not: deciding what to keep (talkers.py)
or what it means. Hot: types in tables.pxd; the same file runs uncompiled. Compiled, they let go of the interpreter's
lock: two threads share the work (analyzer/two_threads.py).

Memory is safe by construction: all columns of a batch are of one length (decode.py), ``rows`` are rows of the batch, a
class is below CLASS_COUNT (the classifier gives no other), an ethertype has 16 bits and a VLAN 12, for which tables of
65536 and 4096 rows are made, a bin is written below the length of ``bins``, and a search in a table ends, since
``limit`` leaves a slot free.

A table of addresses is a hash table with open addressing in one int64 array: a power of two slots of ``SLOT_LENGTH``
values each (two MACs, frames, octets, first and last time in ns, error, nothing); a slot without frames is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cython

from analyzer.model.classes import CLASS_COUNT, FrameClass
from analyzer.report.times import NS_PER_S

if TYPE_CHECKING:
    from analyzer.model.columns import Column

_CLASS_COUNT = CLASS_COUNT
_MULTICAST = int(FrameClass.MULTICAST)
_FOREIGN_UNICAST = int(FrameClass.FOREIGN_UNICAST)
_FROM_GUEST = int(FrameClass.FROM_GUEST)
_NS_PER_S = NS_PER_S

ROW: Final = 0
BINS: Final = 1
SEGMENTS: Final = 2
FIRST_NS: Final = 3
STATE_LENGTH: Final = 4
_ROW = ROW
_BINS = BINS
_SEGMENTS = SEGMENTS
_FIRST_TIME = FIRST_NS

USED: Final = 7
SLOT_LENGTH: Final = 8
"""Values that are used of a slot, and its length: that of a line of the cache."""

_SLOT = SLOT_LENGTH
_SECOND = 1
_FRAMES = 2
_OCTETS = 3
_FIRST_NS = 4
_LAST_NS = 5
_ERROR = 6

_MIX = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4): spreads neighbours far apart."""

_MASK = 0xFFFFFFFFFFFFFFFF
"""64 bits; names, since C has no literals of that size here."""


def look(  # noqa: PLR0917 - one parameter a column
    classes: Column,
    octets: Column,
    ts_ns: Column,
    segments: Column,
    ethertype: Column,
    tags: Column,
    vlan: Column,
    bin_s: int,
    rows: Column,
    starts: Column,
    ethertypes: Column,
    vlans: Column,
    bins: Column,
    bin_counts: Column,
    state: Column,
) -> None:
    """Count what does not depend on the order of batches: classes, types, VLANs, time bins, segments.

    The lock is let go of once for all of it: each time costs two threads more than a short loop. ``state`` is set to
    the rows tallied, the bins filled, the segments of the batch, and the time of its earliest frame.
    """
    with cython.nogil:
        state[_ROW] = 0
        state[_BINS] = tally(classes, octets, ts_ns, bin_s, bins, bin_counts, 0, state)
        count_classes(classes, bin_counts, state, starts)
        order_by_class(classes, rows, starts)
        tally_types(rows, starts[_FROM_GUEST], octets, ethertype, tags, vlan, ethertypes, vlans)
        count = 0
        first_ns = ts_ns[0] if ts_ns.shape[0] else 0
        for i in range(segments.shape[0]):
            count += segments[i]
            first_ns = min(first_ns, ts_ns[i])
        state[_SEGMENTS] = count
        state[_FIRST_TIME] = first_ns


def count_classes(classes: Column, bin_counts: Column, state: Column, starts: Column) -> None:
    """Fill ``starts`` with the frames of each class: those of the bins, and those that found no room in them."""
    for kind in range(_CLASS_COUNT + 1):
        starts[kind] = 0
    for row in range(state[_BINS]):
        for kind in range(_CLASS_COUNT):
            starts[kind] += bin_counts[2 * (row * _CLASS_COUNT + kind)]
    for i in range(state[_ROW], classes.shape[0]):
        starts[classes[i]] += 1


def order_by_class(classes: Column, rows: Column, starts: Column) -> None:
    """Fill ``rows`` with the rows in the order of their classes, ``starts`` with where each class begins, and the end.

    ``starts`` holds how many there are of each. A loop over the rows of one class has no branch that depends on the
    class: the processor guesses right.
    """
    place = 0
    for kind in range(_CLASS_COUNT):
        count = starts[kind]
        starts[kind] = place
        place += count
    for i in range(classes.shape[0]):
        kind = classes[i]
        rows[starts[kind]] = i
        starts[kind] += 1
    for kind in range(_CLASS_COUNT, 0, -1):
        starts[kind] = starts[kind - 1]
    starts[0] = 0


def tally(
    classes: Column,
    octets: Column,
    ts_ns: Column,
    bin_s: int,
    bins: Column,
    bin_counts: Column,
    start: int,
    state: Column,
) -> int:
    """Count the frames from ``start`` on by time and class; gives how many bins were filled.

    ``state`` is set to where it stopped. Bins are ``bin_s`` seconds wide; ``bins`` are their numbers and ``bin_counts``
    12 counts of each; it stops where ``bins`` is full.
    """
    rows = 0
    current = 0
    begin_ns = 0
    width_ns = 0
    bin_ns = bin_s * _NS_PER_S
    i = start
    while i < classes.shape[0]:
        if ts_ns[i] < begin_ns or apart(ts_ns[i], begin_ns) >= width_ns:
            number = ts_ns[i] // bin_ns
            begin_ns = number * bin_ns
            width_ns = bin_ns
            if begin_ns > ts_ns[i]:  # pragma: no cover - C rounds towards zero, Python down
                number -= 1
                begin_ns = ts_ns[i]  # int64 may not hold where it begins
                width_ns = 1
            if rows == 0 or number != current:  # pragma: no branch - one bin twice only where C rounds, as above
                if rows == bins.shape[0]:
                    break
                current = number
                bins[rows] = number
                base = rows * 2 * _CLASS_COUNT
                for last in range(2 * _CLASS_COUNT):
                    bin_counts[base + last] = 0
                rows += 1
        base = (rows - 1) * 2 * _CLASS_COUNT + 2 * classes[i]
        bin_counts[base] += 1
        bin_counts[base + 1] += octets[i]
        i += 1
    state[_ROW] = i
    return rows


def apart(later: int, earlier: int) -> int:
    """Give the distance of two times of 64 bits, which 63 may not hold: compiled, it is of the kind without a sign."""
    return later - earlier


def tally_types(
    rows: Column,
    stop: int,
    octets: Column,
    ethertype: Column,
    tags: Column,
    vlan: Column,
    ethertypes: Column,
    vlans: Column,
) -> None:
    """Count ``rows[:stop]``, frames that are to the guest, by their types and VLANs.

    ``ethertypes`` is 65536 x and ``vlans`` 4096 x (frames, octets).
    """
    for k in range(stop):
        i = rows[k]
        ethertypes[2 * ethertype[i]] += 1
        ethertypes[2 * ethertype[i] + 1] += octets[i]
        if tags[i]:
            vlans[2 * (vlan[i] & 0xFFF)] += 1
            vlans[2 * (vlan[i] & 0xFFF) + 1] += octets[i]


def slot_of(first: int, second: int, seed: int) -> int:
    """Give the slot of two addresses before masking; who does not know ``seed`` cannot choose addresses that meet."""
    mixed = ((first ^ seed) * _MIX + second) & _MASK
    mixed = ((mixed ^ (mixed >> 29)) * (seed | 1)) & _MASK
    return mixed >> 32


def absorb_three(  # noqa: PLR0917 - one parameter a column
    rows: Column,
    starts: Column,
    src: Column,
    dst: Column,
    octets: Column,
    ts_ns: Column,
    limit: int,
    seeds: Column,
    errors: Column,
    talkers: Column,
    talkers_used: Column,
    groups: Column,
    groups_used: Column,
    senders: Column,
    senders_used: Column,
    state: Column,
) -> None:
    """Count foreign unicast by both addresses, multicast by destination, and what the guest sent by source.

    ``rows`` and ``starts`` are of order_by_class; ``seeds`` and ``errors`` have one value a table, and ``state`` is set
    to the place in ``rows`` that each stopped at. See absorb.
    """
    with cython.nogil:
        state[0] = absorb(
            rows, starts[_FOREIGN_UNICAST], starts[_FOREIGN_UNICAST + 1], src, dst, 1, octets, ts_ns, seeds[0],
            errors[0], talkers, limit, talkers_used,
        )  # fmt: skip
        state[1] = absorb(
            rows, starts[_MULTICAST], starts[_MULTICAST + 1], dst, dst, 0, octets, ts_ns, seeds[1],
            errors[1], groups, limit, groups_used,
        )  # fmt: skip
        state[2] = absorb(
            rows, starts[_FROM_GUEST], starts[_FROM_GUEST + 1], src, src, 0, octets, ts_ns, seeds[2],
            errors[2], senders, limit, senders_used,
        )  # fmt: skip


def absorb(  # noqa: PLR0917 - one parameter a column
    rows: Column,
    start: int,
    stop: int,
    first: Column,
    second: Column,
    has_second: int,
    octets: Column,
    ts_ns: Column,
    seed: int,
    error: int,
    table: Column,
    limit: int,
    used: Column,
) -> int:
    """Count the frames ``rows[start:stop]`` by address (pair); gives the place in ``rows`` that it stopped at.

    It stops before the frame that would fill slot ``limit`` + 1; ``used[0]`` counts the slots filled. ``limit`` must be
    below the number of slots. ``error`` is what a new address may have had before.
    """
    mask = table.shape[0] // _SLOT - 1
    second_key = 0
    k = start
    while k < stop:
        i = rows[k]
        first_key = first[i]
        if has_second:
            second_key = second[i]
        slot = slot_of(first_key, second_key, seed) & mask
        base = slot * _SLOT
        while table[base + _FRAMES] and (table[base] != first_key or table[base + _SECOND] != second_key):
            slot = (slot + 1) & mask
            base = slot * _SLOT
        if table[base + _FRAMES] == 0:
            if used[0] == limit:
                break
            used[0] += 1
            table[base] = first_key
            table[base + _SECOND] = second_key
            table[base + _OCTETS] = 0
            table[base + _FIRST_NS] = ts_ns[i]
            table[base + _LAST_NS] = ts_ns[i]
            table[base + _ERROR] = error
        table[base + _FRAMES] += 1
        table[base + _OCTETS] += octets[i]
        if ts_ns[i] > table[base + _LAST_NS]:
            table[base + _LAST_NS] = ts_ns[i]
        elif ts_ns[i] < table[base + _FIRST_NS]:
            table[base + _FIRST_NS] = ts_ns[i]
        k += 1
    return k


def absorb_sums(  # noqa: PLR0917 - one parameter a column
    first: Column,
    second: Column,
    frames: Column,
    octets: Column,
    first_ns: Column,
    last_ns: Column,
    start: int,
    seed: int,
    error: int,
    table: Column,
    limit: int,
    used: Column,
) -> int:
    """Count what was summed up by address pair (``second`` 0 where one is counted alone), as ``absorb`` does frames."""
    mask = table.shape[0] // _SLOT - 1
    k = start
    with cython.nogil:
        while k < first.shape[0]:
            slot = slot_of(first[k], second[k], seed) & mask
            base = slot * _SLOT
            while table[base + _FRAMES] and (table[base] != first[k] or table[base + _SECOND] != second[k]):
                slot = (slot + 1) & mask
                base = slot * _SLOT
            if table[base + _FRAMES] == 0:
                if used[0] == limit:
                    break
                used[0] += 1
                table[base] = first[k]
                table[base + _SECOND] = second[k]
                table[base + _OCTETS] = 0
                table[base + _FIRST_NS] = first_ns[k]
                table[base + _LAST_NS] = last_ns[k]
                table[base + _ERROR] = error
            table[base + _FRAMES] += frames[k]
            table[base + _OCTETS] += octets[k]
            table[base + _FIRST_NS] = min(table[base + _FIRST_NS], first_ns[k])
            table[base + _LAST_NS] = max(table[base + _LAST_NS], last_ns[k])
            k += 1
    return k


def lay(entries: Column, seed: int, table: Column) -> None:
    """Put ``entries`` (slots one behind the other, all filled and distinct) into an empty ``table`` with room left."""
    mask = table.shape[0] // _SLOT - 1
    at = 0
    while at < entries.shape[0]:
        slot = slot_of(entries[at], entries[at + _SECOND], seed) & mask
        while table[slot * _SLOT + _FRAMES]:
            slot = (slot + 1) & mask
        for k in range(_SLOT):
            table[slot * _SLOT + k] = entries[at + k]
        at += _SLOT
