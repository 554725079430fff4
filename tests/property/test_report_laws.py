from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.errors import InputError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report import hitter_table, talkers
from analyzer.report import tables as compiled
from analyzer.report.builder import ReportBuilder
from analyzer.report.hitter_table import ClassTables, HitterTable
from analyzer.report.observing import Observer
from analyzer.report.report import Report
from analyzer.report.store import encode, from_document, to_document
from analyzer.report.talkers import Entry, Hitters
from analyzer.report.timeline import Timeline
from tests.frame_batches import GUEST, Row, frame_batch
from tests.interpreted import is_compiled, load_interpreted
from tests.property.reports import FRAMES, ROWS, counted, identities, reports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IDENTITY = GuestIdentity((GUEST,), Provenance.COMMAND_LINE)


@given(reports(), reports(), reports())
def test_merge_is_associative(one: Report, two: Report, three: Report) -> None:
    assert one.merge(two).merge(three) == one.merge(two.merge(three))


@given(reports(), reports())
def test_merge_is_commutative(one: Report, two: Report) -> None:
    assert one.merge(two) == two.merge(one)


@given(reports())
def test_empty_is_neutral(report: Report) -> None:
    empty = Report.empty(report.identity, report.direction_source)
    assert report.merge(empty) == report == empty.merge(report)


@given(reports())
def test_from_document_inverts_to_document(report: Report) -> None:
    assert from_document(to_document(report)) == report
    assert from_document(encode(report)) == report


@given(reports(), reports())
def test_merged_reports_round_trip(one: Report, two: Report) -> None:
    merged = one.merge(two)
    assert from_document(encode(merged)) == merged


@given(FRAMES, st.integers(0, 40), identities())
def test_report_of_a_whole_is_the_merged_report_of_its_parts(
    rows: list[Row], cut: int, identity: GuestIdentity
) -> None:
    whole = counted(rows, identity)
    parts = counted(rows[:cut], identity).merge(counted(rows[cut:], identity))
    assert without_windows(parts) == without_windows(whole)


def without_windows(report: Report) -> Report:
    return replace(report, windows=())


@given(FRAMES, st.lists(st.integers(0, 40)))
def test_batches_do_not_matter(rows: list[Row], cuts: list[int]) -> None:
    builder = ReportBuilder(IDENTITY, DirectionSource.SOURCE_MAC)
    for part in parts_of(rows, cuts):
        builder.add(*frame_batch(part))
    assert builder.finish(()) == without_windows(counted(rows, IDENTITY))


def parts_of(rows: Sequence[Row], cuts: Sequence[int]) -> Iterator[Sequence[Row]]:
    start = 0
    for cut in sorted(cuts):
        yield rows[start:cut]
        start = max(start, cut)
    yield rows[start:]


@given(FRAMES)
def test_counts_add_up_to_the_frames(rows: list[Row]) -> None:
    report = counted(rows, IDENTITY)
    assert report.frames_seen == len(rows)
    assert int(report.counts[:, 1].sum()) == sum(row.octets for row in rows)
    assert report.segments == sum(row.segments for row in rows)
    per_class = [0] * 6
    for _, counts in report.timeline.bins:
        per_class = [sum(pair) for pair in zip(per_class, counts[::2], strict=True)]
    assert per_class == [frames for frames, _ in report.class_counts]
    assert sum(entry.frames for entry in report.talkers.entries) == report.class_counts[FrameClass.FOREIGN_UNICAST][0]
    assert sum(entry.frames for entry in report.groups.entries) == report.class_counts[FrameClass.MULTICAST][0]
    assert sum(entry.frames for entry in report.senders.entries) == report.class_counts[FrameClass.FROM_GUEST][0]
    assert sum(frames for _, frames, _ in report.ethertypes) == report.seen_by_guest[0]


