from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DHCP6_Reply,
    DHCP6OptIA_NA,
)
from scapy.layers.igmp import IGMPv2_MR, IGMPv3_MQ, IGMPv3_MR, IGMPv3_MR_Group
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report import observed as bounds
from analyzer.report import observing
from analyzer.report.builder import ReportBuilder
from analyzer.report.split import split_subclasses
from analyzer.report.store import from_document, to_document
from tests.analyzer.report.observed_reports import (
    ALL,
    GUEST,
    IA_ADDRESS,
    IPV4,
    IPV6,
    NOBODY,
    OTHER,
    dhcp,
    dhcpv6,
    report_of,
    split,
)
from tests.interpreted import load_interpreted
from tests.raw_frames import raw_frames


def to_group(group: str) -> Packet:
    return Ether(src=OTHER, dst=group) / Raw(bytes(46))


def igmp(kind: int, group: str) -> Packet:
    return Ether(src=GUEST, dst="01:00:5e:00:00:16") / IP(dst="224.0.0.22", ttl=1) / IGMPv2_MR(type=kind, gaddr=group)


def igmp3(*records: tuple[int, str, list[str]]) -> Packet:
    groups = [IGMPv3_MR_Group(rtype=kind, maddr=group, srcaddrs=sources) for kind, group, sources in records]
    report = IGMPv3_MR(records=groups)
    return Ether(src=GUEST, dst="01:00:5e:00:00:16") / IP(dst="224.0.0.22", ttl=1, proto=2) / report


def igmp3_query() -> Packet:
    query = IGMPv3_MQ()
    return Ether(src=OTHER, dst="01:00:5e:00:00:01") / IP(src="192.0.2.10", dst="224.0.0.1", ttl=1, proto=2) / query


def icmpv6(message: Packet, *, src: str = GUEST, dst: str = "33:33:00:00:00:16", ip: str = "fe80::1") -> Packet:
    hop = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    return Ether(src=src, dst=dst) / IPv6(src=ip, dst="ff02::16", hlim=1) / hop / message


def mld2(*records: tuple[int, str]) -> Packet:
    return icmpv6(ICMPv6MLReport2(records=[ICMPv6MLDMultAddrRec(rtype=kind, dst=group) for kind, group in records]))


JOINED_MAC = "01:00:5e:01:01:01"


@pytest.mark.parametrize(
    ("told", "is_joined"),
    [
        ([igmp(0x12, "239.1.1.1")], True),
        ([igmp(0x16, "239.1.1.1")], True),
        ([igmp(0x16, "239.1.1.1"), igmp(0x17, "239.1.1.1")], False),
        ([igmp(0x17, "239.1.1.1"), igmp(0x16, "239.1.1.1")], True),
        ([igmp3((4, "239.1.1.1", []))], True),
        ([igmp3((2, "239.9.9.9", []), (2, "239.1.1.1", []))], True),
        ([igmp3((4, "239.1.1.1", [])), igmp3((3, "239.1.1.1", []))], False),
        ([igmp3((5, "239.1.1.1", ["192.0.2.9"]))], True),
        ([igmp3((3, "239.1.1.1", ["192.0.2.9"]))], True),
        ([igmp3((6, "239.1.1.1", ["192.0.2.9"]))], None),
        ([igmp(0x16, "192.0.2.1")], None),
        ([], None),
    ],
)
def test_memberships_of_ipv4(told: list[Packet], is_joined: bool | None) -> None:  # noqa: FBT001 - pytest gives it
    report = report_of([*told, to_group(JOINED_MAC)])
    assert (
        to_document(report)["groups"][0] | {"dst": JOINED_MAC, "joined": is_joined} == to_document(report)["groups"][0]
    )
    assert (JOINED_MAC in to_document(report)["guest"]["groups"]) is (is_joined is True)


