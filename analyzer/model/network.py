"""What lies above the link layer, decoded for chosen frames of a batch.

Values only. The columns are what nwfilter rules, the subclasses of frames and the identity of a guest look at; who
needs more of a frame reads on from ``network`` of the FrameBatch or ``upper``.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import msgspec
import numpy as np
import numpy.typing as npt

from analyzer.model.frames import I64, U8, U16, U32, U64


class NetworkFlag(IntFlag):
    """What is there and what is wrong above the link layer; cut is the capture's doing, malformed the sender's."""

    NETWORK_CUT = 1
    """The capture kept less than the network header: ARP with its addresses, IPv4 with options, all IPv6 headers."""
    NETWORK_MALFORMED = 2
    """Version, header length or total length of the network header cannot be."""
    UPPER_CUT = 4
    """The capture kept less than the whole header of the upper layer (TCP without its options)."""
    UPPER_MALFORMED = 8
    """The packet ends within the header of its upper layer, or that header's own length cannot be."""
    HAS_PORTS = 16
    """``sport`` and ``dport`` are there: TCP, UDP, UDP-Lite, SCTP or DCCP, and the first fragment."""
    HAS_ICMP = 32
    """``icmp_type`` and ``icmp_code`` are there: ICMP, ICMPv6 or IGMP, and the first fragment."""
    HAS_TCP_FLAGS = 64
    """``tcp_flags`` is there."""
    FRAGMENT = 128
    """Not the whole packet: a fragment offset, or more fragments to come."""
    OPTIONS = 256
    """IPv4 options or IPv6 extension headers are there."""
    HAS_ARP = 512
    """The eight fixed octets of ARP or RARP are there."""
    HAS_LLC = 1024
    """``dsap`` and ``ssap`` are there."""
    HAS_STP = 2048
    """``stp_type`` is there."""


class Service(IntEnum):
    """What a frame is for, as far as its headers tell; analyzer/classify/network_walk.py names the standards."""

    NONE = 0
    ARP = 1
    RARP = 2
    ICMP = 3
    ICMPV6 = 4
    NEIGHBOUR_DISCOVERY = 5
    IGMP = 6
    MLD = 7
    DHCP = 8
    DHCPV6 = 9
    VRRP = 10
    STP = 11
    LLDP = 12


class NetworkBatch(msgspec.Struct, frozen=True, eq=False):
    """k frames with what lies above their link layer.

    0 stands in a column where ``flags`` does not say that it is there. ``rows`` are the indices of the frames in
    their FrameBatch. ``ip_version`` is 4, 6 or 0 (no IP header that can be read). Addresses are integers, the first
    octet on the wire being the most significant one: IPv4 in ``*_lo`` with ``*_hi`` 0. ``tos`` is the IPv4 type of
    service or the IPv6 traffic class, DSCP being its upper six bits. ``ip_header_protocol`` is the protocol field
    of IPv4 or the next header field of the fixed IPv6 header; ``protocol`` the one behind all extension headers (of
    a later fragment: that of its Fragment header). ``fragment`` is the fragment offset in octets. ``upper`` is the
    offset of the upper-layer header, ARP header or BPDU in the captured octets of the frame, -1 where nothing of it
    was kept or the fragment is a later one. ``tcp_flags`` are the twelve bits behind the data offset, FIN being 1.
    ARP's hardware addresses are there where ``arp_hlen`` is 6, its protocol addresses where ``arp_plen`` is 4.
    """

    rows: I64
    flags: U16
    service: U8
    ip_version: U8
    tos: U8
    ip_header_protocol: U8
    protocol: U8
    fragment: U16
    upper: npt.NDArray[np.int32]
    src_hi: U64
    src_lo: U64
    dst_hi: U64
    dst_lo: U64
    sport: U16
    dport: U16
    tcp_flags: U16
    icmp_type: U8
    icmp_code: U8
    arp_htype: U16
    arp_ptype: U16
    arp_hlen: U8
    arp_plen: U8
    arp_op: U16
    arp_sha: U64
    arp_spa: U32
    arp_tha: U64
    arp_tpa: U32
    dsap: U8
    ssap: U8
    stp_type: U8

    def __len__(self) -> int:
        """Frames that were decoded."""
        return len(self.rows)

    def has(self, flag: NetworkFlag) -> npt.NDArray[np.bool_]:
        """Say for each frame whether ``flag`` is set."""
        found: npt.NDArray[np.bool_] = (self.flags & np.uint16(flag)) != 0
        return found

    @property
    def has_ports(self) -> npt.NDArray[np.bool_]:
        """Say for each frame whether its ports are there."""
        return self.has(NetworkFlag.HAS_PORTS)
