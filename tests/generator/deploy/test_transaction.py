"""All of a plan or nothing: refused where the host has changed, undone where a step fails, again where that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.errors import HostError, InputError, RollbackIncompleteError, RolledBackError
from analyzer.host.boot_clock import boot_clock
from analyzer.model.addresses import parse_mac
from generator.deploy import pending, transaction
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.nwfilter.xml import read_filterref, with_filterref
from tests.generator.deploy.file_door import FileDoor, HostState, plan_for, read_state, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS, OTHER, PARAMETERS, host

if TYPE_CHECKING:
    from collections.abc import Callable

    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.plan import Plan
    from generator.deploy.transaction import Undone

ROOT = Path(__file__).parents[3]
MAC = MACS[0]
PARENT, CHILD = "nwscan-6e777363-0", "nwscan-6e777363-0-mac"
EXTRA = (parse_mac("52:54:00:00:00:21"),)


class Bench:
    """A host in a file, its journal and its door."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / "host.json"
        self.journal = Journal(folder / "journal")
        self.door = FileDoor(self.path)
        self.before = HOSTS[name]
        write_state(self.path, self.before)

    @property
    def now(self) -> HostState:
        return read_state(self.path)

    def change(self, act: Callable[[HostState], object]) -> None:
        state = self.now
        act(state)
        write_state(self.path, state)

    def refuse(self, *calls: str) -> None:
        self.change(lambda state: setattr(state, "refused", list(calls)))

    def plan(self, extra: tuple[int, ...] = ()) -> Plan:
        return plan_for(self.now, GUEST, extra)

    def apply(self, plan: Plan | None = None) -> JournalRecord:
        return transaction.apply(plan or self.plan(), self.door, self.journal)

    def rollback(self) -> tuple[Undone, ...]:
        return transaction.rollback(GUEST, self.door, self.journal)

    def attach(self, name: str | None, *, live: bool) -> None:
        """Let somebody else attach a filter."""

        def act(state: HostState) -> None:
            side = state.guests[GUEST].live if live else state.guests[GUEST].inactive
            assert side is not None
            ref = read_filterref(self.before.guests[OTHER].live["52:54:00:00:00:99"]) if name else None  # type: ignore[index]
            side[MAC] = with_filterref(side[MAC], ref)

        self.change(act)


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, getattr(request, "param", "clean-traffic"))


everywhere = pytest.mark.parametrize("bench", HOSTS, indirect=True)
two_cards = pytest.mark.parametrize("bench", ["two cards"], indirect=True)
unfiltered = pytest.mark.parametrize("bench", ["no filter"], indirect=True)
off = pytest.mark.parametrize("bench", ["off"], indirect=True)
transient = pytest.mark.parametrize("bench", ["transient"], indirect=True)


def rolled_back(undone: tuple[Undone, ...]) -> list[str]:
    return [line for one in undone for line in one.lines]


# Both ways


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


# A step that fails


STEPS = [
    f"define_filter {CHILD}",
    f"define_filter {PARENT}",
    f"update_interface {MAC} True",
    f"update_interface {MAC} False",
]


@pytest.mark.parametrize("number", range(4))
def test_a_step_that_fails_undoes_those_before(bench: Bench, number: int) -> None:
    plan = bench.plan()
    bench.refuse(STEPS[number])
    # undoing may need the very call that fails: here it does not, since the step was not done
    with pytest.raises(RolledBackError, match="everything was undone") as caught:
        bench.apply(plan)
    assert "refused" in caught.value.what
    bench.refuse()
    assert bench.now == bench.before
    assert bench.journal.in_force() == ()
    (record,) = bench.journal.records()
    assert record.state is State.UNDONE
    assert "refused" in (record.events[-1].why or "")


class LyingDoor(FileDoor):
    """A libvirt that takes what it is given and does something else."""

    def define_filter(self, xml: str) -> None:
        super().define_filter(xml.replace("drop", "accept"))


class DeafDoor(FileDoor):
    """A libvirt that takes a change of a card and does nothing."""

    def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
        pass


