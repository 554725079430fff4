"""Make the sample captures and their MANIFEST.toml: `python captures/make_captures.py [FOLDER]`.

The frames are built by scapy from fixed schedules, with addresses from the documentation ranges (RFC 5737, RFC 3849),
so that the same octets come out on every machine. Each frame is born with its class: the counts in the manifest are
what was built, not what nwscan, or anything else, made of it.

The scene: guest vm1 (52:54:00:00:00:01, 192.0.2.20) on a bridge that has forgotten where 02:aa:00:00:00:50 lives, and
so floods that host's traffic to all ports. ``after.pcapng`` is the same 20 seconds behind a filter on vm1's tap that
drops unicast to other MAC addresses, started half a minute later.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CLASSES: Final = (
    "unicast_to_guest",
    "multicast",
    "broadcast",
    "foreign_unicast",
    "from_guest",
    "unclassified",
)
RECEPTION: Final = {"unicast_to_guest": 1, "multicast": 2, "broadcast": 3, "foreign_unicast": 4}
"""epb_flags bits 2-4 (draft-ietf-opsawg-pcapng, 4.3): promiscuous reception is exactly foreign unicast."""

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

IDENTITY: Final = {
    "nwscan.identity/1": {"macs": [GUEST], "name": "vm1", "card": 0, "tap": "vnet0", "bridge": "br0"},
    "direction": "tap",
}
"""Whose frames these are, as nwscan notes it in the comment of a section."""

BEFORE_NS: Final = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
AFTER_NS: Final = BEFORE_NS + 50_000_000_000
DISCARD: Final = UDP(sport=49153, dport=9)
SNAPLEN: Final = 128
MINIMUM_FRAME: Final = 60  # octets without FCS, IEEE 802.3-2022, 3.2.8
FLOOD_FPS: Final = (34, 12, 51, 48, 7, 29, 33, 40, 18, 26, 44, 31, 9, 22, 37, 55, 14, 28, 39, 23)
"""Foreign frames in each second of the scene: uneven, as a flood is, 600 in all."""


@dataclass(frozen=True)
class Frame:
    """One frame as it crossed the tap, with the class it was built for."""

    ts_ns: int
    octets: bytes
    frame_class: str


@dataclass(frozen=True)
class Kind:
    """One kind of traffic: its class, how many frames in each second, and how to build number n of them."""

    frame_class: str
    frames_each_second: Sequence[int]
    build: Callable[[int], Packet]


def wire(packet: Packet) -> bytes:
    """Give the octets of ``packet``, padded to what Ethernet sends at least."""
    return bytes(packet).ljust(MINIMUM_FRAME, b"\0")


def steady(frames: int, *, every_s: int = 1, first_s: int = 0, seconds: int = len(FLOOD_FPS)) -> tuple[int, ...]:
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
    """Build frames with no tag, one, two and three tags of all TPIDs in use, to the guest and to others, and a runt."""
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


def pcap(frames: Iterable[Frame], linktype: int = 1, snaplen: int = 262_144) -> bytes:
    """Give a classic pcap file with nanoseconds (draft-ietf-opsawg-pcap, 4), little-endian."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, linktype)]
    for frame in frames:
        kept = frame.octets[:snaplen]
        seconds, nanoseconds = divmod(frame.ts_ns, 1_000_000_000)
        parts += [struct.pack("<IIII", seconds, nanoseconds, len(kept), len(frame.octets)), kept]
    return b"".join(parts)


def option(code: int, value: bytes) -> bytes:
    """Give one pcapng option, padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes) -> bytes:
    """Give one pcapng block around ``body``, which is a multiple of 32 bits long."""
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def pcapng(frames: Sequence[Frame], start_ns: int, end_ns: int) -> bytes:
    """Give a pcapng file as `nwscan capture vnet0 -w` writes it: identity, direction, reception type, drops."""
    end = struct.pack("<HH", 0, 0)
    comment, writer = option(1, json.dumps(IDENTITY).encode()), option(4, b"nwscan sample, from make_captures.py")
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + comment + writer + end
    card = option(2, b"vnet0") + option(6, bytes.fromhex(GUEST.replace(":", ""))) + option(9, b"\x09") + end
    parts = [block(0x0A0D0D0A, section), block(1, struct.pack("<HHI", 1, 0, SNAPLEN) + card)]
    for frame in frames:
        kept = frame.octets[:SNAPLEN]
        direction = 1 if frame.frame_class == "from_guest" else 2
        flags = direction | RECEPTION.get(frame.frame_class, 0) << 2
        header = struct.pack("<IIIII", 0, frame.ts_ns >> 32, frame.ts_ns & 0xFFFFFFFF, len(kept), len(frame.octets))
        body = header + kept + bytes(-len(kept) % 4) + option(2, struct.pack("<I", flags)) + end
        parts.append(block(6, body))
    first, last = (struct.pack("<II", ts_ns >> 32, ts_ns & 0xFFFFFFFF) for ts_ns in (start_ns, end_ns))
    parts.append(block(5, struct.pack("<I", 0) + last + option(2, first) + option(3, last) + option(5, bytes(8)) + end))
    return b"".join(parts)


def gzipped(octets: bytes) -> bytes:
    """Give ``octets`` compressed, without the time and name that would make each run differ."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(octets)
    return out.getvalue()


