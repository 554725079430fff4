"""Carrying a plan out, and back: all of it or nothing.

Each step is in the journal before it happens, and is done only where the host still is as the plan found it. What went
wrong is undone at once, in reverse (undo.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.errors import HostError, NwscanError, RollbackIncompleteError, RolledBackError
from generator.deploy import bridge_steps, preconditions
from generator.deploy.door import WriterDoor
from generator.deploy.journal_record import JournalRecord, State
from generator.deploy.plan import Attach, DefineFilter, Plan, Reinstall, Step, check, describe
from generator.deploy.reinstall import reinstall
from generator.deploy.undo import Undone, meaning, undo_record
from generator.nwfilter.xml import read_filterref

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from generator.deploy.deadline import Deadline
    from generator.deploy.journal import Journal

__all__ = ["Confirmation", "Undone", "WriterDoor", "apply", "require_as_planned", "require_uri", "rollback"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A change that goes back by itself unless it is confirmed.

    ``deadline`` gives until when, from now; it is asked before the first step and behind the last. ``start`` sees to
    it that a process waits for the change of a record; nothing is done before it has.
    """

    deadline: Callable[[], Deadline]
    start: Callable[[JournalRecord], object]


def apply(plan: Plan, door: WriterDoor, journal: Journal, confirmation: Confirmation | None = None) -> JournalRecord:
    """Carry the plan out and give its record, state applied; with a ``confirmation`` it is pending.

    Raises InputError where the plan is none of ours, HostError where the host is not as the plan found it (in both
    cases nothing was changed), RolledBackError where a step failed and all was undone, RollbackIncompleteError where
    it could not be. What interrupts it from outside undoes it, too.
    """
    check(plan)
    with journal.lock():
        require_uri(plan, door)
        others = journal.in_force(plan.guest)
        require_as_planned(plan, door, others)
        record = journal.create(plan)
        if confirmation is not None:
            record = _awaited(record, journal, confirmation)
        doing, told = "", []
        try:
            for number, step in enumerate(plan.steps):
                doing = describe(step)
                record = journal.begin(record, number)
                _require_unchanged(plan, step, door)
                told += _do(plan, step, door)
            doing = "write down that it was applied"
            deadline = None if confirmation is None else confirmation.deadline()
            return journal.reach(record, State.APPLIED, "; ".join(told) or None, deadline)
        except NwscanError as error:
            undone = undo_record(record, door, journal, f"could not {doing}: {error.what}", others)
            raise RolledBackError(
                f"could not {doing}: {error.what}; everything was undone",
                error.where or str(undone.record.path),
                error.hint or "nothing is left of the change",
            ) from error
        except BaseException:  # Ctrl-C, a signal that ends us, a fault of our own: nothing may be left half done
            undo_record(record, door, journal, "interrupted", others)
            raise


def _awaited(record: JournalRecord, journal: Journal, confirmation: Confirmation) -> JournalRecord:
    """Have somebody wait before anything is done. Where that cannot be, nothing was done."""
    try:
        record = journal.expect(record, confirmation.deadline())
        confirmation.start(record)
    except BaseException as error:
        journal.reach(record, State.UNDONE, f"nothing was done: {error}")
        raise
    return record


def rollback(guest: str, door: WriterDoor, journal: Journal, why: str = "asked for") -> tuple[Undone, ...]:
    """Undo every change of a guest (by uuid) that is in force, newest first; empty where there is nothing to undo.

    Raises RollbackIncompleteError where something could not be undone; the journal keeps it for the next try.
    Raises InputError where nothing is known of the guest and a file of the journal cannot be read.
    """
    with journal.lock():
        reading = journal.read()  # a damaged file of another guest must not keep this one from being restored
        records = [one for one in reversed(reading.records) if one.is_in_force and one.plan.guest == guest]
        if reading.errors and not records:
            raise reading.errors[0]
        for record in records:
            require_uri(record.plan, door)
        undone, failures = [], []
        for record in records:
            others = [one for one in records if one is not record]
            try:
                undone.append(undo_record(record, door, journal, why, others))
            except RollbackIncompleteError as error:
                failures.append(error)
    if failures:
        raise RollbackIncompleteError(
            "; ".join(dict.fromkeys(error.what for error in failures)),
            ", ".join(error.where for error in failures),
            failures[0].hint,
        )
    return tuple(undone)


def require_uri(plan: Plan, door: WriterDoor) -> None:
    """Raise HostError on another libvirt than the plan's: a guest that it does not know is not gone."""
    if plan.uri != door.uri:
        raise HostError(
            f"the change of {plan.name} belongs to the libvirt at {plan.uri}", door.uri, f"add --connect {plan.uri}"
        )


