"""Laws of the nwfilter language and its evaluator."""

from __future__ import annotations

from contextlib import suppress
from functools import reduce
from random import Random

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from analyzer.model.classes import CLASS_COUNT
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.prediction import Prediction, PredictionBuilder
from generator.evaluate.prediction_document import from_document, to_document
from generator.evaluate.program import Program, instantiate
from generator.nwfilter.model import Filter, FilterRef
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, read_filterref, validate_rng, with_filterref, write_filter
from tests.interpreted import load_interpreted
from tests.nwfilter_values import LAYER2, VARIABLES, frame, rules, trees
from tests.raw_frames import raw_frames

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
TEXT = st.text(LETTERS | st.sampled_from("\t\n\r'\"<&>"), max_size=20)
REFERENCES = st.builds(
    FilterRef,
    TEXT,
    st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
)
FILTERS = st.builds(
    Filter,
    TEXT.filter(bool),
    st.none() | st.uuids().map(str),
    st.sampled_from(("root", "mac-x", "ipv4", "stp-1")),
    st.none() | st.integers(-1000, 1000),
    st.lists(rules() | REFERENCES, max_size=6).map(tuple),
)
UNKNOWN_TO_SCHEMA = (
    "option=",
    "dstipto=",
    "arpsrcipmask=",
    "arpdstipmask=",
    "encap-protocol=",
    "state=",
    "ipset",
    "connlimit-above=",
)
"""What libvirt takes and its schema does not, always or in some place: masks of ARP addresses, a type below 0x600..."""

INTERFACES = (
    "<interface type='bridge'>\n      <mac address='52:54:00:00:00:01'/>\n      <source bridge='b'/>\n    </interface>",
    "<interface><mac/><!-- <filterref filter='no'/> --></interface>",
    "<interface type='a&gt;b'>text<model type='x'/>\n</interface>\n",
    "<interface type='ethernet'><target dev='é>'/></interface>",
    "<interface>\n  </interface>",
)


def program_of(tree: tuple[Filter, dict[str, Filter]]) -> Program:
    try:
        return instantiate(tree[0], tree[1], VARIABLES)
    except (InputError, UsageError):
        assume(False)
        raise


def matcher_of(program: Program) -> Matcher:
    try:
        return Matcher(program)
    except InputError:
        assume(False)
        raise


@given(FILTERS)
def test_reading_what_was_written_gives_the_same_filter(value: Filter) -> None:
    text = write_filter(value)
    assert read_filter(text).filter == value
    assert write_filter(read_filter(text).filter) == text


@given(FILTERS)
def test_what_libvirt_stores_it_would_store_again(value: Filter) -> None:
    first = normalise(value)
    assume(not any("libvirtd starts again" in finding.what for finding in first.findings))
    once = first.filter
    again = normalise(once)
    assert again.filter == once
    assert not again.findings


@given(st.builds(Filter, st.just("f"), entries=st.lists(rules(), max_size=4).map(tuple)))
def test_what_nobody_corrects_is_valid_by_libvirts_schema(value: Filter) -> None:
    done = normalise(value)
    assume(not done.findings)
    text = write_filter(done.filter)
    assert not validate_rng(text) or any(word in text for word in UNKNOWN_TO_SCHEMA), text


@given(st.sampled_from(INTERFACES), REFERENCES, REFERENCES)
def test_a_filterref_goes_in_and_out_without_a_trace(interface: str, ref: FilterRef, other: FilterRef) -> None:
    put = with_filterref(interface, ref)
    assert read_filterref(put) == ref
    assert with_filterref(put, None) == interface
    assert read_filterref(interface) is None
    assert with_filterref(put, other) == with_filterref(interface, other)


@given(st.binary(max_size=200))
def test_any_text_is_read_or_refused(data: bytes) -> None:
    with suppress(InputError):
        read_filter(data.decode("latin-1"))


def batch_of(seed: int, count: int = 40, keep: int | None = None) -> tuple[object, np.ndarray]:
    random = Random(seed)  # noqa: S311 - test frames
    frames = [frame(random, number) for number in range(count)]
    to_guest = np.array([random.random() < 0.5 for _ in frames])
    kept = [each[: random.randrange(14, 80) if keep is None else keep] for each in frames]
    return decode(raw_frames(kept, original=[len(each) for each in frames])), to_guest


ALL = (*LAYER2, "tcp", "udp", "icmp", "all", "tcp-ipv6", "icmpv6", "all-ipv6")


@given(trees(ALL), st.integers(0, 2**32))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_compiled_engine_equals_the_interpreted_one(tree: tuple[Filter, dict[str, Filter]], seed: int) -> None:
    program = program_of(tree)
    compiled = matcher_of(program)
    interpreted = Matcher(program, engine=load_interpreted("generator.evaluate.engine").Engine)
    batch, to_guest = batch_of(seed)
    ours, theirs = compiled.run(batch, to_guest), interpreted.run(batch, to_guest)
    for name in ("verdict", "rule", "reason"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist(), name
    assert compiled.hits.tolist() == interpreted.hits.tolist()


@given(trees(ALL), st.integers(0, 2**32))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_cutting_frames_makes_verdicts_unknown_but_never_other(
    tree: tuple[Filter, dict[str, Filter]], seed: int
) -> None:
    matcher = matcher_of(program_of(tree))
    whole, to_guest = batch_of(seed, keep=1000)
    cut, _ = batch_of(seed)
    full, part = matcher.run(whole, to_guest), matcher.run(cut, to_guest)
    known = part.verdict != Verdict.UNKNOWN
    assert (part.verdict[known] == full.verdict[known]).all()
    assert (full.reason != Reason.CUT).all()


@given(trees(ALL), st.lists(st.integers(0, 2**32), min_size=1, max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_prediction_adds_up_merges_and_survives_its_document(
    tree: tuple[Filter, dict[str, Filter]], seeds: list[int]
) -> None:
    builder = PredictionBuilder(program_of(tree)) if matcher_of(program_of(tree)) else None
    assert builder is not None
    parts = []
    for seed in seeds:
        batch, _ = batch_of(seed)
        classes = np.random.default_rng(seed).integers(0, CLASS_COUNT, len(batch)).astype(np.uint8)
        builder.add(batch, classes)
        alone = PredictionBuilder(builder.program)
        alone.add(batch, classes)
        parts.append(alone.finish())
    done = builder.finish()
    assert reduce(Prediction.merge, parts) == done
    assert done.frames == 40 * len(seeds)
    decided = sum(each.frames for rule in done.rules for each in rule.decided) + sum(each.frames for each in done.end)
    assert decided == done.frames
    assert sum(done.reasons) == done.unknown.frames
    assert from_document(to_document(done)) == done


@given(st.lists(st.binary(max_size=70), max_size=20), trees(ALL))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_any_octets_get_a_verdict(octets: list[bytes], tree: tuple[Filter, dict[str, Filter]]) -> None:
    batch = decode(raw_frames(octets))
    verdicts = matcher_of(program_of(tree)).run(batch, np.ones(len(octets), bool))
    assert set(verdicts.verdict.tolist()) <= set(Verdict)
