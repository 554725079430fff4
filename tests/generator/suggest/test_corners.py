"""What suggestions rest on where little is known: groups by address, further MACs, trees that nobody can tell."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from analyzer.errors import UsageError
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Address, Provenance
from analyzer.report.talkers import Entry, Hitters
from generator.evaluate.prediction import Prediction
from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection
from generator.suggest.by_hand import by_hand
from generator.suggest.evidence import predict_from_counts
from generator.suggest.keeping import group_mac, parse_keep
from generator.suggest.profiles import mac_profile, untrusted_addresses
from generator.suggest.refusals import RefusalKind
from generator.suggest.suggestion import filters_to_predict, suggest
from generator.suggest.virtual_macs import shared_macs
from tests.generator.suggest.cases import (
    CARD,
    CARD_WITH_OLD,
    EXTRA,
    GATEWAY,
    GUEST,
    MAC,
    OTHER,
    START_NS,
    TRAFFIC,
    VRRP,
    measure,
)
from tests.generator.suggest.test_profile_refusals import STOCK

# Keeping


@pytest.mark.parametrize(
    ("address", "mac"),
    [("224.0.0.5", 0x01005E000005), ("239.129.2.3", 0x01005E010203), ("ff02::1:ff00:1", 0x3333FF000001)],
)
def test_the_mac_of_a_group(address: str, mac: int) -> None:
    assert group_mac(address) == mac
    assert parse_keep([address]).groups == ((mac, 0xFFFF_FFFF_FFFF),)


@pytest.mark.parametrize("address", ["192.0.2.1", "fe80::1", "no address"])
def test_an_address_of_no_group_has_no_mac_of_one(address: str) -> None:
    with pytest.raises(ValueError, match=address):
        group_mac(address)
    with pytest.raises(UsageError, match="nothing is known of the kind"):
        parse_keep([address])


def test_a_mac_is_kept_as_it_is() -> None:
    kept = parse_keep(["02:00:00:00:00:05", "01:00:5e:00:00:05"])
    assert [mac for mac, _ in kept.unicast] == [0x020000000005]
    assert [mac for mac, _ in kept.groups] == [0x01005E000005]


# Whose traffic it is


def test_counts_that_hold_further_own_macs_predict_nothing() -> None:
    report, _ = measure(identity=GUEST.with_macs((EXTRA,)))
    with pytest.raises(UsageError, match="counts what goes to 02:00:00:5e:00:01 as the guest's own"):
        predict_from_counts(report, mac_profile(CARD))
    assert predict_from_counts(report, mac_profile(CARD, (EXTRA,))).frames == len(TRAFFIC)


def test_what_is_no_address_is_no_further_address_of_the_guest() -> None:
    seen = [Address(text, Provenance.TRAFFIC, trusted=False) for text in ("no address", "192.0.2.9", "224.0.0.1")]
    assert untrusted_addresses(seen, (), profile="ip") == ("192.0.2.9",)


def test_a_virtual_mac_is_named_once_and_only_where_it_would_not_pass() -> None:
    talkers = Hitters((Entry(GATEWAY, VRRP, 7, 420, START_NS, START_NS),))
    other = VRRP + 1
    learnt = ((VRRP, "eth0"), (other, "eth1"), (OTHER, "eth2"))
    found = shared_macs(talkers, lambda _: False, learnt)
    assert [(one.mac, one.seen.partition(",")[0]) for one in found] == [
        (VRRP, "7 frames went to 00:00:5e:00:01:07"),
        (other, "00:00:5e:00:01:08"),
    ]
    assert shared_macs(talkers, lambda mac: mac == other, learnt) == found[:1]


# The filter that stays


def old(*entries: Rule | FilterRef) -> Filter:
    return Filter("old", "0b2a0d2e-5f7c-4f5b-b1a5-7b8d0a2f0001", entries=entries)


PASSING = Rule(Action.ACCEPT, RuleDirection.OUT, 500, Match("mac"))


@pytest.mark.parametrize(
    ("entries", "stays"),
    [
        ((PASSING,), True),
        ((FilterRef("absent"),), False),
        ((Rule(Action.DROP, RuleDirection.IN, 1, Match("mac", (("srcmacaddr", "$X"),))),), False),
    ],
)
def test_a_filter_that_stays_is_left_out_of_the_prediction_where_nobody_can_tell_what_it_does(
    entries: tuple[Rule | FilterRef, ...],
    stays: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    library = {"old": old(*entries)}
    filter_set = mac_profile(CARD_WITH_OLD, library=library)
    assert filter_set.previous == "old"
    tree = filters_to_predict(filter_set, library, {"MAC": ("52:54:00:00:00:01",)})
    assert ("old" in {each.name for each in tree}) is stays
    assert any(isinstance(each, FilterRef) and each.filter == "old" for each in tree[0].entries) is stays


# What is said of a prediction


def test_a_prediction_from_some_of_the_frames_says_of_how_many() -> None:
    report, _ = measure()
    _, part = measure(TRAFFIC[:23])
    assert "predicted from the frames that were kept: 50.0% of those seen" in suggest(CARD, report, part).notes


def test_frames_whose_fate_cannot_be_told_are_counted() -> None:
    report, prediction = measure()
    unknown = [list(row) for row in prediction.counts]
    kind = FrameClass.MULTICAST
    unknown[kind][2], unknown[kind][0] = unknown[kind][0], unknown[kind][2]
    changed = replace(prediction, counts=tuple(tuple(row) for row in unknown))
    assert isinstance(changed, Prediction)
    assert "what becomes of 4 of the frames cannot be told" in suggest(CARD, report, changed).notes


def test_counts_with_an_error_say_that_more_passes_than_predicted() -> None:
    report, _ = measure((*TRAFFIC, (EXTRA, GATEWAY, True)))
    inexact = replace(report, talkers=msgspec.structs.replace(report.talkers, error=3))
    words = "what goes to the further MACs was not counted exactly: more of it passes than predicted"
    assert words in suggest(CARD, inexact, also_macs=(EXTRA,)).notes
    assert words not in suggest(CARD, report, also_macs=(EXTRA,)).notes
    assert words not in suggest(CARD, inexact).notes


def test_a_filter_that_is_attached_already_needs_no_editing_by_hand() -> None:
    first = mac_profile(CARD)
    ours = (first.root.name, ())
    library = {each.name: each for each in first.filters}
    attached = mac_profile(replace(CARD, filterref=ours, inactive_filterref=ours), (EXTRA,), library=library)
    assert attached.attached
    recipe = by_hand(attached, library=library)
    assert not any("virsh edit" in line for line in (*recipe.install, *recipe.undo))
    assert any("virsh edit" in line for line in by_hand(first).install)
    assert np.all([MAC in attached.macs, EXTRA in attached.macs])


def test_parameters_that_name_other_addresses_than_would_pass_are_refused() -> None:
    """The interface's IP wins over that of our filter, which would let other addresses pass than it says."""
    stated = replace(GUEST, addresses=(Address("192.0.2.101", Provenance.LIBVIRT_XML, trusted=True),))
    report, _ = measure()
    library = {"old": old(PASSING), **STOCK}
    for value, refused in (("192.0.2.9", True), ("192.0.2.101", False)):
        named = ("old", (("IP", value),))
        card = replace(CARD, identity=stated, filterref=named, inactive_filterref=named)
        found = suggest(card, report, profile="allow-ipv4", library=library)
        reasons = [one.reason for one in found.refusals if one.kind is RefusalKind.PARAMETER_TAKEN]
        assert bool(reasons) is refused
        assert all("name other addresses than the filter would let pass" in reason for reason in reasons)
