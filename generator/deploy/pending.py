"""A change that waits to be confirmed: kept before its deadline, undone after it, never both.

Whoever decides does so under the journal's lock, by the record as it is on the disk then. The one process that waits
(nwscan/watch) and the command that confirms meet here alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError, RolledBackError
from generator.deploy.deadline import deadline_in
from generator.deploy.journal_record import JournalRecord, State
from generator.deploy.transaction import require_uri
from generator.deploy.undo import Undone, undo_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from analyzer.host.boot_clock import Clock
    from generator.deploy.deadline import Deadline
    from generator.deploy.door import WriterDoor
    from generator.deploy.journal import Journal

_WAIT_S: Final = 30.0
"""How long whoever keeps a change or sets its deadline waits for one who is changing guests."""


def confirm(record: JournalRecord, journal: Journal, clock: Clock) -> JournalRecord:
    """Keep what was applied: it stays until it is rolled back.

    Raises RolledBackError where it is too late, HostError where it was never finished.
    """
    with journal.lock(_WAIT_S):
        now = journal.record(record.path)
        if now.state is State.CONFIRMED:
            return now
        _require_applied(now, "keep")
        _require_time(now, clock)
        return journal.reach(now, State.CONFIRMED)


def expect(record: JournalRecord, journal: Journal, clock: Clock, within_s: float) -> JournalRecord:
    """Give people so many seconds from now to confirm a pending change; one that was kept meanwhile stays kept.

    Raises RolledBackError where it is too late.
    """
    with journal.lock(_WAIT_S):
        now = journal.record(record.path)
        if now.state is State.CONFIRMED:
            return now
        _require_applied(now, "wait for")
        _require_time(now, clock)
        return journal.expect(now, deadline_in(within_s, clock))


def _require_applied(now: JournalRecord, wish: str) -> None:
    if now.state in {State.UNDOING, State.UNDONE}:
        raise RolledBackError(
            f"the change of {now.plan.name} was rolled back: {now.why or 'it is being undone'}",
            str(now.path),
            "see what is there now: nwscan status",
        )
    if now.state is not State.APPLIED:
        raise HostError(
            f"there is nothing to {wish}: the change of {now.plan.name} is {now.state}",
            str(now.path),
            "see nwscan status",
        )


def _require_time(now: JournalRecord, clock: Clock) -> None:
    if now.deadline is not None and now.deadline.has_passed(clock):
        raise RolledBackError(
            f"too late to keep the change of {now.plan.name}: {_passed(now.deadline, clock)}",
            str(now.path),
            f"it is being rolled back: see nwscan status; where nobody is at it: nwscan rollback {now.plan.guest}",
        )


def _passed(deadline: Deadline, clock: Clock) -> str:
    if deadline.left_s(clock) is None:
        return f"the host was started anew since (the deadline was {deadline.at})"
    return f"the deadline was {deadline.at}"


def _late(now: JournalRecord, clock: Clock) -> str | None:
    """Say that nobody confirmed the change in time, None where there is time, or no deadline."""
    if now.deadline is None or not now.deadline.has_passed(clock):
        return None
    return f"nobody confirmed it: {_passed(now.deadline, clock)}"


def rollback_unconfirmed(
    path: Path,
    open_door: Callable[[], AbstractContextManager[WriterDoor]],
    journal: Journal,
    clock: Clock,
    harm: str | None = None,
    *,
    wait_s: float = 0.0,
) -> Undone:
    """Undo one change that nobody confirmed in time, that did ``harm``, or whose process ended amid it.

    Decides by what the journal says once nobody else is changing guests: a change that was confirmed, or still has
    time and does no harm, is left as it is. Gives the record as it is then. Raises LockedError where another process
    is changing guests for longer than ``wait_s``, RollbackIncompleteError where something is left.
    """
    with journal.lock(wait_s):
        now = journal.record(path)
        why = _why_undone(now, clock, harm)
        if why is None:
            return Undone(now, ())
        if now.begun == 0:
            return Undone(journal.reach(now, State.UNDONE, why), ())
        others = [one for one in journal.read().records if one.is_in_force and one.plan.guest == now.plan.guest]
        with open_door() as door:
            require_uri(now.plan, door)
            return undo_record(now, door, journal, why, [one for one in others if one.path != now.path])


def _why_undone(now: JournalRecord, clock: Clock, harm: str | None) -> str | None:
    """Say why a change is to be undone, None where it is not."""
    match now.state:
        case State.PLANNED | State.APPLYING:  # whoever applies has the lock from before the first step to the last
            return harm or "whoever applied it ended before it was done"
        case State.UNDOING:
            return harm or _late(now, clock) or "the undoing was interrupted"
        case State.APPLIED:
            return harm or _late(now, clock)
        case _:
            return None
