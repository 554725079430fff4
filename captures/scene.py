"""The scene of the sample captures: what crosses the tap of guest vm1, frame by frame, each born with its class.

The frames are built by scapy from fixed schedules, with addresses from the documentation ranges (RFC 5737, RFC
3849), so that the same octets come out on every machine. Used by make_captures.py alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, LLC, SNAP, STP, CookedLinux, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.vrrp import VRRP
from scapy.packet import Packet, Raw
from synthetic import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

GUEST: Final = "52:54:00:00:00:01"
OTHER_GUEST: Final = "52:54:00:00:00:02"
ROUTER: Final = "02:00:5e:10:00:fe"
SILENT_HOST: Final = "02:aa:00:00:00:50"
CLIENT: Final = "02:aa:00:00:00:51"
VRRP_MAC: Final = "00:00:5e:00:01:07"
NLB_MAC: Final = "02:bf:c0:00:02:63"
BROADCAST: Final = "ff:ff:ff:ff:ff:ff"

GUEST_IP: Final = "192.0.2.20"
ROUTER_IP: Final = "192.0.2.1"
CLIENT_IP: Final = "192.0.2.81"
SILENT_IP: Final = "192.0.2.80"
NO_IP: Final = ".".join("0000")
GUEST_IP6: Final = "2001:db8::20"
ROUTER_IP6: Final = "2001:db8::1"

BEFORE_NS: Final = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
AFTER_NS: Final = BEFORE_NS + 50_000_000_000
DISCARD: Final = UDP(sport=49153, dport=9)
MINIMUM_FRAME: Final = 60  # octets without FCS, IEEE 802.3-2022, 3.2.8
FLOOD_FPS: Final = (34, 12, 51, 48, 7, 29, 33, 40, 18, 26, 44, 31, 9, 22, 37, 55, 14, 28, 39, 23)
"""Foreign frames in each second of the scene: uneven, as a flood is, 600 in all."""

SECONDS: Final = len(FLOOD_FPS)


@dataclass(frozen=True)
class Kind:
    """One kind of traffic: its class, how many frames in each second, and how to build number n of them."""

    frame_class: str
    frames_each_second: Sequence[int]
    build: Callable[[int], Packet]


def wire(packet: Packet) -> bytes:
    """Give the octets of ``packet``, padded to what Ethernet sends at least."""
    return bytes(packet).ljust(MINIMUM_FRAME, b"\0")


def steady(frames: int, *, every_s: int = 1, first_s: int = 0, seconds: int = SECONDS) -> tuple[int, ...]:
    """Give a schedule of ``frames`` in each ``every_s``-th second, from ``first_s`` on."""
    return tuple(frames if s >= first_s and (s - first_s) % every_s == 0 else 0 for s in range(seconds))


def tcp(dst: str, src: str, ip_dst: str, ip_src: str, n: int, payload: int) -> Packet:
    """Build segment ``n`` of a TCP stream with ``payload`` octets of zeros."""
    segment = TCP(sport=49152, dport=80, flags="PA" if payload else "A", seq=1000 + n * payload, ack=7000, window=501)
    return Ether(dst=dst, src=src) / IP(dst=ip_dst, src=ip_src, id=n & 0xFFFF) / segment / Raw(bytes(payload))


def foreign(n: int) -> Packet:
    """Build frame ``n`` of the flood: mostly one TCP stream to the silent host, one in eight of other kinds."""
    odd = (
        lambda: (
            Ether(dst=OTHER_GUEST, src=ROUTER) / IP(dst="192.0.2.21", src=ROUTER_IP, id=n) / DISCARD / Raw(bytes(32))
        ),
        lambda: Ether(dst=SILENT_HOST, src=CLIENT) / Dot1Q(vlan=30) / IP(dst=SILENT_IP, src=CLIENT_IP, id=n) / ICMP(),
        lambda: (
            Ether(dst=SILENT_HOST, src=CLIENT) / IPv6(dst="2001:db8::80", src="2001:db8::81") / DISCARD / Raw(bytes(8))
        ),
        lambda: Ether(dst=VRRP_MAC, src=CLIENT) / IP(dst="198.51.100.9", src=CLIENT_IP, id=n) / TCP(flags="S"),
        lambda: Ether(dst=NLB_MAC, src=ROUTER) / IP(dst="192.0.2.99", src=ROUTER_IP, id=n) / TCP(flags="S"),
        lambda: (
            Ether(dst=SILENT_HOST, src=CLIENT)
            / ARP(op=2, hwsrc=CLIENT, psrc=CLIENT_IP, hwdst=SILENT_HOST, pdst=SILENT_IP)
        ),
        lambda: Dot3(dst=SILENT_HOST, src=CLIENT, len=7) / LLC(dsap=0, ssap=0, ctrl=0xE3) / Raw(bytes(4)),
    )
    if n % 8 == 0:
        return odd[n // 8 % len(odd)]()
    return tcp(SILENT_HOST, CLIENT, SILENT_IP, CLIENT_IP, n, payload=1448 if n % 3 == 0 else 0)


def own(n: int) -> Packet:
    """Build unicast frame ``n`` to the guest: TCP data, echo replies, ARP and neighbour discovery answers, a VLAN."""
    kinds = (
        lambda: tcp(GUEST, ROUTER, GUEST_IP, "198.51.100.7", n, payload=512),
        lambda: Ether(dst=GUEST, src=ROUTER) / IP(dst=GUEST_IP, src=ROUTER_IP, id=n) / ICMP(type=0, seq=n) / bytes(56),
        lambda: Ether(dst=GUEST, src=ROUTER) / IPv6(dst=GUEST_IP6, src=ROUTER_IP6) / TCP(flags="A", seq=n),
        lambda: (
            Ether(dst=GUEST, src=ROUTER) / Dot1Q(vlan=20) / IP(dst="203.0.113.20", src="203.0.113.1", id=n) / DISCARD
        ),
        lambda: Ether(dst=GUEST, src=ROUTER) / ARP(op=2, hwsrc=ROUTER, psrc=ROUTER_IP, hwdst=GUEST, pdst=GUEST_IP),
        lambda: (
            Ether(dst=GUEST, src=ROUTER)
            / IPv6(dst=GUEST_IP6, src=ROUTER_IP6, hlim=255)
            / ICMPv6ND_NA(tgt=ROUTER_IP6, R=1, S=1)
            / ICMPv6NDOptDstLLAddr(lladdr=ROUTER)
        ),
    )
    return kinds[0 if n % 2 else n // 2 % len(kinds)]()


def from_guest(n: int) -> Packet:
    """Build frame ``n`` that the guest sends: acknowledgements, echo requests, ARP, neighbour discovery, DHCP."""
    kinds = (
        lambda: tcp(ROUTER, GUEST, "198.51.100.7", GUEST_IP, n, payload=0),
        lambda: Ether(dst=ROUTER, src=GUEST) / IP(dst=ROUTER_IP, src=GUEST_IP, id=n) / ICMP(seq=n) / Raw(bytes(56)),
        lambda: Ether(dst=BROADCAST, src=GUEST) / ARP(hwsrc=GUEST, psrc=GUEST_IP, pdst=ROUTER_IP),
        lambda: (
            Ether(dst="33:33:ff:00:00:01", src=GUEST)
            / IPv6(dst="ff02::1:ff00:1", src=GUEST_IP6, hlim=255)
            / ICMPv6ND_NS(tgt=ROUTER_IP6)
            / ICMPv6NDOptSrcLLAddr(lladdr=GUEST)
        ),
        lambda: Ether(dst=ROUTER, src=GUEST) / IPv6(dst=ROUTER_IP6, src=GUEST_IP6) / ICMPv6EchoRequest(seq=n),
    )
    return kinds[0 if n % 2 else n // 2 % len(kinds)]()


def arp_broadcast(n: int) -> Packet:
    """Build ARP request ``n``: every second one asks for the guest, the others for the silent host."""
    target = GUEST_IP if n % 2 else SILENT_IP
    return Ether(dst=BROADCAST, src=ROUTER) / ARP(hwsrc=ROUTER, psrc=ROUTER_IP, pdst=target)


def dhcp_offer(n: int) -> Packet:
    """Build DHCP offer ``n``, broadcast to a client that is not the guest (RFC 2131, 4.1)."""
    reply = BOOTP(op=2, xid=n + 1, yiaddr="192.0.2.90", chaddr=bytes.fromhex("02aa00000090")) / DHCP(
        options=[("message-type", "offer"), ("server_id", ROUTER_IP), ("lease_time", 3600), "end"]
    )
    return Ether(dst=BROADCAST, src=ROUTER) / IP(dst="255.255.255.255", src=ROUTER_IP) / UDP(sport=67, dport=68) / reply


def rarp(n: int) -> Packet:
    """Build RARP announcement ``n``, as QEMU sends it for a guest that has just migrated."""
    mac = f"52:54:00:00:01:{n:02x}"
    return Ether(dst=BROADCAST, src=mac, type=0x8035) / ARP(op=3, hwsrc=mac, hwdst=mac, psrc=NO_IP, pdst=NO_IP)


def group(n: int) -> Packet:
    """Build multicast frame ``n``: IP groups, neighbour discovery, and group addresses that are no IP."""
    kinds = (
        lambda: (
            Ether(dst="01:00:5e:00:00:fb", src=CLIENT)
            / IP(dst="224.0.0.251", src=CLIENT_IP, ttl=255, id=n)
            / UDP(sport=5353, dport=5353)
            / DNS(rd=0, qd=DNSQR(qname="_http._tcp.local", qtype="PTR"))
        ),
        lambda: (
            Ether(dst="33:33:00:00:00:01", src=ROUTER)
            / IPv6(dst="ff02::1", src="fe80::fe", hlim=255)
            / ICMPv6ND_RA()
            / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER)
        ),
        lambda: (
            Ether(dst="33:33:ff:00:00:20", src=ROUTER)
            / IPv6(dst="ff02::1:ff00:20", src=ROUTER_IP6, hlim=255)
            / ICMPv6ND_NS(tgt=GUEST_IP6)
            / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER)
        ),
        lambda: Dot3(dst="09:00:2b:00:00:05", src=ROUTER, len=20) / LLC(dsap=0xFE, ssap=0xFE, ctrl=3) / Raw(bytes(17)),
        lambda: Ether(dst="01:1b:19:00:00:00", src=ROUTER, type=0x88F7) / Raw(b"\x00\x02\x00\x2c" + bytes(40)),
        lambda: Dot3(dst="01:80:c2:00:00:00", src=ROUTER, len=38) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
        lambda: (
            Ether(dst="01:00:5e:00:00:12", src=VRRP_MAC)
            / IP(dst="224.0.0.18", src=ROUTER_IP, ttl=255, id=n)
            / VRRP(vrid=7, addrlist=["198.51.100.9"])
        ),
        lambda: (
            Ether(dst="01:00:5e:01:02:03", src=CLIENT)
            / Dot1Q(vlan=20)
            / IP(dst="239.1.2.3", src=CLIENT_IP, id=n)
            / UDP(sport=5004, dport=5004)
        ),
    )
    return kinds[n % len(kinds)]()


def scene(start_ns: int, kinds: Iterable[Kind]) -> list[Frame]:
    """Lay the frames of all ``kinds`` on one time line; in each second those of a kind come at even distances."""
    frames = []
    for place, kind in enumerate(kinds):
        number = 0
        for second, count in enumerate(kind.frames_each_second):
            for i in range(count):
                offset_ns = second * 1_000_000_000 + (i * 1_000_000_000 + place * 7_000_003) // count
                frames.append(Frame(start_ns + offset_ns, wire(kind.build(number)), kind.frame_class))
                number += 1
    return sorted(frames, key=lambda frame: frame.ts_ns)


WANTED: Final = (
    Kind("unicast_to_guest", steady(8), own),
    Kind("from_guest", steady(6), from_guest),
    Kind("multicast", steady(3), group),
    Kind("broadcast", steady(2), arp_broadcast),
    Kind("broadcast", steady(1, every_s=5, first_s=2), dhcp_offer),
    Kind("broadcast", steady(1, every_s=10, first_s=4), rarp),
)
FLOOD: Final = Kind("foreign_unicast", FLOOD_FPS, foreign)


def tagged() -> list[Frame]:
    """Build frames with none to three tags of all TPIDs in use, to the guest and to others, and a runt."""
    ip = IP(dst=GUEST_IP, src=ROUTER_IP) / DISCARD / Raw(bytes(18))
    shapes = (
        ip,
        Dot1Q(vlan=20) / ip,
        Dot1Q(vlan=0, prio=5) / ip,
        Dot1AD(vlan=100) / Dot1Q(vlan=20) / ip,
        Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / ip,
        Dot1Q(vlan=20, type=54) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=0x0800) / ip,
    )
    ends = (
        ("unicast_to_guest", GUEST, ROUTER),
        ("foreign_unicast", SILENT_HOST, CLIENT),
        ("multicast", "01:00:5e:01:02:03", CLIENT),
        ("broadcast", BROADCAST, ROUTER),
        ("from_guest", ROUTER, GUEST),
    )
    built = [(name, wire(Ether(dst=dst, src=src) / shape)) for shape in shapes for name, dst, src in ends]
    built += [
        (name, wire(Ether(dst=dst, src=src, type=0x9100) / Raw(bytes.fromhex("00648100001488b5"))))
        for name, dst, src in ends
    ]
    built.append(("unclassified", bytes.fromhex("5254000000010200")))
    return [Frame(BEFORE_NS + i * 10_000_000, octets, name) for i, (name, octets) in enumerate(built)]


def cooked() -> list[Frame]:
    """Build frames as `tcpdump -i any` keeps them: no destination MAC address at all."""
    packets = (
        CookedLinux(pkttype=4, lladdrlen=6, src=bytes.fromhex("02005e1000fe0000")) / IP() / DISCARD for _ in "1234"
    )
    return [Frame(BEFORE_NS + i, bytes(packet), "unclassified") for i, packet in enumerate(packets)]
