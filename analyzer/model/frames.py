"""Frames in batches: raw octets with their metadata, and the columns decoded from them.

Values only. A batch holds a few thousand frames, so that its columns stay in the cache; there is never one Python
object per frame. All arrays of a batch are one-dimensional, contiguous and of the same length n.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

BATCH_FRAMES: Final = 16_384
"""Frames that a live source puts into one batch at the most."""

FILE_BATCH_FRAMES: Final = 65_536
"""Frames of a file in one batch at the most: those that a window of it holds, unless they are tiny."""

LINKTYPE_ETHERNET: Final = 1
"""LINKTYPE_ETHERNET of the registry at tcpdump.org/linktypes.html."""

U8: TypeAlias = npt.NDArray[np.uint8]
U16: TypeAlias = npt.NDArray[np.uint16]
U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]
I64: TypeAlias = npt.NDArray[np.int64]


class Direction(IntEnum):
    """Which way a frame crosses the tap; the values are those of pcapng's ``epb_flags`` bits 0-1, seen from the tap."""

    UNKNOWN = 0
    FROM_GUEST = 1
    TO_GUEST = 2


class FrameFlag(IntFlag):
    """What decoding found wrong with a frame; 0 is a sound one. Flags of the network layer follow in later bits."""

    TOO_SHORT = 1
    """Fewer octets on the wire than an Ethernet header has (14)."""
    CUT_HEADER = 2
    """The capture kept fewer octets than the link-layer header with its tags needs."""
    NOT_ETHERNET = 4
    """The interface's link type has no Ethernet header: no destination MAC can be known."""
    IMPOSSIBLE_LENGTH = 8
    """The stated original length cannot be true (below the captured one, or above 256 KiB)."""
    NO_ADDRESSES = 16
    """No MAC can be read, so the frame is unclassified; why stands in TOO_SHORT, CUT_HEADER or NOT_ETHERNET."""


class CaptureInterface(msgspec.Struct, frozen=True):
    """One interface of a source: what its link type is and what the file or host says about it."""

    linktype: int = LINKTYPE_ETHERNET
    name: str | None = None
    snaplen: int = 0
    """Octets kept per frame; 0 means no limit."""
    description: str | None = None
    filter: str | None = None


class RawFrames(msgspec.Struct, frozen=True, eq=False):
    """n undecoded frames.

    ``data`` is one buffer (a ring block, a mapped file); frame i is ``data[offsets[i]:offsets[i] + captured[i]]``.
    ``original`` is the length on the wire without FCS and without a tag that the kernel stripped; ``tag`` is that
    tag as TPID << 16 | TCI, 0 where none was stripped. ``gso_size`` is the segment payload of a GSO super-frame in
    octets, 0 where the frame is not one or it is not known. ``interface`` indexes ``interfaces``. The arrays may be
    views of memory that the source reuses: they hold until the next batch is asked for.
    """

    data: U8
    offsets: I64
    captured: U32
    original: U32
    ts_ns: I64
    direction: U8
    tag: U32
    gso_size: U16
    interface: U16
    interfaces: tuple[CaptureInterface, ...] = (CaptureInterface(),)

    def __len__(self) -> int:
        """Frames in the batch."""
        return len(self.offsets)

    def take(self, rows: slice | npt.NDArray[np.intp] | I64) -> RawFrames:
        """Give some of the frames, in the order of ``rows``, in the same memory."""
        return RawFrames(
            data=self.data,
            offsets=self.offsets[rows],
            captured=self.captured[rows],
            original=self.original[rows],
            ts_ns=self.ts_ns[rows],
            direction=self.direction[rows],
            tag=self.tag[rows],
            gso_size=self.gso_size[rows],
            interface=self.interface[rows],
            interfaces=self.interfaces,
        )


class FrameBatch(msgspec.Struct, frozen=True):
    """n frames with their link layer decoded.

    ``dst`` and ``src`` are MACs as integers (0 where ``flags`` has NO_ADDRESSES). ``outer_type`` is the type field
    behind the source MAC as the wire had it (a TPID where tagged, below 0x600 for 802.3 lengths); ``ethertype`` is the
    one behind all VLAN tags and, with SNAP of OUI 0, of the SNAP header; 0 where there is none (LLC, cut).
    ``tags`` is the depth of VLAN tags and ``vlan`` the TCI of the outermost one (0 where ``tags`` is 0).
    ``network`` is the offset of the network header (without SNAP of OUI 0, the LLC header of an 802.3 frame) in the
    captured octets of the frame, -1 where nothing of it was kept.
    ``octets`` is the original length with all tags and without FCS, corrected where it could not be true.
    ``segments`` is how many frames on a wire the frame stands for (1, more for GSO super-frames).
    """

    raw: RawFrames
    dst: U64
    src: U64
    outer_type: U16
    ethertype: U16
    tags: U8
    vlan: U16
    network: npt.NDArray[np.int32]
    octets: U32
    segments: U16
    flags: U8

    def __len__(self) -> int:
        """Frames in the batch."""
        return len(self.dst)
