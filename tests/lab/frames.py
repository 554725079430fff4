"""Frames with ground truth: valid headers of many kinds, and in each a marker that says which frame it is.

The marker is found wherever the frame ends up: `find_marker(octets)`. No frame makes its receiver answer: the IPv4
source is in no subnet that anybody here has a route to, the neighbour asked for does not exist, and what is foreign is
addressed to somebody behind hostb.
"""

import itertools
import re
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum

MARKER = b"nwscan:marker:"
_MARKER_TAIL = struct.Struct("!IBI")  # run, kind, sequence number
BROADCAST = "ff:ff:ff:ff:ff:ff"
SOURCE_IPV4 = "198.51.100.7"
SOURCE_IPV6 = "2001:db8:ffff::7"
MINIMUM_OCTETS = 60  # IEEE 802.3 clause 3.2.8, without FCS

ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN = 0x8100, 0x88A8
ETHERTYPE_PTP = 0x88F7
ETHERTYPE_EXPERIMENTAL = 0x88B5  # IEEE 802, local experimental


class Kind(IntEnum):
    """What a frame is for the guest that the schedule is aimed at."""

    FOREIGN = 1
    OWN = 2
    MULTICAST = 3
    BROADCAST = 4


def mac_octets(mac: str) -> bytes:
    """The six octets of a MAC."""
    return bytes.fromhex(mac.replace(":", ""))


def marker(run: int, kind: Kind, number: int) -> bytes:
    """The marker of one frame."""
    return MARKER + _MARKER_TAIL.pack(run, kind, number)


def find_marker(octets: bytes) -> tuple[int, Kind, int] | None:
    """Run, kind and sequence number that the octets carry."""
    at = octets.find(MARKER)
    if at < 0 or len(octets) < at + len(MARKER) + _MARKER_TAIL.size:
        return None
    run, kind, number = _MARKER_TAIL.unpack_from(octets, at + len(MARKER))
    return run, Kind(kind), number


def markers_in(octets: bytes, run: int) -> dict[Kind, set[int]]:
    """The sequence numbers of a run's frames in a capture file's octets, by kind; each marker may be there only once.

    ValueError if a marker is there twice.
    """
    found: dict[Kind, set[int]] = {kind: set() for kind in Kind}
    for start in re.finditer(re.escape(MARKER), octets):
        if (mark := find_marker(octets[start.start() : start.end() + _MARKER_TAIL.size])) is None or mark[0] != run:
            continue
        if mark[2] in found[mark[1]]:
            raise ValueError(f"frame {mark[2]} of kind {mark[1].name} was captured twice")
        found[mark[1]].add(mark[2])
    return found


Payload = Callable[[bytes], bytes]


def ethernet(
    destination: str, source: str, ethertype: int, payload: bytes, vlans: tuple[tuple[int, int], ...]
) -> bytes:
    """An Ethernet II frame; `vlans` are (TPID, VLAN id) from the outermost on."""
    tags = b"".join(struct.pack("!HH", tpid, vlan) for tpid, vlan in vlans)
    frame = mac_octets(destination) + mac_octets(source) + tags + struct.pack("!H", ethertype) + payload
    return frame.ljust(MINIMUM_OCTETS, b"\0")


def llc(destination: str, source: str, payload: bytes) -> bytes:
    """An IEEE 802.3 frame with the LLC header of the OSI network layer, as IS-IS uses it."""
    body = b"\xfe\xfe\x03" + payload
    return (mac_octets(destination) + mac_octets(source) + struct.pack("!H", len(body)) + body).ljust(
        MINIMUM_OCTETS, b"\0"
    )


def internet_checksum(octets: bytes) -> int:
    """RFC 1071."""
    words = struct.unpack(f"!{(len(octets) + 1) // 2}H", octets + b"\0" * (len(octets) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4_octets(address: str) -> bytes:
    """The four octets of an IPv4 address."""
    return bytes(map(int, address.split(".")))


def udp_over_ipv4(destination: str, payload: bytes, *, source: str = SOURCE_IPV4, port: int = 9) -> bytes:
    """An IPv4 packet with valid checksums; port 9 is the discard service."""
    datagram = _udp(ipv4_octets(source) + ipv4_octets(destination), payload, port)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0x4000, 64, 17, 0)
    addresses = ipv4_octets(source) + ipv4_octets(destination)
    checksum = struct.pack("!H", internet_checksum(header + addresses))
    return header[:10] + checksum + addresses + datagram


def udp_over_ipv6(destination: str, payload: bytes, *, source: str = SOURCE_IPV6, port: int = 9) -> bytes:
    """An IPv6 packet with a valid UDP checksum."""
    addresses = ipv6_octets(source) + ipv6_octets(destination)
    datagram = _udp(addresses, payload, port)
    return struct.pack("!IHBB", 0x60000000, len(datagram), 17, 64) + addresses + datagram


def neighbour_solicitation(target: str, payload: bytes, *, source: str = SOURCE_IPV6) -> bytes:
    """ICMPv6 neighbour solicitation (RFC 4861) to the target's solicited-node group.

    The payload is an option of experimental type (RFC 4727): what trails an IPv6 packet is cut off by br_netfilter.
    """
    group = f"ff02::1:ff{ipv6_octets(target)[13:14].hex()}:{ipv6_octets(target)[14:].hex()}"
    addresses = ipv6_octets(source) + ipv6_octets(group)
    units = (2 + len(payload) + 7) // 8
    option = (bytes((253, units)) + payload).ljust(units * 8, b"\0")
    rest = bytes(4) + ipv6_octets(target) + option
    checksum = internet_checksum(addresses + struct.pack("!IIBBH", 4 + len(rest), 58, 135, 0, 0) + rest)
    body = struct.pack("!BBH", 135, 0, checksum) + rest
    return struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + addresses + body


def arp_request(target: str, mac: str, payload: bytes, *, source: str = SOURCE_IPV4) -> bytes:
    """An ARP request for an address that nobody has; the payload trails the packet."""
    head = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 1)
    return head + mac_octets(mac) + ipv4_octets(source) + bytes(6) + ipv4_octets(target) + payload


