"""The rules of the profiles, chain by chain: what passes, what is dropped, and in which words to say so.

Each chain only ever drops and otherwise returns, so what another filter on the card forbids stays forbidden; its last
rule takes whatever is left, since libvirt's sub-chains accept what comes to their end. Own addresses come first: that
is what most frames meet. Masks that are not leading ones go through the variable ``NWSCAN_GROUPMASK``, since libvirt
refuses them as literals. ``ip``, ``ipv6`` and ``arp`` rules see nothing inside a VLAN tag, so tagged frames are judged
by MAC alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generator.suggest.keeping import Keeping

GROUP_MASK_NAME: Final = "NWSCAN_GROUPMASK"
GROUP_MASK: Final = "01:00:00:00:00:00"
"""The group bit (IEEE 802-2014, 8.2.2). libvirt refuses such a mask as a literal, and takes it as a variable."""

MAC_CHAIN: Final = "mac-nwscan"
"""Frames of every ethertype enter a chain whose name begins with ``mac``; 12 characters at most."""
MAC_CHAIN_PRIORITY: Final = -950
"""Before every chain of libvirt's own filters (mac -800, ipv4 -700, ...) and before their rules (-650, ...)."""
IPV4_CHAIN_PRIORITY: Final = -940
IPV6_CHAIN_PRIORITY: Final = -930
ARP_CHAIN_PRIORITY: Final = -920
ACCEPTING_CHAIN_PRIORITY: Final = -705
"""Behind ``no-ip-spoofing`` (-710), before the chain that accepts all IPv4 in ``clean-traffic`` (-700)."""

OWN_RULES_LIMIT: Final = 700
"""Own addresses of one kind at most: each is one rule, with a priority of its own between 100 and 900."""

_FIRST_PRIORITY: Final = 100
_LAST_PRIORITY: Final = 900


class Purpose(StrEnum):
    """What a rule is there for."""

    OWN = "own"
    """Passes what is addressed to the guest."""
    KEPT = "kept"
    """Passes what a person asked to keep."""
    GROUP = "group"
    """Passes group addresses."""
    NEEDED = "needed"
    """Passes what every guest needs."""
    DROP = "drop"
    SENT = "sent"
    """Looks at what the guest sends."""


@dataclass(frozen=True, slots=True)
class PlannedRule:
    """One rule of ours: ``text`` says it in words; ``means`` are the classes of frames that a drop is there to drop."""

    rule: Rule
    text: str
    purpose: Purpose
    means: frozenset[FrameClass] = frozenset()


@dataclass(frozen=True, slots=True)
class Child:
    """One filter of ours below the root: ``part`` ends its name, ``entries`` stand in the order in which they act.

    ``parameters`` go on the reference to it. A ``nested`` child is referred to by another child, not by the root.
    """

    part: str
    chain: str
    priority: int | None
    entries: tuple[PlannedRule | FilterRef, ...]
    parameters: tuple[tuple[str, str], ...] = ()
    nested: bool = False

    def filter(self, name: str, uuid: str) -> Filter:
        """Give it as a filter of libvirt."""
        entries = tuple(each.rule if isinstance(each, PlannedRule) else each for each in self.entries)
        return Filter(name, uuid, self.chain, self.priority, entries)


Draft = tuple[str, Purpose, Match, Action, frozenset[FrameClass]]

_TO_GUEST_UNICAST: Final = frozenset({FrameClass.FOREIGN_UNICAST, FrameClass.UNICAST_TO_GUEST})
_GROUP: Final = (("dstmacaddr", GROUP_MASK), ("dstmacmask", f"${GROUP_MASK_NAME}"))
_GROUP_PARAMETER: Final = ((GROUP_MASK_NAME, GROUP_MASK),)
_DHCP: Final = (("protocol", "udp"), ("srcportstart", "67"), ("dstportstart", "68"))
_DHCPV6: Final = (("protocol", "udp"), ("srcportstart", "547"), ("dstportstart", "546"))
_IPV4_BROADCAST: Final = "255.255.255.255"
_ARP_BROADCAST: Final = (("dstmacaddr", "ff:ff:ff:ff:ff:ff"), ("opcode", "Request"))


