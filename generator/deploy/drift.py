"""What is not as intended on a card, in a sentence, with its likely cause and whether nwscan can put it right.

Values in, values out; status.py asks. A cause is what the facts point to, not a proof: that is why it is named beside
the sentence that says what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import TYPE_CHECKING

from analyzer.model.addresses import parse_mac
from generator.deploy.bridge_steps import tap_of
from generator.deploy.hook import hook_name
from generator.deploy.journal_record import State
from generator.deploy.plan import Attach, DefineFilter, InstallHook, SetFdbEntry, SetPortFlag, digest
from generator.deploy.undo import meaning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from analyzer.host.guests import GuestCard
    from generator.deploy.door import EntryLook, PortLook
    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.status import CardStatus


class DriftCause(StrEnum):
    """Why something is not as intended, as far as can be told."""

    INTERRUPTED = "interrupted"
    NOBODY_WAITS = "nobody_waits"
    FIREWALL_RELOADED = "firewall_reloaded"
    RULES_DELETED = "rules_deleted"
    BINDING_DELETED = "binding_deleted"
    BINDING_CHANGED = "binding_changed"
    FILTER_EDITED = "filter_edited"
    FILTER_REMOVED = "filter_removed"
    CARD_CHANGED = "card_changed"
    GUEST_RESTARTED = "guest_restarted"
    MIGRATED = "migrated"
    GUEST_GONE = "guest_gone"
    PORT_CHANGED = "port_changed"
    HOOK_CHANGED = "hook_changed"


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as intended."""

    cause: DriftCause
    sentence: str
    can_repair: bool = True


@dataclass(frozen=True, slots=True)
class BridgeLooks:
    """The bridges as they are now: ports by name, entries by bridge and address, the texts of hooks by name."""

    ports: Mapping[str, PortLook]
    entries: Mapping[tuple[str, int], EntryLook]
    hooks: Mapping[str, str]


def interrupted(status: CardStatus, about: Sequence[JournalRecord], waited_for: Collection[Path]) -> Iterator[Drift]:
    """Tell of a change that is not done, or was interrupted: nothing else can be said against what is half there.

    ``waited_for`` are the files of the changes that a process waits for: it undoes at once what nobody is at any more.
    """
    unfinished = next((one for one in about if one.state in {State.APPLYING, State.UNDOING}), None)
    if unfinished is not None:
        what = "applying" if unfinished.state is State.APPLYING else "undoing"
        sentence = f"{what} was interrupted: nwscan rollback {quote(status.guest)} restores what was there before"
        if unfinished.path in waited_for:
            sentence = (
                f"{what} is going on: look again in a moment; where it does not end, "
                f"nwscan rollback {quote(status.guest)} says what is in its way"
            )
        yield Drift(DriftCause.INTERRUPTED, sentence, can_repair=False)


def overdue(status: CardStatus, about: Sequence[JournalRecord], waited_for: Collection[Path]) -> Iterator[Drift]:
    """Tell of a change that waits to be confirmed while nobody is there who would undo it at the deadline."""
    if not status.pending or (about[0].path in waited_for and status.left_s is not None):
        return
    undo, keep = f"nwscan rollback {quote(status.guest)}", f"nwscan confirm {quote(status.guest)}"
    if status.left_s is None:
        sentence = f"nobody confirmed it before the host was started anew, and nothing undoes it by itself: {undo}"
    elif status.left_s <= 0:
        sentence = f"nobody confirmed it, and the process that would undo it is gone: {undo}"
    else:
        sentence = f"the process that would undo it at the deadline is gone: {keep}, or {undo}"
    yield Drift(DriftCause.NOBODY_WAITS, sentence, can_repair=False)


def without_ours(status: CardStatus) -> Iterator[Drift]:
    """Tell of a card that nwscan attached no filter to."""
    if status.live and status.tap and status.binding is None:
        sentence = f"libvirt shows filter {status.live} on the running card and has no binding for it"
        yield Drift(DriftCause.BINDING_DELETED, sentence, can_repair=False)


def filter_drift(steps: Sequence[DefineFilter], filters: Sequence[str], texts: Mapping[str, str]) -> Iterator[Drift]:
    """Tell of the card's filters that are gone, or otherwise than the newest change defined them (``steps``)."""
    for step in steps:
        if step.name not in filters:
            yield Drift(DriftCause.FILTER_REMOVED, f"filter {step.name} is gone from libvirt")
        elif step.name in texts and meaning(texts[step.name]) != meaning(step.after):
            sentence = f"filter {step.name} is not as nwscan defined it: somebody edited it"
            yield Drift(DriftCause.FILTER_EDITED, sentence)


