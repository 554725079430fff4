"""What scapy says about a frame, in our columns: the second opinion on decoding.

scapy dissects the octets; here its layers are read. Where scapy is known to be wrong or to stop short, the place says
so with the clause of the standard.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import NoPayload, Packet, Raw

from analyzer.model.addresses import parse_mac
from analyzer.model.network import Service

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Columns = MutableMapping[str, int]

EXTENSIONS = (
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    IPv6ExtHdrSegmentRouting,
    IPv6ExtHdrFragment,
    AH,
)


class KnownScapyError(Exception):
    """scapy is known to be wrong from the network layer on; the text has the clause of the standard."""


def scapy_columns(octets: bytes) -> Columns:
    """Give the columns that scapy's reading of ``octets`` (at least an Ethernet header) implies; 0 for all others."""
    columns: Columns = defaultdict(int)
    try:
        frame = Ether(octets)
    except IndexError as error:
        raise KnownScapyError("RFC 8200, 4.4: a routing header of one or two octets is cut, and no fault") from error
    columns["dst"] = parse_mac(frame.dst)
    columns["src"] = parse_mac(frame.src)
    field = frame.type if isinstance(frame, Ether) else frame.len
    columns["outer_type"] = field
    layer = frame.payload
    while isinstance(layer := tag_of(layer, field), Dot1Q):
        if not columns["tags"]:
            columns["vlan"] = layer.prio << 13 | layer.dei << 12 | layer.vlan
        columns["tags"] += 1
        field = layer.type
        layer = layer.payload
    if field >= 0x600:
        columns["ethertype"] = field
    elif isinstance(layer, LLC):
        layer = read_llc(layer, columns)
    read_network(layer, columns)
    return columns


def tag_of(layer: Packet, field: int) -> Packet:
    """Give ``layer`` as a VLAN tag where ``field`` is a TPID of QinQ before IEEE 802.1ad, which scapy does not know."""
    if field in (0x9100, 0x9200, 0x9300) and isinstance(layer, Raw):
        return Ether(bytes(Ether(type=0x8100) / layer)).payload
    return layer


def read_llc(llc: LLC, columns: Columns) -> Packet:
    """Give what lies behind LLC and a SNAP header that holds an ethertype."""
    snap = llc.payload
    if isinstance(snap, SNAP) and snap.OUI == 0 and snap.code >= 0x600:
        columns["ethertype"] = snap.code
        return snap.payload
    columns["dsap"] = llc.dsap
    columns["ssap"] = llc.ssap
    if (llc.dsap, llc.ssap, llc.ctrl) == (0x42, 0x42, 3):
        columns["service"] = Service.STP
        if isinstance(snap, STP) and snap.proto == 0:
            columns["stp_type"] = snap.bpdutype
        elif isinstance(snap, Raw) and len(snap.load) >= 4 and snap.load[:2] == bytes(2):
            # scapy wants 35 octets: IEEE 802.1D-2004, 9.3.2, a topology change notification has four
            columns["stp_type"] = snap.load[3]
    return NoPayload()


def read_network(layer: Packet, columns: Columns) -> None:
    ethertype = columns["ethertype"]
    if isinstance(layer, NoPayload):
        return
    if ethertype in (0x0806, 0x8035):
        columns["service"] = Service.ARP if ethertype == 0x0806 else Service.RARP
        if isinstance(layer, Raw):  # scapy leaves RARP undissected: RFC 903 gives it the format of ARP
            layer = Ether(bytes(Ether(type=0x0806) / layer)).payload
        if isinstance(layer, ARP):
            read_arp(layer, columns)
    elif ethertype == 0x88CC:
        columns["service"] = Service.LLDP
    elif ethertype == 0x0800 and isinstance(layer, IP):
        read_ipv4(layer, columns)
    elif ethertype == 0x86DD and isinstance(layer, IPv6):
        read_ipv6(layer, columns)


def read_arp(arp: ARP, columns: Columns) -> None:
    columns["arp_htype"] = arp.hwtype
    columns["arp_ptype"] = arp.ptype
    columns["arp_hlen"] = arp.hwlen
    columns["arp_plen"] = arp.plen
    columns["arp_op"] = arp.op
    addresses = arp.original[8:]
    sender, target = addresses[: arp.hwlen + arp.plen], addresses[arp.hwlen + arp.plen :]
    for side, octets in (("s", sender), ("t", target)):
        if arp.hwlen == 6:
            columns[f"arp_{side}ha"] = int.from_bytes(octets[:6], "big")
        if arp.plen == 4:
            columns[f"arp_{side}pa"] = int.from_bytes(octets[arp.hwlen : arp.hwlen + 4], "big")


