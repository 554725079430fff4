"""Strategies for what traffic tells of a guest."""

from __future__ import annotations

from hypothesis import strategies as st

from analyzer.report.observed import Answers, Membership, Observed, SeenAddress
from analyzer.report.talkers import Entry, Hitters

TIMES = st.integers(-(2**63), 2**63 - 1)
MAYBE = st.none() | TIMES
COUNTS = st.integers(0, 2**40)
GROUPS = st.sampled_from([0x01005E000001, 0x01005E0000FB, 0x3333FF000001, 0x333300000001, 0x0180C2000000])
ADDRESSES = st.sampled_from([(4, 0xC0000201), (4, 0xC0000202), (6, 0x20010DB8 << 96 | 5), (6, 0xFE80 << 112 | 1)])
SEEN = st.builds(
    lambda address, frames, times: SeenAddress(*address, frames, *sorted(times)),
    ADDRESSES,
    COUNTS,
    st.tuples(TIMES, TIMES),
)
ASKED = st.builds(
    lambda address, frames, octets, times: Entry(address, 0, frames, octets, *sorted(times)),
    st.sampled_from([0xC0000201, 0xC0000202, 0xC0000203]),
    st.integers(1, 2**40),
    COUNTS,
    st.tuples(TIMES, TIMES),
)
ANSWERS = st.builds(Answers, MAYBE, MAYBE, st.booleans())


@st.composite
def observations(draw: st.DrawFn) -> Observed:
    """Draw an observation as a builder would give it: each key once, in order."""
    asked = {entry.first: entry for entry in draw(st.lists(ASKED, max_size=3))}
    given = Observed(
        memberships=tuple(draw(st.lists(st.builds(Membership, GROUPS, MAYBE, MAYBE), max_size=4))),
        ipv4=draw(ANSWERS),
        ipv6=draw(ANSWERS),
        vlans=tuple(draw(st.lists(st.tuples(st.sampled_from([0, 1, 100, 4095]), COUNTS, COUNTS), max_size=3))),
        addresses=tuple(draw(st.lists(SEEN, max_size=3))),
        asked=Hitters(tuple(sorted(asked.values()))),
        more_groups=draw(st.booleans()),
        more_addresses=draw(st.booleans()),
    )
    return given.merge(Observed())
