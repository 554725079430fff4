"""What is intended against what is there: the journal, libvirt's two definitions, its bindings, the kernel.

Values in, values out: whoever calls it has asked libvirt and the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer.model.addresses import format_mac
from generator.deploy.drift import (
    BridgeLooks,
    Drift,
    DriftCause,
    bridge_drift,
    card_drift,
    filter_drift,
    interrupted,
    overdue,
    without_ours,
)
from generator.deploy.plan import Attach, DefineFilter
from generator.nwfilter.xml import read_filterref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from analyzer.host.boot_clock import Clock
    from analyzer.host.guests import Binding, GuestCard
    from analyzer.host.rules import KernelRules
    from generator.deploy.journal_record import JournalRecord, State


@dataclass(frozen=True, slots=True)
class CardStatus:
    """One card. ``intended`` is the filter that nwscan attached, None where it attached none.

    ``live``, ``inactive`` and ``binding`` are filter names as libvirt has them; ``rules`` counts the kernel's rules for
    the tap, None where they were not asked for. ``state`` is the journal's, None without a record. ``findings`` tells
    of each thing that is not as intended; ``has_remedy`` says that a bridge remedy is in force for the card.
    ``pending`` says that the change waits to be confirmed, until the time of day ``deadline`` (UTC), for ``left_s``
    seconds more: negative once it has passed, None after a reboot.
    """

    guest: str
    uuid: str
    mac: str
    tap: str | None
    intended: str | None
    live: str | None
    inactive: str | None
    binding: str | None
    rules: int | None
    state: State | None
    since: str | None
    findings: tuple[Drift, ...] = ()
    has_remedy: bool = False
    pending: bool = False
    deadline: str | None = None
    left_s: float | None = None

    @property
    def drift(self) -> tuple[str, ...]:
        """A sentence for each thing that is not as intended."""
        return tuple(one.sentence for one in self.findings)


def card_statuses(
    cards: Sequence[GuestCard],
    records: Sequence[JournalRecord],
    bindings: Sequence[Binding],
    rules: Mapping[str, KernelRules],
    filters: Sequence[str],
    texts: Mapping[str, str] | None = None,
    bridges: BridgeLooks | None = None,
    *,
    clock: Clock | None = None,
    waited_for: Collection[Path] = (),
) -> tuple[CardStatus, ...]:
    """Give the status of every card that has a filter or a change in force, and of changes whose card is gone.

    ``records`` are those in force, newest first; ``rules`` are by tap; ``filters`` are the names that libvirt has, and
    ``texts`` their XML by name, where it was asked for: without it nobody can tell whether a filter was edited.
    Neither can anybody of bridge remedies without ``bridges``. ``waited_for`` are the files of the changes that a
    process waits for, by the ``clock`` that their deadlines are of.
    """
    by_tap = {binding.tap: binding.filter for binding in bindings}
    no_rules_anywhere = not any(rules[tap].present for tap in by_tap if tap in rules)
    statuses: list[CardStatus] = []
    told: list[JournalRecord] = []
    for card in cards:
        about = changes_of(card, records)
        told += about
        if about or card.filterref or card.inactive_filterref:
            status = _waiting(_status(card, about, by_tap, rules), about, clock)
            found = tuple(interrupted(status, about, waited_for)) or (
                *overdue(status, about, waited_for),
                *_filter_findings(status, card, about, filters, texts or {}, no_rules_anywhere=no_rules_anywhere),
                *(bridge_drift(status, about, bridges) if bridges is not None else ()),
            )
            statuses.append(replace(status, findings=found))
    gone = [record for record in records if not all(_cards_there(record, cards, told))]
    return (*statuses, *(_waiting(_orphan(record, cards), (record,), clock) for record in gone))


def _waiting(status: CardStatus, about: Sequence[JournalRecord], clock: Clock | None) -> CardStatus:
    """Give the status with what is pending of the newest change."""
    if not about or not about[0].is_pending or about[0].deadline is None:
        return status
    deadline = about[0].deadline
    return replace(status, pending=True, deadline=deadline.at, left_s=None if clock is None else deadline.left_s(clock))


def changes_of(card: GuestCard, records: Sequence[JournalRecord]) -> tuple[JournalRecord, ...]:
    """Give the changes that are about a card, in their order."""
    return tuple(record for record in records if _is_about(record, card))


def card_mac(card: GuestCard) -> str:
    """Give the card's MAC as a plan names it, empty where it has none."""
    return format_mac(card.identity.macs[0]) if card.identity.macs else ""


