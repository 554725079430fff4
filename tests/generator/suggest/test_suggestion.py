from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import pytest

from analyzer.errors import UsageError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import Address, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.findings import Subclass, UsedMac
from analyzer.report.report import Report
from generator.evaluate.fields import Verdict
from generator.evaluate.prediction import Counts
from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection
from generator.suggest.evidence import Basis
from generator.suggest.profiles import mac_profile
from generator.suggest.refusals import RefusalKind
from generator.suggest.suggestion import Suggestion, suggest, to_document
from tests.generator.suggest.cases import (
    BARE,
    CARD,
    CARD_WITH_OLD,
    EXTRA,
    GATEWAY,
    GUEST,
    OTHER,
    START_NS,
    TRAFFIC,
    VRRP,
    measure,
)

OLD = Filter("old", "0b2a0d2e-5f7c-4f5b-b1a5-7b8d0a2f0001")
LEARNER = replace(
    OLD, entries=(Rule(Action.RETURN, RuleDirection.IN, 100, Match("ip", (("dstipaddr", "$IP"),))),), chain="ipv4"
)


def kinds(suggestion: Suggestion) -> list[RefusalKind]:
    return [refusal.kind for refusal in suggestion.refusals]


def test_evidence_behind_each_rule() -> None:
    report, prediction = measure()
    found = suggest(CARD, report, prediction)
    assert (found.basis, found.refusals, found.card) == (Basis.FRAMES, (), CARD)
    own, group, drop = found.evidence
    assert [(each.frames, each.octets) for each in found.evidence] == [(5, 300), (7, 420), (30, 1800)]
    assert [each.action for each in found.evidence] == [Action.RETURN, Action.RETURN, Action.DROP]
    assert (own.text, own.wrong_share_below) == ("let unicast to 52:54:00:00:00:01 pass", None)
    assert (group.first_ns, group.last_ns) == (START_NS + 5_000_000, START_NS + 11_000_000)
    assert drop.wrong == 0
    assert drop.wrong_share_below == pytest.approx(0.1)
    assert {sample.dst for sample in drop.samples} == {OTHER}


def test_predicted_from_counts_as_from_frames() -> None:
    report, prediction = measure()
    found = suggest(CARD, report)
    assert found.basis is Basis.CLASS_COUNTS
    assert found.prediction is not None
    assert found.prediction.counts == prediction.counts
    assert found.evidence[-1].frames == 30
    assert found.evidence[-1].first_ns == START_NS + 12_000_000
    assert found.evidence[-1].wrong_share_below == pytest.approx(0.1)
    assert any("predicted from the counts" in note for note in found.notes)


def test_counts_do_not_tell_which_of_several_own_macs_was_meant() -> None:
    traffic = (*TRAFFIC, (EXTRA, GATEWAY, True))
    report, prediction = measure(traffic, also_macs=(EXTRA,))
    by_frames, by_counts = (
        suggest(CARD, report, prediction, also_macs=(EXTRA,)),
        suggest(CARD, report, also_macs=(EXTRA,)),
    )
    assert [each.frames for each in by_frames.evidence] == [5, 1, 7, 30]
    assert [each.frames for each in by_counts.evidence] == [None, None, 7, 30]
    assert by_counts.prediction is not None
    assert by_counts.prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.ACCEPT) == Counts(1, 60)
    assert (by_frames.refusals, by_counts.refusals) == ((), ())


def test_no_foreign_unicast_is_a_note_and_no_refusal() -> None:
    report, prediction = measure(TRAFFIC[:5])
    found = suggest(CARD, report, prediction)
    assert found.refusals == ()
    assert any("no foreign unicast was seen" in note for note in found.notes)
    assert found.evidence[-1].wrong_share_below is None


@pytest.mark.parametrize(
    ("duration_s", "lost", "expected"),
    [
        (60.0, 0, []),
        (2.0, 0, []),
        (1.9, 0, [RefusalKind.WINDOW_TOO_SHORT]),
        (60.0, 1, [RefusalKind.FRAMES_LOST]),
        (60.0, None, []),
    ],
)
def test_short_and_lossy_windows(duration_s: float, lost: int | None, expected: list[RefusalKind]) -> None:
    report, prediction = measure(duration_s=duration_s, lost=lost)
    found = suggest(CARD, report, prediction)
    assert kinds(found) == expected
    assert found.can_force
    assert any("not known" in note for note in found.notes) == (lost is None)


