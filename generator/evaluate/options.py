"""What the options of ebtables, iptables and ip6tables test, in the terms of fields.py.

Reads the words of a command as the program itself does (ebtables-nft and iptables 1.8.9): bases of numbers, names
of protocols and of MAC groups, masks that hide host bits. So a value that came out of a variable, which libvirt never
looks at, means here what it means to the kernel. Called by compiled.py, once per command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from generator.evaluate.fields import Field, Op, Reason
from generator.nwfilter.protocols import Family
from generator.nwfilter.values import ETHERTYPE_NAMES, PROTOCOL_NAMES, TCP_FLAG_BITS, parse_colon_mac, parse_ip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FULL: Final = 0xFFFF_FFFF_FFFF_FFFF
_MAC_FULL: Final = 0xFFFF_FFFF_FFFF
_ICMP_ANY: Final = 255
"""iptables' own mark for any ICMP type; ip6tables has none."""


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of a field with the operands of its op."""

    field: Field
    op: Op
    inverted: bool = False
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0


class RefusedError(Exception):
    """The program refuses a word of the command: libvirt cannot instantiate the rule."""


_MAC_NAMES: Final = {
    "unicast": (0, 0x0100_0000_0000),
    "multicast": (0x0100_0000_0000, 0x0100_0000_0000),
    "broadcast": (_MAC_FULL, _MAC_FULL),
    "bga": (0x0180_C200_0000, _MAC_FULL),
}
"""Names that ebtables takes for an address with its mask; a variable can hold one."""

_ETHERTYPES: Final = {
    **{name: number for number, name in ETHERTYPE_NAMES.items() if name != "vlan"},
    "802_1q": 0x8100,
    "8021q": 0x8100,
    "ip": 0x0800,
}
_PROTOCOLS: Final = {
    **{name: number for number, name in PROTOCOL_NAMES.items()},
    "dccp": 33,
    "ipv6-icmp": 58,
    "icmp6": 58,
    "vrrp": 112,
    "gre": 47,
    "ospf": 89,
    "pim": 103,
    "ip": 0,
}


def _number(text: str, base: int, limit: int, lowest: int = 0) -> int:
    try:
        number = int(text, base)
    except ValueError:
        raise RefusedError(f"{text!r} is no number here") from None
    if "_" in text or not lowest <= number <= limit:
        raise RefusedError(f"{text!r} is not between {lowest} and {limit}")
    return number


def _mac(text: str) -> int:
    number = parse_colon_mac(text)
    if number is None:
        raise RefusedError(f"{text!r} is no MAC address")
    return number


def _mac_test(field: Field, text: str, *, inverted: bool) -> Test:
    address, slash, mask_text = text.partition("/")
    if not slash and address.lower() in _MAC_NAMES:
        value, mask = _MAC_NAMES[address.lower()]
    else:
        mask = _mac(mask_text) if slash else _MAC_FULL
        value = _mac(address) & mask
        if not mask:
            raise RefusedError(f"the mask of {text!r} hides everything, which ebtables-nft cannot install")
    return Test(field, Op.EQUAL, inverted, mask, value)


def _mac_plain(field: Field, text: str, *, inverted: bool) -> Test:
    """Compare under a mask without hiding host bits, as ebt_stp and ebt_arp do; bits outside the mask do not count."""
    address, slash, mask_text = text.partition("/")
    mask = _mac(mask_text) if slash else _MAC_FULL
    return Test(field, Op.EQUAL, inverted, mask, _mac(address) & mask)


def _ip(text: str, version: int) -> int:
    number = parse_ip(text, version)
    if number is None:
        raise RefusedError(f"{text!r} is no IPv{version} address")
    return number


def _mask(text: str, version: int) -> int:
    bits = 32 if version == 4 else 128  # noqa: PLR2004
    if text.isdecimal():
        length = _number(text, 10, bits)
        return ((1 << length) - 1) << (bits - length)
    return _ip(text, version)


def _ipv4_test(field: Field, text: str, *, inverted: bool) -> Test:
    address, slash, mask_text = text.partition("/")
    mask = _mask(mask_text, 4) if slash else 0xFFFF_FFFF
    return Test(field, Op.EQUAL, inverted, mask, _ip(address, 4) & mask)


def _ipv6_test(field: Field, text: str, *, inverted: bool) -> Test:
    address, slash, mask_text = text.partition("/")
    mask = _mask(mask_text, 6) if slash else (1 << 128) - 1
    value = _ip(address, 6) & mask
    return Test(field, Op.EQUAL_PAIR, inverted, mask >> 64, value >> 64, mask & _FULL, value & _FULL)


def _range_test(field: Field, text: str, limit: int, *, inverted: bool) -> Test:
    low_text, colon, high_text = text.partition(":")
    low = _number(low_text, 10, limit) if low_text or not colon else 0
    high = _number(high_text, 10, limit) if high_text else (limit if colon else low)
    if low > high:
        raise RefusedError(f"the range {text!r} ends before it begins")
    return Test(field, Op.RANGE, inverted, low, high)


def _ports(field: Field) -> Callable[[str, bool], Test]:
    return lambda text, inverted: _range_test(field, text, 0xFFFF, inverted=inverted)


def _equal(field: Field, base: int, limit: int) -> Callable[[str, bool], Test]:
    return lambda text, inverted: Test(field, Op.EQUAL, inverted, _FULL, _number(text, base, limit))


def _ethertype(text: str, inverted: bool) -> Test:  # noqa: FBT001
    number = _ETHERTYPES.get(text.lower())
    if number is None:
        number = _number(text, 16, 0xFFFF, 0x600)  # ebtables reads base 16, with or without 0x
    return Test(Field.TYPE, Op.EQUAL, inverted, _FULL, number)


def _encapsulated(text: str, inverted: bool) -> Test:  # noqa: FBT001
    """Read as ebtables does: base 16, though libvirt writes decimal, and only the low 16 bits count."""
    number = _ETHERTYPES.get(text.lower())
    if number is None:
        number = _number(text, 16, 0xFFFF_FFFF) & 0xFFFF
    return Test(Field.ENCAP, Op.EQUAL, inverted, _FULL, number)


def _protocol(field: Field) -> Callable[[str, bool], Test]:
    def read(text: str, inverted: bool) -> Test:  # noqa: FBT001
        number = _PROTOCOLS.get(text.lower())
        return Test(field, Op.EQUAL, inverted, _FULL, _number(text, 10, 0xFF) if number is None else number)

    return read


def _icmp6(text: str, inverted: bool) -> Test:  # noqa: FBT001
    types, _, codes = text.partition("/")
    kind = _range_test(Field.ICMP6_TYPE, types, 0xFF, inverted=inverted)
    code = _range_test(Field.ICMP6_CODE, codes or "0:255", 0xFF, inverted=inverted)
    return Test(Field.ICMP6_TYPE, Op.RANGE_BOTH, inverted, kind.a, kind.b, code.a, code.b)


def _icmp(field: Field) -> Callable[[str, bool], Test]:
    def read(text: str, inverted: bool) -> Test:  # noqa: FBT001
        kind_text, slash, code_text = text.partition("/")
        kind = _number(kind_text, 10, 0xFF)
        code = _number(code_text, 10, 0xFF) if slash else -1
        low, high = (code, code) if slash else (0, 0xFF)
        if field is Field.ICMP_TYPE and kind == _ICMP_ANY:
            return Test(field, Op.RANGE_BOTH, inverted, 0, 0xFF, 0, 0xFF)
        return Test(field, Op.RANGE_BOTH, inverted, kind, kind, low, high)

    return read


def _address_range(field: Field, version: int) -> Callable[[str, bool], Test]:
    def read(text: str, inverted: bool) -> Test:  # noqa: FBT001
        first_text, dash, last_text = text.partition("-")
        first = _ip(first_text, version)
        last = _ip(last_text, version) if dash else first
        if version == 4:  # noqa: PLR2004
            return Test(field, Op.RANGE, inverted, first, last)
        return Test(field, Op.RANGE_PAIR, inverted, first >> 64, first & _FULL, last >> 64, last & _FULL)

    return read


def _unknown(reason: Reason) -> Callable[[str, bool], Test]:
    return lambda _text, _inverted: Test(Field.DST, Op.UNKNOWN, a=int(reason))


_EBTABLES: Final[dict[str, Callable[[str, bool], Test]]] = {
    "-s": lambda text, inverted: _mac_test(Field.SRC, text, inverted=inverted),
    "-d": lambda text, inverted: _mac_test(Field.DST, text, inverted=inverted),
    "-p": _ethertype,
    "--vlan-id": _equal(Field.VID, 10, 4094),
    "--vlan-encap": _encapsulated,
    "--arp-htype": _equal(Field.ARP_HTYPE, 10, 0xFFFF),
    "--arp-opcode": _equal(Field.ARP_OPCODE, 10, 0xFFFF),
    "--arp-ptype": _equal(Field.ARP_PTYPE, 16, 0xFFFF),
    "--arp-ip-src": lambda text, inverted: _ipv4_test(Field.ARP_SIP, text, inverted=inverted),
    "--arp-ip-dst": lambda text, inverted: _ipv4_test(Field.ARP_DIP, text, inverted=inverted),
    "--arp-mac-src": lambda text, inverted: _mac_plain(Field.ARP_SMAC, text, inverted=inverted),
    "--arp-mac-dst": lambda text, inverted: _mac_plain(Field.ARP_DMAC, text, inverted=inverted),
    "--arp-gratuitous": lambda _text, inverted: Test(Field.ARP_GRATUITOUS, Op.EQUAL, inverted, _FULL, 1),
    "--ip-source": lambda text, inverted: _ipv4_test(Field.SADDR, text, inverted=inverted),
    "--ip-destination": lambda text, inverted: _ipv4_test(Field.DADDR, text, inverted=inverted),
    "--ip-protocol": _protocol(Field.PROTO),
    "--ip-source-port": _ports(Field.SPORT),
    "--ip-destination-port": _ports(Field.DPORT),
    "--ip-tos": _equal(Field.TOS, 16, 0xFF),
    "--ip6-source": lambda text, inverted: _ipv6_test(Field.SADDR6, text, inverted=inverted),
    "--ip6-destination": lambda text, inverted: _ipv6_test(Field.DADDR6, text, inverted=inverted),
    "--ip6-protocol": _protocol(Field.PROTO6),
    "--ip6-source-port": _ports(Field.SPORT),
    "--ip6-destination-port": _ports(Field.DPORT),
    "--ip6-icmp-type": _icmp6,
    "--stp-type": _equal(Field.STP_TYPE, 0, 0xFF),
    "--stp-flags": _equal(Field.STP_FLAGS, 0, 0xFF),
    "--stp-root-pri": lambda text, inverted: _range_test(Field.STP_ROOT_PRIO, text, 0xFFFF, inverted=inverted),
    "--stp-root-addr": lambda text, inverted: _mac_plain(Field.STP_ROOT_ADDR, text, inverted=inverted),
    "--stp-root-cost": lambda text, inverted: _range_test(Field.STP_ROOT_COST, text, 0xFFFF_FFFF, inverted=inverted),
    "--stp-sender-prio": lambda text, inverted: _range_test(Field.STP_SENDER_PRIO, text, 0xFFFF, inverted=inverted),
    "--stp-sender-addr": lambda text, inverted: _mac_plain(Field.STP_SENDER_ADDR, text, inverted=inverted),
    "--stp-port": _ports(Field.STP_PORT),
    "--stp-msg-age": _ports(Field.STP_MSG_AGE),
    "--stp-max-age": _ports(Field.STP_MAX_AGE),
    "--stp-hello-time": _ports(Field.STP_HELLO),
    "--stp-forward-delay": _ports(Field.STP_DELAY),
}


def _layer3(version: int) -> dict[str, Callable[[str, bool], Test]]:
    source, destination = (Field.SADDR, Field.DADDR) if version == 4 else (Field.SADDR6, Field.DADDR6)  # noqa: PLR2004
    address = _ipv4_test if version == 4 else _ipv6_test  # noqa: PLR2004
    return {
        "-p": _protocol(Field.PROTO if version == 4 else Field.PROTO6),  # noqa: PLR2004
        "--mac-source": lambda text, inverted: _mac_test(Field.SRC, text, inverted=inverted),
        "--source": lambda text, inverted: address(source, text, inverted=inverted),
        "--destination": lambda text, inverted: address(destination, text, inverted=inverted),
        "--src-range": _address_range(source, version),
        "--dst-range": _address_range(destination, version),
        "--dscp": _equal(Field.DSCP, 10, 63),
        "--sport": _ports(Field.SPORT),
        "--dport": _ports(Field.DPORT),
        "--icmp-type": _icmp(Field.ICMP_TYPE),
        "--icmpv6-type": _icmp(Field.ICMP6_TYPE),
        "--tcp-option": _unknown(Reason.OPTION),
        "--ctstate": _unknown(Reason.STATE),
        "--ctdir": _unknown(Reason.STATE),
        "--match-set": _unknown(Reason.IPSET),
        "--connlimit-above": _unknown(Reason.CONNLIMIT),
    }


_READERS: Final = {Family.EBTABLES: _EBTABLES, Family.IPTABLES: _layer3(4), Family.IP6TABLES: _layer3(6)}
_WITH_PORTS: Final = frozenset({6, 17, 136, 132, 33})
PROTOCOL_ICMPV6: Final = 58
_SILENT: Final = {"-m": 1, "--comment": 1}
_FLAGS: Final = frozenset({"--arp-gratuitous"})


def _tcp_flags(words: Sequence[str], inverted: bool) -> Test:  # noqa: FBT001
    mask, flags = (
        sum({TCP_FLAG_BITS[word] for word in text.split(",")}) if text not in ("ALL", "NONE") else TCP_FLAG_BITS[text]
        for text in words
    )
    return Test(Field.TCP_FLAGS, Op.EQUAL, inverted, mask, flags)


def read_tests(family: Family, arguments: Sequence[str]) -> list[Test]:
    """Give the tests that the words between a chain and ``-j`` stand for; all of them must hold.

    Raises RefusedError where the program would refuse a word.
    """
    readers = _READERS[family]
    tests: list[Test] = []
    rest = list(arguments)
    inverted = False
    while rest:
        word = rest.pop(0)
        if word == "!":
            inverted = True
            continue
        if word in _SILENT:
            del rest[: _SILENT[word]]
            continue
        if word == "-p" and rest and rest[0] == "all":
            rest.pop(0)
            continue
        if word in _FLAGS:
            tests.append(readers[word]("", inverted))
            inverted = False
            continue
        if rest and rest[0] == "!":
            rest.pop(0)
            inverted = True
        if word == "--tcp-flags":
            tests.append(_tcp_flags(rest[:2], inverted))
            del rest[:2]
        elif word in readers and rest:
            tests.append(readers[word](rest.pop(0), inverted))
            del rest[: 1 if word == "--match-set" else 0]
        else:
            raise RefusedError(f"unknown option {word!r}")
        inverted = False
    _require_protocol(family, arguments)
    return tests


def _require_protocol(family: Family, arguments: Sequence[str]) -> None:
    """Refuse what ebt_ip_mt_check and ebt_ip6_mt_check refuse: ports or ICMPv6 types without their protocol."""
    if family is not Family.EBTABLES:
        return
    words = list(arguments)
    for option in ("--ip-protocol", "--ip6-protocol"):
        version = option.split("-")[2]
        ports = f"--{version}-source-port" in words or f"--{version}-destination-port" in words
        icmp = version == "ip6" and "--ip6-icmp-type" in words
        given = words[words.index(option) + 1] if option in words else ""
        number = _PROTOCOLS.get(given.lower(), int(given) if given.isdecimal() else -1)
        if ports and number not in _WITH_PORTS:
            raise RefusedError("ports need protocol tcp, udp, udplite, sctp or dccp, not negated")
        if icmp and number != PROTOCOL_ICMPV6:
            raise RefusedError("an ICMPv6 type needs protocol='icmpv6', not negated")
