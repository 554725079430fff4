"""Values of nwfilter attributes: what libvirt takes, what it means, and how libvirt writes it back.

Every kind of value has one reader here; it follows virNWFilterRuleDetailsParse and its validators in libvirt 9.0.0's
src/conf/nwfilter_conf.c to the letter, oddities included: decimal is tried before hexadecimal, with or without 0x, and
a MAC group may have one digit. Variables (``$X``) never come here, see variables.py.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class Kind(Enum):
    """The kinds of values an attribute can have."""

    MAC = auto()
    MAC_MASK = auto()
    MAC_PROTOCOL = auto()
    VLAN_ID = auto()
    VLAN_PROTOCOL = auto()
    ARP_OPCODE = auto()
    UINT8 = auto()
    UINT16 = auto()
    UINT32 = auto()
    CONNLIMIT = auto()
    DSCP = auto()
    BOOLEAN = auto()
    IPV4 = auto()
    IPV4_MASK = auto()
    IPV6 = auto()
    IPV6_MASK = auto()
    IP_PROTOCOL = auto()
    STATE = auto()
    TCP_FLAGS = auto()
    IPSET_NAME = auto()
    IPSET_FLAGS = auto()
    COMMENT = auto()


@dataclass(frozen=True, slots=True)
class Value:
    """One legal value.

    ``number`` is what it stands for: the integer, the MAC, the address, the length of a mask's prefix (the whole mask
    for MAC_MASK), the bits of STATE, mask << 8 | flags of TCP_FLAGS; 0 for text. ``text`` is how libvirt writes it.
    """

    number: int
    text: str


ETHERTYPE_NAMES: Final = {0x0806: "arp", 0x8035: "rarp", 0x0800: "ipv4", 0x86DD: "ipv6", 0x8100: "vlan"}
OPCODE_NAMES: Final = dict(
    enumerate(
        (
            "Request",
            "Reply",
            "Request_Reverse",
            "Reply_Reverse",
            "DRARP_Request",
            "DRARP_Reply",
            "DRARP_Error",
            "InARP_Request",
            "ARP_NAK",
        ),
        start=1,
    )
)
PROTOCOL_NAMES: Final = {
    6: "tcp",
    17: "udp",
    136: "udplite",
    50: "esp",
    51: "ah",
    1: "icmp",
    2: "igmp",
    132: "sctp",
    58: "icmpv6",
}
STATE_NONE: Final = 16
_STATES: Final = {"NEW": 1, "ESTABLISHED": 2, "RELATED": 4, "INVALID": 8, "NONE": STATE_NONE}
TCP_FLAG_BITS: Final = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}
_NUMBER = {10: re.compile(r"[ \t-\r]*[+-]?[0-9]+"), 16: re.compile(r"[ \t-\r]*[+-]?(0[xX])?[0-9a-fA-F]+")}
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")
_IPSET = re.compile(r"[a-zA-Z0-9_.:\-+ ]*")
_UINT32_MAX: Final = 0xFFFF_FFFF
_DSCP_MAX: Final = 63
_VLAN_MAX: Final = 4095
_IPSET_FLAGS_MAX: Final = 6
_IPSET_NAME_OCTETS: Final = 31
COMMENT_OCTETS: Final = 256
"""MAX_COMMENT_LENGTH of libvirt's nwfilter_conf.h; longer comments are cut without a word."""


def _unsigned(text: str, base: int) -> int | None:
    """Read as virStrToLong_ui does: leading blanks and a sign allowed, -1 is the largest number; None if illegal."""
    if not _NUMBER[base].fullmatch(text):
        return None
    number = int(text, base)
    if abs(number) > _UINT32_MAX:
        return None
    return number & _UINT32_MAX


def _number(text: str, limit: int) -> Value | None:
    decimal = _unsigned(text, 10)
    if decimal is not None and decimal <= limit:
        return Value(decimal, str(decimal))
    hexadecimal = _unsigned(text, 16)
    if hexadecimal is not None and hexadecimal <= limit:
        return Value(hexadecimal, f"0x{hexadecimal:x}")
    return None


def _named(text: str, limit: int, lowest: int, names: dict[int, str]) -> Value | None:
    """Read a number of at least ``lowest`` or a name in any case; a number that has a name is written by name."""
    value = _number(text, limit)
    if value is None:
        value = next((Value(number, name) for number, name in names.items() if name.lower() == text.lower()), None)
    if value is None or value.number < lowest:
        return None
    return Value(value.number, names.get(value.number, value.text))


def parse_colon_mac(text: str) -> int | None:
    """Read a MAC as virMacAddrParse does: six groups of one or two hexadecimal digits with colons; None if illegal."""
    if not _MAC.fullmatch(text):
        return None
    number = 0
    for group in text.split(":"):
        number = number << 8 | int(group, 16)
    return number


def mac_text(mac: int) -> str:
    """Write a MAC or a mask of one as libvirt does."""
    return ":".join(f"{mac >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


def prefix_length(mask: int, bits: int) -> int | None:
    """Give the number of leading ones of ``mask``; None where ones follow a zero."""
    length = mask.bit_count()
    return length if mask == ((1 << length) - 1) << (bits - length) else None


def parse_ip(text: str, version: int) -> int | None:
    """Read an address as getaddrinfo with AI_NUMERICHOST does; None if it is none of that version."""
    if not text.isascii() or any(char.isspace() for char in text) or "\0" in text:
        return None
    try:
        octets = socket.inet_aton(text) if version == 4 else socket.inet_pton(socket.AF_INET6, text)  # noqa: PLR2004
    except OSError:
        return None
    return int.from_bytes(octets, "big")


def ip_text(number: int, version: int) -> str:
    """Write an address as getnameinfo does (``::ffff:10.1.2.3`` for a mapped one)."""
    if version == 4:  # noqa: PLR2004
        return socket.inet_ntop(socket.AF_INET, number.to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))


