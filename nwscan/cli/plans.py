"""``apply``: carry out a reviewed plan, of one guest or of several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyzer.errors import NwscanError, UsageError
from nwscan.cli.options import autostop, confirm_within, migration_targets, output_format, settings_of, typed
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.plan import Plan
    from nwscan.api.measure import CaptureOptions
    from nwscan.cli.applying import Keeping
    from nwscan.config import Settings


@click.command(epilog="Example: nwscan apply plan.json --check")
@click.argument("path", metavar="PLAN.json", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Say what it reaches and whether the host is as planned; change nothing.")
@migration_targets
@autostop
@confirm_within
@click.option("--yes", is_flag=True, help="Do not ask; keep what proves effective.")
@output_format("table", "json")
@click.pass_context
def apply(
    context: click.Context,
    path: Path,
    check: bool,
    targets: tuple[str, ...],
    duration_s: float,
    confirm_within_s: float,
    yes: bool,
    shape: str,
) -> int:
    """Carry out the plan that nwscan suggest -o wrote, measure and judge, as suggest --apply does.

    Refused (exit code 4) where the host has changed since the plan was made; of several guests, before the first one.
    """
    from nwscan.api import plans as reviewed

    settings, plans = settings_of(context), reviewed.load_plans(path)
    if not check and not yes and not sys.stdin.isatty():
        raise UsageError("off a terminal nobody can be asked", "apply", "add --yes")
    show_blast_radius(plans, settings, targets, shape)
    reviewed.require_as_planned(plans, settings)
    if check:
        click.echo("the host is as the plan found it; nothing was changed", err=True)
        return 0
    from nwscan.api.measure import CaptureOptions
    from nwscan.cli.applying import Keeping

    return apply_plans(plans, CaptureOptions(duration_s), settings, Keeping(confirm_within_s, yes=yes, shape=shape))


def show_blast_radius(plans: Sequence[Plan], settings: Settings, targets: Sequence[str], shape: str) -> None:
    """Print what the plans reach."""
    from generator.deploy.blast_radius import to_document
    from nwscan.api.plans import blast_radius

    radius = blast_radius(plans, settings, targets)
    if shape == "json":
        click.echo(json.dumps(to_document(radius)))
        return
    from nwscan.render.plan import print_blast_radius

    print_blast_radius(radius)


def apply_plans(plans: Sequence[Plan], options: CaptureOptions, settings: Settings, keeping: Keeping) -> int:
    """Put the plans in, one guest after the other; gives the worst exit code.

    What goes wrong with one guest ends it there: the guests before it stay as they are, and are named.
    """
    from nwscan.cli.applying import apply_plan

    codes: list[int] = [0]
    done: list[Plan] = []
    for plan in plans:
        try:
            codes.append(apply_plan(plan, options, settings, keeping))
        except (NwscanError, click.Abort):
            left = len(plans) - len(done) - 1
            if left:
                click.echo(f"{left} more guests of the plan were not touched", err=True)
            _tell_what_is_done(done, settings)
            raise
        done.append(plan)
    return max(codes)


def _tell_what_is_done(plans: Sequence[Plan], settings: Settings) -> None:
    """Name the guests that have what was planned for them, for good or until nobody confirms it."""
    from nwscan.api import change

    for plan in plans:
        record = change.record_of(plan, settings)
        if record is None:
            continue
        until = ""
        if record.is_pending and record.deadline is not None:
            until = f" until {record.deadline.at}, unless nwscan confirm {typed(plan)} keeps it"
        click.echo(f"{visible(plan.name)} has it{until}; to undo it: nwscan rollback {typed(plan)}", err=True)