def cooked() -> list[Frame]:
    """Build frames as `tcpdump -i any` keeps them: no destination MAC address at all."""
    packets = (
        CookedLinux(pkttype=4, lladdrlen=6, src=bytes.fromhex("02005e1000fe0000")) / IP() / DISCARD for _ in "1234"
    )
    return [Frame(BEFORE_NS + i, bytes(packet), "unclassified") for i, packet in enumerate(packets)]


@dataclass(frozen=True)
class Sample:
    """One sample file: its octets as stored, what it shows, and the whole frames in it."""

    file: str
    what: str
    octets: bytes
    frames: Sequence[Frame]
    linktype: int = 1
    extra: str = ""
    """Further lines of the manifest, as TOML."""


def samples() -> tuple[Sample, ...]:
    """Make all samples, in the order of the manifest."""
    before = scene(BEFORE_NS, (*WANTED, FLOOD))
    after = scene(AFTER_NS, WANTED)
    length_ns = len(FLOOD_FPS) * 1_000_000_000
    first = [frame for frame in before if frame.ts_ns < BEFORE_NS + 1_000_000_000]
    whole = pcap(first)
    kept = first[: len(first) // 2]
    cut_at = len(pcap(kept))
    sll = cooked()
    return (
        Sample(
            "before.pcapng",
            "20 s on the tap of vm1 while the bridge floods the traffic of a silent host: the guest sees it all",
            pcapng(before, BEFORE_NS, BEFORE_NS + length_ns),
            before,
            extra=window(BEFORE_NS, length_ns),
        ),
        Sample(
            "after.pcapng",
            "the same 20 s of traffic behind a filter on the tap that drops unicast to other MAC addresses",
            pcapng(after, AFTER_NS, AFTER_NS + length_ns),
            after,
            extra=window(AFTER_NS, length_ns),
        ),
        Sample(
            "vlan.pcap",
            "no, one, two and three VLAN tags of TPIDs 8100, 88a8 and 9100; a runt",
            pcap(tagged()),
            tagged(),
        ),
        Sample(
            "first_second.pcap.gz", "the first second of before.pcapng as classic pcap, gzip", gzipped(whole), first
        ),
        Sample(
            "cut.pcap",
            "the first second of before.pcapng, cut 11 octets into a record's header: the frames before it count",
            whole[: cut_at + 11],
            kept,
            extra=f"cut_at_octet = {cut_at}\n",
        ),
        Sample(
            "cooked.pcap",
            "a Linux cooked capture (SLL): it holds no destination MAC address, so nothing in it can be classified",
            pcap(sll, linktype=113),
            sll,
            linktype=113,
        ),
    )


def window(start_ns: int, length_ns: int) -> str:
    """Give the lines of the manifest that say which time a capture covers."""
    return f"start_ns = {start_ns}\nend_ns = {start_ns + length_ns}\n"


def manifest(made: Iterable[Sample]) -> str:
    """Give MANIFEST.toml: what each file is, and how many frames and octets of each class were built into it."""
    parts = ["# Made by make_captures.py, which built the frames and so knows their classes. Do not edit.\n"]
    for sample in made:
        parts.append(
            f'\n[[capture]]\nfile = "{sample.file}"\nwhat = "{sample.what}"\n'
            f'origin = "captures/make_captures.py"\nlicence = "Apache-2.0"\nguest = "vm1"\nmac = "{GUEST}"\n'
            f"linktype = {sample.linktype}\nframes = {len(sample.frames)}\n{sample.extra}"
        )
        if sample.linktype != 1:
            continue
        parts.append("[capture.classes]\n")
        for name in CLASSES:
            lengths = [len(frame.octets) for frame in sample.frames if frame.frame_class == name]
            parts.append(f"{name} = {{ frames = {len(lengths)}, octets = {sum(lengths)} }}\n")
    return "".join(parts)


def main(folder: Path) -> None:
    """Write all samples and the manifest into ``folder``."""
    made = samples()
    for sample in made:
        (folder / sample.file).write_bytes(sample.octets)
        print(f"{sample.file}: {len(sample.frames)} frames, {len(sample.octets)} octets")
    (folder / "MANIFEST.toml").write_text(manifest(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
