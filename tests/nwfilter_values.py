"""Random filters and random frames whose values meet: hypothesis strategies and a frame maker."""

from __future__ import annotations

import struct
from socket import AF_INET6, inet_aton, inet_pton
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection
from generator.nwfilter.protocols import PROTOCOLS, Family
from generator.nwfilter.values import Kind

if TYPE_CHECKING:
    from random import Random


MACS = (
    "02:00:00:00:00:05",
    "02:00:00:00:00:06",
    "52:54:00:00:00:01",
    "01:00:5e:00:00:05",
    "33:33:00:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "01:80:c2:00:00:00",
)
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.1.2", "224.0.0.5", "255.255.255.255", "0.0.0.0")  # noqa: S104
ADDRESSES6 = ("fe80::1", "fe80::2", "2001:db8::1", "ff02::1", "::")
PORTS = (22, 67, 80)
_VALUES: dict[Kind, tuple[str, ...]] = {
    Kind.MAC: (*MACS, "$MAC", "$OTHERS"),
    Kind.MAC_MASK: ("ff:ff:ff:ff:ff:ff", "ff:ff:ff:00:00:00", "80:00:00:00:00:00", "00:00:00:00:00:00", "$GROUP"),
    Kind.MAC_PROTOCOL: ("arp", "ipv4", "ipv6", "rarp", "vlan", "0x88b5", "1536", "0x88a8"),
    Kind.VLAN_ID: ("0", "5", "0x64", "4095"),
    Kind.VLAN_PROTOCOL: ("arp", "ipv4", "0x800", "60", "800", "0x88b5", "35000"),
    Kind.ARP_OPCODE: ("Request", "Reply", "3", "0x2", "65535"),
    Kind.UINT8: ("0", "1", "8", "0x80", "128", "135", "255"),
    Kind.UINT16: ("0", "1", "22", "67", "80", "256", "2048", "65535"),
    Kind.UINT32: ("0", "4", "0x10000", "4294967295"),
    Kind.DSCP: ("0", "46", "0x3f", "10"),
    Kind.BOOLEAN: ("true", "false"),
    Kind.IPV4: (*ADDRESSES, "$IP"),
    Kind.IPV4_MASK: ("0", "4", "24", "32", "255.255.0.0"),
    Kind.IPV6: ADDRESSES6,
    Kind.IPV6_MASK: ("0", "10", "64", "128", "ffff::"),
    Kind.IP_PROTOCOL: ("tcp", "udp", "icmp", "icmpv6", "igmp", "0", "255", "0x2b", "44", "ah"),
    Kind.CONNLIMIT: ("1", "10"),
    Kind.STATE: ("NEW", "ESTABLISHED,RELATED", "NONE"),
    Kind.TCP_FLAGS: ("SYN/ALL", "SYN/SYN,ACK", "NONE/NONE"),
    Kind.IPSET_NAME: ("hosts",),
    Kind.IPSET_FLAGS: ("src", "src,dst"),
    Kind.COMMENT: ("why not?", "a 'b' \"c\" <d> & e\n\t"),
}
EVERY_VALUE = tuple(sorted({value for values in _VALUES.values() for value in values}))
VARIABLES = {
    "MAC": ("52:54:00:00:00:01",),
    "OTHERS": ("02:00:00:00:00:05", "02:00:00:00:00:06", "02:00:00:00:00:05"),
    "GROUP": ("01:00:00:00:00:00",),
    "IP": ("10.0.0.1", "10.0.1.2"),
}
LAYER2 = (
    *(name for name, protocol in PROTOCOLS.items() if protocol.family is Family.EBTABLES),
    *("stp", "arp", "ip", "ip", "ipv6", "ipv6"),
)
CHAINS = ("mac-x", "vlan-x", "stp-x", "arp-x", "rarp-x", "ipv4-x", "ipv6-x", "mac", "ipv4")