class UnboundDoor(FileDoor):
    """A libvirt that shows a filter and installs none."""

    def bound_filter(self, guest: str, mac: str) -> str | None:  # noqa: ARG002 the protocol's
        return None


@pytest.mark.parametrize(
    ("door", "complaint"),
    [
        (LyingDoor, f"libvirt made something else of filter {CHILD}"),
        (DeafDoor, f"took the change of card {MAC} and does not show it"),
        (UnboundDoor, f"shows the filter on card {MAC} and does not install it"),
    ],
)
def test_what_libvirt_says_it_did_is_not_believed(bench: Bench, door: type[FileDoor], complaint: str) -> None:
    bench.door = door(bench.path)
    with pytest.raises(RolledBackError, match=complaint):
        bench.apply()
    assert bench.now == bench.before


def test_a_change_between_two_steps_is_noticed(bench: Bench) -> None:
    plan = bench.plan()

    class Meddling(FileDoor):
        def define_filter(self, xml: str) -> None:
            super().define_filter(xml)
            if PARENT in xml:
                bench.attach(None, live=False)

    bench.door = Meddling(bench.path)
    with pytest.raises(RolledBackError, match="has changed since the plan was made"):
        bench.apply(plan)
    assert bench.now.filters == bench.before.filters
    assert bench.now.guests[GUEST].live == bench.before.guests[GUEST].live
    assert "filterref" not in (bench.door.interface_xml(GUEST, MAC, live=False) or "")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, ZeroDivisionError])
def test_whatever_ends_it_undoes_it(bench: Bench, error: type[BaseException]) -> None:
    class Ending(FileDoor):
        def bound_filter(self, guest: str, mac: str) -> str | None:  # noqa: ARG002 the protocol's
            raise error

    bench.door = Ending(bench.path)
    with pytest.raises(error):
        bench.apply()
    assert bench.now == bench.before
    assert bench.journal.records()[-1].state is State.UNDONE


def test_a_failing_redefinition_leaves_what_is_attached(bench: Bench) -> None:
    bench.apply()
    first = bench.now
    plan = bench.plan(EXTRA)

    class Failing(FileDoor):
        defined = 0

        def define_filter(self, xml: str) -> None:
            super().define_filter(xml)
            self.defined += 1
            if self.defined == 1:
                raise HostError("libvirt: gone", self.uri)

    bench.door = Failing(bench.path)
    with pytest.raises(RolledBackError, match="libvirt: gone"):
        bench.apply(plan)
    assert bench.now == first
    assert len(bench.rollback()) == 1
    assert bench.now == bench.before


def test_half_an_attachment_that_fails_leaves_the_other_half_alone(bench: Bench) -> None:
    """The running card was attached before, its definition is to follow: that fails, what runs stays as it was."""
    bench.apply()
    bench.attach("clean-traffic", live=False)
    halfway = bench.now
    plan = bench.plan()
    assert [type(step).__name__ for step in plan.steps] == ["Attach"]

    class Failing(FileDoor):
        def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
            super().update_interface(guest, xml, live=live)
            if PARENT in xml:
                raise HostError("libvirt: gone", self.uri)

    bench.door = Failing(bench.path)
    with pytest.raises(RolledBackError):
        bench.apply(plan)
    assert bench.now == halfway


# Undoing that fails


@pytest.mark.parametrize(
    "refused", [f"update_interface {MAC} True", f"undefine_filter {CHILD}", f"undefine_filter {PARENT}", "filter_xml"]
)
def test_what_could_not_be_undone_is_undone_later(bench: Bench, refused: str) -> None:
    bench.apply()
    bench.refuse(refused)
    for _ in range(2):
        with pytest.raises(RollbackIncompleteError, match="could not undo everything on vm1") as caught:
            bench.rollback()
        assert caught.value.where == str(bench.journal.records()[0].path)
        assert bench.journal.interrupted()
    bench.refuse()
    assert len(bench.rollback()) == 1
    assert bench.now == bench.before
    assert bench.rollback() == ()


