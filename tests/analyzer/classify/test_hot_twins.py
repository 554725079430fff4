"""Hot modules and their twins: frames of every protocol, whole and cut at every octet, and columns that lie."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.igmp import IGMP, IGMPv3, IGMPv3_MR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6MLReport,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, STP, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vrrp import VRRP, VRRPv3

from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.classify.network import decode_network, empty_network
from analyzer.errors import UsageError
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import FILE_BATCH_FRAMES, CaptureInterface
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.network import NetworkBatch, NetworkFlag, Service
from analyzer.pipeline import Measurement
from tests.capture_octets import epb, idb, pcap_header, pcap_record, read_all, shb, source_of
from tests.fuzz.twins import interpreted
from tests.interpreted import load_interpreted
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.model.frames import FrameBatch, RawFrames
    from analyzer.report.report import Report

GUEST, OTHER = "52:54:00:00:00:01", "02:aa:00:00:00:0a"
HEAD = Ether(src=OTHER, dst=GUEST)
V4, V6 = IP(src="192.0.2.10", dst="192.0.2.1"), IPv6(src="fe80::a", dst="fe80::1")
HOP = IPv6ExtHdrHopByHop(options=[RouterAlert()])
PACKETS = {
    "arp": HEAD / ARP(op=2, hwlen=6, plen=4),
    "arp of other lengths": HEAD
    / ARP(op=1, hwlen=8, plen=16, hwsrc=b"8" * 8, hwdst=b"9" * 8, psrc=b"a" * 16, pdst=b"b" * 16),
    "tcp": HEAD / V4 / TCP(flags="SA", options=[("MSS", 1460)]),
    "udp with a tag": Ether(src=OTHER, dst=GUEST) / Dot1Q(vlan=7) / V4 / UDP(),
    "udp with options": HEAD / IP(src="192.0.2.10", dst="192.0.2.1", options=b"\x94\x04\x00\x00") / UDP(),
    "dhcp": HEAD / V4 / UDP(sport=67, dport=68) / BOOTP(op=2) / DHCP(options=[("message-type", "ack"), "end"]),
    "icmp": HEAD / V4 / ICMP(),
    "sctp": HEAD / V4 / SCTP(),
    "udplite": HEAD / IP(src="192.0.2.10", dst="192.0.2.1", proto=136) / (b"\0\1\0\2" + bytes(8)),
    "dccp": HEAD / IP(src="192.0.2.10", dst="192.0.2.1", proto=33) / (b"\0\1\0\2" + bytes(12)),
    "vrrp": HEAD / V4 / VRRP(vrid=7),
    "igmp": Ether(src=GUEST, dst="01:00:5e:00:00:16")
    / IP(dst="224.0.0.22", ttl=1)
    / IGMP(type=0x16, gaddr="239.1.1.1"),
    "igmp3": Ether(src=GUEST, dst="01:00:5e:00:00:16")
    / IP(dst="224.0.0.22", ttl=1, proto=2)
    / IGMPv3(type=0x22)
    / IGMPv3_MR(),
    "a fragment": HEAD / IP(src="192.0.2.10", dst="192.0.2.1", proto=17, frag=5) / bytes(40),
    "ipv6 tcp": HEAD / V6 / TCP(),
    "ipv6 vrrp": HEAD / V6 / VRRPv3(vrid=9),
    "nd": HEAD / V6 / ICMPv6ND_NS(),
    "mld": Ether(src=GUEST, dst="33:33:00:00:00:16") / V6 / HOP / ICMPv6MLReport(mladdr="ff02::5"),
    "extensions": HEAD / V6 / IPv6ExtHdrDestOpt() / AH(payloadlen=4, icv=bytes(12)) / UDP(),
    "an atomic fragment": HEAD / V6 / IPv6ExtHdrFragment(offset=0, m=0, nh=17) / UDP(),
    "a first fragment": HEAD / V6 / IPv6ExtHdrFragment(offset=0, m=1, nh=17) / UDP(),
    "a later fragment": HEAD / V6 / IPv6ExtHdrFragment(offset=9, m=0, nh=17) / bytes(16),
    "a short ah": HEAD / V6 / AH(payloadlen=0) / UDP(),
    "stp": Dot3(src=OTHER, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
    "stp of another protocol": Dot3(src=OTHER, dst="01:80:c2:00:00:00")
    / LLC(dsap=0x42, ssap=0x42, ctrl=3)
    / (b"\1\1" + bytes(40)),
    "no ip": HEAD / (b"\x08\x00" + bytes(60)),
}
each_packet = pytest.mark.parametrize("name", PACKETS)


def rows_of(batch: NetworkBatch) -> dict[str, list[int]]:
    return {name: getattr(batch, name).tolist() for name in NetworkBatch.__struct_fields__}


def both(raw: RawFrames) -> NetworkBatch:
    """Give what the network decoder says of each frame, which both forms say alike, as both decoders do before."""
    batch = decode(raw)
    twin: FrameBatch = load_interpreted("analyzer.classify.decode").decode(raw)
    for name in ("dst", "src", "outer_type", "ethertype", "tags", "vlan", "network", "octets", "segments", "flags"):
        assert getattr(twin, name).tolist() == getattr(batch, name).tolist(), name
    found = decode_network(batch)
    rows = empty_network(found.rows)
    load_interpreted("analyzer.classify.network_walk").NetworkWalk(batch, rows).run()
    assert rows_of(rows) == rows_of(found)
    return found


def cuts(name: str) -> tuple[list[bytes], int]:
    octets = bytes(PACKETS[name])
    return [octets[:kept] for kept in range(14, len(octets) + 1)], len(octets)


@each_packet
def test_cut_by_the_capture(name: str) -> None:
    kept, length = cuts(name)
    found = both(raw_frames(kept, original=[length] * len(kept)))
    assert not int(found.flags[-1]) & (NetworkFlag.NETWORK_CUT | NetworkFlag.UPPER_CUT)
    assert (
        not (found.flags[:-1] & NetworkFlag.NETWORK_MALFORMED).any() or found.flags[-1] & NetworkFlag.NETWORK_MALFORMED
    )


@each_packet
def test_cut_on_the_wire(name: str) -> None:
    both(raw_frames(cuts(name)[0]))


@each_packet
def test_any_octet_of_a_head_changed(name: str) -> None:
    octets = bytes(PACKETS[name])
    changed = [
        octets[:at] + bytes([value]) + octets[at + 1 :]
        for at in range(12, min(60, len(octets)))
        for value in (0, 1, 255)
    ]
    both(raw_frames(changed))


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("vrrp", Service.VRRP),
        ("ipv6 vrrp", Service.VRRP),
        ("stp", Service.STP),
        ("igmp", Service.IGMP),
        ("mld", Service.MLD),
    ],
)
def test_services(name: str, service: Service) -> None:
    assert both(raw_frames([bytes(PACKETS[name])])).service.tolist() == [service]


def test_only_fragments_are_fragments() -> None:
    names = ("an atomic fragment", "a first fragment", "a later fragment")
    found = both(raw_frames([bytes(PACKETS[name]) for name in names]))
    assert [bool(flags & NetworkFlag.FRAGMENT) for flags in found.flags.tolist()] == [False, True, True]


# Columns that lie


def test_frames_outside_of_the_buffer_are_decoded_to_nothing_by_both_forms() -> None:
    raw = raw_frames([bytes(PACKETS["tcp"])] * 4)
    raw.offsets[:3] = (-1, len(raw.data) + 1, len(raw.data))
    raw.captured[3] = 0xFFFF_FFFF
    assert both(raw).tcp_flags.tolist()[:3] in ([0, 0, 0], [])


def test_columns_that_differ_in_length_are_refused_by_both_forms() -> None:
    raw = raw_frames([bytes(PACKETS["tcp"])] * 2)
    raw = msgspec.structs.replace(raw, captured=raw.captured[:1])
    for decoder in (decode, load_interpreted("analyzer.classify.decode").decode):
        with pytest.raises(ValueError, match="differ in length"):
            decoder(raw)


def test_a_guest_without_a_mac_is_classified_by_neither_form() -> None:
    nobody = GuestIdentity((), Provenance.COMMAND_LINE)
    for classifier in (Classifier, load_interpreted("analyzer.classify.classifier").Classifier):
        with pytest.raises(UsageError, match="no MAC is known"):
            classifier(nobody, DirectionSource.SOURCE_MAC)


# Files that fill a batch


def pcap(count: int) -> bytes:
    return pcap_header() + pcap_record(bytes(PACKETS["udp with a tag"])) * count


def pcapng(count: int) -> bytes:
    return shb() + idb(snaplen=60) + epb(bytes(PACKETS["tcp"])) * count


@pytest.mark.parametrize("made", [pcap, pcapng])
def test_a_batch_that_is_full_goes_on_with_the_next(made: Callable[[int], bytes]) -> None:
    octets = made(FILE_BATCH_FRAMES + 3)
    batches = [len(raw) for raw in source_of(octets).batches()]
    frames = read_all(source_of(octets))
    assert len(frames) == sum(batches) == FILE_BATCH_FRAMES + 3
    assert len(batches) > 1
    with interpreted():
        assert read_all(source_of(octets)) == frames


def test_segments_that_the_kernel_put_together_come_back_from_a_file_of_ours() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, CaptureInterface(), None)
    writer.write(raw_frames([bytes(PACKETS["tcp"])] * 3, gso_size=[0, 1448, 65_535]), np.ones(3, np.uint8))
    writer.finish(0)
    for again in (lambda: read_all(source_of(file.getvalue())), lambda: twin_read(file.getvalue())):
        assert [frame.gso_size for frame in again()] == [0, 1448, 65_535]


def twin_read(octets: bytes) -> list[object]:
    with interpreted():
        return list(read_all(source_of(octets)))


@pytest.mark.parametrize(
    "comment", [b"nwscan.gso_size=1x", b"nwscan.gso_size=99999999", b"xwscan.gso_size=1448", b"other"]
)
def test_other_comments_say_nothing_of_segments(comment: bytes) -> None:
    file = io.BytesIO()
    PcapngWriter(file, CaptureInterface(), None).finish(0)
    head = file.getvalue()
    octets = head + epb(bytes(PACKETS["tcp"]), "<", (1, comment))
    assert [frame.gso_size for frame in twin_read(octets)] == [0]
    assert twin_read(octets) == read_all(source_of(octets))


def test_a_packet_that_claims_more_than_its_block_ends_the_reading() -> None:
    good, bad = epb(b"a" * 20), bytearray(epb(b"b" * 20))
    bad[20:24] = (2000).to_bytes(4, "little")
    octets = shb() + idb() + good + bytes(bad)
    source = source_of(octets)
    assert len(read_all(source)) == 1
    assert source.window().stopped_early
    assert len(twin_read(octets)) == 1


# Reports


def report_of(frames: list[bytes]) -> Report:
    measurement = Measurement(GuestIdentity((0x525400000001,), Provenance.COMMAND_LINE), DirectionSource.SOURCE_MAC)
    measurement.add(raw_frames([]))
    assert measurement.class_frames() == (0,) * 6
    measurement.add(raw_frames(frames))
    assert sum(measurement.class_frames()) == len(frames)
    return measurement.finish(())


def test_the_whole_report_is_the_same_from_both_forms() -> None:
    frames = [bytes(packet) for packet in PACKETS.values()] * 30
    compiled = report_of(frames)
    with interpreted():
        assert report_of(frames) == compiled
    assert len(gzip.compress(repr(compiled).encode())) > 500
