"""Applying and undoing on a real libvirt: octet for octet, whatever was there. Faults: test_faults.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analyzer.errors import HostError, RollbackIncompleteError, RolledBackError
from analyzer.host.guests import LibvirtReader
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.libvirt_writer import LibvirtWriter
from generator.deploy.transaction import apply
from tests.lab import layout
from tests.lab.deploy_bench import EXTRA, KINDS, NETWORKS, Bench, Meddler
from tests.lab.paused_guest import NAME, cards, filterref, paused_guest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Lab


@pytest.fixture
def bench(lab: Lab, tmp_path: Path) -> Bench:
    return Bench(lab, tmp_path / "journal")


@pytest.fixture
def networks(lab: Lab) -> Iterator[None]:
    for name, inside_of in NETWORKS.items():
        lab.write(f"{layout.ROOT}/network.xml", f"<network><name>{name}</name>{inside_of}</network>")
        lab.virsh(f"net-create {layout.ROOT}/network.xml")
    yield
    for name in NETWORKS:
        lab.virsh(f"net-destroy {name}")


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_there_comes_back_octet_for_octet(lab: Lab, bench: Bench, kind: str) -> None:
    with paused_guest(lab, *KINDS[kind]):
        before = bench.texts()
        record = bench.apply(bench.plan())
        applied = bench.texts()
        assert record.state is State.APPLIED
        assert bench.plan().steps == ()
        status = bench.status()
        assert status is not None
        assert (status.drift, status.intended) == ((), "nwscan-8f31c0de-0")
        if KINDS[kind][0] is not None:
            assert {one.filter for one in applied.bindings} >= {"nwscan-8f31c0de-0"}
            assert status.rules
        bench.apply(bench.plan(extra=EXTRA))
        assert bench.texts().live == applied.live
        bench.rollback()
        assert bench.texts() == before
        assert bench.rollback() == ()
        assert bench.journal.in_force() == ()


def test_the_comment_of_a_rule_is_kept_by_libvirt(bench: Bench) -> None:
    """Of a rule with a protocol element: there it stands."""
    text = (
        "<filter name='nwscan-comment' chain='mac-comment' priority='-950'>\n"
        "  <uuid>8f31c0de-616e-4c61-8b00-0000000000c0</uuid>\n"
        "  <rule action='drop' direction='in' priority='900'>\n"
        "    <mac comment='seen 5,000 times, &apos;&lt;&apos;'/>\n"
        "  </rule>\n"
        "</filter>\n"
    )
    with LibvirtWriter(bench.uri) as door:
        door.define_filter(text)
        try:
            assert door.filter_xml("nwscan-comment") == text
        finally:
            door.undefine_filter("nwscan-comment")


def test_a_guest_that_restarts_in_between_is_restored(lab: Lab, bench: Bench) -> None:
    with paused_guest(lab, *KINDS["two filters"]):
        before = bench.texts()
        bench.apply(bench.plan())
        lab.virsh(f"destroy '{NAME}'; start '{NAME}' --paused")
        bench.rollback()
        after = bench.texts()
        assert (after.inactive, after.filters) == (before.inactive, before.filters)
        assert [one.filter for one in after.bindings] == ["no-mac-broadcast"]  # what a start would have given


def test_a_guest_that_is_started_or_stopped_after_the_plan_is_left_alone(lab: Lab, bench: Bench) -> None:
    with paused_guest(lab, None, cards()):
        plan = bench.plan()
        lab.virsh(f"start '{NAME}' --paused")
        before, started = bench.texts(), bench.plan()
        with pytest.raises(HostError, match="since the plan was made"):
            bench.apply(plan)
        lab.virsh(f"destroy '{NAME}'")
        with pytest.raises(HostError, match="since the plan was made"):
            bench.apply(started)
        assert bench.texts().filters == before.filters
        assert bench.journal.records() == ()


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_guest_that_is_shut_down_amid_applying(lab: Lab, bench: Bench, number: int) -> None:
    with paused_guest(lab, *KINDS["no filter"]):
        before, plan = bench.texts(), bench.plan()
        with LibvirtWriter(bench.uri) as door:
            meddler: Any = Meddler(door, number, lambda: lab.virsh(f"destroy '{NAME}'"))
            if number == 4:  # only the next start is left to be changed
                apply(plan, meddler, bench.journal)
                bench.rollback()
            else:
                with pytest.raises(RolledBackError):
                    apply(plan, meddler, bench.journal)
        after = bench.texts()
        assert (after.inactive, after.filters, after.bindings) == (before.inactive, before.filters, ())
        assert bench.rollback() == ()


def test_a_live_change_that_libvirt_refuses_leaves_nothing(lab: Lab, bench: Bench) -> None:
    """Somebody removes our filter right before it is attached: libvirt cannot install it, and says so."""
    with paused_guest(lab, *KINDS["two cards"]):
        before, plan = bench.texts(), bench.plan()
        with LibvirtWriter(bench.uri) as door:
            meddler: Any = Meddler(door, 3, lambda: lab.virsh("nwfilter-undefine nwscan-8f31c0de-0"))
            with pytest.raises(RolledBackError, match="everything was undone") as told:
                apply(plan, meddler, bench.journal)
        assert "failed to add new filter rules" in told.value.what
        assert bench.texts() == before
        assert bench.journal.in_force() == ()


def test_a_filter_that_another_guest_uses_stays(lab: Lab, bench: Bench) -> None:
    """A clone took it along; libvirt itself would let the filter go, and the clone would never start again."""
    with paused_guest(lab, *KINDS["no filter"]):
        before = bench.texts()
        bench.apply(bench.plan())
        clone = cards(("52:54:00:00:08:0c",), filterref("nwscan-8f31c0de-0"))
        with paused_guest(lab, None, clone, name="clone", uuid="8f31c0de-616e-4c61-8b00-0000000000cc"):
            with pytest.raises(RollbackIncompleteError, match=r"still used by guest clone \(next start\)"):
                bench.rollback()
            assert bench.texts().live == before.live
            lab.virsh("start clone --paused")
        bench.rollback()
        assert bench.texts() == before


def test_a_filter_that_a_saved_guest_needs_stays(lab: Lab, bench: Bench) -> None:
    with paused_guest(lab, *KINDS["no filter"]):
        before = bench.texts()
        bench.apply(bench.plan())
        lab.virsh(f"managedsave '{NAME}' --paused")
        with pytest.raises(RollbackIncompleteError, match=r"\(saved state\)"):
            bench.rollback()
        lab.virsh(f"start '{NAME}' --paused")
        bench.rollback()
        after = bench.texts()
        assert (after.inactive, after.filters, after.bindings) == (before.inactive, before.filters, ())


def test_what_somebody_else_did_meanwhile_is_his(lab: Lab, bench: Bench) -> None:
    with paused_guest(lab, *KINDS["no filter"]):
        before = bench.texts()
        bench.apply(bench.plan())
        with LibvirtReader(bench.uri) as reader:
            (card,) = reader.resolve(NAME)
        assert card.live_xml is not None
        bench.interface(card.live_xml.replace("nwscan-8f31c0de-0", "no-mac-broadcast"), live=True)
        status = bench.status()
        assert status is not None
        assert any("somebody changed it" in line for line in status.drift)
        (undone,) = bench.rollback()
        assert any("left card" in line for line in undone.lines)
        after = bench.texts()
        assert (after.inactive, after.filters) == (before.inactive, before.filters)
        assert [one.filter for one in after.bindings] == ["no-mac-broadcast"]


def test_drift_is_told(lab: Lab, bench: Bench) -> None:
    with paused_guest(lab, *KINDS["no filter"]):
        before = bench.texts()
        bench.apply(bench.plan())
        (binding,) = bench.texts().bindings
        edited = bench.texts().filters["nwscan-8f31c0de-0-mac"].replace("action='drop'", "action='return'")
        lab.write(f"{layout.ROOT}/edited.xml", edited)
        lab.virsh(f"nwfilter-define {layout.ROOT}/edited.xml")
        told = bench.status()
        assert told is not None
        assert told.drift == ("filter nwscan-8f31c0de-0-mac is not as nwscan defined it: somebody edited it",)
        lab.virsh(f"nwfilter-binding-delete {binding.tap}")
        told = bench.status()
        assert told is not None
        assert any("no binding" in line for line in told.drift)
        bench.rollback()
        assert bench.texts() == before


def test_two_at_once(lab: Lab, bench: Bench) -> None:
    with paused_guest(lab, *KINDS["no filter"]):
        before, plan = bench.texts(), bench.plan()
        with Journal(bench.folder).lock(), pytest.raises(HostError, match="another nwscan is changing guests"):
            bench.apply(plan)
        assert bench.texts() == before
        bench.apply(plan)
        with pytest.raises(HostError, match="since the plan was made"):
            bench.apply(plan)
        bench.rollback()
        assert bench.texts() == before
