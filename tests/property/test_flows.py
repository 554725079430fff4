"""Frames counted by their flows give the report that they give one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.columns import column
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.pipeline import Measurement
from analyzer.report import flows, hitter_table, tables, talkers
from analyzer.report.hitter_table import HitterTable
from tests.flow_vectors import MACS, NETWORKS, OWN, octets
from tests.interpreted import is_compiled, load_interpreted
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from analyzer.model.frames import RawFrames


@st.composite
def batches(draw: st.DrawFn) -> RawFrames:
    """Some frames as a ring gives them, over a few seconds."""
    frames = draw(st.lists(octets(), min_size=1, max_size=60))
    some = st.lists(st.integers(0, 15), min_size=len(frames), max_size=len(frames))
    tags, sizes, ways, longer = (draw(some) for _ in range(4))
    raw = raw_frames(
        frames,
        original=[
            len(frame) + (0, 0, 900, 2**32 - 200)[extra % 4] for frame, extra in zip(frames, longer, strict=True)
        ],
        direction=[(2, 2, 1, 2, 2, 1, 0, 3)[way % 8] for way in ways],
        tag=[0x8100_0000 | number if number < 3 else 0 for number in tags],
        gso_size=[1448 if number == 1 else 0 for number in sizes],
    )
    steps = draw(st.lists(st.sampled_from([0, 1, 1000, 400_000_000]), min_size=len(frames), max_size=len(frames)))
    return msgspec.structs.replace(raw, ts_ns=np.array(1_700_000_000_000_000_000 + np.cumsum(steps), np.int64))


IDENTITIES = (
    GuestIdentity((int(OWN, 16),), Provenance.COMMAND_LINE),
    GuestIdentity(
        (int(OWN, 16), int(MACS[1], 16)),
        Provenance.COMMAND_LINE,
        addresses=(Address("192.0.2.2", Provenance.COMMAND_LINE, trusted=True),),
    ),
)


@settings(max_examples=400, deadline=None)
@given(batches(), st.sampled_from(IDENTITIES), st.lists(st.integers(0, 60), max_size=4))
def test_counted_by_flows_the_report_is_the_same(raw: RawFrames, identity: GuestIdentity, cuts: list[int]) -> None:
    reports = []
    for by_flows in (False, True):
        measurement = Measurement(identity, DirectionSource.PACKET_TYPE, counts_flows=lambda each=by_flows: each)  # type: ignore[misc]
        places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
        for start, stop in itertools.pairwise(places):
            measurement.add(raw.take(slice(start, stop)))
        assert measurement.frames == len(raw) == sum(measurement.class_frames())
        reports.append(measurement.finish((), describe=lambda heads: [head.hex() for head in heads]))
    assert reports[0] == reports[1]


def test_a_flood_is_counted_by_flows() -> None:
    """All but the first frames, the samples, of foreign unicast, of TCP to the guest and from it."""
    flood = bytes.fromhex(MACS[2] + MACS[3] + NETWORKS[0])
    mine = bytes.fromhex(OWN + MACS[3] + NETWORKS[0])
    sent = bytes.fromhex(MACS[3] + OWN + NETWORKS[0])
    raw = raw_frames([flood, mine, sent] * 200, direction=[2, 2, 1] * 200)
    measurement = Measurement(IDENTITIES[0], DirectionSource.PACKET_TYPE, counts_flows=lambda: True)
    measurement.add(raw)
    rest = measurement._builder.add_plain(raw.take(slice(100, 200)), measurement._classifier)
    assert len(rest) == 0
    assert measurement.class_frames()[FrameClass.FOREIGN_UNICAST] == 200 + 33


@settings(max_examples=300, deadline=None)
@given(raw=batches(), room=st.integers(1, 8), late=st.integers(0, 3), judges=st.booleans())
def test_flows_compiled_equals_interpreted(raw: RawFrames, room: int, late: int, *, judges: bool) -> None:
    assert is_compiled(flows)
    answers = []
    for module in (flows, load_interpreted("analyzer.report.flows")):
        state = np.zeros(flows.STATE_LENGTH, np.int64)
        places, gathered = np.zeros(16, np.int64), np.zeros(room * flows.FLOW_LENGTH, np.int64)
        rest = np.zeros(len(raw), np.int64)
        begin_ns = int(raw.ts_ns[0])
        arrays = (raw.data, raw.offsets, raw.captured, raw.original, raw.ts_ns, raw.direction, raw.tag, raw.gso_size)
        module.gather_flows(
            *map(column, arrays),
            column(np.array([int(OWN, 16)], np.uint64)),
            1,
            2,
            column(np.full(6, begin_ns - 1 + late)),
            judges,
            begin_ns,
            begin_ns + 1_000_000_000,
            0x9D3F5A7712CC8E3B,
            column(places),
            column(gathered),
            column(rest),
            column(state),
        )
        counted = [np.zeros(size, np.int64) for size in (12, 2 * 65536, 2 * 4096, 2 * 4096)]
        module.count_flows(column(gathered), int(state[flows.FLOWS]), *map(column, counted))
        taken = int(gathered.reshape(-1, flows.FLOW_LENGTH)[:, flows.FRAMES].sum())
        assert taken + state[flows.REST] == state[flows.ROW] <= len(raw)
        assert counted[0][::2].sum() == taken
        answers.append([array.tolist() for array in (state, places, gathered, rest, *counted)])
    assert answers[0] == answers[1]


SUMS = st.lists(
    st.tuples(*[st.integers(0, 5)] * 2, st.integers(1, 9), *[st.integers(0, 9)] * 3), min_size=1, max_size=40
)


@given(SUMS, st.integers(1, 7))
def test_sums_compiled_equals_interpreted(rows: list[tuple[int, ...]], limit: int) -> None:
    answers = []
    for module in (tables, load_interpreted("analyzer.report.tables")):
        table, used = np.zeros(8 * tables.SLOT_LENGTH, np.int64), np.zeros(1, np.int64)
        sums = [column(np.array(values, np.int64)) for values in zip(*rows, strict=True)]
        at = module.absorb_sums(*sums, 0, 7, 3, column(table), limit, column(used))
        answers.append((at, table.tolist(), used.tolist()))
    assert answers[0] == answers[1]


@given(SUMS)
def test_sums_count_what_their_parts_count(rows: list[tuple[int, ...]]) -> None:
    whole, parts = HitterTable(FrameClass.FOREIGN_UNICAST), HitterTable(FrameClass.FOREIGN_UNICAST)
    columns = [np.array(values, np.int64) for values in zip(*rows, strict=True)]
    whole.add_sums(*columns)
    for k in range(len(rows)):
        parts.add_sums(*(values[k : k + 1] for values in columns))
    assert whole.finish() == parts.finish()
    assert sum(entry.frames for entry in whole.finish().entries) == columns[2].sum()


def test_sums_of_more_pairs_than_there_is_room_for_have_a_stated_error() -> None:
    table, n = HitterTable(FrameClass.FOREIGN_UNICAST), 5 * hitter_table._LIMIT
    ones, numbers = np.ones(n, np.int64), np.arange(n)
    table.add_sums(numbers, numbers, ones, ones, numbers, numbers)
    found = table.finish()
    assert 0 < found.error <= n // 1024
    assert len(found.entries) <= talkers.KEPT
