"""Put right what has drifted: a plan a guest, journalled and undone like any other change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import HostError
from analyzer.host.boot_clock import boot_clock
from generator.deploy import pending, transaction
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.libvirt_writer import LibvirtWriter
from generator.deploy.plan import Plan
from generator.deploy.repair import repair_steps
from generator.deploy.status import card_mac, changes_of
from nwscan.api.host_reading import HostReading, read_host, statuses_of
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.journal_record import JournalRecord


def plan_repairs(settings: Settings | None = None) -> tuple[Plan, ...]:
    """Give a plan for each guest of which something has drifted that can be put right.

    Raises HostError where a filter of our name is somebody else's now.
    """
    settings = settings or Settings()
    return repairs(read_host(settings), settings.uri)


def repairs(host: HostReading, uri: str) -> tuple[Plan, ...]:
    """Give the plans from what was read of the host."""
    statuses = statuses_of(host)
    by_guest: dict[str, Plan] = {}
    for status in statuses:
        card = next(
            (one for one in host.cards if (one.identity.uuid, card_mac(one)) == (status.uuid, status.mac)), None
        )
        if card is None:
            continue
        about = changes_of(card, host.records)
        steps = repair_steps(status, card, about, host.texts, host.bridges)
        if not steps:
            continue
        known = by_guest.get(status.uuid)
        plan = known or Plan(
            schema="nwscan.plan/1",
            guest=status.uuid,
            name=status.guest,
            uri=uri,
            steps=(),
            profile=about[0].plan.profile,
            evidence=about[0].plan.evidence,
        )
        new = [step for step in steps if step not in plan.steps]
        by_guest[status.uuid] = Plan(
            plan.schema, plan.guest, plan.name, plan.uri, (*plan.steps, *new), plan.profile, plan.evidence
        )
    return tuple(by_guest.values())


def repair(plans: Sequence[Plan], settings: Settings | None = None) -> tuple[JournalRecord, ...]:
    """Carry the plans out, one guest after the other; what was confirmed before stays confirmed.

    The last event of a record says how long making rules anew took. Raises HostError where a change of the guest
    waits to be confirmed: its rolling back and a repair would be in each other's way.
    """
    settings = settings or Settings()
    journal, records = Journal(settings.journal), []
    for plan in plans:
        earlier = journal.in_force(plan.guest)
        waiting = next((one for one in earlier if one.is_pending), None)
        if waiting is not None:
            raise HostError(
                f"a change of {plan.name} waits to be confirmed",
                str(waiting.path),
                f"nwscan confirm {plan.guest}, or nwscan rollback {plan.guest}; then repair",
            )
        with LibvirtWriter(settings.uri) as door:
            record = transaction.apply(plan, door, journal)
        if earlier and all(one.state is State.CONFIRMED for one in earlier):
            record = pending.confirm(record, journal, boot_clock())
        records.append(record)
    return tuple(records)
