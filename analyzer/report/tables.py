"""The counting loops: classes, types, VLANs, time bins, and bounded tables of addresses.

What lives here: loops over the columns of one batch and nothing else. What must not: deciding what to keep (talkers.py)
or what it means. Hot: types in tables.pxd; the same file runs uncompiled.

Memory is safe by construction: all columns of a batch are of one length (decode.py), a class is below CLASS_COUNT (the
classifier gives no other), an ethertype has 16 bits and a VLAN 12, for which tables of 65536 and 4096 rows are made, a
bin is written below the length of ``bins``, and a search in a table ends, since ``limit`` leaves a slot free.

A table of addresses is a hash table with open addressing in one int64 array: a power of two slots of ``SLOT_LENGTH``
values each (two MACs, frames, octets, first and last time in ns, error); a slot without frames is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.model.classes import CLASS_COUNT, FrameClass

if TYPE_CHECKING:
    from analyzer.model.columns import Column

_CLASS_COUNT = CLASS_COUNT
_FOREIGN_LIMIT = int(FrameClass.FOREIGN_UNICAST)  # the classes up to this one are to the guest
_STATE_ROW = 0
_STATE_SEGMENTS = 1

STATE_LENGTH: Final = 2

SLOT_LENGTH: Final = 7

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


def tally(  # noqa: PLR0917 - one parameter a column
    classes: Column,
    octets: Column,
    segments: Column,
    ethertype: Column,
    tags: Column,
    vlan: Column,
    ts_ns: Column,
    bin_ns: int,
    totals: Column,
    ethertypes: Column,
    vlans: Column,
    bins: Column,
    bin_counts: Column,
    start: int,
    state: Column,
) -> int:
    """Count the frames from ``start`` on; gives how many time bins were filled, ``state`` where it stopped.

    ``totals`` is 6 x (frames, octets), ``ethertypes`` 65536 x and ``vlans`` 4096 x (frames, octets) of what is to the
    guest, ``bins`` the numbers of the bins and ``bin_counts`` 12 counts of each; it stops where ``bins`` is full.
    """
    rows = 0
    current = 0
    i = start
    while i < classes.shape[0]:
        number = ts_ns[i] // bin_ns
        if number * bin_ns > ts_ns[i]:
            number -= 1  # pragma: no cover - C rounds towards zero, Python down
        if rows == 0 or number != current:
            if rows == bins.shape[0]:
                break
            current = number
            bins[rows] = number
            base = rows * 2 * _CLASS_COUNT
            for last in range(2 * _CLASS_COUNT):
                bin_counts[base + last] = 0
            rows += 1
        kind = classes[i]
        base = (rows - 1) * 2 * _CLASS_COUNT + 2 * kind
        bin_counts[base] += 1
        bin_counts[base + 1] += octets[i]
        totals[2 * kind] += 1
        totals[2 * kind + 1] += octets[i]
        state[_STATE_SEGMENTS] += segments[i]
        if kind <= _FOREIGN_LIMIT:
            ethertypes[2 * ethertype[i]] += 1
            ethertypes[2 * ethertype[i] + 1] += octets[i]
            if tags[i]:
                vlans[2 * (vlan[i] & 0xFFF)] += 1
                vlans[2 * (vlan[i] & 0xFFF) + 1] += octets[i]
        i += 1
    state[_STATE_ROW] = i
    return rows


def slot_of(first: int, second: int, seed: int) -> int:
    """Give the slot of two addresses before masking; who does not know ``seed`` cannot choose addresses that meet."""
    mixed = ((first ^ seed) * _MIX + second) & _MASK
    mixed = ((mixed ^ (mixed >> 29)) * (seed | 1)) & _MASK
    return mixed >> 32


def absorb(  # noqa: PLR0917 - one parameter a column
    classes: Column,
    wanted: int,
    first: Column,
    second: Column,
    has_second: int,
    octets: Column,
    ts_ns: Column,
    start: int,
    seed: int,
    error: int,
    table: Column,
    limit: int,
    used: Column,
) -> int:
    """Count the frames of class ``wanted`` from ``start`` on by address (pair); gives the row it stopped at.

    It stops before the frame that would fill slot ``limit`` + 1; ``used[0]`` counts the slots filled. ``limit`` must be
    below the number of slots. ``error`` is what a new address may have had before.
    """
    mask = table.shape[0] // _SLOT - 1
    second_key = 0
    i = start
    while i < classes.shape[0]:
        if classes[i] != wanted:
            i += 1
            continue
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
        i += 1
    return i


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