@given(FRAMES)
def test_counting_compiled_equals_interpreted(rows: list[Row]) -> None:
    assert is_compiled(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analyzer.report.first_look._BINS_AT_ONCE", 3)
        expected = counted(rows, IDENTITY)
        patch.setattr("analyzer.report.first_look.tables", load_interpreted("analyzer.report.tables"))
        patch.setattr("analyzer.report.hitter_table.tables", load_interpreted("analyzer.report.tables"))
        assert counted(rows, IDENTITY) == expected


SMALL_MACS = st.integers(0, 30)
FEW = st.lists(st.builds(Row, dst=SMALL_MACS, src=st.sampled_from([1, 2]), octets=st.just(1)), max_size=200)


@given(FEW, st.integers(0, 2**64 - 1))
def test_tables_compiled_equal_interpreted_slot_by_slot(rows: list[Row], seed: int) -> None:
    arrays = []
    for module in (compiled, load_interpreted("analyzer.report.tables")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hitter_table, "tables", module)
            table = small_table(patch, seed)
            table.add(*frame_batch(rows))
            arrays.append((table.slots.tolist(), table.error))
    assert arrays[0] == arrays[1]


@given(FRAMES)
def test_tables_filled_together_equal_those_filled_one_by_one(rows: list[Row]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hitter_table, "_LIMIT", 4)
        patch.setattr(hitter_table, "_SLOTS", 8)
        together = ClassTables()
        tables = together.talkers, together.groups, together.senders
        alone = HitterTable(FrameClass.FOREIGN_UNICAST, "src", "dst"), HitterTable(FrameClass.MULTICAST, "dst")
        alone = (*alone, HitterTable(FrameClass.FROM_GUEST, "src"))
        for one, other in zip(tables, alone, strict=True):
            other.seed = one.seed
        look = Observer(IDENTITY).first_look()
        for start in range(0, len(rows), 20):
            batch, classes = frame_batch(rows[start : start + 20])
            look.look(batch, classes, 1)
            together.add(batch, look)
            for other in alone:
                other.add(batch, classes)
        assert [one.slots.tolist() for one in tables] == [other.slots.tolist() for other in alone]
        assert [one.error for one in tables] == [other.error for other in alone]


def small_table(patch: pytest.MonkeyPatch, seed: int = 1) -> HitterTable:
    """Give a table that counts pairs exactly up to 16 and keeps 8."""
    patch.setattr(hitter_table, "_LIMIT", 16)
    patch.setattr(hitter_table, "_SLOTS", 32)
    table = HitterTable(FrameClass.FOREIGN_UNICAST, "src", "dst")
    table.seed = seed
    return table


def true_counts(rows: list[Row]) -> dict[tuple[int, int], int]:
    counts: dict[tuple[int, int], int] = {}
    for row in rows:
        counts[row.src, row.dst] = counts.get((row.src, row.dst), 0) + 1
    return counts


def assert_bounds(hitters: Hitters, truth: dict[tuple[int, int], int]) -> None:
    kept = {(entry.first, entry.second): entry for entry in hitters.entries}
    for key, count in truth.items():
        entry = kept.pop(key, None)
        if entry is None:
            assert count <= hitters.error
        else:
            assert entry.frames <= count <= entry.most
            assert entry.error <= hitters.error
    assert not kept


def bounded(patch: pytest.MonkeyPatch, rows: list[Row]) -> Hitters:
    table = small_table(patch)
    table.add(*frame_batch(rows))
    return table.finish().largest(8)


@given(FEW)
def test_true_counts_lie_within_the_stated_error(rows: list[Row]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hitters = bounded(patch, rows)
    assert_bounds(hitters, true_counts(rows))
    assert len(hitters.entries) <= 8
    assert hitters.error <= len(rows) / 8


@given(FEW, FEW, FEW)
def test_merged_counts_lie_within_the_stated_error(one: list[Row], two: list[Row], three: list[Row]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(talkers, "MERGED", 12)
        tables = [bounded(patch, rows) for rows in (one, two, three)]
        merged = tables[0].merge(tables[1]).merge(tables[2])
        other = tables[0].merge(tables[1].merge(tables[2]))
    for hitters in (merged, other):
        assert_bounds(hitters, true_counts(one + two + three))
        assert len(hitters.entries) <= 12


ENTRIES = st.lists(st.builds(Entry, SMALL_MACS, st.integers(0, 2), *[st.integers(1, 9)] * 4, SMALL_MACS), max_size=8)
HITTERS = st.builds(
    lambda entries, more: Hitters(
        tuple(sorted({entry[:2]: entry for entry in entries}.values())),
        max((entry.error for entry in entries), default=0) + more,
    ),
    ENTRIES,
    SMALL_MACS,
)


@given(HITTERS, HITTERS, HITTERS)
def test_merging_tables_below_the_bound_is_associative_and_commutative(
    one: Hitters, two: Hitters, three: Hitters
) -> None:
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(Hitters()) == one


BINS = st.dictionaries(st.integers(-(2**24), 2**24), st.integers(1, 9), max_size=20)
TIMELINES = st.builds(
    lambda exponent, bins: Timeline(2**exponent, tuple((at, (bins[at],) * 12) for at in sorted(bins))),
    st.integers(0, 8),
    BINS,
)


@given(TIMELINES, TIMELINES, TIMELINES)
def test_merging_timelines_is_associative_and_commutative(one: Timeline, two: Timeline, three: Timeline) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analyzer.report.timeline.MAX_BINS", 8)
        assert one.merge(two) == two.merge(one)
        assert one.merge(two).merge(three) == one.merge(two.merge(three))
        assert len(one.merge(two).bins) <= 8


@given(st.lists(ROWS, max_size=60), st.integers(0, 60))
def test_a_cut_does_not_matter_where_bins_widen(rows: list[Row], cut: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analyzer.report.timeline.MAX_BINS", 4)
        patch.setattr("analyzer.report.first_look._BINS_AT_ONCE", 3)
        whole = counted(rows, IDENTITY).timeline
        parts = counted(rows[:cut], IDENTITY).merge(counted(rows[cut:], IDENTITY)).timeline
    assert parts == whole
    assert len(whole.bins) <= 4


@given(st.binary(max_size=200))
def test_any_octets_are_a_report_or_an_input_error(octets: bytes) -> None:
    with pytest.raises(InputError):
        from_document(octets)


KEYS = st.sampled_from(sorted(to_document(Report.empty(IDENTITY, DirectionSource.SOURCE_MAC))))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(report=reports(), key=KEYS, value=JSON)
def test_a_changed_document_is_a_report_or_an_input_error(report: Report, key: str, value: object) -> None:
    document = to_document(report) | {key: value}
    try:
        changed = from_document(document)
    except InputError:
        return
    assert from_document(encode(changed)) == changed
    assert changed.counts.shape == (6, 2)
