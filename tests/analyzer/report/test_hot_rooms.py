"""Tables that are full, frames that are longer than the room aside, batches of any size: both forms do alike."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from analyzer.classify import deep_rows
from analyzer.classify.decode import decode
from analyzer.errors import InputError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.columns import column
from analyzer.model.frames import BATCH_FRAMES
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report import aside, tables
from analyzer.report.builder import ReportBuilder
from analyzer.report.sampling import HEAD_OCTETS, head_of
from analyzer.report.split import split_subclasses
from analyzer.report.store import encode, from_document, to_document
from analyzer.report.talkers import Hitters
from tests.frame_batches import GUEST, Row, frame_batch
from tests.interpreted import is_compiled, load_interpreted
from tests.property.test_report_laws import small_table
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from types import ModuleType

    from analyzer.report.report import Report

IDENTITY = GuestIdentity((GUEST,), Provenance.COMMAND_LINE)
FRAME = bytes.fromhex("525400000001 020000000001 88b5") + bytes(46)


def forms(module: ModuleType, name: str) -> tuple[ModuleType, ModuleType]:
    assert is_compiled(module)
    return module, load_interpreted(name)


# Tables of addresses


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_a_table_that_is_full_makes_room_alike_in_both_forms(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(dst=number % 61, src=1 + number % 2, octets=1, ts_ns=number) for number in range(500)]
    found = []
    for module in forms(tables, "analyzer.report.tables"):
        monkeypatch.setattr("analyzer.report.hitter_table.tables", module)
        table = small_table(monkeypatch, seed)
        table.add(*frame_batch(rows))
        found.append((table.slots.tolist(), table.error))
    assert found[0] == found[1]
    assert found[0][1] > 0


def test_what_is_laid_into_a_table_is_found_again() -> None:
    """Entries that meet in one slot lie behind each other, and a frame of each is counted there."""
    for module in forms(tables, "analyzer.report.tables"):
        entries = np.array([[first, 7, 1, 60, 5, 5, 0, 0] for first in range(12)], np.int64)
        table = np.zeros(16 * tables.SLOT_LENGTH, np.int64)
        module.lay(column(entries.reshape(-1)), 99, column(table))
        slots = table.reshape(-1, tables.SLOT_LENGTH)
        assert sorted(slots[slots[:, 2] > 0][:, 0].tolist()) == list(range(12))
        used = np.array([12], np.int64)
        keys = np.arange(12, dtype=np.uint64)
        stopped = module.absorb(
            column(np.arange(12)),
            0,
            12,
            column(keys),
            column(np.full(12, 7, np.uint64)),
            1,
            column(np.full(12, 60, np.uint32)),
            column(np.full(12, 9)),
            99,
            0,
            column(table),
            12,
            column(used),
        )
        assert (stopped, used.tolist()) == (12, [12])
        assert sorted(slots[slots[:, 2] > 0][:, 2:6].tolist()) == [[2, 120, 5, 9]] * 12


# Samples


@pytest.mark.parametrize("sent", [0, 3])
def test_foreign_frames_of_an_earlier_time_that_come_later_become_samples(
    sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch all of which is too late is not gone through; ``sent`` frames of another class lie behind it."""
    for module in forms(deep_rows, "analyzer.classify.deep_rows"):
        monkeypatch.setattr("analyzer.report.first_look.choose_rows", module.choose_rows)
        builder = ReportBuilder(IDENTITY, DirectionSource.SOURCE_MAC)
        for times in (range(1000, 1020), range(2000, 2005), (2005, 7, 2006), range(3000, 3005)):
            foreign = [Row(ts_ns=ts_ns) for ts_ns in times]
            own = [Row(FrameClass.FROM_GUEST, src=GUEST, ts_ns=2 * times[0] + number) for number in range(sent)]
            builder.add(*frame_batch([*foreign, *own]))
        found = builder.finish((), describe=lambda heads: [""] * len(heads)).samples
        assert [one.ts_ns for one in found if one.kind is FrameClass.FOREIGN_UNICAST] == [7, *range(1000, 1007)]
        later = [2000, 2001, 2002, 4000, 4001, 4002, 4010, 4011] if sent else []
        assert [one.ts_ns for one in found if one.kind is FrameClass.FROM_GUEST] == later


# Frames set aside


def set_aside(module: ModuleType, frames: list[bytes], offsets: dict[int, int] | None = None) -> list[list[bytes]]:
    """Give what is looked at at once, as the octets of the frames."""
    batch = decode(raw_frames(frames))
    for row, offset in (offsets or {}).items():
        batch.raw.offsets[row] = offset
    room, rows = module.FramesAside(), np.arange(len(frames))
    classes = np.zeros(len(frames), np.uint8)
    looks = []
    for found, _, chosen in chain(room.add(batch, classes, rows), room.empty()):
        raw = found.raw
        spans = [(int(raw.offsets[row]), int(raw.captured[row])) for row in chosen]
        looks.append([raw.data[start : start + length].tobytes() for start, length in spans])
    return looks


