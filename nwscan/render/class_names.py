"""The six classes as people read them."""

from __future__ import annotations

from typing import Final

from analyzer.model.classes import FrameClass

CLASS_NAMES: Final = {
    FrameClass.UNICAST_TO_GUEST: "unicast to guest",
    FrameClass.MULTICAST: "multicast",
    FrameClass.BROADCAST: "broadcast",
    FrameClass.FOREIGN_UNICAST: "foreign unicast",
    FrameClass.FROM_GUEST: "from the guest",
    FrameClass.UNCLASSIFIED: "unclassified",
}
"""The classes in the order of tables."""
