"""Strategies for reports: frames counted by the builder, and what later parts add to a report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.builder import ReportBuilder
from analyzer.report.findings import Cause, Sample, Subclass, merge_causes, merge_samples, merge_subclasses
from analyzer.report.report import FramesFile, Report
from tests.frame_batches import GUEST, Row, frame_batch
from tests.property.observed import observations

if TYPE_CHECKING:
    from collections.abc import Sequence

NS_PER_S = 1_000_000_000
TIMES_NS = st.one_of(
    st.integers(1_767_225_600 * NS_PER_S, 1_767_225_630 * NS_PER_S),
    st.integers(-(2**63), 2**63 - 1),
)
MACS = st.sampled_from([0, GUEST, 0x525400000002, 0x02BF00000001, 0x01005E000001, 0x3333FF000001, 0xFFFFFFFFFFFF])
ROWS = st.builds(
    Row,
    kind=st.sampled_from(FrameClass),
    dst=MACS,
    src=MACS,
    ts_ns=TIMES_NS,
    octets=st.integers(0, 262_144),
    segments=st.integers(1, 65_535),
    ethertype=st.sampled_from([0, 0x0800, 0x0806, 0xFFFF]),
    tags=st.integers(0, 3),
    vlan=st.sampled_from([0, 1, 4095, 0xA001, 0xFFFF]),
)
FRAMES = st.lists(ROWS, max_size=40)
TEXTS = st.one_of(st.sampled_from(["vm1", "vnet0", "\x1b[31m<b>", "=1+1", ""]), st.text(max_size=5))
NATURAL = st.integers(0, 2**40)


def addresses(*values: str) -> st.SearchStrategy[tuple[Address, ...]]:
    """Up to three of the addresses, each from somewhere."""
    one = st.builds(Address, st.sampled_from(values), st.sampled_from(Provenance), st.booleans())
    return st.lists(one, max_size=3).map(tuple)


ADDRESS_LISTS = addresses("192.0.2.1", "2001:db8::1")
MACS_SEEN = addresses("52:54:00:00:00:02", "02:00:00:00:00:01")
GROUPS = st.lists(MACS, max_size=2).map(tuple)
NUMBERS = st.lists(st.integers(0, 4095), max_size=2).map(tuple)
WINDOWS = st.builds(
    lambda source, times, lost, snaplen, stopped: CaptureWindow(source, *times, 0, lost, snaplen, stopped),
    TEXTS,
    st.one_of(st.just((None, None)), st.tuples(TIMES_NS, TIMES_NS).map(sorted)),
    st.none() | NATURAL,
    st.integers(0, 262_144),
    st.none() | TEXTS,
)
SUBCLASSES = st.lists(
    st.builds(Subclass, st.sampled_from(FrameClass), st.sampled_from(["stp", "vrrp"]), st.booleans(), NATURAL, NATURAL),
    max_size=3,
)
CAUSES = st.lists(
    st.builds(
        Cause,
        st.sampled_from(["aged_out", "hub"]),
        st.just("Why."),
        st.lists(st.just("FDB"), max_size=1).map(tuple),
        st.sampled_from([None, "flood off"]),
        st.sampled_from([None, "silent guests"]),
        NATURAL,
        NATURAL,
    ),
    max_size=4,
)
SAMPLES = st.lists(st.builds(Sample, TIMES_NS, st.sampled_from(FrameClass), MACS, MACS, NATURAL, TEXTS), max_size=12)
FILES = st.none() | st.builds(FramesFile, TEXTS, st.just("ab" * 32), st.floats(0, 1))


@st.composite
def identities(draw: st.DrawFn) -> GuestIdentity:
    """Draw what is known of one card: other figures of the same one, so that all can be merged."""
    return GuestIdentity(
        macs=draw(st.permutations([GUEST, 0x02BF00000001]).map(tuple)),
        source=draw(st.sampled_from(Provenance)),
        name=draw(st.none() | TEXTS),
        uuid=draw(st.none() | st.just("5f6a8a36-0b5c-4f3b-9d0e-6f2a3c1b7e11")),
        card=draw(st.none() | st.integers(0, 3)),
        tap=draw(st.none() | TEXTS),
        bridge=draw(st.none() | TEXTS),
        addresses=draw(ADDRESS_LISTS),
        macs_seen=draw(MACS_SEEN),
        groups=draw(GROUPS),
        vlans=draw(NUMBERS),
    )


def counted(
    rows: Sequence[Row],
    identity: GuestIdentity,
    source: DirectionSource = DirectionSource.SOURCE_MAC,
    windows: tuple[CaptureWindow, ...] = (),
    file: FramesFile | None = None,
    notes: tuple[str, ...] = (),
) -> Report:
    """Give the report of ``rows``; the first window is said to hold all of them."""
    builder = ReportBuilder(identity, source)
    builder.add(*frame_batch(rows))
    if not windows and rows:
        windows = (CaptureWindow("a file", None, None, 0, None, 0),)
    if windows:
        windows = (replace(windows[0], frames_seen=len(rows)), *windows[1:])
    return builder.finish(windows, file, notes)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Draw a report of the one card that ``identities`` draws."""
    report = counted(
        draw(FRAMES),
        draw(identities()),
        draw(st.sampled_from(DirectionSource)),
        tuple(draw(st.lists(WINDOWS, max_size=3))),
        draw(FILES),
        tuple(draw(st.lists(TEXTS, max_size=3))),
    )
    return replace(
        report,
        subclasses=merge_subclasses((*report.subclasses, *draw(SUBCLASSES))),
        observed=draw(observations()),
        causes=merge_causes(draw(CAUSES)),
        samples=merge_samples(draw(SAMPLES)),
    )
