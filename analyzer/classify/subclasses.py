"""The subclasses as data: what more can be said of the frames of a class, each with its definition and source.

What lives here: the rows, what they look at, and their part of docs/frame-classes.md. Not hot: rows are asked per
address of a bounded table or per kind of frame, never per frame. The subclasses of a class partition its frames; none
of them changes the class of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from analyzer.model.addresses import is_group
from analyzer.model.classes import FrameClass, Look

_NO_MACS: Final[frozenset[int]] = frozenset()


class Family(msgspec.Struct, frozen=True):
    """What is known of the guest's groups of one IP version: ``told`` any reports, ``is_whole`` all of its groups."""

    told: bool = False
    is_whole: bool = False


class GuestFacts(msgspec.Struct, frozen=True):
    """What is known of the guest. What its traffic told only ever makes less of other traffic unrelated.

    ``ipv4`` are its addresses as integers, ``solicited`` the MACs of the solicited-node groups of its IPv6 addresses;
    ``knows_ipv4`` and ``knows_ipv6`` say whether a trusted source told any. Groups are MACs.
    """

    own_macs: frozenset[int]
    other_macs: frozenset[int] = _NO_MACS
    ipv4: frozenset[int] = _NO_MACS
    knows_ipv4: bool = False
    solicited: frozenset[int] = _NO_MACS
    knows_ipv6: bool = False
    joined: frozenset[int] = _NO_MACS
    left: frozenset[int] = _NO_MACS
    igmp: Family = Family()
    mld: Family = Family()

    def family(self, group: int) -> Family:
        """Give what is known of the groups of the IP version that ``group`` (a MAC) is of."""
        return self.igmp if is_ipv4_group(group) else self.mld if is_ipv6_group(group) else Family()


class SubclassFacts(msgspec.Struct, frozen=True):
    """What the rows look at: frames that agree in their addresses and kind. ``asked`` is the target of ARP requests."""

    guest: GuestFacts
    dst: int = 0
    src: int = 0
    look: Look = Look.NONE
    asked: int | None = None
    is_unseen: bool = False
    """Counted in the kernel alone."""


class SubclassRow(msgspec.Struct, frozen=True):
    """One subclass: frames of ``kind`` belong to the first row of their class that ``applies``."""

    kind: FrameClass
    name: str
    definition: str
    source: str
    applies: Callable[[SubclassFacts], bool]
    is_unrelated: bool = False


def is_ipv4_group(mac: int) -> bool:
    """Say whether ``mac`` stands for IPv4 groups: RFC 1112, 6.4."""
    return mac >> 23 == 0x01005E000000 >> 23


def is_ipv6_group(mac: int) -> bool:
    """Say whether ``mac`` stands for IPv6 groups: RFC 2464, 7."""
    return mac >> 32 == 0x3333  # noqa: PLR2004 - the source of the rule stands above


def is_solicited_node(mac: int) -> bool:
    """Say whether ``mac`` stands for a solicited-node group: RFC 4291, 2.7.1, and RFC 2464, 7."""
    return mac >> 24 == 0x3333FF  # noqa: PLR2004 - the source of the rule stands above


ALL_HOSTS: Final = frozenset({0x01005E000001, 0x333300000001})
"""224.0.0.1 and ff02::1, of which every host is a member without a report: RFC 1112, 4; RFC 3810, 6."""


def is_local_ipv4_group(mac: int) -> bool:
    """Say whether ``mac`` may stand for a group of 224.0.0.0/24, which not every host reports: RFC 4541, 2.1.2."""
    return mac >> 8 == 0x01005E000000 >> 8


def is_joined(guest: GuestFacts, group: int) -> bool | None:
    """Say whether the guest is a member of ``group`` (a MAC), None where nothing is known of its groups."""
    if group in guest.joined:
        return True
    if group in guest.left:
        return False
    told = guest.family(group).told
    return (group in ALL_HOSTS) if told else None


_UNICAST, _MULTICAST, _BROADCAST = FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.BROADCAST
_FOREIGN, _FROM_GUEST = FrameClass.FOREIGN_UNICAST, FrameClass.FROM_GUEST

