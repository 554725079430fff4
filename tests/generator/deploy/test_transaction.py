"""All of a plan or nothing, both ways; refused where the host has changed since, or another is at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.errors import HostError, InputError, RolledBackError
from analyzer.host.boot_clock import boot_clock
from generator.deploy import pending, transaction
from generator.deploy.journal_record import State
from generator.nwfilter.xml import read_filterref
from tests.generator.deploy.bench import (
    CHILD,
    EXTRA,
    MAC,
    PARENT,
    Bench,
    everywhere,
    off,
    rolled_back,
    transient,
)
from tests.generator.deploy.hosts import GUEST, OTHER, PARAMETERS, host

if TYPE_CHECKING:
    from generator.deploy.plan import Plan

ROOT = Path(__file__).parents[3]


@everywhere
def test_what_was_there_before_is_there_again(bench: Bench) -> None:
    record = bench.apply()
    assert record.state is State.APPLIED
    assert bench.now != bench.before
    (undone,) = bench.rollback()
    assert undone.record.state is State.UNDONE
    assert bench.now == bench.before
    assert bench.rollback() == ()


def test_undoing_tells_what_it_did(bench: Bench) -> None:
    bench.apply()
    assert rolled_back(bench.rollback()) == [
        f"restored card {MAC} of vm1, next start",
        f"restored card {MAC} of vm1, running",
        f"removed filter {PARENT}",
        f"removed filter {CHILD}",
    ]


def test_parameters_stay_on_the_card(bench: Bench) -> None:
    bench.apply()
    for live in (True, False):
        text = bench.door.interface_xml(GUEST, MAC, live=live)
        ref = read_filterref(text or "")
        assert ref is not None
        assert (ref.filter, ref.parameters) == (PARENT, PARAMETERS)


@everywhere
def test_a_redefinition_touches_no_card(bench: Bench) -> None:
    bench.apply()
    plan, bench.door.calls = bench.plan(EXTRA), []
    bench.apply(plan)
    assert not any(call.startswith("update_interface") for call in bench.door.calls)
    assert bench.plan(EXTRA).steps == ()
    assert len(bench.rollback()) == 2
    assert bench.now == bench.before


def test_only_the_guest_meant_is_undone(bench: Bench) -> None:
    bench.apply()
    assert transaction.rollback(OTHER, bench.door, bench.journal) == ()
    assert bench.now != bench.before


def test_a_plan_without_steps_changes_nothing(bench: Bench) -> None:
    bench.apply(msgspec.structs.replace(bench.plan(), steps=()))
    assert bench.now == bench.before
    assert bench.rollback() == ()


# Confirming


def test_what_is_confirmed_stays_and_can_still_be_undone(bench: Bench) -> None:
    record = pending.confirm(bench.apply(), bench.journal, boot_clock())
    assert record.state is State.CONFIRMED
    assert pending.confirm(record, bench.journal, boot_clock()) == record
    assert bench.rollback()
    assert bench.now == bench.before


def test_what_was_undone_meanwhile_is_not_confirmed(bench: Bench) -> None:
    record = bench.apply()
    bench.rollback()
    with pytest.raises(RolledBackError, match="the change of vm1 was rolled back: asked for"):
        pending.confirm(record, bench.journal, boot_clock())
    assert bench.journal.in_force() == ()


# Refused, and nothing changed


def refuses(bench: Bench, plan: Plan, complaint: str) -> None:
    before = bench.now
    with pytest.raises((HostError, InputError), match=complaint):
        bench.apply(plan)
    assert bench.now == before
    assert bench.journal.records() == ()


def test_a_card_changed_since_the_plan_is_refused(bench: Bench) -> None:
    for live in (True, False):
        plan = bench.plan()
        bench.attach(None, live=live)
        refuses(bench, plan, f"the card {MAC} of vm1 has changed since the plan was made")


def test_a_filter_that_came_since_the_plan_is_refused(bench: Bench) -> None:
    plan = bench.plan()
    bench.door.define_filter(f"<filter name='{CHILD}'><uuid>{plan.steps[0].uuid}</uuid></filter>")  # type: ignore[union-attr]
    refuses(bench, plan, f"filter {CHILD} has changed")


def test_a_guest_that_is_gone_is_refused(bench: Bench) -> None:
    plan = bench.plan()
    bench.change(lambda state: state.guests.pop(GUEST))
    refuses(bench, plan, "has changed")


@off
def test_a_guest_started_since_the_plan_is_refused(bench: Bench) -> None:
    plan = bench.plan()
    bench.change(lambda state: state.guests.update({GUEST: host(inactive=PARAMETERS).guests[GUEST]}))
    refuses(bench, plan, "vm1 has been started since the plan was made")


@transient
def test_a_guest_defined_since_the_plan_is_refused(bench: Bench) -> None:
    plan = bench.plan()
    bench.change(lambda state: state.guests.update({GUEST: host(live=PARAMETERS).guests[GUEST]}))
    refuses(bench, plan, "vm1 has been defined since the plan was made")


def test_a_guest_stopped_since_the_plan_is_refused(bench: Bench) -> None:
    plan = bench.plan()
    bench.change(lambda state: setattr(state.guests[GUEST], "live", None))
    refuses(bench, plan, "has changed")


def test_another_libvirt_is_refused(bench: Bench) -> None:
    refuses(bench, msgspec.structs.replace(bench.plan(), uri="qemu:///system"), "belongs to the libvirt at qemu")
    bench.apply()
    bench.door.uri = "qemu:///session"
    with pytest.raises(HostError, match="belongs to the libvirt at test"):
        bench.rollback()
    assert bench.journal.in_force()


def test_what_is_not_ours_is_refused(bench: Bench) -> None:
    plan = bench.plan()
    step = msgspec.structs.replace(plan.steps[0], name="clean-traffic")
    refuses(bench, msgspec.structs.replace(plan, steps=(step,)), "not one of nwscan's")


def test_a_damaged_journal_is_looked_at_before_anything_is_changed(bench: Bench) -> None:
    record = bench.apply()
    bench.rollback()
    record.path.write_text("?\n")
    with pytest.raises(InputError, match="not a journal"):
        bench.apply()
    with pytest.raises(InputError, match="not a journal"):
        bench.rollback()
    assert bench.now == bench.before


def test_a_damaged_file_of_another_change_keeps_nobody_from_going_back(bench: Bench) -> None:
    bench.apply()
    other = bench.journal.create(msgspec.structs.replace(bench.plan(), guest=OTHER))
    other.path.write_text("?\n")
    assert len(bench.rollback()) == 1
    assert bench.now == bench.before


def test_nothing_is_put_on_top_of_what_was_interrupted(bench: Bench) -> None:
    record = bench.apply()
    bench.journal.undo(record, 0)
    with pytest.raises(HostError, match="an earlier change of vm1 was interrupted"):
        bench.apply(bench.plan(EXTRA))
    bench.rollback()
    assert bench.now == bench.before


# Two at once


RUN = """
import sys
from pathlib import Path
from analyzer.errors import NwscanError
from generator.deploy import pending, transaction
from generator.deploy.journal import Journal
from tests.generator.deploy.file_door import FileDoor, plan_for, read_state
path, journal, guest = Path(sys.argv[1]), Journal(Path(sys.argv[2])), sys.argv[3]
class Waiting(FileDoor):
    def define_filter(self, xml):
        print("in", flush=True)
        sys.stdin.readline()
        super().define_filter(xml)
transaction.apply(plan_for(read_state(path), guest), Waiting(path), journal)
print("done", flush=True)
"""


def test_of_two_at_once_one_loses_cleanly(bench: Bench) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, bench.path, bench.path.parent / "journal", GUEST],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        for change in (bench.apply, bench.rollback):
            with pytest.raises(HostError, match="another nwscan is changing guests"):
                change()
        assert bench.now == bench.before
        first.stdin.write("\n\n\n")
        first.stdin.flush()
        assert first.stdout.read() == "in\ndone\n"
    (record,) = bench.journal.records()
    assert record.state is State.APPLIED
    bench.rollback()
    assert bench.now == bench.before