def test_one_frame_lost_in_a_thousand_is_still_good() -> None:
    report, prediction = measure((*TRAFFIC, *((OTHER, GATEWAY, True),) * 1000), lost=1)
    assert kinds(suggest(CARD, report, prediction)) == []


def test_a_window_whose_own_frames_nobody_looked_at() -> None:
    report, prediction = measure()
    unseen = Subclass(FrameClass.FROM_GUEST, "not_looked_at", is_unrelated=False, frames=9, octets=900)
    found = suggest(CARD, replace(report, subclasses=(*report.subclasses, unseen)), prediction)
    assert kinds(found) == [RefusalKind.OWN_NOT_LOOKED_AT]
    assert found.refusals[0].hint == "measure without --unrelated"


def test_nothing_seen() -> None:
    found = suggest(CARD, Report(GUEST, DirectionSource.PACKET_TYPE, (CaptureWindow("vnet0", 0, 9, 0, 0, 128),)))
    assert kinds(found) == [RefusalKind.NOTHING_SEEN]
    assert not found.can_force


def test_whose_traffic_it_is() -> None:
    report, prediction = measure(identity=replace(GUEST, source=Provenance.GUESS))
    assert kinds(suggest(CARD, report, prediction)) == [RefusalKind.IDENTITY_GUESSED]
    report, _ = measure(identity=replace(GUEST, macs=(OTHER,)))
    other = suggest(CARD, report)
    assert kinds(other) == [RefusalKind.OTHER_CARD]
    assert (other.prediction, other.evidence[0].frames) == (None, None)


def test_own_macs_of_the_report_that_the_filter_does_not_know() -> None:
    identity = GUEST.with_macs((EXTRA,))
    report, prediction = measure((*TRAFFIC, (EXTRA, GATEWAY, True)), identity=identity)
    assert kinds(suggest(CARD, report)) == [RefusalKind.OWN_MACS_DIFFER]
    by_frames = suggest(CARD, report, prediction)
    assert kinds(by_frames) == [RefusalKind.OWN_MACS_DIFFER, RefusalKind.DROPS_WANTED]
    assert "1 of unicast_to_guest" in by_frames.refusals[1].reason
    assert (by_frames.evidence[-1].wrong, by_frames.evidence[-1].wrong_share_below) == (1, None)
    assert not by_frames.can_force
    assert kinds(suggest(CARD, report, also_macs=(EXTRA,))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"interface_type": "direct"},
        {"interface_type": "user"},
        {"interface_type": "vhostuser"},
        {"interface_type": "hostdev"},
        {"virtualport": "openvswitch"},
        {"identity": replace(GUEST, tap="macvtap0"), "interface_type": "network"},
    ],
)
def test_cards_that_cannot_be_filtered(changes: dict[str, object]) -> None:
    report, prediction = measure()
    found = suggest(replace(CARD, **changes), report, prediction)  # type: ignore[arg-type]
    assert kinds(found) == [RefusalKind.CARD_TYPE]
    assert not found.can_force


@pytest.mark.parametrize("interface_type", ["bridge", "network", "ethernet"])
def test_cards_that_can(interface_type: str) -> None:
    report, prediction = measure()
    assert suggest(replace(CARD, interface_type=interface_type), report, prediction).refusals == ()


def test_a_guest_that_sends_from_further_macs() -> None:
    report, prediction = measure((*TRAFFIC, (GATEWAY, EXTRA, False)))
    found = suggest(CARD, report, prediction)
    assert kinds(found) == [RefusalKind.FURTHER_MACS]
    assert found.can_force
    assert "02:00:00:5e:00:01 (1 frames)" in found.refusals[0].reason
    assert "--also-mac 02:00:00:5e:00:01" in found.refusals[0].hint
    report, prediction = measure((*TRAFFIC, (GATEWAY, EXTRA, False)), also_macs=(EXTRA,))
    assert suggest(CARD, report, prediction, also_macs=(EXTRA,)).refusals == ()


def test_a_guest_that_makes_use_of_what_goes_to_others() -> None:
    report, prediction = measure()
    used = (UsedMac(VRRP, 3, 0), UsedMac(OTHER, 0, 2))
    found = suggest(CARD, report, prediction, used=used)
    assert kinds(found) == [RefusalKind.USES_FOREIGN]
    assert found.can_force
    assert found.refusals[0].reason.startswith(
        "the guest answers 3 and sends on 2 frames that went to 00:00:5e:00:01:07,"
    )
    assert "--also-mac 00:00:5e:00:01:07 --also-mac 52:54:00:00:00:50" in found.refusals[0].hint
    report, prediction = measure(also_macs=(VRRP,))
    assert suggest(CARD, report, prediction, also_macs=(VRRP,), used=used[:1]).refusals == ()


