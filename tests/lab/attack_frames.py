"""What a guest with root inside may send to have itself or another measured wrongly: the tries, as frames.

Each is written from the attacker ``me`` against the victim ``it``. Nothing here is valid traffic of anybody.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.lab.frames import (
    BROADCAST,
    MINIMUM_OCTETS,
    internet_checksum,
    ipv4_octets,
    ipv6_octets,
    mac_octets,
    udp_over_ipv4,
    udp_over_ipv6,
)
from tests.lab.layout import HOSTS, GuestAddress

ABSENT = "02:de:ad:00:00:01"
"""Nobody has it: the bridge floods what goes there to every port."""
NAMES = (
    b"../../../../etc/cron.d/x",
    b"<script>alert(1)</script>",
    b"\x1b]0;owned\x07\x1b[2J",
    b"=cmd|'/c calc'!A0",
    b"'; DROP",
)
"""What a guest announces as its name: a way out of a folder, markup, terminal control, a formula, a quote."""
NEW_SOURCE, NEW_DESTINATION, NEW_BODY = 1, 2, 4
"""What the sender in the guest draws anew for each repetition: guest_sender.c."""
NO_VNET = bytes(10)
VIRTUAL_MACS = ("00:00:5e:00:01:01", "00:00:5e:00:02:01", "00:00:0c:07:ac:01", "02:bf:c0:00:02:63", "03:bf:c0:00:02:63")
WHOLE_OCTETS = 1200


@dataclass(frozen=True, slots=True)
class Record:
    """A frame with its virtio header, how often it is sent, and what is drawn anew each time."""

    frame: bytes
    repeat: int = 1
    vary: int = 0
    vnet: bytes = NO_VNET
    pause_us: int = 0

    def encode(self) -> bytes:
        """As guest_sender.c reads it."""
        octets = self.vnet + self.frame
        return struct.pack("<4I", len(octets), self.repeat, self.vary, self.pause_us) + octets


Frames = Callable[[GuestAddress, GuestAddress], Iterator[Record]]


def eth(dst: str, src: str, ethertype: int, payload: bytes = b"") -> bytes:
    """An Ethernet frame, padded to the least there is."""
    head = mac_octets(dst) + mac_octets(src) + struct.pack("!H", ethertype)
    return (head + payload).ljust(MINIMUM_OCTETS, b"\0")


def ipv4(src: str, dst: str, protocol: int, payload: bytes, ttl: int = 1) -> bytes:
    """An IPv4 packet with the router alert option, as IGMP has it."""
    head = struct.pack("!BBHHHBBH", 0x46, 0xC0, 24 + len(payload), 0, 0, ttl, protocol, 0)
    head += ipv4_octets(src) + ipv4_octets(dst) + b"\x94\x04\0\0"
    return head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:] + payload


def ipv6(src: str, dst: str, following: int, payload: bytes, hops: int = 1) -> bytes:
    """An IPv6 packet."""
    return (
        struct.pack("!IHBB", 0x60000000, len(payload), following, hops) + ipv6_octets(src) + ipv6_octets(dst) + payload
    )


def icmpv6(src: str, dst: str, body: bytes, hops: int = 255, options: bytes = b"") -> bytes:
    """An ICMPv6 message with its checksum; ``options`` stand before it as a hop-by-hop header."""
    pseudo = ipv6_octets(src) + ipv6_octets(dst) + struct.pack("!II", len(body), 58)
    checked = body[:2] + struct.pack("!H", internet_checksum(pseudo + body)) + body[4:]
    return ipv6(src, dst, 0 if options else 58, options + checked, hops)


def spoofed_sources(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """Sources of others: the victim's, the hosts', the tap's and bridge's own, groups, nobody's."""
    tap = f"fe{it.mac[2:]}"
    sources = (it.mac, *(host.mac for host in HOSTS.values()), tap, "01:00:5e:00:00:01", BROADCAST, "00:00:00:00:00:00")
    for source in sources:
        for target in (ABSENT, it.mac, me.mac, BROADCAST, "01:00:5e:01:02:03"):
            packet = udp_over_ipv4(it.ipv4, b"not me", source=me.ipv4)
            yield Record(eth(target, source, 0x0800, packet), repeat=3)


