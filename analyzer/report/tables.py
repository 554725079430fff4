"""The counting loops: classes, types, VLANs, time bins, and bounded tables of addresses.

What lives here: loops over the columns of one batch and nothing else. What must not: deciding what to keep (talkers.py)
or what it means. Hot: types in tables.pxd; the same file runs uncompiled.
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


def tally(
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
            number -= 1  # C rounds towards zero, Python down
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


def absorb(
    classes: Column,
    wanted: int,
    first: Column,
    second: Column,
    has_second: int,
    octets: Column,
    ts_ns: Column,
    start: int,
    seed: int,
    first_keys: Column,
    second_keys: Column,
    frames: Column,
    octet_sums: Column,
    first_ns: Column,
    last_ns: Column,
    limit: int,
    used: Column,
) -> int:
    """Count the frames of class ``wanted`` from ``start`` on by address (pair); gives the row it stopped at.

    A hash table with open addressing in six columns of a power of two slots; a slot without frames is free. It stops
    before the frame that would fill slot ``limit`` + 1. ``seed`` is secret: whoever chooses addresses cannot choose slots.
    """
    mask = first_keys.shape[0] - 1
    room = limit - used[0]
    i = start
    while i < classes.shape[0]:
        if classes[i] != wanted:
            i += 1
            continue
        first_key = first[i]
        second_key = second[i] if has_second else 0
        mixed = ((first_key ^ seed) * 0x9E3779B97F4A7C15 + second_key) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 29)) * (seed | 1)) & 0xFFFFFFFFFFFFFFFF
        slot = (mixed >> 32) & mask
        while frames[slot] and (first_keys[slot] != first_key or second_keys[slot] != second_key):
            slot = (slot + 1) & mask
        if frames[slot] == 0:
            if room == 0:
                break
            room -= 1
            used[0] += 1
            first_keys[slot] = first_key
            second_keys[slot] = second_key
            octet_sums[slot] = 0
            first_ns[slot] = ts_ns[i]
            last_ns[slot] = ts_ns[i]
        frames[slot] += 1
        octet_sums[slot] += octets[i]
        if ts_ns[i] > last_ns[slot]:
            last_ns[slot] = ts_ns[i]
        elif ts_ns[i] < first_ns[slot]:
            first_ns[slot] = ts_ns[i]
        i += 1
    return i
