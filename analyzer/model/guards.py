"""What a guest cannot do without: the kinds of frames that are watched while a change waits to be confirmed.

Values only. Who counts them: analyzer/host/guard_meter.py, and the worker where answers are matched with requests.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from analyzer.model.classes import FrameClass


class GuardKind(StrEnum):
    """Frames of one kind in one direction; the value is how a sentence calls them."""

    OWN_UNICAST = "own unicast"
    ARP_UNICAST = "ARP to the guest's own MAC"
    ARP_BROADCAST = "broadcast ARP"
    ND_UNICAST = "IPv6 neighbour discovery to the guest's own MAC"
    ND_MULTICAST = "multicast IPv6 neighbour discovery"
    DHCP_UNICAST = "DHCP to the guest's own MAC"
    DHCP_BROADCAST = "broadcast DHCP answers"
    TCP_ANSWER = "answers to the guest's TCP connections"
    ARP_SENT = "ARP from the guest"
    ND_SENT = "IPv6 neighbour discovery from the guest"
    DHCP_SENT = "DHCP from the guest"
    TCP_REQUEST = "TCP connections from the guest"


GUARD_CLASS: Final = {
    GuardKind.OWN_UNICAST: FrameClass.UNICAST_TO_GUEST,
    GuardKind.ARP_UNICAST: FrameClass.UNICAST_TO_GUEST,
    GuardKind.ARP_BROADCAST: FrameClass.BROADCAST,
    GuardKind.ND_UNICAST: FrameClass.UNICAST_TO_GUEST,
    GuardKind.ND_MULTICAST: FrameClass.MULTICAST,
    GuardKind.DHCP_UNICAST: FrameClass.UNICAST_TO_GUEST,
    GuardKind.DHCP_BROADCAST: FrameClass.BROADCAST,
    GuardKind.TCP_ANSWER: FrameClass.UNICAST_TO_GUEST,
    GuardKind.ARP_SENT: FrameClass.FROM_GUEST,
    GuardKind.ND_SENT: FrameClass.FROM_GUEST,
    GuardKind.DHCP_SENT: FrameClass.FROM_GUEST,
    GuardKind.TCP_REQUEST: FrameClass.FROM_GUEST,
}
"""The class of frames that each kind is a part of."""
