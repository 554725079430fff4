from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from analyzer.errors import UsageError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.builder import ReportBuilder
from analyzer.report.findings import SAMPLES_KEPT, Cause, Sample, Subclass, merge_causes, merge_samples
from analyzer.report.report import FramesFile, Report
from analyzer.report.senders import macs_seen
from tests.frame_batches import GUEST, Row, frame_batch

IDENTITY = GuestIdentity((GUEST,), Provenance.LIBVIRT_XML, name="vm1")
PACKET_TYPE = DirectionSource.PACKET_TYPE
FILE = FramesFile("frames.pcapng", "0" * 64, 1.0)
S = 1_000_000_000


def window(source: str = "vnet0", frames: int = 0, lost: int | None = 0) -> CaptureWindow:
    return CaptureWindow(source, 0, 10 * S, frames, lost, 128)


def report_of(*rows: Row, identity: GuestIdentity = IDENTITY) -> Report:
    builder = ReportBuilder(identity, PACKET_TYPE)
    builder.add(*frame_batch(rows))
    return builder.finish((window(frames=len(rows)),))


def test_counts_by_class_type_vlan_and_time() -> None:
    report = report_of(
        Row(octets=100),
        Row(octets=60, ts_ns=S, ethertype=0x0806, tags=2, vlan=0xE005),
        Row(kind=FrameClass.BROADCAST, dst=0xFFFFFFFFFFFF, octets=42, ts_ns=S + 1),
        Row(kind=FrameClass.FROM_GUEST, src=GUEST, octets=64, ethertype=0x88B5, tags=1, vlan=7),
        Row(kind=FrameClass.UNCLASSIFIED, octets=9, dst=0, src=0),
    )
    assert report.class_counts == ((0, 0), (0, 0), (1, 42), (2, 160), (1, 64), (1, 9))
    assert report.seen_by_guest == (3, 202)
    assert report.foreign_share == (2 / 3, 160 / 202)
    assert report.ethertypes == ((0x0800, 2, 142), (0x0806, 1, 60))
    assert report.vlans == ((5, 1, 60),)
    assert [number for number, _ in report.timeline.bins] == [0, 1]


def test_shares_of_nothing_are_unknown() -> None:
    assert report_of(Row(kind=FrameClass.FROM_GUEST)).foreign_share == (None, None)


def test_talkers_are_foreign_pairs_with_their_times() -> None:
    report = report_of(Row(src=3, dst=4, ts_ns=5), Row(src=3, dst=4, ts_ns=2), Row(src=4, dst=3, octets=7))
    assert [tuple(entry) for entry in report.talkers.by_size()] == [(3, 4, 2, 128, 2, 5, 0), (4, 3, 1, 7, 0, 0, 0)]
    assert report.groups.entries == report.senders.entries == ()


def test_lost_frames_are_unknown_where_one_window_does_not_know() -> None:
    report = replace(report_of(), windows=(window(lost=2), window(lost=3)))
    assert report.frames_lost == 5
    assert replace(report, windows=(window(lost=2), window(lost=None))).frames_lost is None
    assert report.duration_s == 20.0


def test_progress_counts_are_a_copy() -> None:
    builder = ReportBuilder(IDENTITY, PACKET_TYPE)
    builder.counts[:] = 9
    assert builder.counts.tolist() == [[0, 0]] * 6


def test_unrelated_adds_what_of_multicast_and_broadcast_is_for_others() -> None:
    found = (
        Subclass(FrameClass.BROADCAST, "arp_for_others", is_unrelated=True, frames=2, octets=84),
        Subclass(FrameClass.MULTICAST, "joined", is_unrelated=False, frames=5, octets=500),
        Subclass(FrameClass.FOREIGN_UNICAST, "virtual_mac", is_unrelated=True, frames=1, octets=64),
    )
    assert replace(report_of(Row(octets=100)), subclasses=found).unrelated == (3, 184)


def test_senders_beyond_the_own_macs_are_told_and_not_trusted() -> None:
    known = Address("02:00:00:00:00:07", Provenance.AGENT, trusted=True)
    sent = (GUEST, 0x020000000007, 0x020000000008, 0x020000000008, 0x010000000000)
    rows = [Row(kind=FrameClass.FROM_GUEST, src=src) for src in sent]
    report = report_of(*rows, identity=replace(IDENTITY, macs_seen=(known,)))
    assert macs_seen(report) == (known, Address("02:00:00:00:00:08", Provenance.TRAFFIC, trusted=False))


@pytest.mark.parametrize(
    "other",
    [GuestIdentity((GUEST + 1,), Provenance.LIBVIRT_XML), GuestIdentity((GUEST,), Provenance.LIBVIRT_XML, uuid="two")],
)
def test_reports_of_different_cards_do_not_merge(other: GuestIdentity) -> None:
    mine = report_of(identity=replace(IDENTITY, uuid="one"))
    with pytest.raises(UsageError, match="different cards"):
        mine.merge(report_of(identity=other))


def test_merging_keeps_what_either_knew_and_the_weaker_word() -> None:
    guess = GuestIdentity((GUEST,), Provenance.GUESS, tap="vnet3", groups=(2, 1))
    merged = report_of(identity=guess).merge(report_of(identity=replace(IDENTITY, groups=(2, 3)))).identity
    assert merged == GuestIdentity((GUEST,), Provenance.GUESS, name="vm1", tap="vnet3", groups=(1, 2, 3))


def test_merging_takes_the_weaker_direction_source_of_those_that_counted() -> None:
    counted = report_of(Row())
    assert counted.merge(Report.empty(IDENTITY, DirectionSource.SOURCE_MAC)).direction_source is PACKET_TYPE
    weaker = replace(counted, direction_source=DirectionSource.SOURCE_MAC)
    assert counted.merge(weaker).direction_source is DirectionSource.SOURCE_MAC


def test_kept_frames_are_of_one_window() -> None:
    one = replace(report_of(Row()), frames_file=FILE)
    assert one.merge(Report.empty(IDENTITY, PACKET_TYPE)).frames_file == FILE
    assert one.merge(report_of(Row())).frames_file is None
    builder = ReportBuilder(IDENTITY, PACKET_TYPE)
    assert builder.finish((window("a"), window("b")), FILE).frames_file is None


def test_the_earliest_samples_of_each_class_are_kept() -> None:
    samples = [
        Sample(at, kind, 1, 2, 64, "UDP")
        for at in range(3 * SAMPLES_KEPT)
        for kind in (FrameClass.BROADCAST, FrameClass.FOREIGN_UNICAST)
    ]
    kept = merge_samples(reversed(samples))
    assert kept == tuple(sorted(samples[: 2 * SAMPLES_KEPT]))


def test_causes_with_the_same_words_add_up() -> None:
    cause = Cause("aged_out", "The bridge forgot it.", ("FDB has no entry",), None, None, 3, 300)
    unsure = Cause("aged_out", "The bridge forgot it.", ("FDB has no entry",), "flood off", "silent guests", 1, 60)
    assert merge_causes((cause, unsure, cause)) == (unsure, msgspec.structs.replace(cause, frames=6, octets=600))
    assert merge_causes((unsure, cause, cause)) == merge_causes((cause, cause, unsure))