SUBCLASS_TABLE: Final = (
    SubclassRow(
        _UNICAST,
        "not_looked_at",
        "To one of the guest's MACs, counted in the kernel and not looked at (--unrelated).",
        "how it was captured",
        lambda frames: frames.is_unseen,
    ),
    SubclassRow(
        _UNICAST,
        "own_address",
        "To one of the guest's MACs and one of its trusted addresses.",
        "RFC 791, 3.1; RFC 8200, 3",
        lambda frames: frames.look is Look.OWN_ADDRESS,
    ),
    SubclassRow(
        _UNICAST,
        "other_address",
        "To one of the guest's MACs, yet to an IP address that is none of its trusted ones of that version (IPv6 "
        "link-local ones are not judged): the guest routes, or has addresses that nobody told.",
        "RFC 791, 3.1; RFC 8200, 3; RFC 4291, 2.5.6",
        lambda frames: frames.look is Look.OTHER_ADDRESS,
    ),
    SubclassRow(
        _UNICAST,
        "address_not_judged",
        "To one of the guest's MACs; no IP packet, or no trusted address of that version is known.",
        "what remains",
        lambda _frames: True,
    ),
    SubclassRow(
        _MULTICAST,
        "link_local_control",
        "To 01:80:c2:00:00:00 to 0f: STP, pause, LACP, LLDP and others, between neighbours on a link.",
        "IEEE 802.1Q-2018, table 8-1",
        lambda frames: frames.dst >> 4 == 0x0180C2000000 >> 4,
    ),
    SubclassRow(
        _MULTICAST,
        "nlb_group",
        "To 03:bf:...: a cluster of Network Load Balancing in multicast mode.",
        "Microsoft, Network Load Balancing parameters",
        lambda frames: frames.dst >> 32 == 0x03BF,  # noqa: PLR2004 - the definition says it
    ),
    SubclassRow(
        _MULTICAST,
        "all_hosts",
        "To 224.0.0.1 or ff02::1 (and what shares their MACs): every host is a member.",
        "RFC 1112, 4; RFC 3810, 6",
        lambda frames: frames.dst in ALL_HOSTS,
    ),
    SubclassRow(
        _MULTICAST,
        "own_solicited_node",
        "To the solicited-node group of an IPv6 address of the guest: one that is known, one that its neighbour "
        "discovery or its DHCPv6 told, or the link-local one made of its MAC.",
        "RFC 4291, 2.7.1 and appendix A; RFC 2464, 7",
        lambda frames: frames.dst in frames.guest.solicited,
    ),
    SubclassRow(
        _MULTICAST,
        "group_joined",
        "To a group that the guest has joined: its last word on it in IGMP or MLD. There is no timeout. Groups are "
        "told apart by MAC, as a network card does (32 IPv4 groups share one).",
        "RFC 1112; RFC 2236; RFC 3376, 4.2; RFC 2710; RFC 3810, 5.2",
        lambda frames: frames.dst in frames.guest.joined,
    ),
    SubclassRow(
        _MULTICAST,
        "group_left",
        "To a group that the guest has left during the capture; part of it may have come before.",
        "RFC 2236, 3; RFC 3376, 4.2.12; RFC 2710, 4; RFC 3810, 5.2.12",
        lambda frames: frames.dst in frames.guest.left,
    ),
    SubclassRow(
        _MULTICAST,
        "other_solicited_node",
        "To a solicited-node group of none of the guest's IPv6 addresses, of which trusted ones are known, and which "
        "it has not joined.",
        "RFC 4291, 2.7.1; RFC 2464, 7",
        lambda frames: is_solicited_node(frames.dst) and frames.guest.knows_ipv6,
        is_unrelated=True,
    ),
    SubclassRow(
        _MULTICAST,
        "group_not_joined",
        "To a group that the guest was not a member of when it answered a general query with all of its groups (IGMP "
        "version 3, MLD version 2, every record read). Not said of 224.0.0.x, which not every host reports.",
        "RFC 3376, 5.2; RFC 3810, 6.2; RFC 4541, 2.1.2",
        lambda frames: frames.guest.family(frames.dst).is_whole and not is_local_ipv4_group(frames.dst),
        is_unrelated=True,
    ),
    SubclassRow(
        _MULTICAST,
        "group_not_reported",
        "To a group that the guest did not name in the membership reports seen, which need not be all.",
        "RFC 3376, 5.1",
        lambda frames: frames.guest.family(frames.dst).told,
    ),
    SubclassRow(
        _MULTICAST,
        "group_unknown",
        "To any other group: no membership reports were seen, or the protocol has none (PTP, IS-IS).",
        "what remains",
        lambda _frames: True,
    ),
    SubclassRow(
        _BROADCAST,
        "arp_announcement",
        "ARP in which sender and target address are the same: somebody tells everybody.",
        "RFC 5227, 3",
        lambda frames: frames.look is Look.ARP_ANNOUNCEMENT,
    ),
    SubclassRow(
        _BROADCAST,
        "arp_for_guest",
        "An ARP request for an IPv4 address of the guest: one that is known, or one that its own ARP or its DHCP told.",
        "RFC 826; RFC 5227, 2.1.1 (probes)",
        lambda frames: frames.asked in frames.guest.ipv4,
    ),
    SubclassRow(
        _BROADCAST,
        "arp_for_others",
        "An ARP request for an IPv4 address that is none of the guest's, of which trusted ones are known.",
        "RFC 826; RFC 5227, 2.1.1 (probes)",
        lambda frames: frames.asked is not None and frames.guest.knows_ipv4,
        is_unrelated=True,
    ),
    SubclassRow(
        _BROADCAST,
        "arp_request",
        "An ARP request of which it is not known whom it asks for: no trusted IPv4 address of the guest is known, or "
        "there were more addresses than are counted one by one.",
        "RFC 826",
        lambda frames: frames.look is Look.ARP_REQUEST,
    ),
    SubclassRow(
        _BROADCAST,
        "arp_other",
        "Other ARP: a reply to everybody, or a frame that cannot be read to its end.",
        "RFC 826",
        lambda frames: frames.look is Look.ARP_OTHER,
    ),
    SubclassRow(
        _BROADCAST,
        "dhcp",
        "DHCP over IPv4, by its ports.",
        "RFC 2131, 4.1",
        lambda frames: frames.look is Look.DHCP,
    ),
    SubclassRow(
        _BROADCAST,
        "broadcast_other",
        "Any other broadcast.",
        "what remains",
        lambda _frames: True,
    ),
    SubclassRow(
        _FOREIGN,
        "guests_other_mac",
        "To a MAC that the guest itself sends from beyond its own (macvlan, a nested guest). A guest may send from any "
        "MAC, so this stays foreign until --also-mac counts the MAC as its own.",
        "the source MACs of what the guest sends",
        lambda frames: frames.dst in frames.guest.other_macs,
        is_unrelated=True,
    ),
    SubclassRow(
        _FOREIGN,
        "vrrp_mac",
        "To a virtual router of VRRP or CARP: 00:00:5e:00:01:xx and 00:00:5e:00:02:xx.",
        "RFC 9568, 7.3",
        lambda frames: frames.dst >> 8 in {0x00005E0001, 0x00005E0002},
        is_unrelated=True,
    ),
    SubclassRow(
        _FOREIGN,
        "hsrp_mac",
        "To a virtual router of HSRP: 00:00:0c:07:ac:xx and 00:00:0c:9f:fx:xx.",
        "RFC 2281, 5.4; Cisco, HSRP version 2",
        lambda frames: frames.dst >> 8 == 0x00000C07AC or frames.dst >> 12 == 0x00000C9FF,  # noqa: PLR2004 - as defined
        is_unrelated=True,
    ),
    SubclassRow(
        _FOREIGN,
        "nlb_mac",
        "To 02:bf:...: a cluster of Network Load Balancing in unicast mode, which is flooded by design.",
        "Microsoft, Network Load Balancing parameters",
        lambda frames: frames.dst >> 32 == 0x02BF,  # noqa: PLR2004 - the definition says it
        is_unrelated=True,
    ),
    SubclassRow(
        _FOREIGN,
        "foreign_mac",
        "To any other MAC that is not the guest's.",
        "what remains",
        lambda _frames: True,
        is_unrelated=True,
    ),
    SubclassRow(
        _FROM_GUEST,
        "not_looked_at",
        "Counted in the kernel and not looked at (--unrelated).",
        "how it was captured",
        lambda frames: frames.is_unseen,
    ),
    SubclassRow(
        _FROM_GUEST,
        "own_mac",
        "From one of the guest's MACs.",
        "IEEE 802.3-2018, 3.2.5",
        lambda frames: frames.src in frames.guest.own_macs,
    ),
    SubclassRow(
        _FROM_GUEST,
        "group_source",
        "From a group address, which is nobody's.",
        "IEEE 802.3-2018, 3.2.3",
        lambda frames: is_group(frames.src),
    ),
    SubclassRow(
        _FROM_GUEST,
        "other_mac",
        "From another MAC: macvlan, a nested guest, a lie; or one of too many to count one by one.",
        "what remains",
        lambda _frames: True,
    ),
)
"""The rows in the order in which they are asked. Unclassified frames have none: nothing more can be said of them."""


