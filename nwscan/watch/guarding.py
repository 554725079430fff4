"""Watching the guest while a change waits to be confirmed: counts of vital frames, read about once a second.

This process never sees a frame: the kernel counts what comes now (analyzer/host/guard_meter.py), a measuring worker
what came before the change.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.compare.guard_watch import LossWatch
from analyzer.errors import NwscanError
from analyzer.host.guard_meter import GuardMeter
from analyzer.host.guests import LibvirtReader
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from analyzer.model.guards import GUARD_CLASS, GuardKind
from generator.deploy.plan import Attach, DefineFilter, Plan
from generator.nwfilter.model import Action, RuleDirection
from generator.nwfilter.xml import read_filter, read_filterref
from generator.suggest.profiles import THINNED
from nwscan import kept
from nwscan.watch.before import VitalBefore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analyzer.model.identity import GuestIdentity
    from generator.deploy.journal_record import JournalRecord
    from nwscan.config import Settings
    from nwscan.kept import KeptReport

LOOK_EVERY_S: Final = 1.0
_OPEN_AGAIN_S: Final = 10.0


class CardGuards:
    """The guards of the cards that a change is about, opened when they can be; what keeps them out is told once."""

    def __init__(self, record: JournalRecord, settings: Settings, tell: Callable[[str], None]) -> None:
        self._record = record
        self._settings = settings
        self._tell = tell
        self._meter: GuardMeter | None = None
        self._losses: dict[str, LossWatch] = {}
        self._before: dict[str, VitalBefore] = {}
        self._taps: dict[str, int | None] = {}
        self._next_s = 0.0
        self._is_told = False
        self._prepare()

    def look(self) -> str | None:
        """Give the harm that was measured since the first look, in a sentence, None where there is none."""
        if time.monotonic() < self._next_s:
            return None
        self._next_s = time.monotonic() + LOOK_EVERY_S
        if self._meter is None:
            self._prepare()
        try:
            harm = self._metered()
        except (NwscanError, OSError) as error:
            self._give_up(error)
            return None
        if harm is None and self._is_elsewhere():
            self._tell(f"{', '.join(self._taps)} was made anew or is gone: looking for the guest's taps again")
            self._begin_again()
        return harm

    def close(self) -> None:
        """Stop watching."""
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        self._before = {}

    def _is_elsewhere(self) -> bool:
        """Say whether a tap is not the one that is watched any more: the guest was started anew, or has moved."""
        return self._meter is not None and any(
            index is None or _index(tap) != index for tap, index in self._taps.items()
        )

    def _begin_again(self) -> None:
        self.close()
        self._next_s = time.monotonic() + _OPEN_AGAIN_S

    def _metered(self) -> str | None:
        if self._meter is None:
            return None
        for tap, counts in self._meter.read().items():
            kinds = self._before[tap].taken() if tap in self._before else None
            if kinds is not None:
                self._losses[tap] = LossWatch(kinds, kinds)
                self._tell(f"guards on {tap}: {', '.join(kinds) or 'none'}")
            harm = self._losses[tap].add(counts)
            if harm is not None:
                return harm
        return None

    def _prepare(self) -> None:
        """Begin to watch the cards that run now."""
        try:
            cards = _cards(self._record, self._settings)
            if not cards:
                self._next_s = time.monotonic() + _OPEN_AGAIN_S
                return
            windows = _windows(self._record)
            self._losses = {card.tap or "": _loss_watch(card, self._record, windows) for card in cards}
            self._before = {
                card.tap or "": VitalBefore(card, _of(card, windows), self._record.plan.profile)
                for card in cards
                if _has_older_filter(card, self._record)
            }
            self._taps = {card.tap or "": _index(card.tap or "") for card in cards}
            self._meter = GuardMeter({card.tap or "": card.macs for card in cards}).__enter__()
        except (NwscanError, OSError) as error:
            self._give_up(error)
        else:
            self._tell(f"guards are up on {', '.join(card.tap or '' for card in cards)}")

    def _give_up(self, error: Exception) -> None:
        """Go on without guards for a while: the deadline still holds."""
        self._begin_again()
        if not self._is_told:
            self._tell(f"no guards for now: {error}")
        self._is_told = True


def _index(tap: str) -> int | None:
    """Give the number by which the kernel tells this tap from a later one of its name, None where there is none."""
    try:
        return socket.if_nametoindex(tap)
    except OSError:
        return None


def _cards(record: JournalRecord, settings: Settings) -> list[GuestIdentity]:
    """Give the running cards that the change is about: those that it attaches, or all where it redefines filters."""
    with LibvirtReader(settings.uri) as libvirt:
        found = [card.identity for card in libvirt.cards() if card.identity.uuid == record.plan.guest]
    macs = record.plan.macs
    return [one for one in found if one.tap and one.macs and (not macs or format_mac(one.macs[0]) in macs)]


def _windows(record: JournalRecord) -> list[KeptReport]:
    """Give the windows before the change that its plan names, those that can be read."""
    windows = []
    for path in map(Path, record.plan.evidence):
        try:
            windows.append(kept.KeptReport(path, kept.load(path)))
        except NwscanError:
            continue
    return windows


def _loss_watch(card: GuestIdentity, record: JournalRecord, windows: Sequence[KeptReport]) -> LossWatch:
    """Give what looks for lost frames on one card.

    A class that the profile thins on purpose is left out, and what the guest sends where the filters drop nothing of
    that: the host itself refuses some of it (br_netfilter, an IPv4 header that is wrong), and a guest that sends such
    frames on purpose would decide on its own filter. Where a part of a class may be lost on purpose, or was
    before, only a complete loss counts. Beside an older filter nothing is watched until it is known what came through
    that one before (VitalBefore).
    """
    if _has_older_filter(card, record):
        return LossWatch([])
    out = THINNED.get(record.plan.profile, frozenset())
    if not _may_drop_sent(record.plan):
        out |= {FrameClass.FROM_GUEST}
    kinds = [kind for kind in GuardKind if GUARD_CLASS[kind] not in out]
    lossy = set(FrameClass) if record.plan.profile != "mac" else _lossy_classes(_of(card, windows))
    return LossWatch(kinds, [kind for kind in kinds if GUARD_CLASS[kind] in lossy])


def _may_drop_sent(plan: Plan) -> bool:
    """Say whether the filters of a plan can drop what the guest sends; those that it only refers to may."""
    filters = [read_filter(step.after).filter for step in plan.steps if isinstance(step, DefineFilter)]
    attached = [read_filterref(step.after) for step in plan.steps if isinstance(step, Attach)]
    used = {ref.filter for ref in (*attached, *(ref for one in filters for ref in one.references)) if ref is not None}
    return bool(used - {one.name for one in filters}) or any(
        rule.action in {Action.DROP, Action.REJECT} and rule.direction is not RuleDirection.IN
        for one in filters
        for rule in one.rules
    )


def _of(card: GuestIdentity, windows: Sequence[KeptReport]) -> list[KeptReport]:
    return [window for window in windows if window.report.identity.macs[:1] == card.macs[:1]]


def _has_older_filter(card: GuestIdentity, record: JournalRecord) -> bool:
    """Say whether the card had a filter before this change; a change that attaches nothing redefines one."""
    attached = [
        step
        for step in record.plan.steps
        if isinstance(step, Attach) and step.live and step.mac == format_mac(card.macs[0])
    ]
    return not attached or any(read_filterref(step.before) is not None for step in attached)


def _lossy_classes(windows: Sequence[KeptReport]) -> set[FrameClass]:
    """Give the classes of which frames were lost at the bridge before the change, as far as the meter was there."""
    found: set[FrameClass] = set()
    for window in windows:
        try:
            meter = window.meter
        except NwscanError:
            continue
        if meter is not None:
            found |= {kind for kind in FrameClass if meter.offered[kind, 0] > meter.delivered[kind, 0]}
    return found


def open_guards(record: JournalRecord, settings: Settings, tell: Callable[[str], None]) -> CardGuards:
    """Begin to watch the cards that a change is about."""
    return CardGuards(record, settings, tell)