def ipv6_octets(address: str) -> bytes:
    """The sixteen octets of an IPv6 address written with at most one `::`."""
    head, _, tail = address.partition("::")
    words = [[int(word, 16) for word in part.split(":") if word] for part in (head, tail)]
    middle = [0] * (8 - len(words[0]) - len(words[1]))
    return struct.pack("!8H", *words[0], *middle, *words[1])


def _udp(addresses: bytes, payload: bytes, port: int) -> bytes:
    length = 8 + len(payload)
    header = struct.pack("!HHH", 40000, port, length)
    checksum = internet_checksum(addresses + struct.pack("!HH", 17, length) + header + b"\0\0" + payload) or 0xFFFF
    return header + struct.pack("!H", checksum) + payload


VLAN = ((ETHERTYPE_VLAN, 100),)
DOUBLE_VLAN = ((ETHERTYPE_SERVICE_VLAN, 200), (ETHERTYPE_VLAN, 100))


def unicast_frames(destination: str, source: str, ipv4: str, ipv6: str) -> Iterator[Payload]:
    """For ever: ways to make a frame to this MAC, tagged and untagged, of several protocols and sizes."""
    sizes = itertools.cycle((0, 40, 200, 1000, 1300))
    filler = (bytes(size) for size in sizes)

    def udp4(vlans: tuple[tuple[int, int], ...]) -> Payload:
        pad = next(filler)
        return lambda mark: ethernet(destination, source, ETHERTYPE_IPV4, udp_over_ipv4(ipv4, mark + pad), vlans)

    def udp6(vlans: tuple[tuple[int, int], ...]) -> Payload:
        pad = next(filler)
        return lambda mark: ethernet(destination, source, ETHERTYPE_IPV6, udp_over_ipv6(ipv6, mark + pad), vlans)

    def plain(vlans: tuple[tuple[int, int], ...]) -> Payload:
        return lambda mark: ethernet(destination, source, ETHERTYPE_EXPERIMENTAL, mark, vlans)

    while True:
        yield udp4(())
        yield udp4(VLAN)
        yield udp6(())
        yield plain(())
        yield udp6(VLAN)
        yield udp4(DOUBLE_VLAN)
        yield lambda mark: llc(destination, source, mark)


def multicast_frames(source: str) -> Iterator[Payload]:
    """For ever: IPv4 groups, IPv6 neighbour discovery, IS-IS and PTP groups, tagged and untagged."""

    def udp4(group: str, vlans: tuple[tuple[int, int], ...]) -> Payload:
        low = ipv4_octets(group)
        mac = f"01:00:5e:{low[1] & 0x7F:02x}:{low[2]:02x}:{low[3]:02x}"
        return lambda mark: ethernet(mac, source, ETHERTYPE_IPV4, udp_over_ipv4(group, mark), vlans)

    def discovery(target: str, vlans: tuple[tuple[int, int], ...]) -> Payload:
        mac = "33:33:ff:" + ":".join(f"{octet:02x}" for octet in ipv6_octets(target)[13:])
        return lambda mark: ethernet(mac, source, ETHERTYPE_IPV6, neighbour_solicitation(target, mark), vlans)

    while True:
        yield udp4("224.0.0.251", ())
        yield discovery("2001:db8::aa:1234", ())
        yield lambda mark: llc("09:00:2b:00:00:05", source, mark)
        yield lambda mark: ethernet("01:1b:19:00:00:00", source, ETHERTYPE_PTP, bytes(44) + mark, ())
        yield udp4("239.255.1.2", VLAN)
        yield discovery("2001:db8::bb:5678", VLAN)
        yield udp4("239.1.2.3", ())


def broadcast_frames(source: str) -> Iterator[Payload]:
    """For ever: ARP for nobody, IPv4 broadcast, and others, tagged and untagged."""

    def arp(vlans: tuple[tuple[int, int], ...]) -> Payload:
        return lambda mark: ethernet(BROADCAST, source, ETHERTYPE_ARP, arp_request("192.0.2.250", source, mark), vlans)

    def udp4(vlans: tuple[tuple[int, int], ...]) -> Payload:
        return lambda mark: ethernet(BROADCAST, source, ETHERTYPE_IPV4, udp_over_ipv4("255.255.255.255", mark), vlans)

    while True:
        yield arp(())
        yield udp4(())
        yield udp4(VLAN)
        yield lambda mark: ethernet(BROADCAST, source, ETHERTYPE_EXPERIMENTAL, mark, ())
        yield arp(VLAN)