def card_drift(
    status: CardStatus, card: GuestCard, about: Sequence[JournalRecord], *, no_rules_anywhere: bool
) -> Iterator[Drift]:
    """Tell of the running card, its next start, its binding and its rules against the filter that is intended."""
    if card.migrated == "away":
        sentence = "the guest was migrated to another host; there it needs the same filters"
        yield Drift(DriftCause.MIGRATED, sentence, can_repair=False)
    if card.running and status.live != status.intended:
        yield _live_drift(status, card, about)
    if card.inactive_xml is not None and status.inactive != status.intended:
        sentence = (
            f"the next start will use {_named(status.inactive)} instead of {status.intended}: somebody changed it"
        )
        yield Drift(DriftCause.CARD_CHANGED, sentence)
    if card.running and status.live == status.intended and status.binding != status.intended:
        if status.binding is None:
            sentence = (
                "libvirt has no binding for the running card: the binding was deleted, or libvirt was restarted badly"
            )
            yield Drift(DriftCause.BINDING_DELETED, sentence)
        else:
            sentence = f"libvirt's binding for the running card is of filter {status.binding}: somebody made it"
            yield Drift(DriftCause.BINDING_CHANGED, sentence)
    if card.running and status.binding == status.intended and status.rules == 0:
        yield _rules_drift(no_rules_anywhere=no_rules_anywhere)


def _rules_drift(*, no_rules_anywhere: bool) -> Drift:
    if no_rules_anywhere:
        sentence = "the kernel has no rules for the tap: the firewall was reloaded, or the rules were deleted"
        return Drift(DriftCause.FIREWALL_RELOADED, sentence)
    sentence = "the kernel has no rules for the tap, while other taps have theirs: somebody deleted them"
    return Drift(DriftCause.RULES_DELETED, sentence)


def _live_drift(status: CardStatus, card: GuestCard, about: Sequence[JournalRecord]) -> Drift:
    what = f"the running card has {_named(status.live)} instead of {status.intended}"
    if card.migrated == "here":
        return Drift(DriftCause.MIGRATED, f"{what}: the guest was migrated to this host since")
    steps = [step for record in about for step in record.plan.steps if isinstance(step, Attach) and step.live]
    attached = next((tap_of(step.after) for step in steps if step.mac == status.mac), None)
    if attached is not None and status.tap is not None and attached != status.tap:
        sentence = f"{what}: the guest was started anew since ({attached} is {status.tap} now), from XML without it"
        return Drift(DriftCause.GUEST_RESTARTED, sentence)
    return Drift(DriftCause.CARD_CHANGED, f"{what}: somebody changed it")


def _named(name: str | None) -> str:
    return f"filter {name}" if name else "no filter"


def bridge_drift(status: CardStatus, records: Sequence[JournalRecord], looks: BridgeLooks) -> Iterator[Drift]:
    """Tell of a bridge remedy of the card: the port's flooding, the entries, the hook."""
    for record in records:
        for step in record.plan.steps:
            if isinstance(step, InstallHook) and step.card == status.mac:
                yield from _hook_drift(record.plan.guest, step, looks)
            elif isinstance(step, SetPortFlag) and step.card == status.mac and status.tap is not None:
                yield from _port_drift(step, status.tap, looks)
            elif isinstance(step, SetFdbEntry) and step.card in {status.mac, None}:
                yield from _entry_drift(step, status, looks)


def _port_drift(step: SetPortFlag, tap: str, looks: BridgeLooks) -> Iterator[Drift]:
    now = looks.ports.get(tap)
    if now is None or now.bridge != step.bridge:
        sentence = f"{tap} is not on {step.bridge} any more: the card was moved"
        yield Drift(DriftCause.CARD_CHANGED, sentence, can_repair=False)
    elif now.flood != step.after:
        yield _anew(f"{step.bridge} floods unknown unicast to {tap} again", now.ifindex != step.ifindex)


def _entry_drift(step: SetFdbEntry, status: CardStatus, looks: BridgeLooks) -> Iterator[Drift]:
    port = step.port if step.card is None else status.tap
    at = looks.ports.get(port) if port is not None else None
    if port is None or (at is None and step.card is not None):
        return  # off, or told of the port already
    now = looks.entries.get((step.bridge, parse_mac(step.mac)))
    if now != (port, step.after):
        what = f"{step.bridge} has no static entry of {step.mac} at {port} any more"
        if step.card is None:
            yield Drift(DriftCause.PORT_CHANGED, f"{what}: the port was made anew, or somebody changed it")
        else:
            yield _anew(what, at is not None and at.ifindex != step.ifindex)


def _anew(what: str, is_new: bool) -> Drift:  # noqa: FBT001 a claim
    if is_new:
        return Drift(
            DriftCause.GUEST_RESTARTED, f"{what}: the guest was started anew, and no hook did the remedy again"
        )
    return Drift(DriftCause.PORT_CHANGED, f"{what}: somebody changed it")


def _hook_drift(guest: str, step: InstallHook, looks: BridgeLooks) -> Iterator[Drift]:
    name = hook_name(guest, step.card)
    if name not in looks.hooks:
        yield Drift(DriftCause.HOOK_CHANGED, f"the hook {name} is gone: the remedy ends with the guest's next start")
    elif digest(looks.hooks[name]) != step.sha256:
        yield Drift(DriftCause.HOOK_CHANGED, f"the hook {name} is not as nwscan made it", can_repair=False)