@pytest.mark.parametrize(
    ("told", "is_joined"),
    [
        ([icmpv6(ICMPv6MLReport(mladdr="ff02::1:ff00:5"))], True),
        ([icmpv6(ICMPv6MLReport(mladdr="ff02::1:ff00:5")), icmpv6(ICMPv6MLDone(mladdr="ff02::1:ff00:5"))], False),
        ([mld2((4, "ff02::fb"), (4, "ff02::1:ff00:5"))], True),
        ([mld2((4, "ff02::1:ff00:5")), mld2((3, "ff02::1:ff00:5"))], False),
        ([mld2((4, "ff02::fb"))], False),
    ],
)
def test_memberships_of_ipv6(told: list[Packet], is_joined: bool) -> None:  # noqa: FBT001 - pytest gives it
    rows = {
        row["dst"]: row["joined"] for row in to_document(report_of([*told, to_group("33:33:ff:00:00:05")]))["groups"]
    }
    assert rows == {"33:33:ff:00:00:05": is_joined}


def test_a_report_of_somebody_else_says_nothing() -> None:
    frame = igmp(0x16, "239.1.1.1")
    frame.src = OTHER
    assert report_of([frame]).observed.memberships == ()


STRANGER = "01:00:5e:09:09:09"


def test_a_group_that_was_not_in_a_whole_answer_is_unrelated() -> None:
    frames = [igmp3_query(), igmp3((2, "239.1.1.1", [])), to_group(JOINED_MAC), to_group(STRANGER)]
    report = report_of([*frames, to_group("01:00:5e:00:00:fb"), to_group("01:1b:19:00:00:00")])
    assert split(report, FrameClass.MULTICAST) == {
        "all_hosts": 1,
        "group_joined": 1,
        "group_not_joined": 1,
        "group_not_reported": 1,
        "group_unknown": 1,
    }
    assert report.unrelated[0] == 1


@pytest.mark.parametrize(
    "told",
    [
        [igmp3((2, "239.1.1.1", []))],  # nobody asked: it may have told one group of many
        [igmp3_query(), igmp3((4, "239.1.1.1", []))],  # a change, no answer
        [igmp3((2, "239.1.1.1", [])), igmp3_query()],  # answered before it was asked
        [igmp3_query(), bytes(igmp3((2, "239.1.1.1", []), (2, "239.1.1.2", [])))[:-4]],  # cut: there may be more
    ],
)
def test_a_group_that_is_merely_not_told_is_not_unrelated(told: list[Packet | bytes]) -> None:
    report = report_of([*told, to_group(STRANGER)])
    assert split(report, FrameClass.MULTICAST)["group_not_reported"] == 1
    assert report.unrelated == (0, 0)


def test_solicited_node_groups() -> None:
    frames = [to_group(f"33:33:ff:00:{low}") for low in ("01:01", "00:01", "00:77", "12:34")]
    seen = icmpv6(ICMPv6ND_NA(tgt="2001:db8::77"), ip="2001:db8::77")
    assert split(report_of([*frames, seen], IPV6), FrameClass.MULTICAST) == {
        "own_solicited_node": 3,
        "other_solicited_node": 1,
    }
    assert split(report_of(frames), FrameClass.MULTICAST) == {"own_solicited_node": 1, "group_unknown": 3}


def arp(target: str, source: str = "192.0.2.10", op: int = 1, src: str = OTHER) -> Packet:
    return Ether(src=src, dst=ALL) / ARP(op=op, psrc=source, pdst=target, hwsrc=src)


BROADCASTS = [
    arp("192.0.2.101"),
    arp("192.0.2.7"),
    arp("192.0.2.8", source=NOBODY),
    arp("192.0.2.10"),
    arp("192.0.2.10", op=2, source="192.0.2.11"),
    Ether(src=OTHER, dst=ALL)
    / IP(dst="255.255.255.255")
    / UDP(sport=67, dport=68)
    / BOOTP(op=2)
    / DHCP(options=["end"]),
    Ether(src=OTHER, dst=ALL, type=0x88B5) / Raw(bytes(46)),
    bytes(arp("192.0.2.7"))[:30],
]


