"""Undoing one change: looks at what is there, changes only what is ours, and can be repeated.

Works whatever part of a plan was done, and whatever became of the guest since. Values of the journal in, calls on the
door out; who may change guests now, and which change is undone, is decided by transaction.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError, NwscanError, RollbackIncompleteError
from generator.deploy import bridge_steps
from generator.deploy.journal_record import JournalRecord, State
from generator.deploy.plan import Attach, DefineFilter, Plan, Reinstall, Step, describe
from generator.deploy.reinstall import undo_reinstall
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, read_filterref, with_filterref

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.door import WriterDoor
    from generator.deploy.journal import Journal
    from generator.nwfilter.model import Filter


_SWEEPS_MOST: Final = 3
"""How often libvirt is made to build rules that it left half built."""
_IN_ITS_WAY: Final = (
    "chains of the tap that it left half made are in its way: take away what ebtables-save shows of the tap "
    "(ebtables -t nat -F, -D, -X)"
)


@dataclass(frozen=True, slots=True)
class Undone:
    """What undoing one change did, a line each."""

    record: JournalRecord
    lines: tuple[str, ...]


def undo_record(
    record: JournalRecord, door: WriterDoor, journal: Journal, why: str, others: Sequence[JournalRecord] = ()
) -> Undone:
    """Undo what may have been done of one change, last step first, every step even when one fails.

    ``others`` are the guest's further changes in force: what they attached is theirs to undo. Raises
    RollbackIncompleteError where something is left; the journal keeps the change in force until nothing is.
    """
    plan, lines, failures = record.plan, [], []
    covered = {
        (step.mac, step.live) for one in (record, *others) for step in one.plan.steps if isinstance(step, Attach)
    }
    earlier = {name for one in others if one.path.name < record.path.name for name in one.plan.filters}
    for number in reversed(range(record.begun)):
        step = plan.steps[number]
        if isinstance(step, DefineFilter) and step.before is None and step.name in earlier:
            continue  # it was gone and was defined again: an earlier change made it, and removes it
        if isinstance(step, Reinstall) and _was_done(record, number):
            continue  # the card is as it was before: a filter that is not there was taken away by somebody since
        try:
            record = _begin_undo(record, number, journal)
        except HostError as error:  # a full disk must not keep a guest from being restored: begin is on disk already
            failures.append(error.what)
            record = _doubted(record, journal)
        try:
            lines += _undo_step(plan, step, door, covered)
        except NwscanError as error:
            failures.append(f"{describe(step)}: {error.what}")
        except Exception as error:  # noqa: BLE001 - a defect in one step must not keep the others from being undone
            failures.append(f"{describe(step)}: a defect of nwscan: {type(error).__name__}: {error}")
    if not failures:
        try:
            return Undone(journal.reach(record, State.UNDONE, why), tuple(lines))
        except HostError as error:
            failures.append(error.what)
    raise RollbackIncompleteError(
        f"could not undo everything on {plan.name} ({why}): {'; '.join(dict.fromkeys(failures))}",
        str(record.path),
        f"mend what it says, then: nwscan rollback {plan.guest}",
    )


def _was_done(record: JournalRecord, number: int) -> bool:
    """Say whether a step was done to its end: the next one was begun, or the whole was applied."""
    return number + 1 < record.begun or any(event.state is State.APPLIED for event in record.events)


def _begin_undo(record: JournalRecord, number: int, journal: Journal) -> JournalRecord:
    """Write down, once, that a step is about to be undone: tries without end must not make the file too large."""
    is_told = any(event.event == "undo" and event.step == number for event in record.events)
    return record if is_told else journal.undo(record, number)


def _doubted(record: JournalRecord, journal: Journal) -> JournalRecord:
    """See to it that nobody keeps, as applied, what is being undone and cannot be written down."""
    if record.state not in {State.APPLIED, State.CONFIRMED}:
        return record
    try:
        return journal.doubt(record)
    except HostError:  # it is among the failures already
        return record


def meaning(xml: str) -> Filter:
    """Give a filter as libvirt has it: equal for two texts that make the same rules."""
    return normalise(read_filter(xml).filter).filter


def _undo_step(plan: Plan, step: Step, door: WriterDoor, covered: set[tuple[str, bool]]) -> list[str]:
    match step:
        case DefineFilter():
            return _undo_filter(step, door)
        case Attach():
            return _undo_card(plan, step, door, covered)
        case Reinstall():
            return undo_reinstall(plan, step, door)
    return bridge_steps.undo(plan, step, door)


def _undo_filter(step: DefineFilter, door: WriterDoor) -> list[str]:
    now = door.filter_xml(step.name)
    if now is None or now == step.before:
        return []
    if read_filter(now).filter.uuid != step.uuid:
        return [f"left filter {step.name} alone: it is no longer ours"]
    if step.before is not None:
        door.define_filter(step.before)
        restored = door.filter_xml(step.name)
        if restored is None or meaning(restored) != meaning(step.before):
            raise HostError(f"libvirt made something else of filter {step.name}", step.name)
        return [f"restored filter {step.name}"]
    users = door.filter_users(step.name)
    if users:
        raise HostError(f"filter {step.name} is still used by {', '.join(users)}", step.name)
    door.undefine_filter(step.name)
    return [f"removed filter {step.name}"]


def _undo_card(plan: Plan, step: Attach, door: WriterDoor, covered: set[tuple[str, bool]]) -> list[str]:
    """Restore what the step changed; and the card's other side, where our filter came to it since.

    That is a guest that was off and has been started, or one that was transient and has been defined.
    """
    sides = [step.live] if (step.mac, not step.live) in covered else [step.live, not step.live]
    return [line for live in sides for line in _undo_side(plan, step, door, live=live)]


def _undo_side(plan: Plan, step: Attach, door: WriterDoor, *, live: bool) -> list[str]:
    now = door.interface_xml(plan.guest, step.mac, live=live)
    if now is None:
        return []
    present, attached = read_filterref(now), _attached_by(step, now, plan.steps)
    ours, earlier = read_filterref(attached.after), read_filterref(attached.before)
    where = f"card {step.mac} of {plan.name}, {'running' if live else 'next start'}"
    if present == earlier:
        return _sweep(plan, step.mac, now, attached, door, where) if live and earlier is None else []
    if present is None or ours is None or present.filter != ours.filter:
        return [f"left {where} alone: its filter was changed by somebody else"]
    door.update_interface(plan.guest, with_filterref(now, earlier), live=live)
    restored = door.interface_xml(plan.guest, step.mac, live=live)
    if restored is not None and read_filterref(restored) != earlier:
        raise HostError(f"libvirt took the change of card {step.mac} and does not show it", plan.uri)
    return [f"restored {where}"]


def _sweep(plan: Plan, mac: str, now: str, attached: Attach, door: WriterDoor, where: str) -> list[str]:
    """Have libvirt remove the rules that it was killed amid making, of a filter that its XML does not know of.

    It clears what is left of an earlier attempt only when it builds rules anew: so it is made to. It needs the
    filters for that, which an earlier try to undo may have removed; they are undone after the cards.
    """
    if not door.has_stray_rules(plan.guest, mac):
        return []
    for step in plan.steps:
        if isinstance(step, DefineFilter) and door.filter_xml(step.name) is None:
            door.define_filter(step.after)
    failure: HostError | None = None
    for _ in range(_SWEEPS_MOST):
        try:
            for ref in (read_filterref(attached.after), None):
                door.update_interface(plan.guest, with_filterref(now, ref), live=True)
        except HostError as error:  # what was left is in its way, and may go as libvirt gives up
            failure = error
        if not door.has_stray_rules(plan.guest, mac):
            return [f"removed rules that libvirt had left on {where}"]
    if failure is not None:
        raise HostError(f"{failure.what}; {_IN_ITS_WAY}", plan.uri) from failure
    raise HostError(f"the kernel still has rules of a filter on {where}", plan.uri, "see them with: ebtables-save")


def _attached_by(step: Attach, now: str, steps: Sequence[Step]) -> Attach:
    """Give the step whose reference the card has now: after a restart that is what was attached for the next start."""
    present = read_filterref(now)
    candidates = [step, *(one for one in steps if isinstance(one, Attach) and one.mac == step.mac)]
    return next((one for one in candidates if read_filterref(one.after) == present), step)
