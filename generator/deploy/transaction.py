"""Carrying a plan out, and back: all of it or nothing.

Each step is in the journal before it happens. What went wrong is undone at once, in reverse. Undoing looks at what is
there and changes only what is ours, so it can be repeated, and it works whatever part of the plan was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from analyzer.errors import HostError, NwscanError, RollbackIncompleteError, RolledBackError
from generator.deploy.journal import Journal, JournalRecord, State
from generator.deploy.plan import Attach, DefineFilter, Plan, Step, describe
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, read_filterref, with_filterref

if TYPE_CHECKING:
    from generator.nwfilter.model import Filter, FilterRef


class WriterDoor(Protocol):
    """What the transaction needs of libvirt; the real one is libvirt_writer.py."""

    def filter_xml(self, name: str) -> str | None:
        """Give a filter's XML as libvirt prints it, None where there is none."""

    def define_filter(self, xml: str) -> None:
        """Define or redefine a filter, with libvirt's own validation."""

    def undefine_filter(self, name: str) -> None:
        """Remove a filter. Raises HostError where it is in use."""

    def interface_xml(self, guest: str, mac: str, *, live: bool) -> str | None:
        """Give a card's element, None where the guest is not there, not running (live) or not persistent."""

    def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
        """Replace a card's element."""


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing one change did, a line each."""

    record: JournalRecord
    lines: tuple[str, ...]


def apply(plan: Plan, door: WriterDoor, journal: Journal) -> JournalRecord:
    """Carry the plan out and give its record, state applied.

    Raises HostError where the host is not as the plan found it (nothing was changed), RolledBackError where a step
    failed and all was undone, RollbackIncompleteError where it could not be.
    """
    with journal.lock():
        _check_preconditions(plan, door)
        record = journal.create(plan)
        try:
            for number, step in enumerate(plan.steps):
                record = journal.begin(record, number)
                _do(plan, step, door)
            return journal.reach(record, State.APPLIED)
        except KeyboardInterrupt:
            _undo_record(record, door, journal, "interrupted")
            raise
        except NwscanError as error:
            undone = _undo_record(record, door, journal, f"failed: {error.what}")
            raise RolledBackError(
                f"could not {describe(plan.steps[max(record.begun - 1, 0)])}: {error.what}; everything was undone",
                error.where or str(undone.record.path),
                error.hint or "nothing is left of the change",
            ) from error


def confirm(record: JournalRecord, journal: Journal) -> JournalRecord:
    """Keep what was applied: it stays until it is rolled back."""
    with journal.lock():
        return journal.reach(record, State.CONFIRMED)


def rollback(guest: str, door: WriterDoor, journal: Journal, why: str = "asked for") -> tuple[Undone, ...]:
    """Undo every change of a guest (by uuid) that is in force, newest first; empty where there is nothing to undo.

    Raises RollbackIncompleteError where something could not be undone; the journal keeps it for the next try.
    """
    with journal.lock():
        return tuple(_undo_record(record, door, journal, why) for record in journal.in_force(guest))


def _check_preconditions(plan: Plan, door: WriterDoor) -> None:
    """Raise HostError where what the plan was made from is not what is there now."""
    for step in plan.steps:
        if isinstance(step, DefineFilter):
            now, what = door.filter_xml(step.name), f"filter {step.name}"
        else:
            now, what = door.interface_xml(plan.guest, step.mac, live=step.live), f"the card {step.mac} of {plan.name}"
        if now != step.before:
            raise HostError(
                f"{what} has changed since the plan was made", plan.uri, "make a new plan with nwscan suggest"
            )


def _do(plan: Plan, step: Step, door: WriterDoor) -> None:
    """Do one step and see for ourselves that it is done: libvirt ignores what it does not know."""
    if isinstance(step, DefineFilter):
        door.define_filter(step.after)
        _check_filter(step, door)
        return
    door.update_interface(plan.guest, step.after, live=step.live)
    now = door.interface_xml(plan.guest, step.mac, live=step.live)
    if now is None or read_filterref(now) != read_filterref(step.after):
        raise HostError(f"libvirt took the change of card {step.mac} and does not show it", plan.uri)


def _check_filter(step: DefineFilter, door: WriterDoor) -> None:
    now = door.filter_xml(step.name)
    if now is None or _meaning(now) != _meaning(step.after):
        raise HostError(
            f"libvirt made something else of filter {step.name}", step.name, "report this with nwscan doctor"
        )


def _meaning(xml: str) -> Filter:
    return normalise(read_filter(xml).filter).filter


def _undo_record(record: JournalRecord, door: WriterDoor, journal: Journal, why: str) -> Undone:
    """Undo what may have been done of one change, last step first, every step even when one fails."""
    plan, lines, failures = record.plan, [], []
    for number in reversed(range(record.begun)):
        try:
            record = journal.undo(record, number)
            lines += _undo_step(plan, plan.steps[number], door)
        except NwscanError as error:
            failures.append(f"{describe(plan.steps[number])}: {error.what}")
    if failures:
        raise RollbackIncompleteError(
            f"could not undo everything on {plan.name}: {'; '.join(failures)}",
            str(record.path),
            f"mend what it says, then: nwscan rollback {plan.name}",
        )
    return Undone(journal.reach(record, State.UNDONE, why), tuple(lines))


def _undo_step(plan: Plan, step: Step, door: WriterDoor) -> list[str]:
    if isinstance(step, DefineFilter):
        return _undo_filter(step, door)
    # Both, whichever the step was: a guest may have been started or stopped since.
    return [line for live in (True, False) for line in _undo_attach(plan, step, door, live=live)]


def _undo_filter(step: DefineFilter, door: WriterDoor) -> list[str]:
    now = door.filter_xml(step.name)
    if now is None or now == step.before:
        return []
    if read_filter(now).filter.uuid != step.uuid:
        return [f"left filter {step.name} alone: it is no longer ours"]
    if step.before is None:
        door.undefine_filter(step.name)
        return [f"removed filter {step.name}"]
    door.define_filter(step.before)
    return [f"restored filter {step.name}"]


def _undo_attach(plan: Plan, step: Attach, door: WriterDoor, *, live: bool) -> list[str]:
    now = door.interface_xml(plan.guest, step.mac, live=live)
    if now is None:
        return []
    ours, earlier, present = read_filterref(step.after), read_filterref(step.before), read_filterref(now)
    if present == earlier:
        return []
    where = f"card {step.mac} of {plan.name}, {'running' if live else 'next start'}"
    if not _is_ours(present, ours):
        return [f"left {where} alone: its filter was changed by somebody else"]
    door.update_interface(plan.guest, with_filterref(now, earlier), live=live)
    return [f"restored {where}"]


def _is_ours(present: FilterRef | None, ours: FilterRef | None) -> bool:
    return present is not None and ours is not None and present.filter == ours.filter