def test_broadcast() -> None:
    report = report_of(BROADCASTS, IPV4)
    assert split(report, FrameClass.BROADCAST) == {
        "arp_for_guest": 1,
        "arp_for_others": 2,
        "arp_announcement": 1,
        "arp_other": 2,
        "dhcp": 1,
        "broadcast_other": 1,
    }
    assert report.unrelated == (2, 84)
    unknown = report_of(BROADCASTS)
    assert split(unknown, FrameClass.BROADCAST)["arp_request"] == 3
    assert unknown.unrelated == (0, 0)
    asked = to_document(report)["observed"]["asked"]
    assert sorted(row["address"] for row in asked) == ["192.0.2.101", "192.0.2.7", "192.0.2.8"]


def test_what_the_guest_says_of_itself_makes_less_unrelated() -> None:
    report = report_of([*BROADCASTS, arp("192.0.2.1", source="192.0.2.7", src=GUEST)], IPV4)
    assert split(report, FrameClass.BROADCAST)["arp_for_guest"] == 2
    assert to_document(report)["guest"]["addresses"] == [
        {"value": "192.0.2.101", "source": "lease", "trusted": True},
        {"value": "192.0.2.7", "source": "traffic", "trusted": False},
    ]


def test_own_mac_with_other_addresses() -> None:
    def to_guest(layer: Packet) -> Packet:
        return Ether(src=OTHER, dst=GUEST) / layer / Raw(bytes(30))

    frames = [
        to_guest(IP(dst="192.0.2.101")),
        to_guest(Dot1Q(vlan=5) / IP(dst="203.0.113.9")),
        to_guest(IPv6(dst="2001:db8::101")),
        to_guest(IPv6(dst="2001:db8::9")),
        to_guest(IPv6(dst="fe80::5054:ff:fe00:1")),
        to_guest(ARP()),
        bytes(to_guest(IP(dst="203.0.113.9")))[:33],
    ]
    both = split(report_of(frames, IPV4, IPV6), FrameClass.UNICAST_TO_GUEST)
    assert both == {"own_address": 2, "other_address": 2, "address_not_judged": 3}
    assert split(report_of(frames, IPV6), FrameClass.UNICAST_TO_GUEST)["address_not_judged"] == 5
    assert split(report_of(frames), FrameClass.UNICAST_TO_GUEST) == {"address_not_judged": 7}


def test_foreign_and_sent_frames_by_mac() -> None:
    inner = "02:00:00:00:00:99"
    identity = GuestIdentity((parse_mac(GUEST),), Provenance.LIBVIRT_XML)
    frames = [
        Ether(src=OTHER, dst=mac) / Raw(bytes(46))
        for mac in (inner, "00:00:5e:00:01:07", "00:00:0c:07:ac:01", "00:00:0c:9f:f0:01", "02:bf:00:00:00:01", OTHER)
    ]
    frames += [Ether(src=mac, dst=OTHER) / Raw(bytes(46)) for mac in (GUEST, inner, "01:00:00:00:00:01")]
    builder = ReportBuilder(identity, DirectionSource.PACKET_TYPE)
    batch = decode(raw_frames([bytes(frame) for frame in frames], direction=[2] * 6 + [1] * 3))
    builder.add(batch, Classifier(identity, DirectionSource.PACKET_TYPE).classify(batch))
    report = builder.finish(())
    assert split(report, FrameClass.FOREIGN_UNICAST) == {
        "guests_other_mac": 1,
        "vrrp_mac": 1,
        "hsrp_mac": 2,
        "nlb_mac": 1,
        "foreign_mac": 1,
    }
    assert split(report, FrameClass.FROM_GUEST) == {"own_mac": 1, "other_mac": 1, "group_source": 1}
    assert report.unrelated[0] == 6