def mac_child(macs: Sequence[int], keeping: Keeping) -> Child:
    """Give the chain that drops unicast to other MACs; every group address passes."""
    own = [_pass(f"let unicast to {format_mac(mac)} pass", Purpose.OWN, "mac", ("dstmacaddr", format_mac(mac)))
           for mac in macs]  # fmt: skip
    others = [
        *_kept("mac", keeping.unicast),
        _pass("let multicast and broadcast pass", Purpose.GROUP, "mac", *_GROUP),
        _drop("drop unicast to any other MAC", frozenset({FrameClass.FOREIGN_UNICAST}), "mac"),
    ]
    return Child("mac", MAC_CHAIN, MAC_CHAIN_PRIORITY, _planned(own, others), _GROUP_PARAMETER)


def ipv4_child(addresses: Sequence[str], keeping: Keeping, groups: Sequence[int] | None) -> Child:
    """Give the chain that drops IPv4 unicast to other addresses; with ``groups`` also multicast to any other group.

    What goes to a group MAC is no unicast, so every broadcast passes whatever the subnet's prefix. Multicast and
    broadcast addresses to a unicast MAC come from bridges with ``multicast_to_unicast`` and from DHCP servers.
    Link-local addresses (RFC 3927) are taken without being stated by anybody.
    """
    own = [_own("ip", address) for address in addresses]
    others = [
        *_kept("ip", keeping.unicast),
        *([] if groups is None else _ipv4_groups(groups, keeping)),
        _pass("let IPv4 to group MACs pass", Purpose.GROUP, "ip", *_GROUP),
        _pass("let IPv4 multicast pass", Purpose.NEEDED, "ip", ("dstipaddr", "224.0.0.0"), ("dstipmask", "4")),
        _pass("let IPv4 broadcast pass", Purpose.NEEDED, "ip", ("dstipaddr", _IPV4_BROADCAST)),
        _pass("let link-local IPv4 pass", Purpose.NEEDED, "ip", ("dstipaddr", "169.254.0.0"), ("dstipmask", "16")),
        _pass("let answers of DHCP servers pass", Purpose.NEEDED, "ip", *_DHCP),
        _drop("drop IPv4 to any other address", _TO_GUEST_UNICAST, "ip"),
    ]
    return Child("ip4", "ipv4-nws", IPV4_CHAIN_PRIORITY, _planned(own, others), _GROUP_PARAMETER)


def ipv6_child(addresses: Sequence[str], keeping: Keeping, groups: Sequence[int] | None) -> Child | None:
    """Give the same for IPv6: None where neither addresses nor groups are known, since then nothing may be dropped.

    Link-local addresses and all of neighbour discovery and MLD pass always (RFC 4861, RFC 3810).
    """
    if not addresses and groups is None:
        return None
    own = [_own("ipv6", address) for address in addresses]
    discovery = ("protocol", "icmpv6"), ("type", "130"), ("typeend", "137")
    others = [
        *_kept("ipv6", keeping.unicast),
        _pass("let neighbour discovery and MLD pass", Purpose.NEEDED, "ipv6", *discovery),
        *([] if groups is None else _ipv6_groups(groups, keeping)),
    ]
    if addresses:
        others += [
            _pass("let IPv6 to group MACs pass", Purpose.GROUP, "ipv6", *_GROUP),
            _pass("let link-local IPv6 pass", Purpose.NEEDED, "ipv6", ("dstipaddr", "fe80::"), ("dstipmask", "10")),
            _pass("let IPv6 multicast pass", Purpose.NEEDED, "ipv6", ("dstipaddr", "ff00::"), ("dstipmask", "8")),
            _pass("let answers of DHCPv6 servers pass", Purpose.NEEDED, "ipv6", *_DHCPV6),
            _drop("drop IPv6 to any other address", _TO_GUEST_UNICAST, "ipv6"),
        ]
    else:
        others.append(_pass("let all other IPv6 pass", Purpose.NEEDED, "ipv6"))
    parameters = _GROUP_PARAMETER if addresses else ()
    return Child("ip6", "ipv6-nws", IPV6_CHAIN_PRIORITY, _planned(own, others), parameters)


