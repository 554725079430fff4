"""Run a compiled program over frames: octets in, verdict and deciding rule out.

What lives here: how the kernel's match modules read a frame (net/bridge/netfilter/ebt_*.c of Linux 6.18, which
ebtables-nft 1.8.9 calls too) and how chains are walked. What must not: options, XML, Python objects per frame. Called
by matcher.py once per batch. Hot: compiled with the types in engine.pxd; the same file runs uncompiled.

Answers have three values. A test whose octets the capture did not keep is unknown; then both ways are followed, and the
verdict is unknown only where they end differently. Memory is safe by construction: an octet is read only after ``has``
said that it is within the captured part, which lies within the buffer; indices of items, tests and fields are checked
by compiled.py when the program is made. Chains end: only a root chain jumps, and only to sub-chains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.evaluate.fields import Act, Field, Op, Presence, Reason, Verdict

if TYPE_CHECKING:
    from analyzer.model.columns import Column

# Private C integers where this is compiled (engine.pxd); the public names stand in fields.py.
_DST = int(Field.DST)
_SRC = int(Field.SRC)
_TYPE = int(Field.TYPE)
_VID = int(Field.VID)
_ENCAP = int(Field.ENCAP)
_TOS = int(Field.TOS)
_PROTO = int(Field.PROTO)
_SADDR = int(Field.SADDR)
_DADDR = int(Field.DADDR)
_FRAGMENT = int(Field.FRAGMENT)
_SPORT = int(Field.SPORT)
_DPORT = int(Field.DPORT)
_SADDR6 = int(Field.SADDR6)
_PROTO6 = int(Field.PROTO6)
_ICMP6_TYPE = int(Field.ICMP6_TYPE)
_ICMP6_CODE = int(Field.ICMP6_CODE)
_ARP_HTYPE = int(Field.ARP_HTYPE)
_ARP_PTYPE = int(Field.ARP_PTYPE)
_ARP_OPCODE = int(Field.ARP_OPCODE)
_ARP_SIP = int(Field.ARP_SIP)
_ARP_DIP = int(Field.ARP_DIP)
_ARP_GRATUITOUS = int(Field.ARP_GRATUITOUS)
_ARP_SMAC = int(Field.ARP_SMAC)
_ARP_DMAC = int(Field.ARP_DMAC)
_STP_TYPE = int(Field.STP_TYPE)
_STP_FLAGS = int(Field.STP_FLAGS)
_STP_ROOT_PRIO = int(Field.STP_ROOT_PRIO)
_STP_ROOT_ADDR = int(Field.STP_ROOT_ADDR)
_STP_ROOT_COST = int(Field.STP_ROOT_COST)
_STP_SENDER_PRIO = int(Field.STP_SENDER_PRIO)
_STP_SENDER_ADDR = int(Field.STP_SENDER_ADDR)
_STP_PORT = int(Field.STP_PORT)
_DSCP = int(Field.DSCP)
_TCP_FLAGS = int(Field.TCP_FLAGS)
_ICMP_TYPE = int(Field.ICMP_TYPE)
_ICMP_CODE = int(Field.ICMP_CODE)
_PRESENT = int(Presence.PRESENT)
_ABSENT = int(Presence.ABSENT)
_CUT = int(Presence.CUT)
_EQUAL = int(Op.EQUAL)
_EQUAL_PAIR = int(Op.EQUAL_PAIR)
_RANGE = int(Op.RANGE)
_RANGE_BOTH = int(Op.RANGE_BOTH)
_RANGE_PAIR = int(Op.RANGE_PAIR)
_ACT_ACCEPT = int(Act.ACCEPT)
_ACT_DROP = int(Act.DROP)
_ACT_JUMP = int(Act.JUMP)
_REASON_CUT = int(Reason.CUT)
_REASON_NO_ETHERNET = int(Reason.NO_ETHERNET)
_REASON_BRIDGE_NETFILTER = int(Reason.BRIDGE_NETFILTER)
_REASON_FRAGMENT = int(Reason.FRAGMENT)
_REASON_MALFORMED = int(Reason.MALFORMED)
_VERDICT_ACCEPT = int(Verdict.ACCEPT)
_VERDICT_DROP = int(Verdict.DROP)
_VERDICT_UNKNOWN = int(Verdict.UNKNOWN)
_NO = 0
_YES = 1
_MAYBE = 2
_MAY_ACCEPT = 1  # what can become of a frame, as bits
_MAY_DROP = 2
_MAY_FALL = 4  # it leaves the chain at its end or by a return
_FIRST_SUBCHAIN = 6  # compiled.py puts the roots of the chains before them
_IPV4 = 0x0800
_IPV6 = 0x86DD
_ARP = 0x0806
_RARP = 0x8035
_CTAG = 0x8100  # IEEE 802.1Q-2018, table 9-1
_STAG = 0x88A8
_ETHERTYPE_MIN = 0x600
_LENGTH_INSIDE = 4
_BGA = 0x0180C2000000
_BPDU = 0x424203000000  # the six octets that ebt_stp wants: LLC of STP, protocol identifier, version


class Engine:
    """One compiled program with its scratch space; not to be shared between threads.

    The columns of items (rules and jumps), tests and chains are those of compiled.Compiled; ``bridge_netfilter`` is 0
    (off), 1 (on) or 2 (not known).
    """

    def __init__(self, items: list[Column], tests: list[Column], chains: Column, scratch: list[Column]) -> None:
        self.act, self.tests_from, self.tests_to, self.jump = items
        self.field, self.op, self.inverted, self.a, self.b, self.c, self.d = tests
        self.chain_bounds = chains
        self.value, self.presence, self.hits = scratch
        self.bridge_netfilter = 2
        self.reason = 0
        self.decider = -1
        self.doubt = -1
        self.octets = 0

    def run(  # noqa: PLR0917 - one parameter a column
        self,
        data: Column,
        offsets: Column,
        captured: Column,
        original: Column,
        tag: Column,
        octets: Column,
        to_guest: Column,
        verdict: Column,
        rule: Column,
        reason: Column,
    ) -> None:
        """Fill ``verdict``, ``rule`` (-1: the end of the chains) and ``reason`` for every frame."""
        for i in range(verdict.shape[0]):
            start = offsets[i]
            end = start + captured[i]
            if start < 0 or start > data.shape[0]:
                end = start
            elif end > data.shape[0]:
                end = data.shape[0]
            wire = max(end, start + original[i])
            self.reason = 0
            self.octets = octets[i]
            if end - start < 14:  # noqa: PLR2004 - an Ethernet header, IEEE 802.3-2018, 3.1.1
                verdict[i] = _VERDICT_UNKNOWN
                rule[i] = -1
                reason[i] = _REASON_NO_ETHERNET
                continue
            self.read(data, start, end, wire, tag[i])
            verdict[i] = self.judge(to_guest[i])
            rule[i] = self.doubt if verdict[i] == _VERDICT_UNKNOWN else self.decider
            reason[i] = self.reason if verdict[i] == _VERDICT_UNKNOWN else 0

    def judge(self, to_guest: int) -> int:
        """Give the verdict on the frame that was read last, and leave the deciding rule behind."""
        way = 1 if to_guest else 0
        self.doubt = -1
        layer2 = self.chain(way, True)  # noqa: FBT003 - a cdef method takes no keywords
        decider = self.decider
        if layer2 & _MAY_FALL:
            layer2 = layer2 & ~_MAY_FALL | _MAY_ACCEPT
        if layer2 == _MAY_DROP:
            return _VERDICT_DROP
        layer3 = self.layer3(way)
        if layer3 == _MAY_DROP:
            return _VERDICT_DROP
        if layer2 == _MAY_ACCEPT and layer3 == _MAY_ACCEPT:
            if decider >= 0:
                self.decider = decider
            return _VERDICT_ACCEPT
        return _VERDICT_UNKNOWN

    def layer3(self, way: int) -> int:
        """Give what iptables or ip6tables may do with the frame: they see IP without a tag, where the bridge asks."""
        self.decider = -1
        root = 0
        if self.value[_TYPE] == _IPV4:
            root = 2 + way
        elif self.value[_TYPE] == _IPV6:
            root = 4 + way
        if not root or self.bridge_netfilter == 0 or self.chain_bounds[2 * root] == self.chain_bounds[2 * root + 1]:
            return _MAY_ACCEPT
        if self.presence[_FRAGMENT] != _PRESENT or self.value[_FRAGMENT]:
            self.doubt = self.chain_bounds[2 * root]
            self.reason = _REASON_FRAGMENT
            if self.presence[_FRAGMENT] != _PRESENT:
                self.reason = _REASON_CUT if self.presence[_FRAGMENT] == _CUT else _REASON_MALFORMED
            return _MAY_ACCEPT | _MAY_DROP
        found = self.chain(root, True)  # noqa: FBT003
        if found & _MAY_FALL:
            found = found & ~_MAY_FALL | _MAY_ACCEPT
        if found & _MAY_DROP and self.bridge_netfilter == 2:  # noqa: PLR2004 - not known
            if not found & _MAY_ACCEPT:
                self.doubt = self.decider
                self.reason = _REASON_BRIDGE_NETFILTER
            found |= _MAY_ACCEPT
        return found

    def chain(self, number: int, certain: bool) -> int:  # noqa: FBT001
        """Give what may become of the frame in chain ``number``, as bits; the last one to decide is remembered.

        ``certain`` says that the frame gets there: only then are its matches counted. At the end of a sub-chain it is
        accepted, the policy of chains made with ``ebtables -N``; it goes on behind the jump by ``return`` only.
        """
        outcome = 0
        before = -1
        for i in range(self.chain_bounds[2 * number], self.chain_bounds[2 * number + 1]):
            match = self.matches(i)
            if match == _NO:
                continue
            if match == _YES and certain:
                self.hits[2 * i] += 1
                self.hits[2 * i + 1] += self.octets
            act = self.act[i]
            if act == _ACT_JUMP:
                found = self.chain(self.jump[i], certain and match == _YES)
                outcome |= found & ~_MAY_FALL
                if match == _YES and not found & _MAY_FALL:
                    return outcome
                certain = certain and found == _MAY_FALL
                before = self.decider
                continue
            if act < _ACT_ACCEPT:
                continue
            outcome |= bit_of(act)
            if match == _YES:
                self.decider = i
                return outcome
            certain = False
            if self.doubt < 0:
                self.doubt = i
        self.decider = -1 if number >= _FIRST_SUBCHAIN else before
        return outcome | (_MAY_ACCEPT if number >= _FIRST_SUBCHAIN else _MAY_FALL)

    def matches(self, item: int) -> int:
        """Say whether the frame matches a rule: no, yes, or maybe, the reason left behind."""
        answer = _YES
        why = 0
        for t in range(self.tests_from[item], self.tests_to[item]):
            field = self.field[t]
            op = self.op[t]
            if op > _RANGE_PAIR:
                answer = _MAYBE
                why = self.a[t]
                continue
            there = self.presence[field]  # the two fields of a pair come and go together
            if there == _ABSENT:
                return _NO
            if there == _CUT:
                answer = _MAYBE
                why = _REASON_CUT
                continue
            if self.holds(t, field, op) == self.inverted[t]:
                return _NO
        if answer == _MAYBE and not self.reason:
            self.reason = why
        return answer

    def holds(self, t: int, field: int, op: int) -> int:
        """Say (1 or 0) whether a test holds, its inversion aside."""
        value = self.value[field]
        if op == _EQUAL:
            return 1 if value & self.a[t] == self.b[t] else 0
        if op == _RANGE:
            return 1 if self.a[t] <= value <= self.b[t] else 0
        second = self.value[field + 1]
        if op == _EQUAL_PAIR:
            return 1 if value & self.a[t] == self.b[t] and second & self.c[t] == self.d[t] else 0
        if op == _RANGE_BOTH:
            return 1 if self.a[t] <= value <= self.b[t] and self.c[t] <= second <= self.d[t] else 0
        low = value > self.a[t] or (value == self.a[t] and second >= self.b[t])
        high = value < self.c[t] or (value == self.c[t] and second <= self.d[t])
        return 1 if low and high else 0

    def read(self, data: Column, start: int, end: int, wire: int, tag: int) -> None:
        """Fill the fields of one frame that has at least 14 octets; those that cannot be there become absent."""
        for field in range(_DST, _ICMP_CODE + 1):
            self.presence[field] = _ABSENT
        self.put(_DST, be(data, start, 6))
        self.put(_SRC, be(data, start + 6, 6))
        kind = be(data, start + 12, 2)
        at = start + 14
        if tag:
            self.put(_TYPE, tag >> 16)
            self.put(_VID, tag & 0xFFF)
            self.put(_ENCAP, kind if kind >= _ETHERTYPE_MIN else _LENGTH_INSIDE)
        elif kind in (_CTAG, _STAG):
            self.put(_TYPE, kind)
            if self.has(_VID, at, 4, end, wire):
                self.put(_VID, be(data, at, 2) & 0xFFF)
                kind = be(data, at + 2, 2)
                self.put(_ENCAP, kind if kind >= _ETHERTYPE_MIN else _LENGTH_INSIDE)
            else:
                self.presence[_ENCAP] = self.presence[_VID]
            at += 4
        else:
            self.put(_TYPE, kind)
        kind = self.value[_TYPE]
        if kind == _IPV4:
            self.read_ipv4(data, at, end, wire)
        elif kind == _IPV6:
            self.read_ipv6(data, at, end, wire)
        elif kind in (_ARP, _RARP):
            self.read_arp(data, at, end, wire)
        if self.value[_DST] == _BGA:
            self.read_stp(data, at, end, wire)

    def put(self, field: int, value: int) -> None:
        """Set a field that is there."""
        self.value[field] = value
        self.presence[field] = _PRESENT

    def has(self, field: int, at: int, length: int, end: int, wire: int) -> bool:
        """Say whether ``length`` octets at ``at`` were kept, else mark ``field`` as absent or cut."""
        if at + length <= end:
            return True
        self.presence[field] = _CUT if at + length <= wire else _ABSENT
        return False

    def spread(self, first: int, last: int, origin: int) -> None:
        """Give the fields ``first`` to ``last`` the presence of ``origin``."""
        for field in range(first, last + 1):
            self.presence[field] = self.presence[origin]

    def read_ipv4(self, data: Column, at: int, end: int, wire: int) -> None:
        """Fill what ebt_ip and the iptables matches read (RFC 791)."""
        if not self.has(_TOS, at, 20, end, wire):
            self.spread(_PROTO, _DPORT, _TOS)
            self.spread(_DSCP, _ICMP_CODE, _TOS)
            return
        self.put(_TOS, data[at + 1])
        self.put(_DSCP, data[at + 1] >> 2)
        self.put(_PROTO, data[at + 9])
        self.put(_SADDR, be(data, at + 12, 4))
        self.put(_DADDR, be(data, at + 16, 4))
        fragment = be(data, at + 6, 2)
        self.put(_FRAGMENT, fragment & 0x3FFF)
        if fragment & 0x1FFF:
            return
        self.read_upper(data, at + 4 * (data[at] & 0xF), end, wire)

    def read_upper(self, data: Column, at: int, end: int, wire: int) -> None:
        """Fill ports, TCP flags and ICMP type and code, whatever the protocol: rules ask for it beside."""
        if self.has(_SPORT, at, 4, end, wire):
            self.put(_SPORT, be(data, at, 2))
            self.put(_DPORT, be(data, at + 2, 2))
            self.put(_ICMP_TYPE, data[at])
            self.put(_ICMP_CODE, data[at + 1])
            self.put(_ICMP6_TYPE, data[at])
            self.put(_ICMP6_CODE, data[at + 1])
        else:
            self.presence[_DPORT] = self.presence[_SPORT]
            self.spread(_ICMP_TYPE, _ICMP_CODE, _SPORT)
            self.spread(_ICMP6_TYPE, _ICMP6_CODE, _SPORT)
        if self.has(_TCP_FLAGS, at, 20, end, wire):
            self.put(_TCP_FLAGS, data[at + 13] & 0x3F)

    def read_ipv6(self, data: Column, at: int, end: int, wire: int) -> None:
        """Fill what ebt_ip6 and the ip6tables matches read (RFC 8200), extension headers as ipv6_skip_exthdr."""
        if not self.has(_TOS, at, 40, end, wire):
            self.spread(_FRAGMENT, _ICMP6_CODE, _TOS)
            self.spread(_DSCP, _ICMP_CODE, _TOS)
            return
        self.put(_DSCP, (be(data, at, 2) >> 6) & 0x3F)
        for half in range(4):
            self.put(_SADDR6 + half, be(data, at + 8 + 8 * half, 8))
        fragment = 0
        protocol = data[at + 6]
        at += 40
        while protocol in (0, 43, 44, 51, 60):
            length = 8 if protocol == 44 else 2  # noqa: PLR2004 - the Fragment header
            if not self.has(_PROTO6, at, length, end, wire):
                self.presence[_FRAGMENT] = self.presence[_PROTO6]
                self.spread(_SPORT, _DPORT, _PROTO6)
                self.spread(_ICMP6_TYPE, _ICMP6_CODE, _PROTO6)
                self.spread(_TCP_FLAGS, _ICMP_CODE, _PROTO6)
                return
            if protocol == 44:  # noqa: PLR2004
                fragment = 1
                if be(data, at + 2, 2) & 0xFFF8:
                    break
                step = 8
            elif protocol == 51:  # noqa: PLR2004 - the Authentication header counts in units of 4
                step = 4 * (data[at + 1] + 2)
            else:
                step = 8 * (data[at + 1] + 1)
            protocol = data[at]
            at += step
        self.put(_FRAGMENT, fragment)
        if protocol == 59:  # noqa: PLR2004 - no next header: ipv6_skip_exthdr fails
            return
        self.put(_PROTO6, protocol)
        self.read_upper(data, at, end, wire)

    def read_arp(self, data: Column, at: int, end: int, wire: int) -> None:
        """Fill what ebt_arp reads (RFC 826); addresses only where their lengths and types are the usual ones."""
        if not self.has(_ARP_HTYPE, at, 8, end, wire):
            self.spread(_ARP_PTYPE, _ARP_DMAC, _ARP_HTYPE)
            return
        self.put(_ARP_HTYPE, be(data, at, 2))
        self.put(_ARP_PTYPE, be(data, at + 2, 2))
        self.put(_ARP_OPCODE, be(data, at + 6, 2))
        hardware = data[at + 4]
        protocol = data[at + 5]
        if protocol == 4 and self.value[_ARP_PTYPE] == _IPV4:  # noqa: PLR2004
            if self.has(_ARP_SIP, at + 12 + 2 * hardware, 4, end, wire):
                self.put(_ARP_SIP, be(data, at + 8 + hardware, 4))
                self.put(_ARP_DIP, be(data, at + 12 + 2 * hardware, 4))
                self.put(_ARP_GRATUITOUS, 1 if self.value[_ARP_SIP] == self.value[_ARP_DIP] else 0)
            else:
                self.spread(_ARP_DIP, _ARP_GRATUITOUS, _ARP_SIP)
        if hardware == 6 and self.value[_ARP_HTYPE] == 1:  # noqa: PLR2004
            if self.has(_ARP_SMAC, at + 8, 6, end, wire):
                self.put(_ARP_SMAC, be(data, at + 8, 6))
            if self.has(_ARP_DMAC, at + 14 + protocol, 6, end, wire):
                self.put(_ARP_DMAC, be(data, at + 14 + protocol, 6))

    def read_stp(self, data: Column, at: int, end: int, wire: int) -> None:
        """Fill what ebt_stp reads: one octet before where IEEE 802.1D-2004, 9.3.1 has it, since it overlooks one.

        Its header takes the protocol version for the type, so that the flags it compares are the BPDU type and the
        root priority begins with the flags.
        """
        if not self.has(_STP_TYPE, at, 6, end, wire):
            self.spread(_STP_FLAGS, _STP_PORT + 4, _STP_TYPE)
            return
        if be(data, at, 6) != _BPDU:
            return
        self.put(_STP_TYPE, data[at + 5])
        at += 6
        if not self.has(_STP_FLAGS, at, 31, end, wire):
            self.spread(_STP_ROOT_PRIO, _STP_PORT + 4, _STP_FLAGS)
            return
        self.put(_STP_FLAGS, data[at])
        self.put(_STP_ROOT_PRIO, be(data, at + 1, 2))
        self.put(_STP_ROOT_ADDR, be(data, at + 3, 6))
        self.put(_STP_ROOT_COST, be(data, at + 9, 4))
        self.put(_STP_SENDER_PRIO, be(data, at + 13, 2))
        self.put(_STP_SENDER_ADDR, be(data, at + 15, 6))
        for number in range(5):
            self.put(_STP_PORT + number, be(data, at + 21 + 2 * number, 2))


def bit_of(act: int) -> int:
    """Give what becomes of a frame by an act that ends its way through the chain, as a bit."""
    if act == _ACT_ACCEPT:
        return _MAY_ACCEPT
    return _MAY_DROP if act == _ACT_DROP else _MAY_FALL


def be(data: Column, at: int, length: int) -> int:
    """Give ``length`` octets at ``at`` as a number, most significant octet first."""
    value = 0
    for i in range(at, at + length):
        value = value << 8 | data[i]
    return value