def test_a_step_that_fails_and_cannot_be_undone_says_so(bench: Bench) -> None:
    plan = bench.plan()
    bench.refuse(f"update_interface {MAC} False", "undefine_filter")
    with pytest.raises(RollbackIncompleteError, match=r"refused: update_interface .* refused: undefine_filter"):
        bench.apply(plan)
    bench.refuse()
    bench.rollback()
    assert bench.now == bench.before


@unfiltered
def test_rules_that_libvirt_left_when_it_died_are_removed(bench: Bench) -> None:
    """It was killed amid attaching: its XML and its bindings say nothing, the kernel filters."""

    class Dying(FileDoor):
        def update_interface(self, guest: str, xml: str, *, live: bool) -> None:  # noqa: ARG002 the protocol's
            state = read_state(self.path)
            state.stray.append(MAC)
            state.refused.append("")
            write_state(self.path, state)
            raise HostError("libvirt: End of file while reading data", self.uri)

    plan, bench.door = bench.plan(), Dying(bench.path)
    with pytest.raises(RollbackIncompleteError):
        bench.apply(plan)
    bench.door = FileDoor(bench.path)
    bench.refuse()
    (undone,) = bench.rollback()
    assert any("removed rules that libvirt had left" in line for line in undone.lines)
    assert bench.now == bench.before


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


@everywhere
def test_a_full_disk_does_not_keep_a_guest_from_being_restored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.apply()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RollbackIncompleteError, match="No space left on device"):
            bench.rollback()
    assert bench.now == bench.before
    assert bench.journal.in_force()
    bench.rollback()
    assert bench.now == bench.before
    assert bench.rollback() == ()


@pytest.mark.parametrize("writes", range(2, 7))
def test_a_disk_that_fills_up_leaves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    fsync, left = os.fsync, [writes + 1]  # the folder is flushed, too

    def filling(descriptor: int) -> None:
        left[0] -= 1
        (fsync if left[0] > 0 else full)(descriptor)

    with bench.journal.lock():
        pass
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises((HostError, RolledBackError, RollbackIncompleteError), match="No space left"):
            bench.apply()
    assert bench.now == bench.before
    bench.rollback()
    assert bench.now == bench.before
    assert bench.journal.in_force() == ()


@two_cards
def test_every_step_is_undone_even_when_one_fails(bench: Bench) -> None:
    bench.apply()
    bench.refuse(f"update_interface {MACS[1]}")
    with pytest.raises(RollbackIncompleteError):
        bench.rollback()
    first, second = (bench.door.interface_xml(GUEST, mac, live=True) for mac in MACS)
    assert first == (bench.before.guests[GUEST].live or {})[MAC]
    assert "nwscan" in (second or "")


# What became of the guest meanwhile


def test_a_card_that_somebody_changed_is_left_alone(bench: Bench) -> None:
    bench.apply()
    bench.attach(None, live=True)
    lines = rolled_back(bench.rollback())
    assert f"left card {MAC} of vm1, running alone: its filter was changed by somebody else" in lines
    assert "filterref" not in (bench.door.interface_xml(GUEST, MAC, live=True) or "")
    assert bench.now.filters == bench.before.filters
    assert bench.rollback() == ()


def test_a_filter_that_somebody_edited_is_still_ours_to_remove(bench: Bench) -> None:
    bench.apply()
    text = bench.now.filters[CHILD]
    bench.door.define_filter(text.replace("drop", "accept"))
    bench.rollback()
    assert bench.now == bench.before


def test_a_filter_that_is_somebody_elses_now_is_left_alone(bench: Bench) -> None:
    bench.apply()
    theirs = f"<filter name='{CHILD}' chain='root'><uuid>6f1a3c5e-0000-4000-8000-0000000000ff</uuid></filter>"

    def act(state: HostState) -> None:
        state.filters[CHILD] = theirs

    bench.change(act)
    assert f"left filter {CHILD} alone: it is no longer ours" in rolled_back(bench.rollback())
    assert bench.now.filters == bench.before.filters | {CHILD: theirs}


