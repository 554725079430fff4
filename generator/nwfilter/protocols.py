"""The attribute table of nwfilter: every protocol element with its attributes, their types and limits.

Data, with the rule's source: libvirt 9.0.0, docs/formatnwfilter.rst and src/conf/nwfilter_conf.c. What a value means is
in generator/nwfilter/values.py; this table may import nothing but it. Everybody who reads, writes, lints or
instantiates a rule asks here, so that a protocol or attribute is described once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from generator.nwfilter.values import Kind


class Family(StrEnum):
    """The program that a protocol's rules are handed to by libvirt's ebiptables driver."""

    EBTABLES = "ebtables"
    IPTABLES = "iptables"
    IP6TABLES = "ip6tables"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its name and the kind of its value.

    ``sign_of`` names the attribute whose negation it takes over under ``match='no'``: libvirt copies the sign, also
    from one that is not there, and then the negation is lost (virNWFilterRuleDefFixup).
    """

    name: str
    kind: Kind
    sign_of: str | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol element: who enforces it and, in the order in which libvirt writes them, its attributes.

    ``number`` is the upper-layer protocol of those that go to iptables (None for ``all`` and the layer-2 elements).
    """

    name: str
    family: Family
    attributes: tuple[Attribute, ...]
    number: int | None = None

    def attribute(self, name: str) -> Attribute | None:
        """Give the attribute called ``name``, None where the protocol does not know it."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)


def _of(kind: Kind, *names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, kind) for name in names)


_COMMENT = _of(Kind.COMMENT, "comment")


def _macs(*, signs: bool) -> tuple[Attribute, ...]:
    return (
        Attribute("srcmacaddr", Kind.MAC),
        Attribute("srcmacmask", Kind.MAC_MASK, "srcmacaddr" if signs else None),
        Attribute("dstmacaddr", Kind.MAC),
        Attribute("dstmacmask", Kind.MAC_MASK, "dstmacaddr" if signs else None),
    )


def _addresses(address: Kind, mask: Kind) -> tuple[Attribute, ...]:
    return (
        Attribute("srcipaddr", address),
        Attribute("srcipmask", mask, "srcipaddr"),
        Attribute("dstipaddr", address),
        Attribute("dstipmask", mask, "dstipaddr"),
    )


_PORTS = _of(Kind.UINT16, "srcportstart", "srcportend", "dstportstart", "dstportend")
_SIGNED_PORTS = (
    Attribute("srcportstart", Kind.UINT16),
    Attribute("srcportend", Kind.UINT16, "srcportstart"),
    Attribute("dstportstart", Kind.UINT16, "srcportstart"),
    Attribute("dstportend", Kind.UINT16, "srcportstart"),
)
_ICMP_RANGES = (
    Attribute("type", Kind.UINT8),
    Attribute("typeend", Kind.UINT8, "type"),
    Attribute("code", Kind.UINT8, "type"),
    Attribute("codeend", Kind.UINT8, "type"),
)
_ICMP = (Attribute("type", Kind.UINT8), Attribute("code", Kind.UINT8, "type"))

_MAC = (*_macs(signs=True), Attribute("protocolid", Kind.MAC_PROTOCOL), *_COMMENT)
_VLAN = (
    *_macs(signs=True),
    Attribute("vlanid", Kind.VLAN_ID),
    Attribute("encap-protocol", Kind.VLAN_PROTOCOL),
    *_COMMENT,
)


def _stp_pair(name: str, kind: Kind) -> tuple[Attribute, ...]:
    return (Attribute(name, kind), Attribute(f"{name}-hi", kind, name))


def _stp_address(name: str) -> tuple[Attribute, ...]:
    return (Attribute(name, Kind.MAC), Attribute(f"{name}-mask", Kind.MAC_MASK, name))


_STP = (
    *_macs(signs=True)[:2],
    *_of(Kind.UINT8, "type", "flags"),
    *_stp_pair("root-priority", Kind.UINT16),
    *_stp_address("root-address"),
    *_stp_pair("root-cost", Kind.UINT32),
    *_stp_pair("sender-priority", Kind.UINT16),
    *_stp_address("sender-address"),
    *(
        attribute
        for name in ("port", "age", "max-age", "hello-time", "forward-delay")
        for attribute in _stp_pair(name, Kind.UINT16)
    ),
    *_COMMENT,
)
_ARP = (
    *_macs(signs=False),
    *_of(Kind.UINT16, "hwtype", "protocoltype"),
    Attribute("opcode", Kind.ARP_OPCODE),
    *_of(Kind.MAC, "arpsrcmacaddr", "arpdstmacaddr"),
    Attribute("arpsrcipaddr", Kind.IPV4),
    Attribute("arpsrcipmask", Kind.IPV4_MASK),
    Attribute("arpdstipaddr", Kind.IPV4),
    Attribute("arpdstipmask", Kind.IPV4_MASK),
    Attribute("gratuitous", Kind.BOOLEAN),
    *_COMMENT,
)
_IP = (
    *_macs(signs=False),
    *_addresses(Kind.IPV4, Kind.IPV4_MASK),
    Attribute("protocol", Kind.IP_PROTOCOL),
    *_PORTS,
    Attribute("dscp", Kind.DSCP),
    *_COMMENT,
)
_IPV6 = (
    *_macs(signs=False),
    *_addresses(Kind.IPV6, Kind.IPV6_MASK),
    Attribute("protocol", Kind.IP_PROTOCOL),
    *_PORTS,
    *_ICMP_RANGES,
    *_COMMENT,
)