def forged_joins(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """IGMP and MLD in the victim's name: reports, leaves, queries, and records that lie about their number."""
    for number, group in enumerate(("239.66.6.6", "224.0.0.251", "239.255.255.250")):
        mac = f"01:00:5e:{ipv4_octets(group)[1] & 0x7F:02x}:{ipv4_octets(group)[2]:02x}:{ipv4_octets(group)[3]:02x}"
        for kind in (0x16, 0x12, 0x17, 0x11):  # report of version 2 and 1, leave, query: RFC 2236
            body = struct.pack("!BBH", kind, 0, 0) + ipv4_octets(group)
            body = body[:2] + struct.pack("!H", internet_checksum(body)) + body[4:]
            for target in (mac, it.mac, me.mac):
                yield Record(eth(target, it.mac, 0x0800, ipv4(it.ipv4, group, 2, body)))
        lying = struct.pack("!BBHHH", 0x22, 0, 0, 0, 0xFFFF) + struct.pack("!BBH", 4, 255, 0xFFFF) + ipv4_octets(group)
        yield Record(eth("01:00:5e:00:00:16", it.mac, 0x0800, ipv4(it.ipv4, "224.0.0.22", 2, lying)), 1 + number)
    alert = b"\x3a\0\x05\x02\0\0\x01\0"
    for kind in (131, 132, 130):  # MLD report, done, query: RFC 2710
        body = struct.pack("!BBHHH", kind, 0, 0, 0, 0) + ipv6_octets("ff02::6666")
        packet = icmpv6("fe80::1", "ff02::6666", body, 1, alert)
        yield Record(eth("33:33:00:00:66:66", it.mac, 0x86DD, packet))
    lying6 = (
        struct.pack("!BBHHH", 143, 0, 0, 0, 0xFFFF) + struct.pack("!BBH", 4, 255, 0xFFFF) + ipv6_octets("ff02::6667")
    )
    yield Record(eth("33:33:00:00:00:16", it.mac, 0x86DD, icmpv6("fe80::1", "ff02::16", lying6, 1, alert)))


def dhcp_message(operation: int, kind: int, mac: str, given: str, name: bytes) -> bytes:
    """A DHCP message (RFC 2131) that gives an address and names somebody."""
    head = struct.pack("!BBBBIHH", operation, 1, 6, 0, 0x6E77, 0, 0) + bytes(4) + ipv4_octets(given) + bytes(8)
    head += mac_octets(mac).ljust(16, b"\0") + name[:63].ljust(64, b"\0") + b"../../boot".ljust(128, b"\0")
    options = bytes((53, 1, kind, 12, len(name))) + name + bytes((81, 3 + len(name), 0, 0, 0)) + name + b"\xff"
    return head + b"\x63\x82\x53\x63" + options


def forged_leases(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """DHCP and DHCPv6 acknowledgements that give the victim an address of the attacker's choice, and names."""
    for target in (it.mac, BROADCAST, me.mac):
        for name in NAMES:
            ack = _udp4(dhcp_message(2, 5, it.mac, "203.0.113.66", name), 67, 68, me.ipv4, it.ipv4)
            yield Record(eth(target, HOSTS["hosta"].mac, 0x0800, ack))
        own = _udp4(dhcp_message(1, 3, it.mac, "203.0.113.66", NAMES[0]), 68, 67, "0.0.0.0", "255.255.255.255")  # noqa: S104 - DHCP's
        yield Record(eth(target, it.mac, 0x0800, own))
    address = ipv6_octets("2001:db8:bad::66") + struct.pack("!II", 3600, 7200)
    association = struct.pack("!HHIII", 3, 40, 1, 0, 0) + struct.pack("!HH", 5, 24) + address
    reply = b"\x07\0\0\x01" + association + struct.pack("!HH", 3, 0xFFFF) + bytes(12)
    yield Record(eth(it.mac, HOSTS["hosta"].mac, 0x86DD, _udp6(reply, 547, 546)), repeat=5)


def _udp4(payload: bytes, source: int, target: int, src: str, dst: str) -> bytes:
    packet = bytearray(udp_over_ipv4(dst, payload, source=src, port=target))
    packet[20:22] = struct.pack("!H", source)
    packet[26:28] = b"\0\0"  # no checksum: RFC 768
    return bytes(packet)


def _udp6(payload: bytes, source: int, target: int) -> bytes:
    packet = bytearray(udp_over_ipv6("fe80::2", payload, source="fe80::1", port=target))
    packet[40:42] = struct.pack("!H", source)
    return bytes(packet)


def forged_neighbours(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """ARP and neighbour discovery for addresses of others: requests, replies, announcements, probes."""
    for claimed in (it.ipv4, HOSTS["hosta"].ipv4, "192.0.2.1", "203.0.113.66"):
        for operation, target in ((1, BROADCAST), (2, BROADCAST), (2, it.mac), (2, me.mac), (65535, it.mac)):
            for asked in (claimed, it.ipv4):
                body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac_octets(ABSENT) + ipv4_octets(claimed)
                yield Record(eth(target, it.mac, 0x0806, body + bytes(6) + ipv4_octets(asked)))
    for kind in (135, 136, 133, 134, 137):
        for claimed in (it.ipv6, "2001:db8:bad::66"):
            body = (
                struct.pack("!BBHI", kind, 0, 0, 0xE0000000) + ipv6_octets(claimed) + b"\x02\x01" + mac_octets(ABSENT)
            )
            yield Record(eth("33:33:00:00:00:01", it.mac, 0x86DD, icmpv6(it.ipv6, "ff02::1", body)))
            yield Record(eth(it.mac, ABSENT, 0x86DD, icmpv6("fe80::1", it.ipv6, body)))


def virtual_machines(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """VRRP, HSRP and NLB: from their MACs, to their MACs, as if the victim took part."""
    advert = struct.pack("!BBBBBBH", 0x21, 1, 255, 1, 0, 1, 0) + ipv4_octets(it.ipv4) + bytes(8)
    for mac in VIRTUAL_MACS:
        yield Record(eth("01:00:5e:00:00:12", mac, 0x0800, ipv4(it.ipv4, "224.0.0.18", 112, advert, 255)), 3)
        yield Record(eth(mac, it.mac, 0x0800, udp_over_ipv4(it.ipv4, b"for the cluster", source=me.ipv4)), 5)
        yield Record(eth(mac, me.mac, 0x0800, udp_over_ipv4(it.ipv4, b"for the cluster", source=me.ipv4)), 5)


def mac_flood(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """MACs that nobody has, one a frame: sources, destinations, both; groups; what the victim is asked for."""
    body = udp_over_ipv4(it.ipv4, b"flood", source=me.ipv4)
    yield Record(eth(ABSENT, me.mac, 0x0800, body), 1500, NEW_SOURCE | NEW_DESTINATION)
    yield Record(eth(it.mac, me.mac, 0x0800, body), 500, NEW_SOURCE)
    yield Record(eth(ABSENT, it.mac, 0x0800, body), 500, NEW_DESTINATION)
    join = struct.pack("!BBHHH", 0x22, 0, 0, 0, 20) + b"".join(
        struct.pack("!BBH", 4, 0, 0) + ipv4_octets(f"239.7.7.{number}") for number in range(20)
    )
    yield Record(eth("01:00:5e:00:00:16", me.mac, 0x0800, ipv4(me.ipv4, "224.0.0.22", 2, join)), 50)
    request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac_octets(me.mac) + bytes(14)
    yield Record(eth(BROADCAST, me.mac, 0x0806, request), 500, NEW_BODY)


ETHERTYPES = (0, 1, 60, 0x05DC, 0x05FF, 0x0600, 0x0800, 0x0806, 0x8035, 0x8100, 0x86DD, 0x8863, 0x8864, 0x88A8, 0x88CC)
ETHERTYPES_OF_ALL = (*ETHERTYPES, 0x88E5, 0x88F7, 0x8847, 0x6558, 0x9000, 0xFFFF)


def malformed(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """Frames of chance under every EtherType that the decoder knows, headers cut short, headers in a circle."""
    for ethertype in ETHERTYPES_OF_ALL:
        for target in (it.mac, ABSENT, "33:33:00:00:00:01"):
            yield Record(eth(target, me.mac, ethertype, bytes(64)), 10, NEW_BODY)
    whole = udp_over_ipv4(it.ipv4, bytes(40), source=me.ipv4)
    for cut in (0, 1, 9, 19, 20, 21, 27):
        yield Record(mac_octets(it.mac) + mac_octets(me.mac) + b"\x08\0" + whole[:cut])
    for octet, value in ((0, 0x40), (0, 0x4F), (0, 0x65), (2, 0xFF), (3, 0), (6, 0x3F), (7, 0xFF), (9, 255)):
        lying = bytearray(whole)
        lying[octet] = value
        yield Record(eth(it.mac, me.mac, 0x0800, bytes(lying)))
    for following in (0, 43, 44, 51, 60, 135, 139, 140):  # extension headers that follow themselves: RFC 8200, 4
        circle = bytes((following, 0)) + bytes(6)
        yield Record(eth(it.mac, me.mac, 0x86DD, ipv6("fe80::1", it.ipv6, following, circle * 150)))
        yield Record(eth(it.mac, me.mac, 0x86DD, ipv6("fe80::1", it.ipv6, following, bytes((following, 255)))))


def oversized(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """Super-frames: 60 KB in segments of many sizes and of one octet, and virtio headers that lie."""
    head = 14 + 20 + 20
    data = 60_000
    tcp = struct.pack("!HHIIBBHHH", 4000, 9, 1, 0, 0x50, 0x10, 1024, 0, 0) + bytes(data)
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 40 + data, 0, 0x4000, 64, 6, 0) + ipv4_octets(me.ipv4)
    packet += ipv4_octets(it.ipv4)
    packet = packet[:10] + struct.pack("!H", internet_checksum(packet)) + packet[12:] + tcp
    for target in (it.mac, ABSENT):
        for size in (1448, 536, 8, 1, 0, 65535):
            vnet = struct.pack("<BBHHHH", 1, 1, head, size, 34, 16)  # checksum wanted, GSO of TCP over IPv4
            yield Record(eth(target, me.mac, 0x0800, packet), vnet=vnet)
        for kind, length, start in ((1, 0, 34), (1, 65535, 34), (3, head, 65535), (4, head, 60000), (0x81, head, 34)):
            vnet = struct.pack("<BBHHHH", 1, kind, length, 1448, start, 16)
            yield Record(eth(target, me.mac, 0x0800, packet[:1400]), vnet=vnet)
    yield Record(eth(it.mac, me.mac, 0x88B5, bytes(WHOLE_OCTETS)), 5)
    yield Record(eth(it.mac, me.mac, 0x88B5, bytes(9000)))


def nested_vlans(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """VLAN tags in VLAN tags, of VLANs that are none, and tags with nothing behind them."""
    inner = struct.pack("!H", 0x0800) + udp_over_ipv4(it.ipv4, b"deep", source=me.ipv4)
    for tpid in (0x8100, 0x88A8, 0x9100):
        for vlan in (0, 1, 4094, 4095, 0xFFFF):
            for depth in (1, 2, 3, 8, 60):
                for target in (it.mac, ABSENT):
                    tags = struct.pack("!HH", tpid, vlan) * depth
                    octets = mac_octets(target) + mac_octets(me.mac) + tags
                    yield Record((octets + inner).ljust(MINIMUM_OCTETS, b"\0"))
        yield Record(mac_octets(it.mac) + mac_octets(me.mac) + struct.pack("!H", tpid))
        yield Record(mac_octets(it.mac) + mac_octets(me.mac) + struct.pack("!HH", tpid, 5))


def hostile_names(me: GuestAddress, it: GuestAddress) -> Iterator[Record]:
    """Names with ``../``, markup, terminal control and formulas: in DHCP, LLDP, mDNS and NetBIOS."""
    for name in NAMES:
        message = _udp4(dhcp_message(1, 3, me.mac, "0.0.0.0", name), 68, 67, "0.0.0.0", "255.255.255.255")  # noqa: S104 - DHCP's
        yield Record(eth(BROADCAST, me.mac, 0x0800, message), 3)
        kinds = ((1, b"\x07" + name), (2, b"\x07" + name), (3, b"\0\x78"), (5, name), (6, name), (4, name))
        units = b"".join(struct.pack("!H", kind << 9 | len(text)) + text for kind, text in kinds)
        for target in ("01:80:c2:00:00:0e", it.mac, ABSENT):
            yield Record(eth(target, me.mac, 0x88CC, units + b"\0\0"), 3)
        question = struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + bytes((len(name),)) + name + b"\x05local\0"
        answer = question + struct.pack("!HHIH", 12, 1, 120, len(name) + 2) + bytes((len(name),)) + name + b"\0"
        yield Record(eth("01:00:5e:00:00:fb", me.mac, 0x0800, _udp4(answer, 5353, 5353, me.ipv4, "224.0.0.251")))
        yield Record(eth(ABSENT, me.mac, 0x0800, _udp4(answer, 137, 137, me.ipv4, it.ipv4)))


TRIES: dict[str, Frames] = {
    "spoofed sources": spoofed_sources,
    "forged IGMP and MLD": forged_joins,
    "forged DHCP and DHCPv6": forged_leases,
    "forged ARP and ND": forged_neighbours,
    "virtual MACs": virtual_machines,
    "floods of MACs and groups": mac_flood,
    "malformed frames": malformed,
    "super-frames": oversized,
    "nested VLANs": nested_vlans,
    "hostile names": hostile_names,
}
