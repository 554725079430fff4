"""All that ``status`` and ``status --repair`` judge by, read once: libvirt, the kernel, the bridges, the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.host.boot_clock import boot_clock
from analyzer.host.guests import LibvirtReader
from analyzer.host.rules import kernel_rules_of
from analyzer.model.addresses import parse_mac
from generator.deploy.bridge_writer import BridgeWriter
from generator.deploy.drift import BridgeLooks
from generator.deploy.hook import hook_name
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.plan import InstallHook, SetFdbEntry, SetPortFlag
from generator.deploy.status import CardStatus, card_statuses
from nwscan.watch.mark import is_waited_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from analyzer.errors import InputError
    from analyzer.host.boot_clock import Clock
    from analyzer.host.guests import Binding, GuestCard
    from analyzer.host.rules import KernelRules
    from generator.deploy.door import BridgeDoor
    from generator.deploy.journal import JournalReading
    from generator.deploy.journal_record import JournalRecord
    from nwscan.config import Settings

_TRIES: Final = 5
"""How often a host that is changed again and again is read: an undoing is over after a few."""


@dataclass(frozen=True, slots=True)
class HostReading:
    """The host as it is now: the changes in force (``records``, newest first), the texts of the filters of theirs."""

    cards: tuple[GuestCard, ...]
    records: tuple[JournalRecord, ...]
    damaged: tuple[InputError, ...]
    bindings: tuple[Binding, ...]
    rules: Mapping[str, KernelRules]
    names: tuple[str, ...]
    texts: Mapping[str, str]
    bridges: BridgeLooks
    clock: Clock
    waited_for: frozenset[Path]
    """The changes for which a process waits, or which one is at now, by their journal's file."""


def read_host(settings: Settings) -> HostReading:
    """Read it. Raises HostError where libvirt does not answer or the kernel cannot be asked.

    What somebody changed, kept or undid meanwhile is read again: a host that is half before it and half behind would
    be called drifted.
    """
    journal = Journal(settings.journal)
    for _ in range(_TRIES):
        before = journal.read()
        host = _read_host(before, journal, settings)
        if journal.read().records == before.records:
            break
    return host


def _read_host(reading: JournalReading, journal: Journal, settings: Settings) -> HostReading:
    records = tuple(record for record in reversed(reading.records) if record.is_in_force)
    with LibvirtReader(settings.uri) as libvirt:
        cards, bindings, names = tuple(libvirt.cards()), libvirt.bindings(), libvirt.filter_names()
        ours = {name for record in records for name in record.plan.filters if name in names}
        texts = {name: libvirt.filter_xml(name) for name in ours}
    taps = [card.identity.tap for card in cards if card.identity.tap and (card.filterref or records)]
    rules = kernel_rules_of(taps)
    looks = bridge_looks(records, [card.identity.tap for card in cards], BridgeWriter())
    waited_for = _attended(records, journal, settings.state.absolute())
    return HostReading(cards, records, reading.errors, bindings, rules, names, texts, looks, boot_clock(), waited_for)


def _attended(records: Sequence[JournalRecord], journal: Journal, state: Path) -> frozenset[Path]:
    """Give the changes that somebody waits for, or is at: that one has the journal's lock, and nothing of it waits."""
    waited_for = {record.path for record in records if is_waited_for(state, record.path.absolute())}
    unfinished = {one.path for one in records if one.state in {State.APPLYING, State.UNDOING}} - waited_for
    return frozenset(waited_for | unfinished if unfinished and journal.is_locked() else waited_for)


def statuses_of(host: HostReading) -> tuple[CardStatus, ...]:
    """Compare what is intended with what was read."""
    return card_statuses(
        host.cards,
        host.records,
        host.bindings,
        host.rules,
        host.names,
        host.texts,
        bridges=host.bridges,
        clock=host.clock,
        waited_for=host.waited_for,
    )


def bridge_looks(records: Sequence[JournalRecord], taps: Sequence[str | None], door: BridgeDoor) -> BridgeLooks:
    """Look at what the changes in force did to bridges, and at the guests' taps of today; at nothing without such."""
    steps = [(record.plan.guest, step) for record in records for step in record.plan.steps]
    on_bridge = [step for _, step in steps if isinstance(step, SetPortFlag | SetFdbEntry)]
    hooks = [hook_name(guest, step.card) for guest, step in steps if isinstance(step, InstallHook)]
    names = dict.fromkeys([*(step.port for step in on_bridge), *(tap for tap in taps if tap)] if on_bridge else ())
    ports = {name: port for name in names if (port := door.port(name)) is not None}
    wanted = {(step.bridge, parse_mac(step.mac)) for step in on_bridge if isinstance(step, SetFdbEntry)}
    entries = {key: entry for key in wanted if (entry := door.entry(*key)) is not None}
    texts = {name: text for name in hooks if (text := door.hook(name)) is not None}
    return BridgeLooks(ports, entries, texts)
