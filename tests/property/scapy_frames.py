"""Frames of all layers that are decoded, built by scapy, nested as deep as networks nest them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from scapy.config import conf
from scapy.contrib.lldp import (
    LLDPDU,
    LLDPDUChassisID,
    LLDPDUEndOfLLDPDU,
    LLDPDUPortID,
    LLDPDUTimeToLive,
)
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Reply, DHCP6_Solicit, DHCP6OptElapsedTime
from scapy.layers.igmp import IGMP, IGMPv3, IGMPv3_MR
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vrrp import VRRP, VRRPv3
from scapy.packet import NoPayload, Packet, Raw

if TYPE_CHECKING:
    from collections.abc import Callable

conf.contribs["LLDP"].strict_mode_disable()  # else scapy raises on an LLDPDU that lacks something

BYTE = st.integers(0, 0xFF)
WORD = st.integers(0, 0xFFFF)
MAC = st.integers(0, 0xFFFF_FFFF_FFFF).map(lambda mac: ":".join(f"{octet:02x}" for octet in mac.to_bytes(6, "big")))
IPV4 = st.integers(0, 0xFFFF_FFFF).map(lambda address: ".".join(str(octet) for octet in address.to_bytes(4, "big")))
IPV6 = st.one_of(
    st.sampled_from(["fe80::1", "ff02::1", "ff02::1:ff00:1", "2001:db8::5", "::"]),
    st.binary(min_size=16, max_size=16).map(lambda octets: ":".join(octets[i : i + 2].hex() for i in range(0, 16, 2))),
)
PAYLOAD = st.binary(max_size=40).map(lambda octets: Raw(octets) if octets else NoPayload())


def layers(kind: Callable[..., Packet], **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Packet]:
    return st.builds(kind, **parts)


def over(lower: st.SearchStrategy[Packet], upper: st.SearchStrategy[Packet]) -> st.SearchStrategy[Packet]:
    return st.builds(lambda below, above: below / above, lower, upper)


PORT = st.one_of(st.sampled_from([22, 53, 67, 68, 80, 546, 547]), WORD)
TCP_LAYER = layers(
    TCP,
    sport=PORT,
    dport=PORT,
    seq=st.integers(0, 0xFFFF_FFFF),
    flags=st.integers(0, 0x1FF),
    reserved=st.integers(0, 7),
    options=st.sampled_from(
        [[], [("MSS", 1460)], [("MSS", 1460), ("NOP", None), ("WScale", 7), ("Timestamp", (1, 2))]]
    ),
)
UDP_LAYER = layers(UDP, sport=PORT, dport=PORT)
SCTP_LAYER = layers(SCTP, sport=PORT, dport=PORT)
DHCP_LAYER = over(
    st.sampled_from([(68, 67), (67, 68), (67, 67)]).map(lambda ports: UDP(sport=ports[0], dport=ports[1])),
    layers(BOOTP, op=st.integers(1, 2), yiaddr=IPV4, options=st.just(b"c\x82Sc")).map(
        lambda bootp: bootp / DHCP(options=[("message-type", "offer"), "end"])
    ),
)
DHCPV6_LAYER = over(
    st.sampled_from([(546, 547), (547, 546)]).map(lambda ports: UDP(sport=ports[0], dport=ports[1])),
    st.sampled_from([DHCP6_Solicit() / DHCP6OptElapsedTime(), DHCP6_Reply()]),
)
GROUP_LAYER = st.one_of(
    layers(IGMP, type=st.sampled_from([0x11, 0x12, 0x16, 0x17]), gaddr=IPV4),
    st.just(IGMPv3(type=0x22) / IGMPv3_MR()),
)
VRRP_LAYER = st.one_of(layers(VRRP, vrid=BYTE, priority=BYTE), layers(VRRPv3, vrid=BYTE, priority=BYTE))
ICMP_LAYER = over(layers(ICMP, type=st.sampled_from([0, 3, 5, 8, 11, 13]), code=BYTE), PAYLOAD)
ICMPV6_LAYER = st.one_of(
    layers(ICMPv6ND_NS, tgt=IPV6).map(lambda solicit: solicit / ICMPv6NDOptSrcLLAddr(lladdr="52:54:00:00:00:01")),
    layers(ICMPv6ND_NA, tgt=IPV6),
    st.sampled_from([ICMPv6ND_RS(), ICMPv6ND_RA(), ICMPv6DestUnreach(code=3)]),
    layers(ICMPv6MLReport, mladdr=IPV6),
    layers(ICMPv6MLQuery2, mladdr=IPV6),
    layers(ICMPv6MLDMultAddrRec, dst=IPV6).map(lambda record: ICMPv6MLReport2(records=[record])),
    over(layers(ICMPv6EchoRequest, id=WORD), PAYLOAD),
)

IPV4_OPTIONS = st.lists(
    st.sampled_from([IPOption_NOP(), IPOption_Router_Alert(), IPOption_RR(routers=["10.0.0.1"]), IPOption_Timestamp()]),
    max_size=2,
)
IPV4_HEADER = layers(
    IP,
    tos=BYTE,
    id=WORD,
    flags=st.sampled_from([0, 0, 1, 2, 4]),
    frag=st.one_of(st.just(0), st.just(0), st.integers(0, 0x1FFF)),
    src=IPV4,
    dst=IPV4,
    options=IPV4_OPTIONS,
)
IPV4_UPPER = st.one_of(
    over(TCP_LAYER, PAYLOAD),
    over(UDP_LAYER, PAYLOAD),
    over(SCTP_LAYER, PAYLOAD),
    DHCP_LAYER,
    ICMP_LAYER,
    GROUP_LAYER,
    VRRP_LAYER,
    PAYLOAD,
)
IPV4_PACKET = over(IPV4_HEADER, IPV4_UPPER)

EXTENSION = st.one_of(
    layers(IPv6ExtHdrDestOpt, options=st.sampled_from([[], [PadN(optdata=b"\0" * 9)]])),
    layers(IPv6ExtHdrRouting, addresses=st.lists(IPV6, max_size=2), segleft=st.just(0)),
    layers(IPv6ExtHdrFragment, offset=st.sampled_from([0, 0, 1, 0x1FFF]), m=st.integers(0, 1), id=WORD),
    layers(AH, payloadlen=st.just(1), spi=WORD),
    layers(AH, payloadlen=st.just(4), spi=WORD, icv=st.just(bytes(12))),
)


NEXT_HEADERS = {
    IPv6ExtHdrHopByHop: 0,
    TCP: 6,
    UDP: 17,
    IPv6ExtHdrRouting: 43,
    IPv6ExtHdrFragment: 44,
    AH: 51,
    IPv6ExtHdrDestOpt: 60,
    VRRPv3: 112,
    SCTP: 132,
}


def next_header(layer: Packet) -> int:
    if type(layer).__name__.startswith("ICMPv6"):
        return 58
    return NEXT_HEADERS.get(type(layer), 59)


def chained(header: Packet, hop_by_hop: list[Packet], extensions: list[Packet], upper: Packet) -> Packet:
    """Give one packet; each header names the next one here, since scapy leaves some of them at their defaults."""
    packet = header
    for layer in (*hop_by_hop, *extensions, upper):
        packet.lastlayer().nh = next_header(layer)
        packet /= layer.copy()
    return packet


IPV6_PACKET = st.builds(
    chained,
    layers(IPv6, tc=BYTE, fl=st.integers(0, 0xFFFFF), src=IPV6, dst=IPV6),
    st.lists(layers(IPv6ExtHdrHopByHop, options=st.sampled_from([[], [RouterAlert()]])), max_size=1),
    st.lists(EXTENSION, max_size=3),
    st.one_of(
        over(TCP_LAYER, PAYLOAD),
        over(UDP_LAYER, PAYLOAD),
        over(SCTP_LAYER, PAYLOAD),
        DHCPV6_LAYER,
        ICMPV6_LAYER,
        layers(VRRPv3, vrid=BYTE, priority=BYTE),
        PAYLOAD,
    ),
)
ARP_PACKET = layers(ARP, op=st.integers(1, 9), hwsrc=MAC, hwdst=MAC, psrc=IPV4, pdst=IPV4)
STP_PACKET = layers(STP, bpdutype=st.sampled_from([0, 2, 0x80]), rootid=WORD, rootmac=MAC, portid=WORD)
LLDP_PACKET = st.just(
    LLDPDU()
    / LLDPDUChassisID(subtype=4, id="52:54:00:00:00:01")
    / LLDPDUPortID(subtype=3, id="52:54:00:00:00:02")
    / LLDPDUTimeToLive(ttl=120)
    / LLDPDUEndOfLLDPDU()
)
TAGS = st.lists(
    st.builds(
        lambda kind, prio, dei, vlan: kind(prio=prio, dei=dei, vlan=vlan),
        st.sampled_from([Dot1Q, Dot1AD]),
        st.integers(0, 7),
        st.integers(0, 1),
        st.integers(0, 4095),
    ),
    max_size=4,
)


def tagged(header: Packet, tags: list[Packet], packet: Packet, ethertype: int | None) -> bytes:
    frame = header
    for tag in tags:
        frame /= tag
    if ethertype is not None:
        frame.lastlayer().type = ethertype
    return bytes(frame / packet)


def in_snap(header: Packet, packet: Packet, code: int, padding: int) -> bytes:
    return bytes(header / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=code) / packet) + bytes(padding)


ETHERNET = layers(Ether, dst=MAC, src=MAC)
DOT3 = layers(Dot3, dst=MAC, src=MAC)
TYPED = st.one_of(
    st.tuples(IPV4_PACKET, st.just(0x0800)),
    st.tuples(IPV6_PACKET, st.just(0x86DD)),
    st.tuples(ARP_PACKET, st.sampled_from([0x0806, 0x8035])),
)
FRAMES = st.one_of(
    st.builds(lambda header, tags, typed: tagged(header, tags, *typed), ETHERNET, TAGS, TYPED),
    st.builds(lambda header, tags, packet: tagged(header, tags, packet, 0x88CC), ETHERNET, TAGS, LLDP_PACKET),
    st.builds(lambda header, packet: bytes(header / LLC(dsap=0x42, ssap=0x42, ctrl=3) / packet), DOT3, STP_PACKET),
    st.builds(
        lambda header, typed, padding: in_snap(header, typed[0], typed[1], padding), DOT3, TYPED, st.integers(0, 8)
    ),
)
"""Octets of frames whose layers fit together."""


def mutate(frame: bytes, changes: list[tuple[int, int]], kept: int) -> bytes:
    octets = bytearray(frame)
    for position, value in changes:
        octets[position % len(octets)] = value
    return bytes(octets[: max(kept, 14)])


MUTATED = st.builds(
    mutate,
    FRAMES,
    st.lists(
        st.tuples(st.one_of(st.integers(12, 80), WORD), st.one_of(st.sampled_from([0, 0xFF, 0x45, 0x60]), BYTE)),
        max_size=3,
    ),
    st.one_of(st.just(10_000), st.just(10_000), st.integers(14, 100)),
)
"""Octets of frames of which some are changed or cut off: what a hostile guest sends."""