def test_a_guest_that_is_marked_to_be_left_alone() -> None:
    report, prediction = measure()
    found = suggest(replace(CARD, keep="intrusion detection"), report, prediction)
    assert kinds(found) == [RefusalKind.MARKED_KEEP]
    assert not found.can_force
    assert found.refusals[0].reason.endswith("keep its foreign unicast: intrusion detection")
    command = f"virsh metadata {GUEST.uuid} --uri urn:nwscan:keep:1 --remove --config --live"
    assert found.refusals[0].hint.endswith(command)
    assert kinds(suggest(replace(CARD, keep=""), report, prediction)) == [RefusalKind.MARKED_KEEP]


def test_virtual_macs_are_named() -> None:
    traffic = (*TRAFFIC, (VRRP, GATEWAY, True), (VRRP, GATEWAY, True), (0x02BFC0000201, GATEWAY, True))
    report, prediction = measure(traffic)
    risks = suggest(CARD, report, prediction).risks
    assert "2 frames went to 00:00:5e:00:01:07, a MAC of VRRP or CARP (IPv4)" in risks[0]
    assert "--also-mac 02:bf:c0:00:02:01" in risks[1]
    assert not any("5e:00:01:07" in risk for risk in suggest(CARD, report, also_macs=(VRRP,)).risks)


def test_macs_seen_in_use_are_named_where_they_are_macs() -> None:
    seen = tuple(
        Address(value, Provenance.FILE, trusted=False) for value in ("02:00:00:5e:00:01", "; rm", "01:00:00:00:00:00")
    )
    report, prediction = measure(identity=replace(GUEST, macs_seen=seen))
    named = [risk for risk in suggest(CARD, report, prediction).risks if "was seen in use" in risk]
    assert len(named) == 1
    assert "--also-mac 02:00:00:5e:00:01" in named[0]


def test_the_filter_on_the_card_stays() -> None:
    library = {"old": OLD}
    report, prediction = measure(card=CARD_WITH_OLD, library=library)
    found = suggest(CARD_WITH_OLD, report, prediction, library=library)
    assert found.refusals == ()
    assert any("old stays" in note for note in found.notes)
    assert any("is off for about" in risk for risk in found.risks)


def test_a_filter_on_the_card_that_is_not_known() -> None:
    report, _ = measure()
    found = suggest(CARD_WITH_OLD, report)
    assert kinds(found) == [RefusalKind.FILTER_INCOMPLETE]
    assert not found.can_force


def test_a_filter_that_learns_the_address() -> None:
    card = replace(CARD_WITH_OLD, filterref=("old", ()), inactive_filterref=("old", ()))
    report, _ = measure()
    found = suggest(card, report, library={"old": LEARNER})
    assert kinds(found) == [RefusalKind.LEARNS_IP]
    assert found.can_force
    assert "<parameter name='IP'" in found.refusals[0].hint
    assert suggest(CARD_WITH_OLD, report, library={"old": LEARNER}).refusals == ()
    filters = mac_profile(card, library={"old": LEARNER})
    attached = (filters.reference.filter, filters.reference.parameters)
    library = {"old": LEARNER, **{each.name: each for each in filters.filters}}
    again = suggest(replace(card, filterref=attached, inactive_filterref=attached), report, library=library)
    assert again.refusals == ()  # nothing is attached again


def test_a_filter_that_lacks_more_than_the_address() -> None:
    rule = Rule(Action.DROP, RuleDirection.IN, 100, Match("ip", (("dstipaddr", "$NOPE"),)))
    report, _ = measure()
    found = suggest(CARD_WITH_OLD, report, library={"old": replace(OLD, entries=(rule,))})
    assert kinds(found) == [RefusalKind.FILTER_INCOMPLETE]
    assert "NOPE" in found.refusals[0].reason


def test_rules_that_act_before_ours_are_a_risk() -> None:
    rule = Rule(Action.ACCEPT, RuleDirection.IN, -980, Match("mac"))
    library = {"old": replace(OLD, entries=(rule,))}
    report, prediction = measure(card=CARD_WITH_OLD, library=library)
    found = suggest(CARD_WITH_OLD, report, prediction, library=library)
    assert any("rules of old act before" in risk for risk in found.risks)
    assert found.prediction is not None
    assert found.prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP).frames == 0