def test_a_filter_that_others_use_stays_until_they_do_not(bench: Bench) -> None:
    """A clone's definition: libvirt would remove the filter, and the clone would not start."""
    bench.apply()
    clone = "52:54:00:00:00:77"

    def add(state: HostState) -> None:
        state.guests["clone"] = msgspec.structs.replace(
            state.guests[GUEST], name="clone", live=None, inactive={clone: (state.guests[GUEST].inactive or {})[MAC]}
        )

    bench.change(add)
    with pytest.raises(RollbackIncompleteError, match=rf"{PARENT} is still used by guest clone \(next start\)"):
        bench.rollback()
    assert bench.now.guests[GUEST] == bench.before.guests[GUEST]
    assert PARENT in bench.now.filters
    bench.change(lambda state: state.guests.pop("clone"))
    bench.rollback()
    assert bench.now == bench.before


@pytest.mark.parametrize("name", ["clean-traffic", "only what runs is filtered", "only the next start is filtered"])
def test_a_guest_restarted_meanwhile_is_what_it_would_have_been(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, name)
    bench.apply()

    def restart(state: HostState) -> None:
        guest = state.guests[GUEST]
        kept = (guest.inactive or {})[MAC]
        guest.live = {MAC: with_filterref((guest.live or {})[MAC], read_filterref(kept))}

    bench.change(restart)
    bench.rollback()
    after, before = bench.now.guests[GUEST], bench.before.guests[GUEST]
    assert after.inactive == before.inactive
    running = read_filterref((after.live or {})[MAC])
    assert running in {read_filterref((side or {})[MAC]) for side in (before.live, before.inactive)}
    assert bench.now.filters == bench.before.filters


def test_a_guest_stopped_meanwhile_is_restored_for_its_next_start(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: setattr(state.guests[GUEST], "live", None))
    bench.rollback()
    assert bench.now.guests[GUEST].inactive == bench.before.guests[GUEST].inactive
    assert bench.now.filters == bench.before.filters


@off
def test_a_guest_started_meanwhile_is_restored_on_both_sides(bench: Bench) -> None:
    bench.apply()

    def start(state: HostState) -> None:
        started = host(inactive=PARAMETERS).guests[GUEST]
        ref = read_filterref((state.guests[GUEST].inactive or {})[MAC])
        state.guests[GUEST].live = {MAC: with_filterref((started.live or {})[MAC], ref)}

    bench.change(start)
    lines = rolled_back(bench.rollback())
    assert f"restored card {MAC} of vm1, running" in lines
    ref = read_filterref((bench.now.guests[GUEST].live or {})[MAC])
    assert ref is not None
    assert (ref.filter, ref.parameters) == ("clean-traffic", PARAMETERS)
    assert bench.now.filters == bench.before.filters


@transient
def test_a_guest_defined_meanwhile_is_restored_on_both_sides(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: setattr(state.guests[GUEST], "inactive", dict(state.guests[GUEST].live or {})))
    bench.rollback()
    assert bench.now.guests[GUEST].live == bench.before.guests[GUEST].live
    assert bench.now.guests[GUEST].inactive == bench.before.guests[GUEST].live
    assert bench.now.filters == bench.before.filters


def test_of_a_guest_that_is_gone_the_filters_are_removed(bench: Bench) -> None:
    bench.apply()
    bench.change(lambda state: state.guests.pop(GUEST))
    assert rolled_back(bench.rollback()) == [f"removed filter {PARENT}", f"removed filter {CHILD}"]
    assert bench.now.filters == bench.before.filters
    assert bench.rollback() == ()


def test_a_card_that_is_gone_keeps_nothing(bench: Bench) -> None:
    bench.apply()

    def unplug(state: HostState) -> None:
        (state.guests[GUEST].live or {}).clear()

    bench.change(unplug)
    bench.rollback()
    assert bench.now.guests[GUEST].inactive == bench.before.guests[GUEST].inactive
    assert bench.now.filters == bench.before.filters


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
