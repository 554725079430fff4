"""What a guest needs, as frames: one kind of traffic a row, each frame with a marker that says of which row it is."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab import frames
from tests.lab.frames import BROADCAST, Kind, ethernet
from tests.lab.layout import GUESTS, HOSTS

MAC, IPV4, IPV6 = GUESTS["vm1"].mac, GUESTS["vm1"].ipv4, GUESTS["vm1"].ipv6
SENDER, FAR = HOSTS["hosta"].mac, HOSTS["hostb"].mac
SECOND_MAC, VRRP_MAC, NLB_MAC = "02:00:00:5e:00:01", "00:00:5e:00:01:07", "02:bf:c0:00:02:63"
OTHER_IPV4, OTHER_IPV6 = "192.0.2.250", "2001:db8::250"
JOINED, NOT_JOINED = "239.1.2.3", "239.255.1.2"
REPEATS = 3
"""How often each row is sent."""


@dataclass(frozen=True, slots=True)
class Need:
    """One row: ``make`` gives the frame with a marker in it; ``wanted`` says whether a guest needs it."""

    text: str
    kind: Kind
    wanted: bool
    make: Callable[[bytes], bytes]


def group_mac(group: str) -> str:
    """The MAC of an IPv4 group (RFC 1112)."""
    low = frames.ipv4_octets(group)
    return f"01:00:5e:{low[1] & 0x7F:02x}:{low[2]:02x}:{low[3]:02x}"


def udp4(mac: str, address: str) -> Callable[[bytes], bytes]:
    return lambda mark: ethernet(mac, SENDER, 0x0800, frames.udp_over_ipv4(address, mark), ())


def tagged(mac: str, address: str) -> Callable[[bytes], bytes]:
    return lambda mark: ethernet(mac, SENDER, 0x0800, frames.udp_over_ipv4(address, mark), frames.VLAN)


def udp6(mac: str, address: str) -> Callable[[bytes], bytes]:
    return lambda mark: ethernet(mac, SENDER, 0x86DD, frames.udp_over_ipv6(address, mark), ())


def dhcp(mac: str, address: str) -> Callable[[bytes], bytes]:
    """What a DHCP server sends: UDP from port 67 to port 68."""
    source = frames.SOURCE_IPV4

    def make(mark: bytes) -> bytes:
        length = 8 + len(mark)
        addresses = frames.ipv4_octets(source) + frames.ipv4_octets(address)
        udp = struct.pack("!HHH", 67, 68, length)
        pseudo = addresses + struct.pack("!HH", 17, length)
        datagram = udp + struct.pack("!H", frames.internet_checksum(pseudo + udp + b"\0\0" + mark)) + mark
        return ethernet(mac, SENDER, 0x0800, ipv4(source, address, 17, datagram), ())

    return make


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 packet with a valid header."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 1, protocol, 0)
    addresses = frames.ipv4_octets(source) + frames.ipv4_octets(destination)
    return head[:10] + struct.pack("!H", frames.internet_checksum(head + addresses)) + addresses + payload


def igmp_query(mark: bytes) -> bytes:
    """A general query (RFC 2236), with the marker behind its eight octets."""
    body = struct.pack("!BBH", 0x11, 100, 0) + bytes(4) + mark
    body = body[:2] + struct.pack("!H", frames.internet_checksum(body)) + body[4:]
    return ethernet(group_mac("224.0.0.1"), SENDER, 0x0800, ipv4(frames.SOURCE_IPV4, "224.0.0.1", 2, body), ())


def icmpv6(mac: str, destination: str, kind: int, source: str = "fe80::a") -> Callable[[bytes], bytes]:
    """An ICMPv6 message of some kind: 16 octets of zeros, then an option that carries the marker."""

    def make(mark: bytes) -> bytes:
        units = (2 + len(mark) + 7) // 8
        rest = bytes(20) + (bytes((253, units)) + mark).ljust(units * 8, b"\0")
        addresses = frames.ipv6_octets(source) + frames.ipv6_octets(destination)
        pseudo = addresses + struct.pack("!II", 4 + len(rest), 58) + struct.pack("!BBH", kind, 0, 0) + rest
        body = struct.pack("!BBH", kind, 0, frames.internet_checksum(pseudo)) + rest
        head = struct.pack("!IHBB", 0x60000000, len(body), 58, 255)
        return ethernet(mac, SENDER, 0x86DD, head + addresses + body, ())

    return make


def arp(mac: str, opcode: int, sender: str, target: str) -> Callable[[bytes], bytes]:
    def make(mark: bytes) -> bytes:
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, opcode) + frames.mac_octets(SENDER) + frames.ipv4_octets(sender)
        return ethernet(mac, SENDER, 0x0806, head + bytes(6) + frames.ipv4_octets(target) + mark, ())

    return make


def rarp_announce(mark: bytes) -> bytes:
    """What QEMU sends after a migration: RARP, sender and target the same."""
    pair = frames.mac_octets(SENDER) + bytes(4)
    return ethernet(BROADCAST, SENDER, 0x8035, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 3) + pair + pair + mark, ())


def plain(mac: str, ethertype: int) -> Callable[[bytes], bytes]:
    return lambda mark: ethernet(mac, SENDER, ethertype, bytes(46) + mark, ())


def llc(mac: str) -> Callable[[bytes], bytes]:
    return lambda mark: frames.llc(mac, SENDER, mark)


def solicitation(target: str) -> Callable[[bytes], bytes]:
    tail = ":".join(f"{octet:02x}" for octet in frames.ipv6_octets(target)[13:])
    return lambda mark: ethernet(f"33:33:ff:{tail}", SENDER, 0x86DD, frames.neighbour_solicitation(target, mark), ())


OTHER = frames.SOURCE_IPV4
NEEDS: tuple[Need, ...] = (
    Need("IPv4 to the guest's MAC and address", Kind.OWN, True, udp4(MAC, IPV4)),
    Need("IPv4 to its MAC, link-local address", Kind.OWN, True, udp4(MAC, "169.254.7.7")),
    Need("IPv4 to its MAC, another address", Kind.OWN, False, udp4(MAC, OTHER_IPV4)),
    Need("IPv4 to a foreign MAC", Kind.FOREIGN, False, udp4(FAR, "203.0.113.9")),
    Need("IPv4 to a foreign MAC, the guest's address", Kind.FOREIGN, False, udp4(FAR, IPV4)),
    Need("IPv4 multicast, joined", Kind.MULTICAST, True, udp4(group_mac(JOINED), JOINED)),
    Need("IPv4 multicast, not joined", Kind.MULTICAST, False, udp4(group_mac(NOT_JOINED), NOT_JOINED)),
    Need("IPv4 multicast of the local network", Kind.MULTICAST, True, udp4(group_mac("224.0.0.251"), "224.0.0.251")),
    Need("IPv4 multicast, joined, to its MAC", Kind.OWN, True, udp4(MAC, JOINED)),
    Need("IGMP query", Kind.MULTICAST, True, igmp_query),
    Need("IPv4 broadcast (255.255.255.255)", Kind.BROADCAST, True, udp4(BROADCAST, "255.255.255.255")),
    Need("IPv4 broadcast of the subnet", Kind.BROADCAST, True, udp4(BROADCAST, "192.0.2.255")),
    Need("DHCP reply, broadcast", Kind.BROADCAST, True, dhcp(BROADCAST, "255.255.255.255")),
    Need("DHCP reply, to a new address", Kind.OWN, True, dhcp(MAC, "192.0.2.177")),
    Need("ARP request for the guest", Kind.BROADCAST, True, arp(BROADCAST, 1, OTHER, IPV4)),
    Need("ARP request for others", Kind.BROADCAST, False, arp(BROADCAST, 1, OTHER, OTHER_IPV4)),
    Need("ARP announcement", Kind.BROADCAST, True, arp(BROADCAST, 1, OTHER, OTHER)),
    Need("ARP reply to the guest", Kind.OWN, True, arp(MAC, 2, OTHER, IPV4)),
    Need("ARP reply to a foreign MAC", Kind.FOREIGN, False, arp(FAR, 2, OTHER, OTHER_IPV4)),
    Need("RARP announcement", Kind.BROADCAST, True, rarp_announce),
    Need("IPv6 to the guest's MAC and address", Kind.OWN, True, udp6(MAC, IPV6)),
    Need("IPv6 to its MAC, another address", Kind.OWN, True, udp6(MAC, OTHER_IPV6)),
    Need("IPv6 to a foreign MAC", Kind.FOREIGN, False, udp6(FAR, "2001:db8:eeee::9")),
    Need("IPv6 neighbour solicitation, solicited-node group", Kind.MULTICAST, True, solicitation(IPV6)),
    Need("IPv6 neighbour advertisement to its MAC", Kind.OWN, True, icmpv6(MAC, IPV6, 136)),
    Need("IPv6 router advertisement, all nodes", Kind.MULTICAST, True, icmpv6("33:33:00:00:00:01", "ff02::1", 134)),
    Need("MLD query, all nodes", Kind.MULTICAST, True, icmpv6("33:33:00:00:00:01", "ff02::1", 130)),
    Need("IPv6 multicast, all routers", Kind.MULTICAST, True, udp6("33:33:00:00:00:02", "ff02::2")),
    Need("IPv6 multicast, not joined", Kind.MULTICAST, False, udp6("33:33:00:01:00:09", "ff0e::1:9")),
    Need("VRRP or CARP virtual MAC", Kind.FOREIGN, False, udp4(VRRP_MAC, IPV4)),
    Need("NLB virtual MAC, unicast", Kind.FOREIGN, False, udp4(NLB_MAC, "192.0.2.99")),
    Need("a second MAC of the guest", Kind.FOREIGN, False, udp4(SECOND_MAC, IPV4)),
    Need("NLB multicast (03:bf)", Kind.MULTICAST, True, udp4("03:bf:c0:00:02:63", IPV4)),
    Need("PTP", Kind.MULTICAST, True, plain("01:1b:19:00:00:00", frames.ETHERTYPE_PTP)),
    Need("CDP", Kind.MULTICAST, True, llc("01:00:0c:cc:cc:cc")),
    Need("IS-IS", Kind.MULTICAST, True, llc("09:00:2b:00:00:05")),
    Need("STP", Kind.MULTICAST, True, llc("01:80:c2:00:00:00")),
    Need("LLDP", Kind.MULTICAST, True, plain("01:80:c2:00:00:0e", 0x88CC)),
    Need("VLAN tag, the guest's MAC", Kind.OWN, True, tagged(MAC, IPV4)),
    Need("VLAN tag, its MAC, another address", Kind.OWN, True, tagged(MAC, OTHER_IPV4)),
    Need("VLAN tag, foreign MAC", Kind.FOREIGN, False, tagged(FAR, "203.0.113.9")),
    Need("802.3/LLC to the guest's MAC", Kind.OWN, True, llc(MAC)),
    Need("802.3/LLC to a foreign MAC", Kind.FOREIGN, False, llc(FAR)),
)  # fmt: skip


def numbered(run: int) -> list[tuple[int, int, bytes]]:
    """All frames to send: row, number of the marker, octets."""
    return [
        (row, row * REPEATS + repeat, need.make(frames.marker(run, need.kind, row * REPEATS + repeat)))
        for row, need in enumerate(NEEDS)
        for repeat in range(REPEATS)
    ]