FRAMES = [
    dhcp("ack", yiaddr="192.0.2.150", to=GUEST),
    dhcpv6(DHCP6_Reply() / DHCP6OptIA_NA(ianaopts=[IA_ADDRESS])),
    *BROADCASTS,
    igmp3_query(),
    icmpv6(ICMPv6MLQuery2(), src=OTHER, dst="33:33:00:00:00:01"),
    igmp3((2, "239.1.1.1", []), (2, "239.1.1.3", [])),
    mld2((2, "ff02::1:ff00:101"), (2, "ff02::fb")),
    to_group(STRANGER),
    to_group("33:33:00:00:00:77"),
    arp("192.0.2.1", source="192.0.2.101", src=GUEST),
    arp("192.0.2.1", source="192.0.2.3", src=GUEST),
    icmpv6(ICMPv6ND_NA(tgt="2001:db8::77"), ip="2001:db8::77"),
]


def test_samples_of_frames_all_of_one_time_are_the_same_wherever_they_are_cut() -> None:
    frames = [bytes(to_group(f"01:00:5e:00:01:{low:02x}")) for low in (*range(20, 0, -1), *range(20))]
    identity = GuestIdentity((parse_mac(GUEST),), Provenance.LIBVIRT_XML)
    samples = []
    for cut in range(0, len(frames), 7):
        builder = ReportBuilder(identity, DirectionSource.SOURCE_MAC)
        for part in (raw_frames(frames[:cut]), raw_frames(frames[cut:])):
            batch = decode(msgspec.structs.replace(part, ts_ns=part.ts_ns * 0))
            builder.add(batch, Classifier(identity, DirectionSource.SOURCE_MAC).classify(batch))
        samples.append(builder.finish(()).samples)
    assert {one.dst & 0xFF for one in samples[0]} == set(range(8))
    assert all(one == samples[0] for one in samples)


@pytest.mark.parametrize("cut", range(len(FRAMES) + 1))
def test_where_a_capture_is_cut_does_not_matter(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    for module in (bounds, observing):
        monkeypatch.setattr(module, "MEMBERSHIPS_KEPT", 3)
        monkeypatch.setattr(module, "ADDRESSES_KEPT", 2)
    whole = report_of(FRAMES, IPV4, IPV6)
    assert whole.observed.more_groups
    assert whole.observed.more_addresses
    assert report_of(FRAMES, IPV4, IPV6, cuts=[cut]) == whole
    parts = report_of(FRAMES[:cut], IPV4, IPV6), report_of(FRAMES[cut:], IPV4, IPV6, start=cut)
    merged = parts[0].merge(parts[1])
    assert merged == parts[1].merge(parts[0])
    assert (merged.observed, merged.subclasses, merged.samples) == (whole.observed, whole.subclasses, whole.samples)
    assert split_subclasses(merged) == split_subclasses(whole)
    told = replace(whole, windows=(CaptureWindow("a file", None, None, whole.frames_seen, None, 0),))
    assert from_document(to_document(told)) == told


def test_groups_beyond_those_that_are_kept_are_told_of_from_look_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that were set aside are looked at as soon as there is no more room, and what is kept is known by then."""
    aside = load_interpreted("analyzer.report.aside")
    monkeypatch.setattr(aside, "ASIDE_FRAMES", 2)
    monkeypatch.setattr(observing, "FramesAside", aside.FramesAside)
    for module in (bounds, observing):
        monkeypatch.setattr(module, "MEMBERSHIPS_KEPT", 2)
    joins = [igmp(0x16, f"239.1.1.{number}") for number in (1, 2, 9, 8, 2)]
    observed = report_of(joins).observed
    assert [one.group & 0xFF for one in observed.memberships] == [1, 2]
    assert observed.more_groups
    assert not report_of(joins[:2]).observed.more_groups