def arp_child(addresses: Sequence[str], keeping: Keeping) -> Child:
    """Give the chain that drops broadcast ARP requests for other addresses.

    Announcements (RFC 5227, sender and target the same) pass, since they tell the guest that a neighbour has moved; so
    do all replies. Link-local addresses have to be stated: libvirt's schema knows no mask for the addresses of ARP.
    """
    own = [
        _pass(f"let ARP for {address} pass", Purpose.OWN, "arp", ("opcode", "Request"), ("arpdstipaddr", address))
        for address in addresses
    ]
    others = [
        *_kept("arp", keeping.unicast),
        _pass("let ARP announcements pass", Purpose.NEEDED, "arp", ("gratuitous", "true")),
        _drop("drop ARP requests for any other address", frozenset({FrameClass.BROADCAST}), "arp", *_ARP_BROADCAST),
        _pass("let all other ARP pass", Purpose.NEEDED, "arp"),
    ]
    return Child("arp", "arp-nws", ARP_CHAIN_PRIORITY, _planned(own, others))


def accepting_children(allowing: str, addresses: Sequence[str], keeping: Keeping) -> tuple[Child, Child]:
    """Give the two filters of 2015: ``my-allow-ipv4`` (to be named ``allowing``) and ``my-clean-traffic``.

    The rules for broadcast and DHCP are new: without them the guest lost its lease, which nobody had meant.
    """
    own = [_own("ip", address, Action.ACCEPT) for address in addresses]
    others = [
        *_kept("ip", keeping.unicast, Action.ACCEPT),
        _accept("let IPv4 to group MACs pass", Purpose.GROUP, "ip", *_GROUP),
        _accept("let IPv4 multicast pass", Purpose.NEEDED, "ip", ("dstipaddr", "224.0.0.0"), ("dstipmask", "4")),
        _accept("let IPv4 broadcast pass", Purpose.NEEDED, "ip", ("dstipaddr", _IPV4_BROADCAST)),
        _accept("let answers of DHCP servers pass", Purpose.NEEDED, "ip", *_DHCP),
        _drop("drop IPv4 to any other address", _TO_GUEST_UNICAST, "ip"),
    ]
    sent = PlannedRule(Rule(Action.ACCEPT, RuleDirection.OUT, 950), "let IPv4 that the guest sends pass", Purpose.SENT)
    allow = Child(
        "allow-ipv4",
        "ipv4-nws",
        ACCEPTING_CHAIN_PRIORITY,
        (*_planned(own, others), sent),
        _GROUP_PARAMETER,
        nested=True,
    )
    stated = tuple(("IP", address) for address in addresses)
    ipv4 = Rule(Action.ACCEPT, RuleDirection.OUT, -650, Match("mac", (("protocolid", "ipv4"),)))
    clean = Child(
        "clean",
        "root",
        None,
        (
            FilterRef("no-mac-spoofing"),
            FilterRef("no-ip-spoofing", stated),
            PlannedRule(ipv4, "let IPv4 that the guest sends pass", Purpose.SENT),
            FilterRef(allowing, _GROUP_PARAMETER),
            FilterRef("no-arp-spoofing", stated),
            *(
                PlannedRule(
                    Rule(Action.ACCEPT, way, priority, Match("mac", (("protocolid", "arp"),))),
                    "let all other ARP pass" if way is RuleDirection.IN else "let ARP that the guest sends pass",
                    Purpose.NEEDED if way is RuleDirection.IN else Purpose.SENT,
                )
                for way, priority in ((RuleDirection.IN, -500), (RuleDirection.OUT, -499))
            ),
            FilterRef("no-other-l2-traffic"),
            FilterRef("qemu-announce-self"),
        ),
    )
    return allow, clean


def _ipv4_groups(groups: Iterable[int], keeping: Keeping) -> list[Draft]:
    """Give what strict does to IPv4 multicast: RFC 4541, 2.1.2 has 224.0.0.0/24 pass, which nobody need join."""
    joined = [mac for mac in groups if mac >> 24 == 0x01005E]  # noqa: PLR2004 - RFC 1112, 6.4
    local = ("dstipaddr", "224.0.0.0"), ("dstipmask", "24")
    fixed = ("dstmacaddr", "01:00:5e:00:00:00"), ("dstmacmask", "ff:ff:ff:80:00:00")
    return [
        _pass("let IGMP pass", Purpose.NEEDED, "ip", ("protocol", "igmp")),
        _pass("let groups of the local network (224.0.0.0/24) pass", Purpose.NEEDED, "ip", *local),
        *_joined("ip", joined),
        *_kept("ip", keeping.ranges(0x01005E, 24)),
        _drop(
            "drop IPv4 multicast to any other group",
            frozenset({FrameClass.MULTICAST}),
            "ip",
            *fixed,
            ("dstipaddr", "224.0.0.0"),
            ("dstipmask", "4"),
        ),
    ]


