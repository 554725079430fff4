"""The classes and their subclasses as people read them."""

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

_SUBCLASS_NAMES: Final = {
    "own_address": "to its own address",
    "not_looked_at": "counted, not looked at",
    "other_address": "to another IP address",
    "address_not_judged": "to its MAC, IP not judged",
    "link_local_control": "link control (STP, LLDP)",
    "nlb_group": "NLB cluster's group",
    "all_hosts": "group of all hosts",
    "own_solicited_node": "ND for the guest",
    "other_solicited_node": "ND for others",
    "group_joined": "group it has joined",
    "group_left": "group it has left",
    "group_not_joined": "group it has not joined",
    "group_not_reported": "group it did not report",
    "group_unknown": "group, not known if joined",
    "arp_announcement": "ARP announcement",
    "arp_for_guest": "ARP for the guest",
    "arp_for_others": "ARP for others",
    "arp_request": "ARP, for whom not known",
    "arp_other": "other ARP",
    "dhcp": "DHCP",
    "broadcast_other": "other broadcast",
    "guests_other_mac": "MAC it also sends from",
    "vrrp_mac": "virtual router: VRRP, CARP",
    "hsrp_mac": "virtual router: HSRP",
    "nlb_mac": "NLB cluster's MAC",
    "foreign_mac": "somebody else's MAC",
    "own_mac": "its own MAC",
    "group_source": "a group address as source",
    "other_mac": "another MAC",
}


def subclass_name(name: str) -> str:
    """Give a subclass in a few words; one that a later nwscan wrote, by its key."""
    return _SUBCLASS_NAMES.get(name, name.replace("_", " "))
