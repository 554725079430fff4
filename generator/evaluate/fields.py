"""What the kernel looks at in a frame when it matches rules, and how a compiled program says so.

Numbers shared by the compiler of programs (compiled.py) and the hot engine (engine.py). A field is what one match
module of the kernel reads, as it reads it: the bridge takes one VLAN tag off before any rule, ``ip`` rules see nothing
inside a tag, ports are read from first fragments only, IPv6 extension headers are walked as ipv6_skip_exthdr does.
"""

from __future__ import annotations

from enum import IntEnum


class Field(IntEnum):
    """One value that rules compare; those of 128 bits take two, the upper half first."""

    DST = 0
    SRC = 1
    TYPE = 2
    """The type field behind the source MAC, the TPID of a tagged frame."""
    VID = 3
    ENCAP = 4
    """The type behind the tag; 4 for what is an 802.3 length there (ETH_P_802_2, as vlan_set_encap_proto puts it)."""
    TOS = 5
    PROTO = 6
    SADDR = 7
    DADDR = 8
    FRAGMENT = 9
    """Not 0 for any fragment, of IPv4 or IPv6."""
    SPORT = 10
    DPORT = 11
    SADDR6 = 12
    SADDR6_LOW = 13
    DADDR6 = 14
    DADDR6_LOW = 15
    PROTO6 = 16
    ICMP6_TYPE = 17
    ICMP6_CODE = 18
    ARP_HTYPE = 19
    ARP_PTYPE = 20
    ARP_OPCODE = 21
    ARP_SIP = 22
    ARP_DIP = 23
    ARP_GRATUITOUS = 24
    ARP_SMAC = 25
    ARP_DMAC = 26
    STP_TYPE = 27
    STP_FLAGS = 28
    STP_ROOT_PRIO = 29
    STP_ROOT_ADDR = 30
    STP_ROOT_COST = 31
    STP_SENDER_PRIO = 32
    STP_SENDER_ADDR = 33
    STP_PORT = 34
    STP_MSG_AGE = 35
    STP_MAX_AGE = 36
    STP_HELLO = 37
    STP_DELAY = 38
    DSCP = 39
    TCP_FLAGS = 40
    ICMP_TYPE = 41
    ICMP_CODE = 42


FIELD_COUNT = len(Field)


class Presence(IntEnum):
    """Whether a field of a frame can be read."""

    PRESENT = 0
    ABSENT = 1
    """The kernel does not find it: the match fails, negated or not."""
    CUT = 2
    """It was on the wire and the capture did not keep it: nobody can tell."""


class Op(IntEnum):
    """How a test compares a field with its operands a, b, c, d."""

    EQUAL = 0
    """field & a == b."""
    EQUAL_PAIR = 1
    """field & a == b and the next field & c == d."""
    RANGE = 2
    """a <= field <= b."""
    RANGE_BOTH = 3
    """a <= field <= b and c <= the next field <= d."""
    RANGE_PAIR = 4
    """a:b <= field:next <= c:d, as numbers of 128 bits."""
    UNKNOWN = 5
    """Cannot be told from frames; a is the Reason."""


class Reason(IntEnum):
    """Why a verdict is unknown."""

    NONE = 0
    CUT = 1
    NO_ETHERNET = 2
    STATE = 3
    IPSET = 4
    CONNLIMIT = 5
    BRIDGE_NETFILTER = 6
    FRAGMENT = 7
    OPTION = 8
    MALFORMED = 9

    @property
    def text(self) -> str:
        """The reason in words."""
        return _REASONS[self]


_REASONS = {
    Reason.NONE: "",
    Reason.CUT: "the capture did not keep the octets that a rule looks at",
    Reason.NO_ETHERNET: "the frame has no Ethernet header that can be read",
    Reason.STATE: "a rule asks for the state of the connection, which a frame does not tell",
    Reason.IPSET: "a rule asks for membership in an ipset of the host",
    Reason.CONNLIMIT: "a rule counts connections",
    Reason.BRIDGE_NETFILTER: "a rule acts only where bridge-nf-call-iptables is on",
    Reason.FRAGMENT: "connection tracking puts fragments together before rules see them",
    Reason.OPTION: "a rule looks at a TCP option",
    Reason.MALFORMED: "its IP header is wrong, and such packets never reach iptables",
}


class Act(IntEnum):
    """What a rule of a compiled program does."""

    CONTINUE = 0
    ACCEPT = 1
    DROP = 2
    RETURN = 3
    JUMP = 4


class Verdict(IntEnum):
    """What becomes of a frame."""

    ACCEPT = 0
    DROP = 1
    UNKNOWN = 2

    @property
    def key(self) -> str:
        """The name in documents: ``accept``."""
        return self.name.lower()