def test_what_the_old_filter_drops_is_no_harm_of_ours() -> None:
    rule = Rule(Action.DROP, RuleDirection.IN, 100, Match("mac", (("dstmacaddr", "ff:ff:ff:ff:ff:ff"),)))
    library = {"old": replace(OLD, entries=(rule,))}
    report, prediction = measure(card=CARD_WITH_OLD, library=library)
    found = suggest(CARD_WITH_OLD, report, prediction, library=library)
    assert found.refusals == ()
    assert "3 of the frames are dropped by old, now as before" in found.notes


def test_live_and_inactive_that_differ() -> None:
    report, _ = measure()
    card = replace(CARD_WITH_OLD, inactive_filterref=None)
    found = suggest(card, report, library={"old": OLD})
    assert kinds(found) == [RefusalKind.CONFIGURATIONS_DIFFER]
    assert found.can_force
    ours = mac_profile(CARD_WITH_OLD, library={"old": OLD})
    half = replace(CARD_WITH_OLD, filterref=(ours.reference.filter, ours.reference.parameters))
    library = {"old": OLD, **{each.name: each for each in ours.filters}}
    assert suggest(half, report, library=library).refusals == ()


def test_names_loops_and_parameters_in_the_way() -> None:
    report, _ = measure()
    names = ("nwscan-6f3c1b2a-0", f"nwscan-{UUID(GUEST.uuid or '').hex}-0")
    taken = {name: Filter(name, "0b2a0d2e-5f7c-4f5b-b1a5-7b8d0a2f0002") for name in names}
    assert kinds(suggest(CARD, report, library=taken)) == [RefusalKind.NAME_TAKEN]
    ours = {each.name: each for each in mac_profile(CARD).filters}
    looping = {"old": replace(OLD, entries=(FilterRef("nwscan-6f3c1b2a-0"),)), **ours}
    assert kinds(suggest(CARD_WITH_OLD, report, library=looping)) == [RefusalKind.LOOP]
    parameters = (("NWSCAN_GROUPMASK", "ff:00:00:00:00:00"),)
    card = replace(CARD_WITH_OLD, filterref=("old", parameters), inactive_filterref=("old", parameters))
    assert kinds(suggest(card, report, library={"old": OLD})) == [RefusalKind.PARAMETER_TAKEN]


def test_without_libvirt() -> None:
    report, prediction = measure(identity=BARE, card=BARE)
    report = replace(report, direction_source=DirectionSource.SOURCE_MAC)
    found = suggest(BARE, report, prediction)
    assert (found.refusals, found.card) == ((), None)
    assert found.filter_set.root.name == "nwscan-00000001-0"
    assert any("told by its MAC" in note for note in found.notes)


def test_refuses_what_does_not_belong_together() -> None:
    report, prediction = measure(also_macs=(EXTRA,))
    with pytest.raises(UsageError, match="the prediction is of"):
        suggest(CARD, report, prediction)
    with pytest.raises(UsageError, match="no profile 'none'"):
        suggest(CARD, report, profile="none")


def test_document() -> None:
    library = {"old": OLD}
    report, prediction = measure(card=CARD_WITH_OLD, library=library)
    document = to_document(suggest(CARD_WITH_OLD, report, prediction, library=library), library=library)
    assert json.loads(json.dumps(document)) == document
    assert (document["schema"], document["refused"], document["previous_filter"]) == (
        "nwscan.suggestion/1",
        False,
        "old",
    )
    assert [each["name"] for each in document["filters"]] == ["nwscan-6f3c1b2a-0-mac", "nwscan-6f3c1b2a-0"]
    assert document["prediction"]["wanted_dropped"]["frames"] == 0
    assert document["evidence"][-1]["frames"] == 30
    assert document["evidence"][-1]["first"] == "2026-01-01T00:00:00.012000000Z"
    assert "nwscan-6f3c1b2a-0" in document["interface"]["live"]
    assert document["guest"]["macs"] == ["52:54:00:00:00:01"]


def test_document_of_a_refusal() -> None:
    report, _ = measure(identity=replace(GUEST, macs=(OTHER,)))
    document = to_document(suggest(CARD, report))
    assert document["refused"]
    assert (document["prediction"], document["prediction_basis"], document["evidence"][0]["frames"]) == (
        None,
        None,
        None,
    )
    assert document["interface"] == {"live": None, "config": None}
