"""What puts a card right that has drifted: the steps, from what is intended and what is there.

Values in, a plan's steps out. They are journalled and undone like any other change; what somebody put in the place of
ours comes back when the repair is undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.errors import HostError
from analyzer.model.addresses import parse_mac
from generator.deploy.drift import DriftCause
from generator.deploy.hook import hook_name
from generator.deploy.plan import (
    Attach,
    BridgeStep,
    DefineFilter,
    InstallHook,
    Reinstall,
    SetFdbEntry,
    SetPortFlag,
    Step,
)
from generator.deploy.status import intended_filters
from generator.deploy.undo import meaning
from generator.nwfilter.xml import read_filter, read_filterref, with_filterref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.host.guests import GuestCard
    from generator.deploy.drift import BridgeLooks
    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.status import CardStatus
    from generator.nwfilter.model import FilterRef


def repair_steps(
    status: CardStatus,
    card: GuestCard,
    about: Sequence[JournalRecord],
    texts: Mapping[str, str],
    bridges: BridgeLooks | None,
) -> tuple[Step, ...]:
    """Give the steps that make a card as intended, none where nothing can be put right.

    ``about`` are the guest's changes in force, newest first; ``texts`` the XML of libvirt's filters by name. Raises
    HostError where a filter of our name is somebody else's now.
    """
    causes = {one.cause for one in status.findings if one.can_repair}
    if not causes or any(one.cause is DriftCause.INTERRUPTED for one in status.findings):
        return ()
    steps: list[Step] = []
    if status.intended is not None:
        steps += _filters(status.intended, about, texts)
        steps += _attachments(status, card, about)
    if bridges is not None and status.has_remedy:
        steps += _on_bridge(status, about, bridges)
    return tuple(steps)


def _filters(intended: str, about: Sequence[JournalRecord], texts: Mapping[str, str]) -> Iterator[DefineFilter]:
    for step in intended_filters(intended, about):
        now = texts.get(step.name)
        if now is not None and read_filter(now).filter.uuid != step.uuid:
            raise HostError(f"filter {step.name} is no longer nwscan's", step.name, "rename it, then repair again")
        if now is None or meaning(now) != meaning(step.after):
            yield DefineFilter(step.name, step.uuid, now, step.after)


def _attachments(status: CardStatus, card: GuestCard, about: Sequence[JournalRecord]) -> Iterator[Step]:
    live, inactive = (_reference(status, about, live=is_live) for is_live in (True, False))
    if card.running and card.live_xml is not None and live is not None:
        if status.live != status.intended:
            yield Attach(status.mac, live=True, before=card.live_xml, after=with_filterref(card.live_xml, live))
        elif status.binding != status.intended or status.rules == 0:
            yield Reinstall(status.mac, card.live_xml)
    if card.inactive_xml is not None and inactive is not None and status.inactive != status.intended:
        yield Attach(
            status.mac, live=False, before=card.inactive_xml, after=with_filterref(card.inactive_xml, inactive)
        )


def _reference(status: CardStatus, about: Sequence[JournalRecord], *, live: bool) -> FilterRef | None:
    """Give the reference that the newest change attached on this side of the card, else on the other one."""
    steps = [step for record in about for step in record.plan.steps if isinstance(step, Attach)]
    mine = [step for step in steps if step.mac == status.mac]
    chosen = next((step for step in mine if step.live is live), next(iter(mine), None))
    return None if chosen is None else read_filterref(chosen.after)


def _on_bridge(status: CardStatus, about: Sequence[JournalRecord], looks: BridgeLooks) -> Iterator[BridgeStep]:
    """Give the steps of the remedy that are not in force; the port is the card's tap of today."""
    newest: dict[tuple[object, ...], BridgeStep] = {}
    for step in (step for record in reversed(about) for step in record.plan.steps):
        if isinstance(step, InstallHook | SetPortFlag) and step.card == status.mac:
            newest[type(step).__name__, step.card] = step
        elif isinstance(step, SetFdbEntry) and step.card in {status.mac, None}:
            newest["entry", step.bridge, step.mac] = step
    order = (InstallHook, SetFdbEntry, SetPortFlag)
    for step in sorted(newest.values(), key=lambda one: order.index(type(one))):
        yield from _again(status, step, looks)


def _again(status: CardStatus, step: BridgeStep, looks: BridgeLooks) -> Iterator[BridgeStep]:
    if isinstance(step, InstallHook):
        if hook_name(status.uuid, step.card) not in looks.hooks:
            yield step
        return
    name = step.port if step.card is None else status.tap
    port = looks.ports.get(name) if name is not None else None
    if name is None or port is None or port.bridge != step.bridge:
        return
    if isinstance(step, SetPortFlag):
        if port.flood:
            yield SetPortFlag(step.card, name, port.ifindex, step.bridge, before=True, after=False)
        return
    now = looks.entries.get((step.bridge, parse_mac(step.mac)))
    if now is None or (now.port == name and now.state == "dynamic"):
        before: Literal["dynamic"] | None = None if now is None else "dynamic"
        yield SetFdbEntry(step.card, name, port.ifindex, step.bridge, step.mac, before)