def read_ipv4(ip: IP, columns: Columns) -> None:
    if ip.version != 4 or ip.ihl < 5:  # scapy reads on: RFC 791, 3.1
        return
    columns["ip_version"] = 4
    columns["tos"] = ip.tos
    columns["fragment"] = ip.frag * 8
    columns["ip_header_protocol"] = columns["protocol"] = ip.proto
    columns["src_lo"] = int(ipaddress.IPv4Address(ip.src))
    columns["dst_lo"] = int(ipaddress.IPv4Address(ip.dst))
    if ip.frag == 0:  # scapy dissects later fragments of SCTP, IGMP and VRRP: RFC 791, 3.2
        read_upper(ip.payload, ip.proto, columns)


def read_ipv6(ip: IPv6, columns: Columns) -> None:
    if ip.version != 6:  # scapy reads on: RFC 8200, 3
        return
    columns["ip_version"] = 6
    columns["tos"] = ip.tc
    columns["ip_header_protocol"] = columns["protocol"] = ip.nh
    for side in ("src", "dst"):
        address = int(ipaddress.IPv6Address(getattr(ip, side)))
        columns[f"{side}_hi"] = address >> 64
        columns[f"{side}_lo"] = address & 0xFFFF_FFFF_FFFF_FFFF
    if ip.plen == 0 and ip.nh == 0:
        raise KnownScapyError("RFC 2675, 2: the jumbo payload length is in network order, scapy reads the host's")
    layer = ip.payload
    while isinstance(layer := bound(layer, columns["protocol"]), EXTENSIONS):
        columns["protocol"] = layer.nh
        if isinstance(layer, IPv6ExtHdrFragment):
            columns["fragment"] = layer.offset * 8
            if layer.offset:
                return
        layer = layer.payload
    read_upper(layer, columns["protocol"], columns)


def bound(layer: Packet, protocol: int) -> Packet:
    """Give ``layer`` as scapy reads it directly behind an IPv6 header.

    scapy binds AH to nothing but IPv4 (as next header 0, which is hop-by-hop) and IPv6, and SCTP and VRRP to IPv6
    itself only: RFC 4302, 2.1 and RFC 8200, 4 put any upper layer behind any extension header.
    """
    if protocol == 43 and len(layer.original) < 4:
        raise KnownScapyError("RFC 8200, 4.4: a routing header of one or two octets is cut, and no fault")
    if isinstance(layer, Raw) or (isinstance(layer, IP) and protocol == 0):
        return IPv6(bytes(IPv6(nh=protocol) / Raw(layer.original))).payload
    return layer


def read_upper(layer: Packet, protocol: int, columns: Columns) -> None:
    if protocol in (33, 136):
        raise KnownScapyError("RFC 4340, 5.1 and RFC 3828, 3.1: DCCP, UDP-Lite begin with ports, scapy knows neither")
    version = columns["ip_version"]
    octets = layer.original
    if protocol in (6, 17, 132) and isinstance(layer, (TCP, UDP, SCTP)):
        columns["sport"] = layer.sport
        columns["dport"] = layer.dport
        if protocol == 6:
            columns["tcp_flags"] = layer.reserved << 9 | int(layer.flags)
        if protocol == 17:
            columns["service"] = udp_service(version, layer.dport)
    elif protocol == 112:
        columns["service"] = Service.VRRP
    elif (version, protocol) in {(4, 1), (4, 2), (6, 58)}:
        # the first two octets, for scapy names them differently in each class and reads short ones as Raw
        columns["service"] = {1: Service.ICMP, 2: Service.IGMP, 58: Service.ICMPV6}[protocol]
        if len(octets) >= 2:
            columns["icmp_type"], columns["icmp_code"] = octets[0], octets[1]
            if protocol == 58:
                columns["service"] = icmpv6_service(layer, octets[0])


def udp_service(version: int, dport: int) -> Service:
    if version == 4 and dport in (67, 68):
        return Service.DHCP
    return Service.DHCPV6 if version == 6 and dport in (546, 547) else Service.NONE


def icmpv6_service(layer: Packet, kind: int) -> Service:
    name = type(layer).__name__
    if name.startswith("ICMPv6ND") or kind in range(133, 138):
        return Service.NEIGHBOUR_DISCOVERY
    return Service.MLD if name.startswith("ICMPv6ML") or kind in (130, 131, 132, 143) else Service.ICMPV6
