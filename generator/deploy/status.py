"""What is intended against what is there: the journal, libvirt's two definitions, its bindings, the kernel.

Values in, values out: whoever calls it has asked libvirt and the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer.model.addresses import format_mac
from generator.deploy.journal import State
from generator.deploy.plan import Attach
from generator.nwfilter.xml import read_filterref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.host.guests import Binding, GuestCard
    from analyzer.host.rules import KernelRules
    from generator.deploy.journal import JournalRecord


@dataclass(frozen=True, slots=True)
class CardStatus:
    """One card. ``intended`` is the filter that nwscan attached, None where it attached none.

    ``live``, ``inactive`` and ``binding`` are filter names as libvirt has them; ``rules`` counts the kernel's rules for
    the tap, None where they were not asked for. ``state`` is the journal's, None without a record. ``drift`` holds a
    sentence for each thing that is not as intended.
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
    drift: tuple[str, ...]


def card_statuses(
    cards: Sequence[GuestCard],
    records: Sequence[JournalRecord],
    bindings: Sequence[Binding],
    rules: Mapping[str, KernelRules],
    filters: Sequence[str],
) -> tuple[CardStatus, ...]:
    """Give the status of every card that has a filter or a change in force, and of changes whose guest is gone.

    ``records`` are those in force, newest first; ``rules`` are by tap; ``filters`` are the names that libvirt has.
    """
    by_tap = {binding.tap: binding.filter for binding in bindings}
    statuses = []
    for card in cards:
        mac = format_mac(card.identity.macs[0]) if card.identity.macs else ""
        attach, record = _intent(card.identity.uuid or "", mac, records)
        if record or card.filterref or card.inactive_filterref:
            status = _status(card, mac, attach, record, by_tap, rules)
            statuses.append(replace(status, drift=tuple(_drift(status, card, filters))))
    present = {card.identity.uuid for card in cards}
    return (*statuses, *(_orphan(record) for record in records if record.plan.guest not in present))


def _intent(uuid: str, mac: str, records: Sequence[JournalRecord]) -> tuple[Attach | None, JournalRecord | None]:
    """Give the oldest attachment of the card that is in force, and the newest record that is about it."""
    about = [record for record in records if record.plan.guest == uuid]
    attached = [
        (step, record) for record in about for step in record.plan.steps if isinstance(step, Attach) and step.mac == mac
    ]
    if not attached:
        return None, None
    return attached[-1][0], about[0]


def _status(
    card: GuestCard,
    mac: str,
    attach: Attach | None,
    record: JournalRecord | None,
    by_tap: Mapping[str, str],
    rules: Mapping[str, KernelRules],
) -> CardStatus:
    ref = read_filterref(attach.after) if attach else None
    intended = ref.filter if ref else None
    tap = card.identity.tap
    known = rules.get(tap) if tap else None
    return CardStatus(
        guest=card.identity.name or "",
        uuid=card.identity.uuid or "",
        mac=mac,
        tap=tap,
        intended=intended,
        live=card.filterref[0] if card.running and card.filterref else None,
        inactive=card.inactive_filterref[0] if card.inactive_filterref else None,
        binding=by_tap.get(tap) if tap else None,
        rules=None if known is None else len(known.rules) if known.present else 0,
        state=record.state if record else None,
        since=record.created if record else None,
        drift=(),
    )


def _drift(status: CardStatus, card: GuestCard, filters: Sequence[str]) -> Iterator[str]:
    if status.state in {State.APPLYING, State.UNDOING}:
        what = "applying" if status.state is State.APPLYING else "undoing"
        yield f"{what} was interrupted: nwscan rollback {status.guest} restores what was there before"
    if status.intended is None:
        if status.live and card.running and status.binding is None and status.tap:
            yield f"libvirt shows filter {status.live} on the running card and has no binding for it"
        return
    if status.intended not in filters:
        yield f"filter {status.intended} is gone from libvirt"
    if card.running and status.live != status.intended:
        yield f"the running card has {_named(status.live)} instead of {status.intended}: somebody changed it"
    if card.persistent and status.inactive != status.intended:
        yield f"the next start will use {_named(status.inactive)} instead of {status.intended}"
    if card.running and status.live == status.intended and status.binding != status.intended:
        yield "libvirt has no binding for the running card: the binding was deleted, or libvirt was restarted badly"
    if card.running and status.binding == status.intended and status.rules == 0:
        yield "the kernel has no rules for the tap: the firewall was reloaded, or the rules were deleted"


def _named(name: str | None) -> str:
    return f"filter {name}" if name else "no filter"


def _orphan(record: JournalRecord) -> CardStatus:
    macs = ", ".join(record.plan.macs)
    return CardStatus(
        guest=record.plan.name,
        uuid=record.plan.guest,
        mac=macs,
        tap=None,
        intended=None,
        live=None,
        inactive=None,
        binding=None,
        rules=None,
        state=record.state,
        since=record.created,
        drift=(f"the guest or its card is gone; nwscan rollback {record.plan.guest} removes what is left",),
    )