def test_frames_come_back_in_their_order_as_often_as_room_is_needed() -> None:
    large = [bytes([number]) * 200_000 for number in range(5)]
    for module in forms(aside, "analyzer.report.aside"):
        assert set_aside(module, large) == [large[:2], large[2:4], large[4:]]
        many = [FRAME + number.to_bytes(2) for number in range(aside.ASIDE_FRAMES + 10)]
        assert [len(look) for look in set_aside(module, many)] == [aside.ASIDE_FRAMES, 10]
        assert list(chain(*set_aside(module, many))) == many


def test_a_frame_that_is_longer_than_all_the_room_is_looked_at_where_it_lies() -> None:
    huge = b"\x01" * (aside.ASIDE_OCTETS + 1)
    for module in forms(aside, "analyzer.report.aside"):
        assert set_aside(module, [FRAME, huge, FRAME]) == [[FRAME], [huge], [FRAME]]
        assert set_aside(module, [huge]) == [[huge]]


def test_a_frame_that_lies_outside_of_the_buffer_has_no_octets() -> None:
    for module in forms(aside, "analyzer.report.aside"):
        looks = set_aside(module, [FRAME, FRAME, FRAME], {0: -1, 1: 1 << 40})
        assert looks == [[b"", b"", FRAME]]


def test_the_head_of_a_frame_has_its_tag_and_nothing_from_outside() -> None:
    batch = decode(raw_frames([FRAME, FRAME, FRAME * 9], tag=[0x8100_0007, 0, 0]))
    batch.raw.offsets[1] = -1
    assert head_of(batch, 0) == FRAME[:12] + bytes.fromhex("81000007") + FRAME[12:]
    assert head_of(batch, 1) == b""
    assert head_of(batch, 2) == (FRAME * 9)[:HEAD_OCTETS]


# Batches


def test_a_batch_of_any_length_is_counted() -> None:
    """Readers give BATCH_FRAMES at the most; whoever gives more is measured as well."""
    count = BATCH_FRAMES + 5
    builder = ReportBuilder(IDENTITY, DirectionSource.SOURCE_MAC)
    builder.add(decode(raw_frames([FRAME] * count)), np.full(count, FrameClass.UNICAST_TO_GUEST, np.uint8))
    assert builder.finish(()).class_counts[FrameClass.UNICAST_TO_GUEST] == (count, count * len(FRAME))


# Documents that contradict themselves


def report(identity: GuestIdentity = IDENTITY) -> Report:
    builder = ReportBuilder(identity, DirectionSource.SOURCE_MAC)
    request = bytes.fromhex("ffffffffffff 020000000003 0806 0001 0800 06 04 0001 020000000003 c0000203")
    request += bytes.fromhex("000000000000 c0000209") + bytes(18)
    batch = decode(raw_frames([request, request]))
    builder.add(batch, np.full(2, FrameClass.BROADCAST, np.uint8))
    return builder.finish((CaptureWindow("t", 0, 2, 2, 0, 0),))


def broadcasts(made: Report) -> dict[str, int]:
    return {one.name: one.frames for one in split_subclasses(made) if one.kind is FrameClass.BROADCAST}


def test_what_is_counted_goes_before_what_is_named_where_a_document_contradicts_itself() -> None:
    address = Address("192.0.2.1", Provenance.COMMAND_LINE, trusted=True)
    made = report(replace(IDENTITY, addresses=(address,)))
    assert broadcasts(made) == {"arp_for_others": 2}
    (asked,) = made.observed.asked.entries
    more = Hitters((asked._replace(frames=3),))
    lying = replace(made, observed=msgspec.structs.replace(made.observed, asked=more))
    assert broadcasts(lying) == {"arp_request": 2}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda document: document.update(timeline_bin_s=3), "no power of two"),
        (
            lambda document: [row.update(t="0999-12-31T23:59:59.000000000Z") for row in document["timeline"]],
            "before the year 1000",
        ),
        (
            lambda document: document["guest"].update(
                addresses=[{"value": "fe80::1%\u202e", "source": "command_line", "trusted": True}]
            ),
            "not an IP address",
        ),
        (
            lambda document: document["observed"].update(
                addresses=[
                    {
                        "value": "192.0.2.7",
                        "frames": 1,
                        "is_new": False,
                        "first_seen": "2026-01-01T00:00:02.000000000Z",
                        "last_seen": "2026-01-01T00:00:01.000000000Z",
                    }
                ]
            ),
            "last seen before it is first seen",
        ),
    ],
)
def test_a_document_that_cannot_be_is_refused(change: object, complaint: str) -> None:
    document = json.loads(encode(report()))
    change(document)  # type: ignore[operator]
    with pytest.raises(InputError, match=complaint):
        from_document(json.dumps(document).encode())
    assert from_document(encode(report())) == report()
    assert to_document(report())["timeline"]
