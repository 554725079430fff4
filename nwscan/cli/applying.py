"""Put a plan in, measure again, judge, keep or undo: what ``suggest --apply`` and ``apply`` do to the host.

A process of its own (nwscan/watch) waits from before the first step: what nobody keeps, and what does harm, goes back
even when this process is gone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from analyzer.errors import HostError, RollbackIncompleteError, RolledBackError
from nwscan.cli.options import typed
from nwscan.cli.undoing import show_undone
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.identity import GuestIdentity
    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.plan import Plan
    from nwscan.api.measure import CaptureOptions, Watcher
    from nwscan.api.prove import Verification
    from nwscan.api.suggesting import Proposals
    from nwscan.config import Settings
    from nwscan.kept import KeptReport
    from nwscan.worker.messages import Progress

_UNDOING_S: Final = 60.0
"""How long to wait for the end of an undoing that the waiting process has begun."""

_SEE: Final = "see what it dropped: nwscan suggest (without --apply); count more MACs as its own with --also-mac"


@dataclass(frozen=True, slots=True)
class Keeping:
    """Who decides whether a change stays: ``yes`` asks nobody, ``confirm_within_s`` 0 sets no deadline."""

    confirm_within_s: float
    yes: bool
    shape: str

    @property
    def is_document(self) -> bool:
        """Say whether standard output is for documents alone."""
        return self.shape == "json"


Window = tuple["GuestIdentity", "KeptReport | None"]
"""A card as it is measured again, and its window from before the change, where there is one."""


def apply_proposals(
    guest: str, proposals: Proposals, options: CaptureOptions, settings: Settings, keeping: Keeping
) -> int:
    """Put in what was proposed for a guest, whose cards all are measured again, and settle it."""
    if not proposals.plan.steps:
        what = f"nwscan verify {typed(proposals.plan)} measures what it does"
        click.echo(f"{visible(guest)} has this filter already; {what}", err=True)
    windows = [(one.card.identity, one.before) for one in proposals.proposals if one.card is not None]
    return put_in(proposals.plan, windows, options, settings, keeping)


def apply_plan(plan: Plan, options: CaptureOptions, settings: Settings, keeping: Keeping) -> int:
    """Put a plan in and settle it; the windows before are those that it names as its evidence, where they are kept."""
    return put_in(plan, windows_of(plan, settings), options, settings, keeping)


def windows_of(plan: Plan, settings: Settings) -> list[Window]:
    """Give the running cards that a plan is about, and the window of each that the plan rests on."""
    from nwscan import kept
    from nwscan.api.identify import cards_of

    identities = [card.identity for card in cards_of([plan.guest], settings)]
    reports = [kept.KeptReport(Path(path), kept.load(Path(path))) for path in plan.evidence if Path(path).is_file()]
    by_mac = {report.report.identity.macs[:1]: report for report in reports}
    return [(one, by_mac.get(one.macs[:1])) for one in identities]


def put_in(plan: Plan, windows: Sequence[Window], options: CaptureOptions, settings: Settings, keeping: Keeping) -> int:
    """Show the plan, ask, apply, measure again, judge, settle; the last line is the command that undoes it.

    Gives the exit code. Raises RolledBackError where it did harm, or where it was undone while it waited.
    """
    from nwscan.api import change, prove
    from nwscan.api.changeover import Changeover
    from nwscan.cli.prove import exit_code
    from nwscan.cli.prove import show as show_verifications
    from nwscan.render.plan import print_plan
    from nwscan.render.progress import capture_progress

    record, passed = None, {}
    cards = [identity for identity, _ in windows]
    if plan.steps:
        print_plan(plan, stderr=keeping.is_document)
        if not keeping.yes:
            click.confirm("Put it in?", abort=True, err=True)
        within_s, window_s = keeping.confirm_within_s, options.duration_s or 0.0
        with Changeover(cards) as changeover:
            record = change.apply(plan, settings, confirm_within_s=within_s, window_s=window_s)
        passed = changeover.passed
        if changeover.obstacle:
            click.echo(f"what passed while it was put in was not counted: {visible(changeover.obstacle)}", err=True)
        click.echo(f"applied to {visible(plan.name)}; measuring again", err=True)
    try:
        with capture_progress(plan.name, options.duration_s) as watcher:
            alert = _Alert(watcher, record, settings)
            after = prove.capture_metered(cards, options, settings=settings, watcher=alert)
        verifications = [
            prove.judged(identity, before, later, plan.profile, settings, passed=passed.get(identity.tap or ""))
            for (identity, before), later in zip(windows, after, strict=True)
        ]
        show_verifications(verifications, keeping.shape)
    except BaseException:
        if record is not None:
            _tell_what_stays(record, settings)
        raise
    return _settle(plan, record, verifications, settings, exit_code(verifications), keeping)


def _tell_what_stays(record: JournalRecord, settings: Settings) -> None:
    """Say what becomes of a change that could not be judged; nothing where it was undone."""
    from generator.deploy.journal_record import State
    from nwscan.api import change

    now = change.current(record, settings)
    if now.state is not State.APPLIED:
        return
    guest = typed(now.plan)
    end = f": it is rolled back at {now.deadline.at}; to keep it: nwscan confirm {guest}" if now.deadline else ""
    click.echo(f"the change of {visible(now.plan.name)} is in force and was not judged{end}", err=True)
    click.echo(f"To undo it: nwscan rollback {guest}", err=True)


class _Alert:
    """Ends the second window as soon as the change is undone; tells the watcher all the rest."""

    def __init__(self, watcher: Watcher, record: JournalRecord | None, settings: Settings) -> None:
        self._watcher = watcher
        self._record = record
        self._settings = settings
        self._octets = 0 if record is None else record.path.stat().st_size

    def started(self) -> None:
        self._watcher.started()

    def ended(self) -> None:
        self._watcher.ended()

    def progress(self, progress: Progress) -> None:
        self._watcher.progress(progress)
        if self._record is not None and self._record.path.stat().st_size != self._octets:
            raise_if_undone(self._record, self._settings)


def raise_if_undone(record: JournalRecord, settings: Settings) -> None:
    """Raise RolledBackError where the change was undone by another process, RollbackIncompleteError where in part."""
    from generator.deploy.journal_record import State
    from nwscan.api import change

    end_s = time.monotonic() + _UNDOING_S
    while (now := change.current(record, settings)).state is State.UNDOING and time.monotonic() < end_s:
        time.sleep(0.1)
    if now.state is State.UNDONE:
        change.settled(now, settings)
        raise RolledBackError(f"the filter was rolled back: {now.why}", now.plan.name, _SEE)
    if now.state is State.UNDOING:
        raise RollbackIncompleteError(
            "the filter is being rolled back, and that does not end",
            str(now.path),
            f"see nwscan status; then: nwscan rollback {now.plan.guest}",
        )


def _settle(
    plan: Plan,
    record: JournalRecord | None,
    verifications: Sequence[Verification],
    settings: Settings,
    code: int,
    keeping: Keeping,
) -> int:
    """Keep what is effective, undo what is harmful, leave the rest to a person or to the deadline."""
    from analyzer.compare import Verdict
    from nwscan.api import change

    harmful = [one for one in verifications if one.comparison.verdict is Verdict.HARMFUL]
    if harmful:
        _undo(plan, record, f"it did harm: {harmful[0].comparison.why}", settings, keeping)
        raise RolledBackError(f"the filter did harm and was rolled back: {harmful[0].comparison.why}", plan.name, _SEE)
    if record is not None and keeping.confirm_within_s:
        raise_if_undone(record, settings)
        record = change.await_confirmation(record, keeping.confirm_within_s, settings)
    if code == 0 and not (keeping.yes or _is_kept(record)):
        _undo(plan, record, "not kept", settings, keeping)
        return 0
    if code == 0 and record is not None:
        change.keep(record, settings)
    elif code == 0:  # it was there already: it may be a change that waits
        for one in change.waiting(plan.guest, settings):
            change.keep(one, settings)
    elif record is not None and record.is_pending and record.deadline is not None:
        until = f"until {record.deadline.at}, {keeping.confirm_within_s:.0f} s from now"
        click.echo(f"It waits to be confirmed {until}, and is rolled back then.", err=keeping.is_document)
        click.echo(f"To look again, while there is traffic: nwscan verify {typed(plan)}", err=keeping.is_document)
        click.echo(f"To keep it: nwscan confirm {typed(plan)}", err=keeping.is_document)
    click.echo(f"To undo it: nwscan rollback {typed(plan)}", err=keeping.is_document)
    return code


def _is_kept(record: JournalRecord | None) -> bool:
    """Ask whether the filter stays; whoever goes away without an answer is told what follows."""
    if record is not None and record.is_pending and record.deadline is not None:
        click.echo(f"Without an answer it is rolled back at {record.deadline.at}.", err=True)
    return click.confirm("Keep it?", default=True, err=True)


def _undo(plan: Plan, record: JournalRecord | None, why: str, settings: Settings, keeping: Keeping) -> None:
    """Undo the change, or where this command made none, what the guest has."""
    from generator.deploy.journal_record import State
    from nwscan.api import change

    undone = change.rollback(plan.guest, settings, why) if record is None else (change.undo(record, why, settings),)
    if any(one.record.state is State.CONFIRMED for one in undone):
        raise HostError(
            "somebody confirmed the change meanwhile: it stays", plan.name, f"undo it: nwscan rollback {plan.guest}"
        )
    show_undone(undone, stderr=keeping.is_document)
