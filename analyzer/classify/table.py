"""The classification as data: each class with its definition, the source of its rule, and its place in the order.

What lives here: the rows, the slow and obvious reading of them (``class_of``) that the compiled classifier is held
against by the tests, and the document that is generated from them (docs/frame-classes.md). Nothing here is hot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.classify.subclasses import render_subclasses
from analyzer.model.addresses import BROADCAST, is_group
from analyzer.model.classes import FrameClass
from analyzer.model.frames import FrameFlag

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What the rules look at: one frame, and whether the guest sent it."""

    flags: FrameFlag
    from_guest: bool
    dst: int
    own_macs: frozenset[int]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: a frame belongs to the first row of the table that ``applies``."""

    frame_class: FrameClass
    definition: str
    source: str
    applies: Callable[[FrameFacts], bool]


CLASS_TABLE: Final = (
    ClassRow(
        FrameClass.UNCLASSIFIED,
        "No destination MAC can be known: shorter than an Ethernet header on the wire, cut within it by the capture, "
        "or captured on a link type without one.",
        "IEEE 802.3-2018, 3.1.1 (the header is 14 octets); LINKTYPE registry of tcpdump.org",
        lambda frame: bool(frame.flags & FrameFlag.NO_ADDRESSES),
    ),
    ClassRow(
        FrameClass.FROM_GUEST,
        "The guest sent it, whatever its MACs: by the packet type on a live tap, by the direction in the file where it "
        "counts, else by its source MAC.",
        "packet(7), PACKET_OUTGOING; pcapng, epb_flags bits 0-1",
        lambda frame: frame.from_guest,
    ),
    ClassRow(
        FrameClass.BROADCAST,
        "To the guest; the destination MAC is ff:ff:ff:ff:ff:ff.",
        "IEEE 802-2014, 8.2.2",
        lambda frame: frame.dst == BROADCAST,
    ),
    ClassRow(
        FrameClass.MULTICAST,
        "To the guest; the group bit of the destination MAC is set, and it is not the broadcast address.",
        "IEEE 802-2014, 8.2.2 (the least significant bit of the first octet)",
        lambda frame: is_group(frame.dst),
    ),
    ClassRow(
        FrameClass.UNICAST_TO_GUEST,
        "To the guest; the destination MAC is one of the guest's.",
        "the card's configured MAC, and those counted as its own by --mac or --also-mac",
        lambda frame: frame.dst in frame.own_macs,
    ),
    ClassRow(
        FrameClass.FOREIGN_UNICAST,
        "To the guest, yet the destination MAC is a unicast one that is not the guest's.",
        "what remains",
        lambda _frame: True,
    ),
)
"""The rows in the order in which they are asked: the classes partition the frames."""


def class_of(frame: FrameFacts) -> FrameClass:
    """Give the class of one frame: the definition that the compiled classifier must agree with."""
    return next(row.frame_class for row in CLASS_TABLE if row.applies(frame))


def render_table() -> str:
    """Give docs/frame-classes.md: Markdown, ends in a newline."""
    rows = [
        f"| {order} | `{row.frame_class.key}` | {row.definition} | {row.source} |"
        for order, row in enumerate(CLASS_TABLE, start=1)
    ]
    return (
        "\n".join([_HEAD, "| order | class | definition | source of the rule |", "|---|---|---|---|", *rows, _TAIL])
        + render_subclasses()
    )


_HEAD = """# The classes of frames

Generated from the tables in analyzer/classify/table.py and subclasses.py; a test holds it. Change them there, then
run that test with `NWSCAN_REGENERATE=1`.

Every frame on a guest's tap is in exactly one of six classes: the first row that applies. So the counts of the classes
always add up to the frames seen.
"""

_TAIL = """
**Which way?** On a live tap, packet type OUTGOING is to the guest and anything else is from it, whatever its MAC. In a
file that nwscan wrote, `epb_flags` say it as seen from the tap: 2 (outbound) is to the guest, 1 (inbound) is from it.
In other files the flags count only if it is said where the capture was taken; seen from inside the guest, they mean the
reverse. A frame whose direction is not told, or told with the reserved value 3, is from the guest when its source MAC
is one of the guest's.

**What is not `unclassified`.** A frame that ends within its VLAN tags or above the Ethernet header still has its MACs
and thus its class; what is missing stands in its flags. An original length that cannot be true (below the captured
one, or above 256 KiB) is replaced by the captured length in the count of octets and changes no class.

**Octets** are the original length with VLAN tags, also those that the kernel stripped, and without the frame check
sequence.
"""
