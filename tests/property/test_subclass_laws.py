"""Subclasses partition their classes and change none; what is compiled is what is interpreted; any octets will do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.classify import deep_rows as compiled_rows
from analyzer.classify import lease_walk as compiled_leases
from analyzer.classify import membership_walk as compiled_walk
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.classify.description import TEXT_LIMIT, describe_frame
from analyzer.classify.subclasses import SUBCLASS_TABLE, remainder
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.report.builder import ReportBuilder
from analyzer.report.observed import Observed
from analyzer.report.split import split_subclasses
from tests.interpreted import is_compiled, load_interpreted
from tests.property.observed import observations
from tests.property.reports import reports
from tests.property.scapy_frames import MUTATED
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from analyzer.model.frames import FrameBatch
    from analyzer.report.report import Report

GUEST = 0x525400000001
ADDRESSES = tuple(
    Address(text, Provenance.COMMAND_LINE, trusted=True) for text in ("192.0.2.1", "2001:db8::5", "no address")
)
MACS = st.sampled_from(
    [GUEST, 0x02AA00000001, 0xFFFFFFFFFFFF, 0x01005E000001, 0x01005E000016, 0x333300000001, 0x333300000016]
)
IGMP = bytes.fromhex("46c00028000040000102000000000000e000001694040000")
MLD = bytes.fromhex("600000000040000100000000000000000000000000000000ff0200000000000000000000000000163a00050200000000")
GROUP_HEADS = st.sampled_from(
    [
        b"\x08\x00" + IGMP + bytes.fromhex(text)
        for text in ("1100000000000000", "16000000ef010101", "17000000ef010101", "2200000000000001", "220000000000ffff")
    ]
    + [
        b"\x86\xdd" + MLD + bytes.fromhex(text)
        for text in ("8200000000000000", "8300000000000000", "8400000000000000", "8f00000000000002")
    ]
)
RECORDS = st.lists(
    st.sampled_from([bytes.fromhex(text) for text in ("02000000ef010101", "03000000ef010101", "01000001ff020000")])
    | st.binary(max_size=24),
    max_size=4,
).map(b"".join)


def framed(dst: int, src: int, head: bytes, rest: bytes) -> bytes:
    return dst.to_bytes(6, "big") + src.to_bytes(6, "big") + head + rest


MEMBERSHIPS = st.builds(framed, MACS, MACS, GROUP_HEADS, RECORDS)
UDP4 = bytes.fromhex("0800 45000148000040004011 0000 c0000201 c0000295")
UDP6 = bytes.fromhex("86dd 6000000000601140 fe80000000000000000000000000000a fe800000000000000000000000000001")
DHCP = bytes.fromhex("0043 0044 0134 0000 02 01 06 00") + bytes(12) + bytes.fromhex("c0000296") + bytes(8)
DHCP += GUEST.to_bytes(6) + bytes(202) + bytes.fromhex("63825363")
OF_CLIENT = DHCP.replace(b"\0\x43\0\x44", b"\0\x44\0\x43").replace(b"\2\1\6", b"\1\1\6")
DHCPV6 = bytes.fromhex("0223 0222 0060 0000 07 000001 0003 0028 00000001 00000000 00000000 0005 0018")
LEASES = st.builds(
    framed,
    MACS,
    MACS,
    st.sampled_from(
        [
            UDP4 + DHCP,
            UDP4 + DHCP.replace(b"\0\x43\0\x44", b"\0\x44\0\x43").replace(b"\2\1\6", b"\1\1\6"),
            UDP6 + DHCPV6,
        ]
    ),
    st.sampled_from([b"\x35\1\5\xff", b"\0\x35\1\2", b"\x20\1\x0d\xb8" + bytes(11) + b"\5" + b"\1" * 8])
    | st.binary(max_size=40),
)
OTHERS = st.builds(
    framed, MACS, MACS, st.sampled_from([b"\x08\x00E", b"\x86\xdd`", b"\x08\x06"]), st.binary(max_size=60)
)
FRAMES = st.lists(st.one_of(MEMBERSHIPS, LEASES, OTHERS, MUTATED, st.binary(max_size=80)), max_size=12)


def built(frames: list[bytes], identity: GuestIdentity) -> tuple[Report, FrameBatch]:
    builder = ReportBuilder(identity, DirectionSource.SOURCE_MAC)
    batch = decode(raw_frames(frames))
    builder.add(batch, Classifier(identity, DirectionSource.SOURCE_MAC).classify(batch))
    return builder.finish(()), batch


IDENTITIES = st.sampled_from([(), ADDRESSES]).map(
    lambda addresses: GuestIdentity((GUEST,), Provenance.COMMAND_LINE, addresses=addresses)
)


@given(FRAMES, IDENTITIES)
def test_subclasses_partition_their_classes(frames: list[bytes], identity: GuestIdentity) -> None:
    report, batch = built(frames, identity)
    for kind in FrameClass:
        rows = [one for one in split_subclasses(report) if one.kind is kind]
        if remainder(kind) is not None:
            counted = sum(one.frames for one in rows), sum(one.octets for one in rows)
            assert counted == report.class_counts[kind]
        else:
            assert not rows
    assert report.class_counts == tuple((int(frames), int(octets)) for frames, octets in class_counts(batch, identity))
    foreign, seen = report.class_counts[FrameClass.FOREIGN_UNICAST][0], report.seen_by_guest[0]
    assert foreign <= report.unrelated[0] <= seen


def class_counts(batch: FrameBatch, identity: GuestIdentity) -> list[tuple[int, int]]:
    classes = Classifier(identity, DirectionSource.SOURCE_MAC).classify(batch)
    return [(int((classes == kind).sum()), int(batch.octets[classes == kind].sum())) for kind in FrameClass]


@given(FRAMES, IDENTITIES)
def test_looking_compiled_equals_interpreted(frames: list[bytes], identity: GuestIdentity) -> None:
    assert is_compiled(compiled_rows)
    assert is_compiled(compiled_walk)
    assert is_compiled(compiled_leases)
    expected, _ = built(frames, identity)
    with pytest.MonkeyPatch.context() as patch:
        names = ("deep_rows", "membership_walk", "lease_walk")
        rows, walk, leases = (load_interpreted(f"analyzer.classify.{name}") for name in names)
        patch.setattr("analyzer.report.first_look.choose_rows", rows.choose_rows)
        aside = load_interpreted("analyzer.report.aside")
        patch.setattr("analyzer.report.observing.FramesAside", aside.FramesAside)
        patch.setattr("analyzer.report.observing.walk_memberships", walk.walk_memberships)
        patch.setattr("analyzer.report.observing.walk_leases", leases.walk_leases)
        assert built(frames, identity)[0] == expected


@given(reports())
def test_subclasses_of_any_report_name_rows_of_the_table(report: Report) -> None:
    known = {(row.kind, row.name) for row in SUBCLASS_TABLE}
    stored = {(one.kind, one.name) for one in report.subclasses}
    assert {(one.kind, one.name) for one in split_subclasses(report)} <= known | stored


@given(observations(), observations(), observations())
def test_merging_observations_is_associative_and_commutative(one: Observed, two: Observed, three: Observed) -> None:
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(Observed()) == one


@given(st.one_of(MEMBERSHIPS, OTHERS, MUTATED, st.binary(max_size=200)))
def test_any_octets_are_described(octets: bytes) -> None:
    text = describe_frame(octets)
    assert 0 < len(text) <= TEXT_LIMIT
    assert text.isprintable()


def test_a_description_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("scapy.packet.Packet.summary", fail)
    assert describe_frame(bytes(60)) == "(scapy cannot read it: RecursionError)"


def test_each_row_has_its_own_name() -> None:
    names = [(row.kind, row.name) for row in SUBCLASS_TABLE]
    assert len(set(names)) == len(names)
    assert np.all([row.definition and row.source for row in SUBCLASS_TABLE])
