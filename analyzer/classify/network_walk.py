"""Walk the headers above the link layer: ARP, RARP, IPv4, IPv6, their upper layers, LLC and STP.

What lives here: the hot half of network.py, its only caller. Types in network_walk.pxd; the same file runs uncompiled.

Any octets decode. An octet is read only below ``kept``, the end of what the capture holds of the frame, which never
exceeds the buffer. Columns of the batch have one length (decode.py), ``rows`` are rows of it, and what is filled has a
row for each of these (network.py). A header counts only as far as the packet says that it reaches: padding is not read
as a header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.model.columns import column
from analyzer.model.network import NetworkFlag, Service

if TYPE_CHECKING:
    from analyzer.model.columns import Column
    from analyzer.model.frames import FrameBatch
    from analyzer.model.network import NetworkBatch

# Constants of the hot functions are C integers where this is compiled (network_walk.pxd), hence private.
_NETWORK_CUT = int(NetworkFlag.NETWORK_CUT)
_NETWORK_MALFORMED = int(NetworkFlag.NETWORK_MALFORMED)
_UPPER_CUT = int(NetworkFlag.UPPER_CUT)
_UPPER_MALFORMED = int(NetworkFlag.UPPER_MALFORMED)
_HAS_PORTS = int(NetworkFlag.HAS_PORTS)
_HAS_ICMP = int(NetworkFlag.HAS_ICMP)
_HAS_TCP_FLAGS = int(NetworkFlag.HAS_TCP_FLAGS)
_FRAGMENT = int(NetworkFlag.FRAGMENT)
_OPTIONS = int(NetworkFlag.OPTIONS)
_HAS_ARP = int(NetworkFlag.HAS_ARP)
_HAS_LLC = int(NetworkFlag.HAS_LLC)
_HAS_STP = int(NetworkFlag.HAS_STP)

_SERVICE_ARP = int(Service.ARP)
_SERVICE_RARP = int(Service.RARP)
_SERVICE_ICMP = int(Service.ICMP)
_SERVICE_ICMPV6 = int(Service.ICMPV6)
_SERVICE_ND = int(Service.NEIGHBOUR_DISCOVERY)
_SERVICE_IGMP = int(Service.IGMP)
_SERVICE_MLD = int(Service.MLD)
_SERVICE_DHCP = int(Service.DHCP)
_SERVICE_DHCPV6 = int(Service.DHCPV6)
_SERVICE_VRRP = int(Service.VRRP)
_SERVICE_STP = int(Service.STP)
_SERVICE_LLDP = int(Service.LLDP)

# Ethertypes: IEEE registration authority; RFC 826, 903; IEEE 802.1AB-2016, 8.3 (LLDP).
_IPV4 = 0x0800
_ARP = 0x0806
_RARP = 0x8035
_IPV6 = 0x86DD
_LLDP = 0x88CC

# Protocol numbers of IANA.
_ICMP = 1
_IGMP = 2
_TCP = 6
_UDP = 17
_DCCP = 33
_ICMPV6 = 58
_VRRP = 112
_SCTP = 132
_UDPLITE = 136

# Extension headers that are walked: RFC 8200, 4, and RFC 4302 (AH), as Linux' ipv6_skip_exthdr does.
_HOP_BY_HOP = 0
_ROUTING = 43
_FRAGMENT_HEADER = 44
_AUTHENTICATION = 51
_DESTINATION = 60

_HEADER_OCTETS = 14
_TAG_OCTETS = 4
_SNAP_OCTETS = 8
_VERSION_4 = 4
_VERSION_6 = 6
_IPV4_OCTETS = 20
_IPV6_OCTETS = 40
_TCP_OCTETS = 20
_TCP_WORDS = 5
_UDP_OCTETS = 8
_AUTHENTICATION_OCTETS = 12  # RFC 4302, 2.2
_MAC_OCTETS = 6
_IPV4_ADDRESS_OCTETS = 4
_BRIDGE_SAP = 0x42  # IEEE 802.1D-2004, table 7-9
_UNNUMBERED_INFORMATION = 3
_ROUTER_SOLICITATION = 133  # RFC 4861, 4: 133 to 137
_REDIRECT = 137
_MLD_QUERY = 130  # RFC 2710, 3: 130 to 132
_MLD_DONE = 132
_MLD2_REPORT = 143  # RFC 3810, 5.2


class NetworkWalk:
    """One walk over the chosen frames of a batch; a C struct where this is compiled.

    Of the frame at hand, ``start`` is the offset of its first octet in the buffer, ``kept`` the one behind the last
    that was captured, ``wire`` the one behind the last that was on the wire, ``i`` its index in the columns.
    """

    def __init__(self, batch: FrameBatch, result: NetworkBatch) -> None:
        raw = batch.raw
        self.data: Column = column(raw.data)
        self.offsets: Column = column(raw.offsets)
        self.captured: Column = column(raw.captured)
        self.tag: Column = column(raw.tag)
        self.network: Column = column(batch.network)
        self.ethertype: Column = column(batch.ethertype)
        self.tags: Column = column(batch.tags)
        self.octets: Column = column(batch.octets)
        self.rows: Column = column(result.rows)
        self.flags: Column = column(result.flags)
        self.service: Column = column(result.service)
        self.ip_version: Column = column(result.ip_version)
        self.tos: Column = column(result.tos)
        self.ip_header_protocol: Column = column(result.ip_header_protocol)
        self.protocol: Column = column(result.protocol)
        self.fragment: Column = column(result.fragment)
        self.upper: Column = column(result.upper)
        self.src_hi: Column = column(result.src_hi)
        self.src_lo: Column = column(result.src_lo)
        self.dst_hi: Column = column(result.dst_hi)
        self.dst_lo: Column = column(result.dst_lo)
        self.sport: Column = column(result.sport)
        self.dport: Column = column(result.dport)
        self.tcp_flags: Column = column(result.tcp_flags)
        self.icmp_type: Column = column(result.icmp_type)
        self.icmp_code: Column = column(result.icmp_code)
        self.arp_htype: Column = column(result.arp_htype)
        self.arp_ptype: Column = column(result.arp_ptype)
        self.arp_hlen: Column = column(result.arp_hlen)
        self.arp_plen: Column = column(result.arp_plen)
        self.arp_op: Column = column(result.arp_op)
        self.arp_sha: Column = column(result.arp_sha)
        self.arp_spa: Column = column(result.arp_spa)
        self.arp_tha: Column = column(result.arp_tha)
        self.arp_tpa: Column = column(result.arp_tpa)
        self.dsap: Column = column(result.dsap)
        self.ssap: Column = column(result.ssap)
        self.stp_type: Column = column(result.stp_type)
        self.i = 0
        self.start = 0
        self.kept = 0
        self.wire = 0

    def run(self) -> None:
        """Decode each chosen frame of which anything above the link layer was kept.

        An 802.3 frame ends where its length field says; padding follows (IEEE 802.3-2018, 3.2.6 and 3.2.7).
        """
        for i in range(self.rows.shape[0]):
            row = self.rows[i]
            if not _HEADER_OCTETS <= self.network[row] < self.captured[row] or self.offsets[row] < 0:
                continue
            self.i = i
            self.start = self.offsets[row]
            self.kept = min(self.start + self.captured[row], self.data.shape[0])
            self.wire = self.start + self.octets[row] - (_TAG_OCTETS if self.tag[row] else 0)
            at = self.start + self.network[row]
            if at > self.kept:  # a buffer that ends before its frame, by a fault of the source
                continue
            header = _HEADER_OCTETS + _TAG_OCTETS * (self.tags[row] - (1 if self.tag[row] else 0))
            if self.ethertype[row] == 0:
                self.wire = self.packet_end(at + self.be16(at - 2))
            elif self.network[row] == header + _SNAP_OCTETS:
                self.wire = self.packet_end(at - _SNAP_OCTETS + self.be16(at - _SNAP_OCTETS - 2))
            self.frame(at, self.ethertype[row])

    def frame(self, at: int, ethertype: int) -> None:
        """Decode the network header at ``at``."""
        if ethertype == _IPV4:
            self.ipv4(at)
        elif ethertype == _IPV6:
            self.ipv6(at)
        elif ethertype in (_ARP, _RARP):
            self.service[self.i] = _SERVICE_ARP if ethertype == _ARP else _SERVICE_RARP
            self.arp(at)
        elif ethertype == _LLDP:
            self.service[self.i] = _SERVICE_LLDP
        elif ethertype == 0:
            self.llc(at)

    def arp(self, at: int) -> None:
        """Decode RFC 826 and RFC 903: addresses of the lengths that the header gives, kept where they are 6 and 4."""
        i = self.i
        self.upper[i] = at - self.start
        if self.ends_before(at + 8, self.wire, _NETWORK_CUT, _NETWORK_MALFORMED):
            return
        self.flags[i] |= _HAS_ARP
        self.arp_htype[i] = self.be16(at)
        self.arp_ptype[i] = self.be16(at + 2)
        hlen = self.arp_hlen[i] = self.data[at + 4]
        plen = self.arp_plen[i] = self.data[at + 5]
        self.arp_op[i] = self.be16(at + 6)
        sender = at + 8
        target = sender + hlen + plen
        if self.ends_before(target + hlen + plen, self.wire, _NETWORK_CUT, _NETWORK_MALFORMED):
            return
        if hlen == _MAC_OCTETS:
            self.arp_sha[i] = self.be48(sender)
            self.arp_tha[i] = self.be48(target)
        if plen == _IPV4_ADDRESS_OCTETS:
            self.arp_spa[i] = self.be32(sender + hlen)
            self.arp_tpa[i] = self.be32(target + hlen)

    def llc(self, at: int) -> None:
        """Decode IEEE 802.2, 3.2, and the BPDU type of STP: IEEE 802.1D-2004, 9.3.1 (LLC address 0x42, protocol 0)."""
        i = self.i
        if self.ends_before(at + 3, self.wire, _NETWORK_CUT, _NETWORK_MALFORMED):
            return
        self.flags[i] |= _HAS_LLC
        self.dsap[i] = self.data[at]
        self.ssap[i] = self.data[at + 1]
        if self.be16(at) != _BRIDGE_SAP << 8 | _BRIDGE_SAP or self.data[at + 2] != _UNNUMBERED_INFORMATION:
            return
        self.service[i] = _SERVICE_STP
        if at + 3 < self.kept:
            self.upper[i] = at + 3 - self.start
        if self.ends_before(at + 7, self.wire, _UPPER_CUT, _UPPER_MALFORMED):
            return
        if self.be16(at + 3) == 0:
            self.flags[i] |= _HAS_STP
            self.stp_type[i] = self.data[at + 6]

    def ipv4(self, at: int) -> None:
        """Decode RFC 791, 3.1. A total length of 0 is that of a super-frame too long for the field: all the frame."""
        i = self.i
        if self.ends_before(at + _IPV4_OCTETS, self.wire, _NETWORK_CUT, _NETWORK_MALFORMED):
            return
        header = 4 * (self.data[at] & 0xF)
        total = self.be16(at + 2)
        if self.data[at] >> 4 != _VERSION_4 or header < _IPV4_OCTETS or (total and total < header):
            self.flags[i] |= _NETWORK_MALFORMED
        if self.data[at] >> 4 != _VERSION_4 or header < _IPV4_OCTETS:
            return
        self.ip_version[i] = _VERSION_4
        self.tos[i] = self.data[at + 1]
        self.fragment[i] = (self.be16(at + 6) & 0x1FFF) * 8
        protocol = self.data[at + 9]
        self.ip_header_protocol[i] = self.protocol[i] = protocol
        self.src_lo[i] = self.be32(at + 12)
        self.dst_lo[i] = self.be32(at + 16)
        if self.be16(at + 6) & 0x3FFF:
            self.flags[i] |= _FRAGMENT
        if header > _IPV4_OCTETS:
            self.flags[i] |= _OPTIONS
        limit = self.packet_end(at + total if total else self.wire)
        if not self.ends_before(at + header, limit, _NETWORK_CUT, _NETWORK_MALFORMED) and not self.fragment[i]:
            self.upper_layer(at + header, limit, protocol)

    def ipv6(self, at: int) -> None:
        """Decode RFC 8200, 3. A payload length of 0 before a hop-by-hop header is a jumbogram: RFC 2675, 2."""
        i = self.i
        if self.ends_before(at + _IPV6_OCTETS, self.wire, _NETWORK_CUT, _NETWORK_MALFORMED):
            return
        if self.data[at] >> 4 != _VERSION_6:
            self.flags[i] |= _NETWORK_MALFORMED
            return
        self.ip_version[i] = _VERSION_6
        self.tos[i] = self.be16(at) >> 4 & 0xFF
        payload = self.be16(at + 4)
        protocol = self.data[at + 6]
        self.ip_header_protocol[i] = self.protocol[i] = protocol
        self.src_hi[i] = self.be64(at + 8)
        self.src_lo[i] = self.be64(at + 16)
        self.dst_hi[i] = self.be64(at + 24)
        self.dst_lo[i] = self.be64(at + 32)
        is_jumbo = payload == 0 and protocol == _HOP_BY_HOP
        self.extensions(
            at + _IPV6_OCTETS, self.packet_end(self.wire if is_jumbo else at + _IPV6_OCTETS + payload), protocol
        )

    def extensions(self, at: int, limit: int, protocol: int) -> None:
        """Walk the extension headers of RFC 8200, 4, from ``at`` to the upper layer."""
        i = self.i
        while is_extension(protocol):
            self.flags[i] |= _OPTIONS
            if self.ends_before(at + 8, limit, _NETWORK_CUT, _NETWORK_MALFORMED):
                return
            if protocol == _FRAGMENT_HEADER:
                size = 8
                self.fragment[i] = self.be16(at + 2) & 0xFFF8
                if self.be16(at + 2) & 0xFFF9:
                    self.flags[i] |= _FRAGMENT
            elif protocol == _AUTHENTICATION:
                size = 4 * (self.data[at + 1] + 2)
                if size < _AUTHENTICATION_OCTETS:
                    self.flags[i] |= _NETWORK_MALFORMED
            else:
                size = 8 * (self.data[at + 1] + 1)
            protocol = self.protocol[i] = self.data[at]
            if self.fragment[i] or self.ends_before(at + size, limit, _NETWORK_CUT, _NETWORK_MALFORMED):
                return
            at += size
        self.upper_layer(at, limit, protocol)

    def upper_layer(self, at: int, limit: int, protocol: int) -> None:
        """Decode the header at ``at`` of a packet that ends at ``limit``."""
        i = self.i
        if at < limit and at < self.kept:
            self.upper[i] = at - self.start
        if protocol == _TCP:
            self.tcp(at, limit)
        elif protocol == _UDP:
            self.udp(at, limit)
        elif protocol in (_UDPLITE, _SCTP, _DCCP):
            self.ports(at, limit)
            self.ends_before(at + (8 if protocol == _UDPLITE else 12), limit, _UPPER_CUT, _UPPER_MALFORMED)
        elif protocol == (_ICMP if self.ip_version[i] == _VERSION_4 else _ICMPV6):
            self.icmp(at, limit)
        elif protocol == _IGMP and self.ip_version[i] == _VERSION_4:
            self.service[i] = _SERVICE_IGMP
            self.type_and_code(at, limit)
        elif protocol == _VRRP:
            self.service[i] = _SERVICE_VRRP

    def tcp(self, at: int, limit: int) -> None:
        """Decode RFC 9293, 3.1, without the options."""
        self.ports(at, limit)
        if self.ends_before(at + 14, limit, _UPPER_CUT, _UPPER_MALFORMED):
            return
        self.flags[self.i] |= _HAS_TCP_FLAGS
        self.tcp_flags[self.i] = self.be16(at + 12) & 0xFFF
        if self.data[at + 12] >> 4 < _TCP_WORDS:
            self.flags[self.i] |= _UPPER_MALFORMED
        self.ends_before(at + _TCP_OCTETS, limit, _UPPER_CUT, _UPPER_MALFORMED)

    def udp(self, at: int, limit: int) -> None:
        """Decode RFC 768; recognise DHCP (RFC 2131, 4.1) and DHCPv6 (RFC 8415, 7.2) by the destination port."""
        i = self.i
        self.ports(at, limit)
        if self.ip_version[i] == _VERSION_4 and self.dport[i] in (67, 68):
            self.service[i] = _SERVICE_DHCP
        elif self.ip_version[i] == _VERSION_6 and self.dport[i] in (546, 547):
            self.service[i] = _SERVICE_DHCPV6
        if (
            not self.ends_before(at + _UDP_OCTETS, limit, _UPPER_CUT, _UPPER_MALFORMED)
            and 0 < self.be16(at + 4) < _UDP_OCTETS
        ):
            self.flags[i] |= _UPPER_MALFORMED

    def ports(self, at: int, limit: int) -> None:
        """Decode two ports of 16 bits, the same place in each protocol that has them."""
        if not self.ends_before(at + 4, limit, _UPPER_CUT, _UPPER_MALFORMED):
            self.flags[self.i] |= _HAS_PORTS
            self.sport[self.i] = self.be16(at)
            self.dport[self.i] = self.be16(at + 2)

    def icmp(self, at: int, limit: int) -> None:
        """Decode RFC 792 or RFC 4443, and recognise ND (RFC 4861, 4) and MLD (RFC 2710, 3; RFC 3810, 5)."""
        i = self.i
        self.type_and_code(at, limit)
        if self.ip_version[i] == _VERSION_4:
            self.service[i] = _SERVICE_ICMP
            return
        self.service[i] = _SERVICE_ICMPV6
        if self.flags[i] & _HAS_ICMP:
            kind = self.icmp_type[i]
            if _ROUTER_SOLICITATION <= kind <= _REDIRECT:
                self.service[i] = _SERVICE_ND
            elif _MLD_QUERY <= kind <= _MLD_DONE or kind == _MLD2_REPORT:
                self.service[i] = _SERVICE_MLD

    def type_and_code(self, at: int, limit: int) -> None:
        """Decode the first two octets of ICMP, ICMPv6 or IGMP (whose second one is a response time)."""
        if not self.ends_before(at + 2, limit, _UPPER_CUT, _UPPER_MALFORMED):
            self.flags[self.i] |= _HAS_ICMP
            self.icmp_type[self.i] = self.data[at]
            self.icmp_code[self.i] = self.data[at + 1]
            self.ends_before(at + 8, limit, _UPPER_CUT, _UPPER_MALFORMED)

    def packet_end(self, end: int) -> int:
        """Give the end of a packet that says it reaches to ``end``: no further than its frame, or it is malformed."""
        if end > self.wire:
            self.flags[self.i] |= _NETWORK_MALFORMED
            return self.wire
        return end

    def ends_before(self, need: int, limit: int, cut: int, malformed: int) -> bool:
        """Say whether the packet (its end is ``limit``) or what was kept of it ends before ``need``; flag which."""
        if need > limit:
            self.flags[self.i] |= malformed
            return True
        if need > self.kept:
            self.flags[self.i] |= cut
            return True
        return False

    def be16(self, at: int) -> int:
        """Give the 16 bits at ``at``, most significant octet first."""
        return self.data[at] << 8 | self.data[at + 1]

    def be32(self, at: int) -> int:
        """Give the 32 bits at ``at``."""
        high = self.be16(at)
        return high << 16 | self.be16(at + 2)

    def be48(self, at: int) -> int:
        """Give the 48 bits at ``at``: a MAC."""
        high = self.be16(at)
        return high << 32 | self.be32(at + 2)

    def be64(self, at: int) -> int:
        """Give the 64 bits at ``at``."""
        high = self.be32(at)
        return high << 32 | self.be32(at + 4)


def is_extension(protocol: int) -> bool:
    """Say whether a next header value is that of an extension header that is walked."""
    return protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT_HEADER, _AUTHENTICATION, _DESTINATION)
