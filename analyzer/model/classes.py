"""The six classes that partition the frames on a guest's tap, and what a deeper look adds.

The values index the class axis of every array of counts; their order is fixed, since stored arrays rely on it. How
a frame gets its class is data in analyzer/classify/table.py.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final


class FrameClass(IntEnum):
    """The class of a frame, as seen by one guest's card."""

    UNICAST_TO_GUEST = 0
    MULTICAST = 1
    BROADCAST = 2
    FOREIGN_UNICAST = 3
    FROM_GUEST = 4
    UNCLASSIFIED = 5

    @property
    def key(self) -> str:
        """The name in documents: ``foreign_unicast``."""
        return self.name.lower()


CLASS_COUNT: Final = len(FrameClass)

TO_GUEST_CLASSES: Final = (
    FrameClass.UNICAST_TO_GUEST,
    FrameClass.MULTICAST,
    FrameClass.BROADCAST,
    FrameClass.FOREIGN_UNICAST,
)
"""What the guest sees: the four classes that shares are taken of."""


class DirectionSource(StrEnum):
    """How it was told which frames the guest sent; every document says it, since the three are not equally good.

    ``PACKET_TYPE`` is the kernel's word on a live tap, ``EPB_FLAGS`` that of a pcapng file, ``SOURCE_MAC`` a
    comparison of the source MAC with the guest's, which a spoofed source defeats.
    """

    PACKET_TYPE = "packet_type"
    EPB_FLAGS = "epb_flags"
    SOURCE_MAC = "source_mac"


class Look(IntEnum):
    """What one frame says of itself; NONE is nothing that a row of the table asks for."""

    NONE = 0
    ARP_REQUEST = 1
    ARP_ANNOUNCEMENT = 2
    ARP_OTHER = 3
    DHCP = 4
    OWN_ADDRESS = 5
    OTHER_ADDRESS = 6