def _is_about(record: JournalRecord, card: GuestCard) -> bool:
    """Say whether a change is the card's: it attaches the card, or redefines what the card refers to."""
    return record.plan.guest == card.identity.uuid and (
        card_mac(card) in _cards_of(record) or any(_redefines(record, name) for name in _referred(card))
    )


def _cards_of(record: JournalRecord) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*record.plan.macs, *record.plan.bridge_cards)))


def _referred(card: GuestCard) -> tuple[str, ...]:
    return tuple(ref[0] for ref in (card.filterref, card.inactive_filterref) if ref)


def _redefines(record: JournalRecord, name: str) -> bool:
    """Say whether a change defines the filter of this name or one of its parts, whose names begin with it."""
    return any(_is_of(each, name) for each in record.plan.filters)


def _is_of(name: str, root: str) -> bool:
    return name == root or name.startswith(f"{root}-")


def _cards_there(record: JournalRecord, cards: Sequence[GuestCard], told: Sequence[JournalRecord]) -> Iterator[bool]:
    """Say of the change, and of each card that it attaches, whether some card's status tells of it."""
    yield any(one is record for one in told)
    present = {card_mac(card) for card in cards if card.identity.uuid == record.plan.guest}
    yield from (mac in present for mac in _cards_of(record))


def _status(
    card: GuestCard,
    about: Sequence[JournalRecord],
    by_tap: Mapping[str, str],
    rules: Mapping[str, KernelRules],
) -> CardStatus:
    record = about[0] if about else None
    tap = card.identity.tap
    known = rules.get(tap) if tap else None
    return CardStatus(
        guest=card.identity.name or "",
        uuid=card.identity.uuid or "",
        mac=card_mac(card),
        tap=tap,
        intended=_intended(card, about),
        live=card.filterref[0] if card.running and card.filterref else None,
        inactive=card.inactive_filterref[0] if card.inactive_filterref else None,
        binding=by_tap.get(tap) if tap else None,
        rules=None if known is None else len(known.rules) if known.present else 0,
        state=record.state if record else None,
        since=record.created if record else None,
        has_remedy=any(card_mac(card) in one.plan.bridge_cards for one in about),
    )


def _intended(card: GuestCard, about: Sequence[JournalRecord]) -> str | None:
    """Name the filter that the newest change with an attachment of the card attaches, else the one redefined."""
    steps = [step for record in about for step in record.plan.steps if isinstance(step, Attach)]
    attached = [ref.filter for step in steps if step.mac == card_mac(card) and (ref := read_filterref(step.after))]
    redefined = [name for record in about for name in _referred(card) if _redefines(record, name)]
    return next(iter((*attached, *redefined)), None)


def _filter_findings(
    status: CardStatus,
    card: GuestCard,
    about: Sequence[JournalRecord],
    filters: Sequence[str],
    texts: Mapping[str, str],
    *,
    no_rules_anywhere: bool,
) -> Iterator[Drift]:
    if status.intended is None:
        yield from without_ours(status)
        return
    yield from filter_drift(intended_filters(status.intended, about), filters, texts)
    yield from card_drift(status, card, about, no_rules_anywhere=no_rules_anywhere)


def intended_filters(intended: str, about: Sequence[JournalRecord]) -> tuple[DefineFilter, ...]:
    """Give, of a card's filters, the newest definition of each: ``about`` are the card's changes, newest first."""
    steps = [step for record in reversed(about) for step in record.plan.steps if isinstance(step, DefineFilter)]
    return tuple({step.name: step for step in steps if _is_of(step.name, intended)}.values())


def _orphan(record: JournalRecord, cards: Sequence[GuestCard]) -> CardStatus:
    present = {card_mac(card) for card in cards if card.identity.uuid == record.plan.guest}
    gone = [mac for mac in _cards_of(record) if mac not in present]
    sentence = f"the guest or its card is gone; nwscan rollback {record.plan.guest} removes what is left"
    return CardStatus(
        guest=record.plan.name,
        uuid=record.plan.guest,
        mac=", ".join(gone),
        tap=None,
        intended=None,
        live=None,
        inactive=None,
        binding=None,
        rules=None,
        state=record.state,
        since=record.created,
        findings=(Drift(DriftCause.GUEST_GONE, sentence, can_repair=False),),
    )