@st.composite
def matches(draw: st.DrawFn, protocols: tuple[str, ...] = tuple(PROTOCOLS)) -> Match:
    """Give an element whose values libvirt takes one by one."""
    protocol = PROTOCOLS[draw(st.sampled_from(protocols))]
    own = [each for each in protocol.attributes if not each.name.startswith(("srcmac", "dstmac"))]
    pool = own if draw(st.integers(0, 3)) else protocol.attributes
    chosen = draw(st.lists(st.sampled_from(pool), unique=True, max_size=draw(st.sampled_from((1, 1, 2, 4)))))
    names = {attribute.name for attribute in chosen}
    pairs = [(attribute.name, draw(st.sampled_from(_VALUES[attribute.kind]))) for attribute in chosen]
    if protocol.name in ("ip", "ipv6"):
        pairs = [pair for pair in pairs if pair[0] != "protocol"]
        if any("port" in name for name in names):
            pairs.append(("protocol", draw(st.sampled_from(("tcp", "udp")))))
        elif names & {"type", "typeend", "code", "codeend"}:
            pairs.append(("protocol", "icmpv6"))
        elif "protocol" in names:
            pairs.append(("protocol", draw(st.sampled_from(_VALUES[Kind.IP_PROTOCOL]))))
    return Match(protocol.name, tuple(pairs), draw(st.booleans()) and draw(st.booleans()))


@st.composite
def rules(draw: st.DrawFn, protocols: tuple[str, ...] = tuple(PROTOCOLS)) -> Rule:
    """Give a rule; one in eight has no element."""
    match = draw(matches(protocols)) if draw(st.integers(0, 7)) else None
    return Rule(
        draw(st.sampled_from((*Action, *[Action.CONTINUE] * 7))),
        draw(st.sampled_from(RuleDirection)),
        draw(st.integers(-1000, 1000)),
        match,
        statematch=draw(st.booleans()),
    )


@st.composite
def trees(draw: st.DrawFn, protocols: tuple[str, ...] = LAYER2) -> tuple[Filter, dict[str, Filter]]:
    """Give a filter and the library of those it refers to: sub-chains of distinct priorities, some of them nested."""
    chains = draw(st.lists(st.sampled_from(CHAINS), unique=True, max_size=3))
    priorities = draw(st.lists(st.integers(-1000, 1000), unique=True, min_size=3, max_size=3))
    library: dict[str, Filter] = {}
    for chain, priority in zip(chains, priorities, strict=False):
        entries: list[Rule | FilterRef] = list(draw(st.lists(rules(protocols), max_size=8)))
        if bool(library) and draw(st.booleans()):
            entries.append(FilterRef(next(iter(library))))
        library[f"child-{chain}"] = Filter(f"child-{chain}", chain=chain, priority=priority, entries=tuple(entries))
    own: list[Rule | FilterRef] = list(draw(st.lists(rules(protocols), min_size=2, max_size=14)))
    for name in library:
        own.insert(draw(st.integers(0, len(own))), FilterRef(name, (("IP", "10.0.0.2"), ("NEW", "1"))))
    return Filter("root-filter", entries=tuple(own)), library


def every_single_condition() -> list[Rule]:
    """Give one counting rule for each layer-2 attribute, each of its values, negated and not, both ways."""
    made = []
    for name in dict.fromkeys(LAYER2):
        for attribute in PROTOCOLS[name].attributes:
            for value in _VALUES[attribute.kind]:
                for negated in (False, True):
                    pairs = [(attribute.name, value)]
                    beside: tuple[tuple[str, str], ...] = ()
                    if "port" in attribute.name:
                        beside = (("protocol", "udp"),)
                    elif name == "ipv6" and attribute.kind is Kind.UINT8:
                        beside = (("protocol", "icmpv6"),)
                    also = (Match(name, beside),) if beside else ()
                    match = Match(name, tuple(pairs), negated)
                    made.append(Rule(Action.CONTINUE, RuleDirection.INOUT, 0, match, also=also))
    return made


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ipv4(random: Random) -> bytes:
    protocol = random.choice((1, 2, 6, 17, 17, 6, 17, 6))
    fragment = random.choice((0, 0, 0, 0x4000, 0x2000, 0x00B9))
    options = b"\x94\x04\0\0" if random.random() < 0.2 else b""
    upper = _upper(random)
    head = struct.pack(
        "!BBHHHBBH",
        0x45 + len(options) // 4,
        random.choice((0, 46, 46 << 2, 0x3F, 10)),
        20 + len(options) + len(upper) + 4,
        7,
        fragment,
        64,
        protocol,
        0,
    )
    return head + inet_aton(random.choice(ADDRESSES)) + inet_aton(random.choice(ADDRESSES)) + options + upper