def _layer4(name: str, number: int | None, own: tuple[Attribute, ...], own6: tuple[Attribute, ...]) -> list[Protocol]:
    """Give ``name`` over IPv4 and over IPv6; ``dstipto`` of the latter takes an IPv4 address only, as in libvirt."""
    made = []
    for family, address, mask, element, more in (
        (Family.IPTABLES, Kind.IPV4, Kind.IPV4_MASK, name, own),
        (Family.IP6TABLES, Kind.IPV6, Kind.IPV6_MASK, f"{name}-ipv6", own6),
    ):
        common = (
            Attribute("srcmacaddr", Kind.MAC),
            *_addresses(address, mask),
            Attribute("srcipfrom", address),
            Attribute("srcipto", address, "srcipfrom"),
            Attribute("dstipfrom", address),
            Attribute("dstipto", Kind.IPV4, "dstipfrom"),
            Attribute("dscp", Kind.DSCP),
            Attribute("connlimit-above", Kind.CONNLIMIT),
            Attribute("state", Kind.STATE),
            Attribute("ipset", Kind.IPSET_NAME),
            Attribute("ipsetflags", Kind.IPSET_FLAGS),
        )
        made.append(Protocol(element, family, (*common, *more, *_COMMENT), number))
    return made


_OPTION = Attribute("option", Kind.UINT8)
_TCP_FLAGS = Attribute("flags", Kind.TCP_FLAGS)
_PAIRS: Final = [
    *_layer4("tcp", 6, (*_SIGNED_PORTS, _OPTION, _TCP_FLAGS), (*_SIGNED_PORTS, _OPTION)),
    *_layer4("udp", 17, _SIGNED_PORTS, _SIGNED_PORTS),
    *_layer4("udplite", 136, (), ()),
    *_layer4("esp", 50, (), ()),
    *_layer4("ah", 51, (), ()),
    *_layer4("sctp", 132, _SIGNED_PORTS, _SIGNED_PORTS),
    *_layer4("all", None, (), ()),
    _layer4("icmp", 1, _ICMP, ())[0],
    _layer4("igmp", 2, (), ())[0],
    Protocol("icmpv6", Family.IP6TABLES, _layer4("icmpv6", 58, (), _ICMP)[1].attributes, 58),
]

PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol
    for protocol in (
        Protocol("mac", Family.EBTABLES, _MAC),
        Protocol("vlan", Family.EBTABLES, _VLAN),
        Protocol("stp", Family.EBTABLES, _STP),
        Protocol("arp", Family.EBTABLES, _ARP),
        Protocol("rarp", Family.EBTABLES, _ARP),
        Protocol("ip", Family.EBTABLES, _IP),
        Protocol("ipv6", Family.EBTABLES, _IPV6),
        *_PAIRS,
    )
}
"""Every element that libvirt knows inside a rule; the name ``none`` of a rule without an element is not one."""

_ORDER: Final = {
    protocol.name: {attribute.name: place for place, attribute in enumerate(protocol.attributes)}
    for protocol in PROTOCOLS.values()
}

CHAIN_PRIORITIES: Final = {
    "root": 0,
    "mac": -800,
    "vlan": -750,
    "stp": 0,
    "ipv4": -700,
    "ipv6": -600,
    "arp": -500,
    "rarp": -400,
}
"""Default priority of a filter's chain by the prefix of its name; ``stp`` is missing in libvirt's table and gets 0."""

CHAIN_NAME_LIMIT: Final = 12
"""MAX_CHAIN_SUFFIX_SIZE of libvirt's nwfilter_conf.h; longer names are refused."""

PRIORITY_LIMIT: Final = 1000
"""Rules and chains have priorities from minus this to this."""

DEFAULT_RULE_PRIORITY: Final = 500
"""What a rule without a priority, or with one that is out of range or no number, gets."""

IPSET_LOSERS: Final = frozenset(name for name in PROTOCOLS if name not in ("all", "all-ipv6"))
"""Elements that lose ``ipset`` where ``ipsetflags`` is given too: the test in virNWFilterRuleDefFixupIPSet is wrong."""


def attribute_order(protocol: str, name: str) -> tuple[int, str]:
    """Give a sort key that puts the attributes of ``protocol`` in libvirt's order, unknown ones last by name."""
    known = _ORDER.get(protocol, {})
    return known.get(name, len(known)), name


def chain_prefix(chain: str) -> str | None:
    """Give the prefix that makes ``chain`` an allowed chain name (``mac``, ``ipv4``...), None where there is none.

    ``root`` is allowed as a whole name only (virNWFilterIsAllowedChain).
    """
    if chain.startswith("root"):
        return "root" if chain == "root" else None
    return next((prefix for prefix in CHAIN_PRIORITIES if prefix != "root" and chain.startswith(prefix)), None)
