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
from hypothesis import strategies as st

from analyzer.classify.decode import decode
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Effect, Filter, Match, Rule
from generator.nwfilter.normalise import normalise
from tests.lab.bound_tap import BoundTap, expected_counts, since
from tests.nwfilter_values import VARIABLES, frame, trees
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab

FRAMES_PER_TREE = 200
TIMES = int(os.environ.get("NWSCAN_LIBVIRT_TIMES", "1"))
"""How many times as much as CI tries."""

FILTERS, FRAMES = 140 * TIMES, 14_000 * TIMES
TREES = 130 * TIMES


@dataclass(slots=True)
class Totals:
    """What was tried, so that a run that tries too little fails."""

    trees: int = 0
    filters: int = 0
    frames: int = 0
    fails: int = 0
    rejected: int = 0


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


# Fate is compared frame by frame; rules by what each has counted over the frames of a tree.
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
    passed = tap.send(frames, to_guest)
    counted = since(before, tap.chain_counts())
    verdicts = matcher.run(decode(raw_frames(frames)), np.array(to_guest))
    wrong = [
        (frames[i].hex(), to_guest[i], Verdict(verdicts.verdict[i]).name)
        for i in range(FRAMES_PER_TREE)
        if verdicts.verdict[i] == Verdict.UNKNOWN or (verdicts.verdict[i] == Verdict.ACCEPT) != passed[i]
    ]
    assert not wrong, wrong[:3]
    assert expected_counts(program, matcher.hits[:, 0].tolist()) == counted
    totals.filters += 1 + len(library)
    totals.trees += 1
    totals.frames += FRAMES_PER_TREE


def test_fate_and_counters_equal_those_of_filters_through_libvirt(tap: BoundTap) -> None:
    totals = Totals()

    @settings(
        max_examples=TREES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(tree=trees(), seed=st.integers(0, 2**32))
    def compared(tree: tuple[Filter, dict[str, Filter]], seed: int) -> None:
        compare(tap, tree, Random(seed), totals)  # noqa: S311 - test frames

    compared()
    logging.getLogger(__name__).info("compared: %s", totals)
    assert totals.filters >= FILTERS, totals
    assert totals.frames >= FRAMES, totals