def _upper(random: Random) -> bytes:
    if random.random() < 0.2:
        return bytes(random.choice(([0, 0], [8, 1], [128, 0], [135, 0], [255, 255]))) + bytes(6)
    return struct.pack("!HH", random.choice(PORTS), random.choice(PORTS)) + bytes(8) + bytes([0x50, 2]) + bytes(6)


def _ipv6(random: Random) -> bytes:
    upper = _upper(random)
    protocol = random.choice((6, 17, 58, 59, 255))
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        kind = random.choice((0, 43, 44, 51, 60))
        if kind == 44:
            upper = struct.pack("!BBHI", protocol, 0, random.choice((0, 1, 8, 0xFFF9)), 5) + upper
        elif kind == 51:
            upper = bytes([protocol, 1]) + bytes(10) + upper
        else:
            upper = bytes([protocol, random.choice((0, 0, 1))]) + bytes(6) + upper
        protocol = kind
    head = struct.pack("!IHBB", 6 << 28 | random.choice((0, 46 << 22)), len(upper) + 4, protocol, 64)
    addresses = inet_pton(AF_INET6, random.choice(ADDRESSES6)) + inet_pton(AF_INET6, random.choice(ADDRESSES6))
    return head + addresses + upper


def _arp(random: Random) -> bytes:
    head = struct.pack(
        "!HHBBH",
        random.choice((1, 1, 1, 2, 256)),
        random.choice((0x0800, 0x0800, 0x0800, 22)),
        random.choice((6, 6, 6, 8)),
        random.choice((4, 4, 4, 6)),
        random.choice((1, 2, 3, 22, 65535)),
    )
    address = inet_aton(random.choice(ADDRESSES))
    other = address if random.random() < 0.3 else inet_aton(random.choice(ADDRESSES))
    return head + _mac(random.choice(MACS)) + address + _mac(random.choice(MACS)) + other + bytes(8)


def _stp(random: Random) -> bytes:
    body = bytes(random.choice((0, 0, 1, 22)) for _ in range(33))
    if random.random() < 0.5:
        body = bytes(3) + _mac(random.choice(MACS)) + body[9:15] + _mac(random.choice(MACS)) + body[21:]
    return bytes((0x42, 0x42, 3)) + (bytes(3) if random.random() < 0.8 else b"") + body


def frame(random: Random, number: int) -> bytes:
    """Give one frame that a bridge forwards, its last four octets its number."""
    dst = random.choice(MACS)
    src = random.choice([mac for mac in MACS if not int(mac[:2], 16) & 1])
    kind = random.choice((0x0800, 0x0800, 0x86DD, 0x0806, 0x8035, 0x88B5, 0x0600, 0, 0))
    makers = {0x0800: _ipv4, 0x86DD: _ipv6, 0x0806: _arp, 0x8035: _arp}
    if random.random() < 0.15:
        dst, kind = "01:80:c2:00:00:00", 0
    payload = makers[kind](random) if kind in makers else _stp(random) if kind == 0 else bytes(30)
    if random.random() < 0.1:
        payload = payload[: random.randrange(len(payload))]
    tags = b""
    while random.random() < 0.2:
        tags += struct.pack(
            "!HH", random.choice((0x8100, 0x8100, 0x88A8, 0x9100)), random.choice((0, 5, 100, 0x6005, 4095))
        )
    if tags and len(payload) < 8:
        payload += bytes(8)
    kind = kind or len(payload) + 4
    return _mac(dst) + _mac(src) + tags + struct.pack("!H", kind) + payload + struct.pack("!I", number)