def _address(text: str, version: int) -> Value | None:
    number = parse_ip(text, version)
    return None if number is None else Value(number, ip_text(number, version))


def _ip_mask(text: str, version: int) -> Value | None:
    bits = 32 if version == 4 else 128  # noqa: PLR2004
    length = _unsigned(text, 10)
    if length is None:
        mask = parse_ip(text, version)
        length = None if mask is None else prefix_length(mask, bits)
    return None if length is None or length > bits else Value(length, str(length))


def _words(text: str, words: dict[str, int]) -> int | None:
    """Read words in any case, separated by commas, blanks or nothing (parseStringItems); None at an unknown one."""
    found = 0
    rest = text.lstrip(" \t\n\r\v\f,")
    while rest:
        word = next((word for word in words if rest[: len(word)].upper() == word), None)
        if word is None:
            return None
        found |= words[word]
        rest = rest[len(word) :].lstrip(" \t\n\r\v\f,")
    return found


def state_text(bits: int) -> str:
    """Write connection states in libvirt's order: ``NEW,ESTABLISHED``."""
    return ",".join(word for word, bit in _STATES.items() if bits & bit)


def tcp_flags_text(bits: int) -> str:
    """Write one side of TCP flags: ``NONE``, ``ALL``, or the names in the order of their bits."""
    if bits in (0, 63):
        return "ALL" if bits else "NONE"
    return ",".join(word for word, bit in TCP_FLAG_BITS.items() if bits & bit == bit and word not in ("ALL", "NONE"))


def _state(text: str) -> Value | None:
    bits = _words(text, _STATES)
    if bits is None:
        return None
    bits = STATE_NONE if bits & STATE_NONE else bits
    return Value(bits, state_text(bits))


def _tcp_flags(text: str) -> Value | None:
    mask_text, slash, flags_text = text.partition("/")
    mask, flags = _words(mask_text, TCP_FLAG_BITS), _words(flags_text, TCP_FLAG_BITS)
    if not slash or mask is None or flags is None:
        return None
    return Value(mask << 8 | flags, f"{tcp_flags_text(mask)}/{tcp_flags_text(flags)}")


def _ipset_flags(text: str) -> Value | None:
    words = text.lower().split(",")
    if len(words) > _IPSET_FLAGS_MAX or not set(words) <= {"src", "dst"}:
        return None
    return Value(0, ",".join(words))


def _text(kind: Kind, text: str) -> Value | None:
    match kind:
        case Kind.STATE:
            return _state(text)
        case Kind.TCP_FLAGS:
            return _tcp_flags(text)
        case Kind.IPSET_NAME:
            legal = _IPSET.fullmatch(text) and len(text) <= _IPSET_NAME_OCTETS
            return Value(0, text) if legal else None
        case Kind.IPSET_FLAGS:
            return _ipset_flags(text)
        case Kind.BOOLEAN:
            number = int(text in ("true", "1", "yes"))
            return Value(number, "true" if number else "false")
        case _:
            return Value(0, text.encode()[:COMMENT_OCTETS].decode(errors="ignore"))


def _mac(kind: Kind, text: str) -> Value | None:
    number = parse_colon_mac(text)
    if number is None or (kind is Kind.MAC_MASK and prefix_length(number, 48) is None):
        return None
    return Value(number, mac_text(number))


def _decimal(text: str) -> Value | None:
    number = _unsigned(text, 10)
    return None if number is None or number > 0xFFFF else Value(number, str(number))  # noqa: PLR2004


def _opcode(text: str) -> Value | None:
    value = _named(text, 0xFFFF, 0, OPCODE_NAMES)
    return value and Value(value.number, OPCODE_NAMES.get(value.number, str(value.number)))


def _vlan_id(text: str) -> Value | None:
    value = _number(text, 0xFFFF)
    return value if value is not None and value.number <= _VLAN_MAX else None


def _dscp(text: str) -> Value | None:
    value = _number(text, 0xFF)
    return value if value is not None and value.number <= _DSCP_MAX else None


_READERS: Final[dict[Kind, Callable[[str], Value | None]]] = {
    Kind.MAC_PROTOCOL: lambda text: _named(text, 0xFFFF, 0x600, ETHERTYPE_NAMES),
    Kind.VLAN_PROTOCOL: lambda text: _named(text, 0xFFFF, 0x3C, ETHERTYPE_NAMES),
    Kind.VLAN_ID: _vlan_id,
    Kind.ARP_OPCODE: _opcode,
    Kind.IP_PROTOCOL: lambda text: _named(text, 0xFF, 0, PROTOCOL_NAMES),
    Kind.UINT8: lambda text: _number(text, 0xFF),
    Kind.UINT16: lambda text: _number(text, 0xFFFF),
    Kind.UINT32: lambda text: _number(text, _UINT32_MAX),
    Kind.CONNLIMIT: _decimal,
    Kind.DSCP: _dscp,
    Kind.IPV4: lambda text: _address(text, 4),
    Kind.IPV6: lambda text: _address(text, 6),
    Kind.IPV4_MASK: lambda text: _ip_mask(text, 4),
    Kind.IPV6_MASK: lambda text: _ip_mask(text, 6),
}


def parse_value(kind: Kind, text: str) -> Value | None:
    """Give the value that ``text`` is for an attribute of ``kind``; None where libvirt refuses it."""
    if kind in (Kind.MAC, Kind.MAC_MASK):
        return _mac(kind, text)
    reader = _READERS.get(kind)
    return reader(text) if reader is not None else _text(kind, text)