def subclass_of(kind: FrameClass, frames: SubclassFacts) -> SubclassRow:
    """Give the subclass of frames of a class that has any."""
    return next(row for row in SUBCLASS_TABLE if row.kind is kind and row.applies(frames))


def remainder(kind: FrameClass) -> SubclassRow | None:
    """Give the last row of a class, to which what was not looked at belongs; None for a class without subclasses."""
    return next((row for row in reversed(SUBCLASS_TABLE) if row.kind is kind), None)


def render_subclasses() -> str:
    """Give the part of docs/frame-classes.md on subclasses: Markdown, ends in a newline."""
    rows = [
        f"| `{row.kind.key}` | `{row.name}` | {'yes' if row.is_unrelated else ''} | {row.definition} | {row.source} |"
        for row in SUBCLASS_TABLE
    ]
    head = ["| class | subclass | unrelated | definition | source of the rule |", "|---|---|---|---|---|"]
    return "\n".join([_HEAD, *head, *rows, _TAIL])


_HEAD = """
# What more can be said of them

The frames of a class belong to the first of its subclasses that applies, so that these add up to the class as well.
They never change the class of a frame.
"""

_TAIL = """
**Unrelated** are the frames that are demonstrably for others: all foreign unicast, and of multicast and broadcast the
subclasses marked so.

**What traffic tells** (groups joined, addresses, further MACs, VLANs) is shown with the source `traffic` and is never
trusted: it makes no frame the guest's own, and it only ever makes fewer frames count as unrelated. The one exception is
an answer to a query: a guest that conceals a group makes that group's frames count as unrelated, to its own harm.

**Bounds.** Groups, pairs of MACs, source MACs and ARP targets are counted one by one up to a bound that the report
states with its error; frames beyond it belong to the last subclass of their class (ARP requests: to `arp_request`).
"""
