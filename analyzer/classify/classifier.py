"""Give each frame its class, as seen by one guest's card.

What lives here: the order of classes of table.py, compiled, and how the direction of a frame is told. What must not:
counting, decoding. Called by the pipeline once per batch. Hot: types in classifier.pxd; the same file runs uncompiled.

Memory is safe by construction: all columns of a batch have its n rows (decode.py checks and makes them), and rows
below n alone are read and written. A guest has at least one MAC (the constructor refuses others), so that a search
among them stays between the first and the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cython
import numpy as np

from analyzer.errors import UsageError
from analyzer.model.addresses import BROADCAST, GROUP_BIT
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.columns import column
from analyzer.model.frames import U8, Direction, FrameBatch, FrameFlag

if TYPE_CHECKING:
    from analyzer.model.columns import Column
    from analyzer.model.identity import GuestIdentity

# Constants of the hot functions are C integers where this is compiled (classifier.pxd), hence private.
_UNICAST_TO_GUEST = int(FrameClass.UNICAST_TO_GUEST)
_MULTICAST = int(FrameClass.MULTICAST)
_BROADCAST = int(FrameClass.BROADCAST)
_FOREIGN_UNICAST = int(FrameClass.FOREIGN_UNICAST)
_FROM_GUEST = int(FrameClass.FROM_GUEST)
_UNCLASSIFIED = int(FrameClass.UNCLASSIFIED)
_NO_ADDRESSES = int(FrameFlag.NO_ADDRESSES)
_BROADCAST_MAC = BROADCAST
_GROUP_BIT = GROUP_BIT
_NEVER = 255  # a direction that no frame has


class Classifier:
    """Classifies the frames of one card.

    ``direction_source`` says which word counts on who sent a frame. With PACKET_TYPE and EPB_FLAGS a frame without a
    direction falls back to its source MAC. ``captured_on_guest`` is for files captured inside the guest, where inbound
    is what reaches it. Raises UsageError where the identity names no MAC: then every class would be a guess.
    """

    def __init__(
        self,
        identity: GuestIdentity,
        direction_source: DirectionSource,
        captured_on_guest: bool = False,  # noqa: FBT001, FBT002 - a signature that other rooms rely on
    ) -> None:
        if not identity.macs:
            raise UsageError("no MAC is known for the guest", identity.label, "name the guest's MAC with --mac")
        self.identity = identity
        self.direction_source = direction_source
        self.macs = np.array(sorted(set(identity.macs)), np.uint64)
        self.kinds = cases()
        self.from_guest = int(Direction.TO_GUEST if captured_on_guest else Direction.FROM_GUEST)
        self.to_guest = int(Direction.FROM_GUEST if captured_on_guest else Direction.TO_GUEST)
        if direction_source is DirectionSource.SOURCE_MAC:
            self.from_guest = self.to_guest = _NEVER

    def classify(self, batch: FrameBatch) -> U8:
        """Give the FrameClass value of each of the n frames: uint8[n]. About 2 ns a frame with one MAC."""
        classes = np.empty(len(batch), np.uint8)
        classify_rows(
            column(batch.dst),
            column(batch.src),
            column(batch.flags),
            column(batch.raw.direction),
            column(self.macs),
            column(self.kinds),
            self.from_guest,
            self.to_guest,
            column(classes),
        )
        return classes


def classify_rows(
    dst: Column,
    src: Column,
    flags: Column,
    direction: Column,
    macs: Column,
    kinds: Column,
    from_guest: int,
    to_guest: int,
    classes: Column,
) -> None:
    """Fill ``classes`` by ``kinds``, the class of each of the 32 cases (cases); ``macs`` is sorted, each once.

    No branch depends on a frame: the classes of frames come in no order that a processor could guess.
    """
    with cython.nogil:
        for i in range(classes.shape[0]):
            is_said = direction[i] == from_guest
            is_open = direction[i] != to_guest
            is_sent = is_said | (is_open & holds(macs, src[i]))
            is_unknown = (flags[i] & _NO_ADDRESSES) != 0
            is_group = (dst[i] & _GROUP_BIT) != 0
            is_all = dst[i] == _BROADCAST_MAC
            case = is_unknown << 4 | is_sent << 3 | is_group << 2 | is_all << 1 | holds(macs, dst[i])
            classes[i] = kinds[case]


def cases() -> U8:
    """Give the class of each of 32 cases: bits for no address, sent by the guest, group, broadcast, own destination."""
    kinds = np.full(32, _FOREIGN_UNICAST, np.uint8)
    case = np.arange(32)
    for bit, kind in ((0, _UNICAST_TO_GUEST), (2, _MULTICAST), (1, _BROADCAST), (3, _FROM_GUEST), (4, _UNCLASSIFIED)):
        kinds[(case >> bit & 1) == 1] = kind  # from the last to the first that table.py asks for
    return kinds


def holds(macs: Column, mac: int) -> bool:
    """Say whether the sorted ``macs`` (at least one) hold ``mac``: binary search."""
    low = 0
    high = macs.shape[0] - 1
    while low < high:
        middle = (low + high) >> 1
        if macs[middle] < mac:
            low = middle + 1
        else:
            high = middle
    return macs[low] == mac
