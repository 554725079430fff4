"""The remedies beside the filter: how much of the same frames each takes away, and what is said of the bridge first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.causes.rules import CauseName
from analyzer.report.report import Report
from analyzer.report.talkers import Entry, Hitters
from generator.suggest.alternatives import Alternative, Beside, Removal, beside, without_bridge
from generator.suggest.refusals import RefusalKind
from generator.suggest.suggestion import suggest, to_document
from tests.analyzer.test_causes import (
    BRIDGE,
    HOST,
    NLB,
    OTHER_GUEST,
    OTHER_TAP,
    OWN,
    SOURCE,
    START_NS,
    TAP,
    UPLINK,
    VRRP,
    S,
    entry,
    look,
    observe,
    report,
    with_learning_off,
)
from tests.generator.suggest.cases import CARD, measure

HUB = replace(BRIDGE, ageing_time_s=0.0)


def named(found: Beside, name: str) -> Alternative:
    return next(each for each in found.remedies if each.remedy.name == name)


def exactly(frames: int) -> Removal:
    return Removal(frames, frames, frames * 100, frames * 100)


def test_less_flooding_takes_away_all_that_is_flooded() -> None:
    found = beside(observe(speakers=None))
    assert named(found, "flood_off").removes == exactly(200)
    assert named(found, "flood_off").cause is CauseName.NEVER_LEARNT
    assert (found.bridge, found.fault) == ("br0", None)
    assert "filter" not in {each.remedy.name for each in found.remedies}


def test_what_the_bridge_sends_here_is_not_taken_away() -> None:
    behind = look(-0.5, entry(NLB, TAP)), look(10.5, entry(NLB, TAP))
    found = beside(observe(*behind, report=report((HOST, 200), (NLB, 50)), speakers=None))
    assert named(found, "flood_off").removes == exactly(200)
    assert found.behind == (NLB,)


def test_what_is_beyond_the_table_is_taken_away_at_the_most() -> None:
    found = beside(observe(report=report((HOST, 200), foreign=260), speakers=None))
    assert named(found, "flood_off").removes == Removal(200, 260, 20_000, 26_000)


def test_a_static_entry_helps_where_its_port_is_known() -> None:
    seen = observe(report=report((OTHER_GUEST, 70), (HOST, 200)), speakers=frozenset())
    assert named(beside(seen), "static_entry").removes == exactly(70)


def test_a_hub_is_said_first_and_learns_who_speaks() -> None:
    answers = Entry(HOST, SOURCE, 10, 1000, START_NS + 2 * S, START_NS + 4 * S)
    early = Entry(SOURCE, HOST, 50, 5000, START_NS + S, START_NS + 5 * S)
    later = Entry(NLB, HOST, 30, 3000, START_NS + 3 * S, START_NS + 5 * S)
    table = replace(report((HOST, 80), foreign=90), talkers=Hitters(tuple(sorted((answers, early, later)))))
    found = beside(observe(look(-0.5, bridge=HUB), look(10.5, bridge=HUB), report=table, speakers=None))
    assert found.fault is not None
    assert found.fault.startswith("br0 is a hub: its ageing time is 0")
    assert found.remedies[0].remedy.name == "ageing"
    assert named(found, "ageing").removes == Removal(40, 90, 4000, 9000)
    assert named(found, "ageing").remedy.commands == ("ip link set dev br0 type bridge ageing_time 30000",)


def test_learning_off_is_a_fault_of_the_bridge_too() -> None:
    ports = with_learning_off(UPLINK)
    found = beside(observe(look(-0.5, ports=ports), look(10.5, ports=ports), speakers=None))
    assert found.fault is not None
    assert named(found, "learning_on").removes == Removal(0, 200, 0, 20_000)


def test_a_look_after_the_window_does_not_tell_of_mirrors() -> None:
    found = beside(observe(look(60, entry()), speakers=None, metered_foreign=None, offered_foreign=None))
    assert found.remedies == ()


def test_libvirts_own_table_is_offered_where_the_network_is_libvirts() -> None:
    found = beside(observe(network="default", speakers=None))
    assert named(found, "mac_table_manager").removes == exactly(200)


def test_a_mirror_is_only_looked_for() -> None:
    found = beside(observe(metered_foreign=0))
    assert [(each.remedy.name, each.removes) for each in found.remedies] == [("find_mirror", None)]


def test_no_remedy_without_foreign_unicast() -> None:
    assert beside(observe(report=report())).remedies == ()
    assert without_bridge(report()) == Beside()
    assert without_bridge(Report.empty(report().identity, report().direction_source)) == Beside()


@pytest.mark.parametrize("tap", [TAP, None])
def test_of_a_file_the_one_that_fits_any_bridge_is_told(tap: str | None) -> None:
    made = report((HOST, 200))
    found = without_bridge(replace(made, identity=replace(made.identity, tap=tap)))
    (only,) = found.remedies
    assert only.removes == Removal(0, 200, 0, 20_000)
    assert only.remedy.commands == (
        f"bridge fdb replace 52:54:00:00:00:01 dev {tap or 'TAP'} master static",
        f"bridge link set dev {tap or 'TAP'} flood off",
    )
    assert found.bridge is None


def test_virtual_macs_that_the_bridge_has_learnt_are_named_and_those_at_the_tap_refused() -> None:
    made, prediction = measure()
    fdb = (entry(VRRP, OTHER_TAP), entry(NLB, TAP), entry(OTHER_GUEST, TAP), entry(OWN, TAP))
    found = suggest(CARD, made, prediction, observation=observe(look(-0.5, *fdb), look(10.5, *fdb), report=made))
    assert any(
        f"00:00:5e:00:01:07, a MAC of VRRP or CARP (IPv4), is in use at {OTHER_TAP}" in each for each in found.risks
    )
    assert [each.kind for each in found.refusals] == [RefusalKind.FURTHER_MACS]
    assert "02:bf:01:02:03:04 (learnt by the bridge)" in found.refusals[0].reason


def test_the_document_says_what_each_takes_away_of_what() -> None:
    made, prediction = measure()
    found = suggest(
        CARD, made, prediction, observation=observe(look(-0.5, bridge=HUB), look(10.5, bridge=HUB), report=made)
    )
    document = to_document(found)
    assert document["bridge"]["at_fault"]
    assert document["bridge"]["name"] == "br0"
    ageing = document["remedies"][0]
    assert (ageing["name"], ageing["cause"]) == ("ageing", "hub")
    assert ageing["removes"]["of"] == {"frames": 30, "octets": 1800}
    assert ageing["removes"]["at_most"] == {"frames": 30, "octets": 1800}
    assert all(ageing[key] for key in ("commands", "undo", "risk", "migration", "effect"))
    assert to_document(suggest(CARD, made, prediction))["bridge"]["at_fault"] is None


def test_isolation_takes_away_all_that_the_other_guests_send() -> None:
    found = beside(observe(speakers=frozenset({(SOURCE, OTHER_TAP)})))
    assert named(found, "isolation").removes == exactly(200)


def test_a_stale_entry_that_is_deleted_takes_away_nothing_for_sure() -> None:
    """The address is flooded to all ports until it speaks."""
    stale = look(-0.5, entry(OTHER_GUEST, TAP)), look(10.5, entry(OTHER_GUEST, TAP))
    found = beside(observe(*stale, mac=OTHER_GUEST, speakers=None))
    assert named(found, "stale_entry").removes == Removal(0, 200, 0, 20_000)
