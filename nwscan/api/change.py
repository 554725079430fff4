"""Change a host: apply a plan, undo it, and say what is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.errors import HostError, InputError, RollbackIncompleteError
from analyzer.host.guests import LibvirtReader
from analyzer.host.rules import kernel_rules
from generator.deploy import transaction
from generator.deploy.journal import Journal
from generator.deploy.libvirt_writer import LibvirtWriter
from generator.deploy.status import CardStatus, card_statuses
from nwscan.config import Settings

if TYPE_CHECKING:
    from generator.deploy.journal import JournalRecord
    from generator.deploy.plan import Plan
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


def apply(plan: Plan, settings: Settings | None = None) -> JournalRecord:
    """Carry a plan out: live and persistent, or neither. Errors as generator.deploy.transaction.apply."""
    settings = settings or Settings()
    with LibvirtWriter(settings.uri) as door:
        return transaction.apply(plan, door, Journal(settings.journal))


def rollback(target: str, settings: Settings | None = None, why: str = "asked for") -> tuple[Undone, ...]:
    """Undo everything that nwscan did to a guest; empty where there is nothing to undo."""
    settings = settings or Settings()
    journal = Journal(settings.journal)
    with LibvirtWriter(settings.uri) as door:
        return transaction.rollback(_guest_uuid(target, journal, settings), door, journal, why)


def rollback_all(settings: Settings | None = None) -> tuple[Undone, ...]:
    """Undo everything that nwscan did on this host, newest first.

    Raises RollbackIncompleteError for a part of the journal that cannot be read, when all else is undone.
    """
    settings = settings or Settings()
    journal = Journal(settings.journal)
    reading = journal.read()
    guests = dict.fromkeys(record.plan.guest for record in reversed(reading.records) if record.is_in_force)
    with LibvirtWriter(settings.uri) as door:
        undone = tuple(undone for guest in guests for undone in transaction.rollback(guest, door, journal))
    if reading.errors:
        first = reading.errors[0]
        raise RollbackIncompleteError(f"{len(undone)} undone, and {first.what}", first.where, first.hint)
    return undone


def is_in_force(target: str | None, settings: Settings | None = None) -> bool:
    """Say whether there is anything to undo on a guest (None: on any). Raises HostError for an unknown guest."""
    settings = settings or Settings()
    journal = Journal(settings.journal)
    guest = None if target is None else _guest_uuid(target, journal, settings)
    records = journal.in_force(guest) if guest else journal.read().records
    return any(record.is_in_force for record in records)


def status(settings: Settings | None = None) -> HostStatus:
    """Give what is intended and what is there, for every card that has a filter or a change in force."""
    settings = settings or Settings()
    reading = Journal(settings.journal).read()
    records = [record for record in reversed(reading.records) if record.is_in_force]
    with LibvirtReader(settings.uri) as libvirt:
        cards, bindings, names = libvirt.cards(), libvirt.bindings(), libvirt.filter_names()
        ours = {name for record in records for name in record.plan.filters if name in names}
        texts = {name: libvirt.filter_xml(name) for name in ours}
    taps = [card.identity.tap for card in cards if card.identity.tap and (card.filterref or records)]
    rules = {tap: kernel_rules(tap) for tap in taps}
    return HostStatus(card_statuses(cards, records, bindings, rules, names, texts), reading.errors)


def _guest_uuid(target: str, journal: Journal, settings: Settings) -> str:
    """Give the uuid of the guest that is meant; a guest that is gone is known by the journal."""
    known = {record.plan.guest for record in journal.in_force() if target in {record.plan.name, record.plan.guest}}
    if len(known) == 1:
        return known.pop()
    with LibvirtReader(settings.uri) as libvirt:
        uuids = {card.identity.uuid for card in libvirt.resolve(target, need_tap=False)} - {None}
    if len(uuids) != 1:
        raise HostError(f"{target} is not one guest", settings.uri, "name it by its uuid")
    return str(uuids.pop())
