"""A step that fails, a libvirt that lies, a disk that is full: all of a plan or nothing, and again where that fails."""

from __future__ import annotations

import os

import pytest

from analyzer.errors import HostError, RollbackIncompleteError, RolledBackError
from generator.deploy.journal_record import State
from tests.generator.deploy.bench import (
    CHILD,
    EXTRA,
    MAC,
    PARENT,
    Bench,
    everywhere,
    unfiltered,
)
from tests.generator.deploy.file_door import FileDoor, read_state, write_state
from tests.generator.deploy.hosts import GUEST

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
