"""Change a host: apply a plan, undo it, and say what is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError, InputError, NwscanError, RollbackIncompleteError, RolledBackError
from analyzer.host.boot_clock import boot_clock
from analyzer.host.guests import LibvirtReader
from generator.deploy import pending, transaction
from generator.deploy.deadline import deadline_in
from generator.deploy.journal import Journal, LockedError
from generator.deploy.journal_record import State
from generator.deploy.libvirt_writer import LibvirtWriter
from nwscan.api.host_reading import read_host, statuses_of
from nwscan.config import Settings
from nwscan.watch.mark import wait_for_end
from nwscan.watch.starting import start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.journal import JournalReading
    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.plan import Plan
    from generator.deploy.status import CardStatus
    from generator.deploy.transaction import Undone


@dataclass(frozen=True, slots=True)
class HostStatus:
    """The status of the cards, and the errors of what of the journal cannot be read."""

    cards: tuple[CardStatus, ...]
    damaged: tuple[InputError, ...]

    @property
    def is_as_intended(self) -> bool:
        """Say whether nothing has drifted and nothing is damaged."""
        return not self.damaged and not any(card.drift for card in self.cards)


_SLACK_S: Final = 60.0
"""What applying, and judging the second window, may take beyond the window itself before the deadline is set."""

_LOCKED_S: Final = 30.0
"""How long to wait for another process that is changing guests: the one that waits may be at it."""


def apply(
    plan: Plan, settings: Settings | None = None, *, confirm_within_s: float = 0.0, window_s: float = 0.0
) -> JournalRecord:
    """Carry a plan out: live and persistent, or neither. Errors as generator.deploy.transaction.apply.

    With ``confirm_within_s`` it goes back by itself unless ``confirm`` keeps it: a process of its own waits from before
    the first step, for a window of ``window_s`` and as long again as it takes to judge it. ``await_confirmation`` sets
    the definite deadline.
    """
    settings, confirmation = settings or Settings(), None
    waited_for: list[JournalRecord] = []
    if confirm_within_s > 0:
        clock, longest_s = boot_clock(), window_s + confirm_within_s + _SLACK_S

        def wait(record: JournalRecord) -> None:
            waited_for.append(record)
            start(record, settings)

        confirmation = transaction.Confirmation(lambda: deadline_in(longest_s, clock), wait)
    with LibvirtWriter(settings.uri) as door:
        try:
            return transaction.apply(plan, door, Journal(settings.journal), confirmation)
        except NwscanError:  # undone, or never begun: then nobody waits for it
            for record in waited_for:
                settled(record, settings)
            raise


def await_confirmation(record: JournalRecord, within_s: float, settings: Settings | None = None) -> JournalRecord:
    """Give people so many seconds from now to confirm. Raises RolledBackError where the change was undone meanwhile."""
    return pending.expect(record, Journal((settings or Settings()).journal), boot_clock(), within_s)


def keep(record: JournalRecord, settings: Settings | None = None) -> JournalRecord:
    """Keep this change. Raises RolledBackError where it is too late."""
    settings = settings or Settings()
    kept = pending.confirm(record, Journal(settings.journal), boot_clock())
    settled(kept, settings)
    return kept


def settled(record: JournalRecord, settings: Settings) -> None:
    """See to it that no process waits any more for a change that was kept or undone."""
    wait_for_end(settings.state.absolute(), record.path)


def confirm(target: str | None, settings: Settings | None = None) -> tuple[JournalRecord, ...]:
    """Keep what was applied to a guest (None: to every guest) and waits; empty where nothing waits.

    Raises RolledBackError where it is too late: nobody confirmed in time, or it did harm. Of several changes each is
    kept that can be; the error tells of the others.
    """
    settings = settings or Settings()
    reading = Journal(settings.journal).read()  # a damaged file of another guest must not cost this one its change
    if target is None:
        due = [one for one in reading.records if one.is_pending]
    else:
        guest = _guest_uuid(target, reading, settings)
        records = [one for one in reading.records if one.plan.guest == guest]
        due = [one for one in records if one.is_pending] or [one for one in records[-1:] if _was_pending(one)]
    if reading.errors and not due:
        raise reading.errors[0]
    kept: list[JournalRecord] = []
    failures: list[NwscanError] = []
    for one in due:
        try:
            kept.append(keep(one, settings))
        except NwscanError as error:  # it must not keep the others from being kept
            failures.append(error)
    if failures:
        raise failures[0] if len(due) == 1 else _of_several(kept, failures)
    return tuple(kept)


def _of_several(kept: Sequence[JournalRecord], failures: Sequence[NwscanError]) -> NwscanError:
    """Give one error for what could not be kept; that something was rolled back comes first."""
    worst = max(failures, key=lambda error: isinstance(error, RolledBackError))
    names = ", ".join(dict.fromkeys(one.plan.name for one in kept)) or "nothing"
    what = "; ".join(dict.fromkeys(error.what for error in failures))
    return type(worst)(f"kept: {names}; {what}", ", ".join(error.where for error in failures), worst.hint)


def waiting(guest: str, settings: Settings | None = None) -> tuple[JournalRecord, ...]:
    """Give the changes of a guest (by uuid) that wait to be confirmed."""
    records = Journal((settings or Settings()).journal).read().records
    return tuple(one for one in records if one.plan.guest == guest and one.is_pending)


def record_of(plan: Plan, settings: Settings | None = None) -> JournalRecord | None:
    """Give the change that carried this plan out and is in force, None where it was undone or never done."""
    records = Journal((settings or Settings()).journal).read().records
    return next((one for one in reversed(records) if one.is_in_force and one.plan == plan), None)


def _was_pending(record: JournalRecord) -> bool:
    """Say whether it waited and was, or is being, undone: whoever wants to keep it is told so."""
    return record.deadline is not None and record.state in {State.UNDOING, State.UNDONE}


def undo(record: JournalRecord, why: str, settings: Settings | None = None) -> Undone:
    """Undo this one change of a guest, unless it was kept or undone meanwhile; earlier ones stay."""
    settings = settings or Settings()
    undone = pending.rollback_unconfirmed(
        record.path,
        lambda: LibvirtWriter(settings.uri),
        Journal(settings.journal),
        boot_clock(),
        why,
        wait_s=_LOCKED_S,
    )
    settled(undone.record, settings)
    return undone


def current(record: JournalRecord, settings: Settings | None = None) -> JournalRecord:
    """Give a change as the journal has it now."""
    return Journal((settings or Settings()).journal).record(record.path)


def rollback(target: str, settings: Settings | None = None, why: str = "asked for") -> tuple[Undone, ...]:
    """Undo everything that nwscan did to a guest; empty where there is nothing to undo."""
    settings = settings or Settings()
    journal = Journal(settings.journal)
    with LibvirtWriter(settings.uri) as door:
        guest = _guest_to_undo(target, journal.read(), settings)
        undone = transaction.rollback(guest, door, journal, why)
    for one in undone:
        settled(one.record, settings)
    return undone


def rollback_all(settings: Settings | None = None) -> tuple[Undone, ...]:
    """Undo everything that nwscan did on this host, newest first.

    Raises RollbackIncompleteError for a guest that could not be restored, one of another libvirt among them, and for a
    part of the journal that cannot be read, when all else is undone.
    """
    settings = settings or Settings()
    journal = Journal(settings.journal)
    reading = journal.read()
    guests = dict.fromkeys(record.plan.guest for record in reversed(reading.records) if record.is_in_force)
    undone: list[Undone] = []
    failures: list[NwscanError] = list(reading.errors)
    with LibvirtWriter(settings.uri) as door:
        for guest in guests:
            try:
                undone += transaction.rollback(guest, door, journal)
            except NwscanError as error:  # it must not keep the other guests from being restored
                if isinstance(error, LockedError) and not undone and not failures:
                    raise
                failures.append(error)
    for one in undone:
        settled(one.record, settings)
    if failures:
        raise RollbackIncompleteError(
            f"{len(undone)} undone, and {'; '.join(dict.fromkeys(error.what for error in failures))}",
            ", ".join(error.where for error in failures),
            failures[0].hint,
        )
    return tuple(undone)


def is_in_force(target: str | None, settings: Settings | None = None) -> bool:
    """Say whether there is anything to undo on a guest (None: on any). Raises HostError for an unknown guest."""
    settings = settings or Settings()
    reading = Journal(settings.journal).read()
    guest = None if target is None else _guest_to_undo(target, reading, settings)
    return any(record.is_in_force for record in reading.records if guest in {None, record.plan.guest})


def status(settings: Settings | None = None) -> HostStatus:
    """Give what is intended and what is there, for every card that has a filter or a change in force."""
    host = read_host(settings or Settings())
    return HostStatus(statuses_of(host), host.damaged)


def _guest_to_undo(target: str, reading: JournalReading, settings: Settings) -> str:
    """Give the uuid of the guest that is meant, as ``_guest_uuid``; the name may be another guest's by now.

    Raises HostError where it is: the one that was changed under this name has another one, or is gone.
    """
    uuid = _guest_uuid(target, reading, settings)
    if target == uuid:
        return uuid
    try:
        with LibvirtReader(settings.uri) as libvirt:
            named = {card.identity.uuid for card in libvirt.cards() if card.identity.name == target}
    except NwscanError:  # whoever undoes it will say so
        return uuid
    if named - {uuid}:
        raise HostError(
            f"{target} is another guest than the one that was changed under this name",
            settings.uri,
            f"name the one that was changed by its uuid: nwscan rollback {uuid}",
        )
    return uuid


def _guest_uuid(target: str, reading: JournalReading, settings: Settings) -> str:
    """Give the uuid of the guest that is meant; a guest that is gone is known by the journal."""
    records = [record for record in reading.records if record.is_in_force]
    known = {record.plan.guest for record in records if target in {record.plan.name, record.plan.guest}}
    if len(known) == 1:
        return known.pop()
    try:
        with LibvirtReader(settings.uri) as libvirt:
            uuids = {card.identity.uuid for card in libvirt.resolve(target, need_tap=False)} - {None}
    except NwscanError as error:
        if reading.errors:  # the guest may be gone, and what knows of it is what cannot be read
            raise reading.errors[0] from error
        raise
    if len(uuids) != 1:
        raise HostError(f"{target} is not one guest", settings.uri, "name it by its uuid")
    return str(uuids.pop())
