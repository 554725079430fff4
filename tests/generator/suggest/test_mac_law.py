"""The law of the ``mac`` profile: only unicast to the guest to a MAC that is not its own is dropped, nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.model.addresses import GROUP_BIT, is_group
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.frames import Direction
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.prediction import ways
from generator.evaluate.program import instantiate
from generator.nwfilter.xml import read_filter, write_filter
from generator.suggest.profiles import mac_profile
from generator.suggest.suggestion import filters_to_predict, interface_variables
from tests.generator.suggest.cases import CARD, GUEST, frame
from tests.raw_frames import raw_frames

any_macs = st.integers(0, 2**48 - 1)
own_macs = any_macs.map(lambda mac: mac & ~GROUP_BIT)
groups = any_macs.map(lambda mac: mac | GROUP_BIT)
ethertypes = st.sampled_from((0x0800, 0x86DD, 0x0806, 0x8035, 0x8100, 0x88A8, 0x88CC, 0x0026, 0x0000))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_drops_foreign_unicast_and_nothing_else(data: st.DataObject) -> None:
    own = tuple(data.draw(st.lists(own_macs, min_size=1, max_size=6, unique=True)))
    extra = tuple(data.draw(st.lists(own_macs, max_size=4)))
    near = st.sampled_from((*own, *extra)).flatmap(lambda mac: st.integers(0, 47).map(lambda bit: mac ^ 1 << bit))
    to = st.one_of(st.sampled_from((*own, *extra)), near, groups, any_macs, st.just(2**48 - 1))
    frames = data.draw(st.lists(st.tuples(to, any_macs, ethertypes, st.booleans()), min_size=1, max_size=40))
    card = replace(CARD, identity=replace(GUEST, macs=own))
    filter_set = mac_profile(card, extra)
    tree = [read_filter(write_filter(each)).filter for each in filters_to_predict(filter_set, {})]
    variables = {**interface_variables(card.identity, filter_set), "MAC": ("02:00:00:00:99:99",)}
    program = instantiate(tree[0], {each.name: each for each in tree}, variables)
    batch = decode(
        raw_frames(
            [frame(dst, src, ethertype) for dst, src, ethertype, _ in frames],
            direction=[Direction.TO_GUEST if inwards else Direction.FROM_GUEST for *_, inwards in frames],
        )
    )
    classes = Classifier(card.identity.with_macs(extra), DirectionSource.PACKET_TYPE).classify(batch)
    verdicts = Matcher(program).run(batch, ways(batch, classes))
    expected = [
        Verdict.DROP if inwards and not is_group(dst) and dst not in (*own, *extra) else Verdict.ACCEPT
        for dst, _, _, inwards in frames
    ]
    assert verdicts.verdict.tolist() == expected
    assert np.array_equal(verdicts.verdict == Verdict.DROP, classes == FrameClass.FOREIGN_UNICAST)
