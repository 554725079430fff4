"""Put a plan in, measure again, judge, keep or undo: the part of ``suggest --apply`` that changes the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from analyzer.errors import RolledBackError
from nwscan.cli.options import typed
from nwscan.cli.undoing import show_undone
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.plan import Plan
    from nwscan.api.measure import CaptureOptions
    from nwscan.api.prove import Verification
    from nwscan.api.suggesting import Proposals
    from nwscan.config import Settings


def apply_proposals(
    guest: str, proposals: Proposals, options: CaptureOptions, settings: Settings, *, yes: bool, shape: str
) -> int:
    """Show the plan, ask, apply, measure again, judge; the last line is the command that undoes it."""
    from nwscan.api import change, prove
    from nwscan.cli.prove import exit_code
    from nwscan.cli.prove import show as show_verifications
    from nwscan.render.plan import print_plan
    from nwscan.render.progress import capture_progress

    plan = proposals.plan
    if not plan.steps:
        click.echo(
            f"{visible(guest)} has this filter already; nwscan verify {typed(plan)} measures what it does", err=True
        )
    else:
        print_plan(plan, stderr=shape == "json")
        if not yes:
            click.confirm("Put it in?", abort=True, err=True)
        change.apply(plan, settings)
        click.echo(f"applied to {visible(plan.name)}; measuring again", err=True)
    cards = [one.card.identity for one in proposals.proposals if one.card is not None]
    with capture_progress(guest, options.duration_s) as watcher:
        after = prove.capture_metered(cards, options, settings=settings, watcher=watcher)
    verifications = [
        prove.Verification(one.report.identity, one.before, later, prove.compare(one.before, later, plan.profile))
        for one, later in zip(proposals.proposals, after, strict=True)
    ]
    show_verifications(verifications, shape)
    return _settle(plan, verifications, settings, exit_code(verifications), yes=yes, stderr=shape == "json")


def _settle(
    plan: Plan, verifications: Sequence[Verification], settings: Settings, code: int, *, yes: bool, stderr: bool
) -> int:
    """Keep what is effective, undo what is harmful, leave the rest to a person."""
    from analyzer.compare import Verdict
    from nwscan.api import change

    harmful = [one for one in verifications if one.comparison.verdict is Verdict.HARMFUL]
    keep = code == 0 and (yes or click.confirm("Keep it?", default=True, err=True))
    if harmful or (code == 0 and not keep):
        undone = change.rollback(plan.guest, settings, "harmful" if harmful else "not kept")
        show_undone(undone, stderr=stderr)
        if harmful:
            raise RolledBackError(
                f"the filter did harm and was rolled back: {harmful[0].comparison.why}",
                plan.name,
                "see what it dropped: nwscan suggest (without --apply); count more MACs as its own with --also-mac",
            )
        return 0
    click.echo(f"To undo it: nwscan rollback {typed(plan)}", err=stderr)
    return code