def _ipv6_groups(groups: Iterable[int], keeping: Keeping) -> list[Draft]:
    """Give what strict does to IPv6 multicast; RFC 2464, 7 makes 33:33 and the last 32 bits of a group its MAC."""
    joined = [mac for mac in groups if mac >> 32 == 0x3333]  # noqa: PLR2004 - RFC 2464, 7
    solicited = ("dstmacaddr", "33:33:ff:00:00:00"), ("dstmacmask", "ff:ff:ff:00:00:00")
    fixed = ("dstmacaddr", "33:33:00:00:00:00"), ("dstmacmask", "ff:ff:00:00:00:00")
    return [
        _pass("let solicited-node groups pass", Purpose.NEEDED, "ipv6", *solicited),
        _pass("let the group of all nodes pass", Purpose.NEEDED, "ipv6", ("dstmacaddr", "33:33:00:00:00:01")),
        _pass("let the group of all routers pass", Purpose.NEEDED, "ipv6", ("dstmacaddr", "33:33:00:00:00:02")),
        *_joined("ipv6", joined),
        *_kept("ipv6", keeping.ranges(0x3333, 16)),
        _drop(
            "drop IPv6 multicast to any other group",
            frozenset({FrameClass.MULTICAST}),
            "ipv6",
            *fixed,
            ("dstipaddr", "ff00::"),
            ("dstipmask", "8"),
        ),
    ]


def _joined(protocol: str, groups: Iterable[int]) -> list[Draft]:
    return [
        _pass(f"let the group {format_mac(mac)} pass", Purpose.OWN, protocol, ("dstmacaddr", format_mac(mac)))
        for mac in groups
    ]


def _kept(protocol: str, ranges: Iterable[tuple[int, int]], action: Action = Action.RETURN) -> list[Draft]:
    drafts: list[Draft] = []
    for address, mask in ranges:
        exact = mask == 0xFFFF_FFFF_FFFF  # noqa: PLR2004 - all 48 bits of a MAC
        attributes = [("dstmacaddr", format_mac(address)), *([] if exact else [("dstmacmask", format_mac(mask))])]
        name = format_mac(address) if exact else f"{format_mac(address)}/{format_mac(mask)}"
        drafts.append(
            (f"let what goes to {name} pass", Purpose.KEPT, Match(protocol, tuple(attributes)), action, frozenset())
        )
    return drafts


def _own(protocol: str, address: str, action: Action = Action.RETURN) -> Draft:
    match = Match(protocol, (("dstipaddr", address),))
    return f"let unicast to {address} pass", Purpose.OWN, match, action, frozenset()


def _pass(text: str, purpose: Purpose, protocol: str, *attributes: tuple[str, str]) -> Draft:
    return text, purpose, Match(protocol, attributes), Action.RETURN, frozenset()


def _accept(text: str, purpose: Purpose, protocol: str, *attributes: tuple[str, str]) -> Draft:
    return text, purpose, Match(protocol, attributes), Action.ACCEPT, frozenset()


def _drop(text: str, means: frozenset[FrameClass], protocol: str, *attributes: tuple[str, str]) -> Draft:
    return text, Purpose.DROP, Match(protocol, attributes), Action.DROP, means


def _planned(own: Sequence[Draft], others: Sequence[Draft]) -> tuple[PlannedRule, ...]:
    """Give the drafts priorities of their own, since libvirt leaves the order of equal ones to chance.

    Own addresses begin at 100, in steps of 10 as long as there is room; the last rule has 900. Raises UsageError where
    they are too many.
    """
    room = _LAST_PRIORITY - len(others) + 1 - _FIRST_PRIORITY
    if len(own) > room:
        raise UsageError(f"{len(own) + len(others)} rules in one chain", hint="a guest with so many needs no filter")
    step = 10 if len(own) * 10 <= room else 1
    numbers = [_FIRST_PRIORITY + step * place for place in range(len(own))]
    numbers += [_LAST_PRIORITY - len(others) + 1 + place for place in range(len(others))]
    return tuple(
        PlannedRule(Rule(action, RuleDirection.IN, priority, match), text, purpose, means)
        for priority, (text, purpose, match, action, means) in zip(numbers, (*own, *others), strict=True)
    )
