"""What the evaluator says of random filters, against what a real libvirtd and the kernel make of them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as fixed_seed
from hypothesis import strategies as st

from analyzer.classify.decode import decode
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Action, Effect, Filter, Match, Rule, RuleDirection
from generator.nwfilter.normalise import normalise
from tests.lab.bound_tap import END, ROOT, ROOT_UUID, BoundTap, command_places, expected_counts, since
from tests.nwfilter_values import VARIABLES, frame, trees
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab

FRAMES_PER_TREE = 200
TIMES = int(os.environ.get("NWSCAN_LIBVIRT_TIMES", "1"))
"""How many times as much as CI tries."""

FILTERS, FRAMES = 200 * TIMES, 20_000 * TIMES
TREES = 300 * TIMES
"""Trees at the most: up to a half cannot be installed (that libvirt refuses these is compared, too)."""

SEED = int(os.environ.get("NWSCAN_LIBVIRT_SEED", "11"))
_TOLD_EVERY = 25


@dataclass(slots=True)
class Totals:
    """What was tried, so that a run that tries too little fails."""

    trees: int = 0
    filters: int = 0
    frames: int = 0
    fails: int = 0
    rejected: int = 0
    untold: int = 0
    """Frames of which the kernel tells no rule (see rule_trace.py): fate and totals are compared all the same."""


@pytest.fixture
def tap(lab: Lab) -> Iterator[BoundTap]:
    with BoundTap(lab, VARIABLES) as tap:
        yield tap


def defined(tap: BoundTap, written: Filter, totals: Totals) -> Filter:
    """Define a filter, or what is left of it where libvirt must refuse it; what it stores must be what we say."""
    rejected = [finding.what for finding in lint_filter(written) if finding.effect is Effect.REJECTED]
    done = normalise(written).filter
    if rejected:
        assert tap.define(written) is not None, rejected
        totals.rejected += 1
        written = done
    refusal = tap.define(written)
    assert refusal is None, (refusal, written)
    stored = normalise(tap.stored(written.name)).filter
    told = normalise(replace(as_told(done), uuid=stored.uuid)).filter
    assert [pair for pair in zip(stored.entries, told.entries, strict=True) if pair[0] != pair[1]] == []
    assert stored == told
    return written


def as_told(stored: Filter) -> Filter:
    """Give a filter as a dump tells it, read again: both losses are named by lint.

    A chain's priority of 0 is not written, and line breaks and tabs in a comment are written as they are, which is a
    space to whoever reads the attribute.
    """
    entries = tuple(
        replace(entry, match=_spaced(entry.match), also=tuple(_spaced(match) for match in entry.also))
        if isinstance(entry, Rule) and entry.match
        else entry
        for entry in stored.entries
    )
    return replace(stored, priority=stored.priority or None, entries=entries)


def _spaced(match: Match) -> Match:
    spaces = str.maketrans("\n\t\r", "   ")
    return replace(match, attributes=tuple((name, text.translate(spaces)) for name, text in match.attributes))


# Fate and deciding rule are compared frame by frame; then what each rule has counted over the frames of a tree.
def compare(tap: BoundTap, tree: tuple[Filter, dict[str, Filter]], random: Random, totals: Totals) -> None:
    root, children = tap.named(*tree)
    library = {name: defined(tap, each, totals) for name, each in children.items()}
    fails = [finding.what for finding in lint_tree(root, library, VARIABLES) if finding.effect is Effect.FAILS]
    if fails:
        before = tap.chain_counts()
        assert tap.define(root) is not None, fails
        assert tap.chain_counts() == before, "a refused filter has changed the rules"
        totals.fails += 1
        return
    root = defined(tap, root, totals)
    program = instantiate(root, library, VARIABLES)
    matcher = Matcher(program)
    frames = [frame(random, number) for number in range(FRAMES_PER_TREE)]
    to_guest = [random.random() < 0.6 for _ in frames]
    before = tap.chain_counts()  # not zero where the filter is the one before again: then libvirt keeps its rules
    fates = tap.send_traced(frames, to_guest)
    counted = since(before, tap.chain_counts())
    verdicts = matcher.run(decode(raw_frames(frames)), np.array(to_guest))
    places = command_places(program)
    pairs = zip(verdicts.verdict.tolist(), verdicts.rule.tolist(), strict=True)
    told = [(Verdict(verdict), END if rule < 0 else places[rule]) for verdict, rule in pairs]
    fate = [Verdict.ACCEPT if passed else Verdict.DROP for passed in fates.passed]
    seen = [
        (passed, expected[1] if rule is None else rule)
        for passed, rule, expected in zip(fate, fates.decided, told, strict=True)
    ]
    wrong = [(frames[i].hex(), to_guest[i], told[i], seen[i]) for i in range(FRAMES_PER_TREE) if told[i] != seen[i]]
    assert not wrong, wrong[:3]
    assert expected_counts(program, matcher.hits[:, 0].tolist()) == counted
    totals.filters += 1 + len(library)
    totals.trees += 1
    totals.frames += FRAMES_PER_TREE
    totals.untold += fates.untold
    assert not [frames[i].hex() for i in range(FRAMES_PER_TREE) if fates.decided[i] is None and not is_ipv6(frames[i])]


def test_fate_and_counters_equal_those_of_filters_through_libvirt(tap: BoundTap) -> None:
    totals, log = Totals(), logging.getLogger(__name__)

    @fixed_seed(SEED)
    @settings(
        max_examples=TREES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(tree=trees(), seed=st.integers(0, 2**32))
    def compared(tree: tuple[Filter, dict[str, Filter]], seed: int) -> None:
        if totals.filters >= FILTERS and totals.frames >= FRAMES:
            return
        compare(tap, tree, Random(seed), totals)  # noqa: S311 - test frames
        if totals.trees % _TOLD_EVERY == 0:
            log.info("compared so far: %s", totals)

    compared()
    log.info("compared: %s", totals)
    assert totals.filters >= FILTERS, totals
    assert totals.frames >= FRAMES, totals
    assert totals.untold < totals.frames / 1000, totals


def is_ipv6(octets: bytes) -> bool:
    """Say whether a frame holds IPv6, tags or not."""
    at = 12
    while octets[at : at + 2] in (b"\x81\0", b"\x88\xa8", b"\x91\0"):
        at += 4
    return octets[at : at + 2] == b"\x86\xdd"


def test_what_the_bridge_itself_drops_meets_no_rule(tap: BoundTap) -> None:
    """Frames from group addresses, and those to the link-local groups that no bridge forwards (IEEE 802.1Q, 8.6.3)."""
    counting = Rule(Action.CONTINUE, RuleDirection.INOUT, 500, Match("mac"))
    assert tap.define(Filter(ROOT, uuid=ROOT_UUID, entries=(counting,))) is None
    own, far = "520000000001", "020000000005"
    heads = [f"{own}01005e000005", f"{own}ffffffffffff", f"ffffffffffff{far[:1]}3{far[2:]}"]
    heads += [f"0180c20000{last:02x}{far}" for last in range(1, 16)]
    frames = [bytes.fromhex(f"{head}88b5") + bytes(46) + i.to_bytes(4) for i, head in enumerate(heads)]
    for inwards in (True, False):
        fates = tap.send_traced(frames, [inwards] * len(frames))
        assert fates.passed == [False] * len(frames)
        assert fates.untold == len(frames)
    assert {count for counts in tap.chain_counts().values() for count in counts} == {0}
    passing = bytes.fromhex(f"{own}{far}88b5") + bytes(50)
    assert tap.send_traced([passing], [True]).passed == [True]
    assert sorted(count for counts in tap.chain_counts().values() for count in counts) == [0, 1]