def require_as_planned(plan: Plan, door: WriterDoor, others: Sequence[JournalRecord]) -> None:
    """Raise HostError where the host is not as the plan found it; ``others`` are the guest's changes in force."""
    _require_finished(others)
    for step in plan.steps:
        _require_unchanged(plan, step, door)
    _require_both_sides(plan, door)
    preconditions.require(plan, door)


def _require_finished(records: Sequence[JournalRecord]) -> None:
    """Raise HostError where an earlier change of the guest was interrupted: what is there then is nobody's wish.

    One that waits to be confirmed comes first, too: this one would rest on what may go back any moment.
    """
    for record in records:
        if record.is_pending:
            raise HostError(
                f"an earlier change of {record.plan.name} waits to be confirmed",
                str(record.path),
                f"keep it: nwscan confirm {record.plan.guest}; or undo it: nwscan rollback {record.plan.guest}",
            )
        if record.state in {State.APPLYING, State.UNDOING}:
            raise HostError(
                f"an earlier change of {record.plan.name} was interrupted",
                str(record.path),
                f"undo it first: nwscan rollback {record.plan.guest}",
            )


def _require_unchanged(plan: Plan, step: Step, door: WriterDoor) -> None:
    """Raise HostError where what a step was made from is not what is there now."""
    if isinstance(step, DefineFilter):
        now, what = door.filter_xml(step.name), f"filter {step.name}"
    elif isinstance(step, Attach | Reinstall):
        live = step.live if isinstance(step, Attach) else True
        now, what = door.interface_xml(plan.guest, step.mac, live=live), f"the card {step.mac} of {plan.name}"
    else:
        bridge_steps.require_unchanged(plan, step, door)
        return
    if now != step.before:
        raise HostError(f"{what} has changed since the plan was made", plan.uri, "make a new plan with nwscan suggest")


def _require_both_sides(plan: Plan, door: WriterDoor) -> None:
    """Raise HostError where a card's other side is there and not in the plan: both get the filter, or neither.

    So it is when the guest was started or defined after the plan was made.
    """
    attachments: Sequence[Attach] = [step for step in plan.steps if isinstance(step, Attach)]
    planned = {(step.mac, step.live) for step in attachments}
    for step in attachments:
        if (step.mac, not step.live) in planned:
            continue
        other = door.interface_xml(plan.guest, step.mac, live=not step.live)
        ours, there = read_filterref(step.after), read_filterref(other) if other is not None else None
        if other is not None and (there is None or ours is None or there.filter != ours.filter):
            what = "has been defined" if step.live else "has been started"
            raise HostError(
                f"{plan.name} {what} since the plan was made", plan.uri, "make a new plan with nwscan suggest"
            )


def _do(plan: Plan, step: Step, door: WriterDoor) -> list[str]:
    """Do one step and see for ourselves that it is done: libvirt ignores what it does not know.

    Gives what is worth telling of how it went.
    """
    if isinstance(step, DefineFilter):
        door.define_filter(step.after)
        defined = door.filter_xml(step.name)
        if defined is None or meaning(defined) != meaning(step.after):
            raise HostError(
                f"libvirt made something else of filter {step.name}", step.name, "report it with: nwscan doctor"
            )
    elif isinstance(step, Attach):
        door.update_interface(plan.guest, step.after, live=step.live)
        _require_attached(plan, step.mac, step.after, door, live=step.live)
    elif isinstance(step, Reinstall):
        open_s = reinstall(plan, step, door)
        _require_attached(plan, step.mac, step.before, door, live=True)
        return [f"making the rules of card {step.mac} anew took {open_s:.2f} s, in which they did not act"]
    else:
        bridge_steps.do(plan, step, door)
    return []


def _require_attached(plan: Plan, mac: str, wanted: str, door: WriterDoor, *, live: bool) -> None:
    now, ref = door.interface_xml(plan.guest, mac, live=live), read_filterref(wanted)
    if now is None or read_filterref(now) != ref:
        raise HostError(f"libvirt took the change of card {mac} and does not show it", plan.uri)
    bound = door.bound_filter(plan.guest, mac) if live else None
    if live and (ref is None or bound != ref.filter):  # the XML is no proof: a tap that is none has no rules
        raise HostError(
            f"libvirt shows the filter on card {mac} and does not install it",
            plan.uri,
            "see whether the card has a tap on a Linux bridge: nwscan list",
        )
