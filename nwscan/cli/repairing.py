"""The part of ``status --repair`` that changes the host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from analyzer.errors import UsageError
from nwscan.cli.options import typed
from nwscan.render.text import visible

if TYPE_CHECKING:
    from nwscan.config import Settings


def repair_host(settings: Settings, *, yes: bool, stderr: bool) -> None:
    """Show the plans, ask, carry them out, and say how long cards were without their rules and how to go back."""
    from nwscan.api import repairing
    from nwscan.render.plan import print_plan

    plans = repairing.plan_repairs(settings)
    if not plans:
        click.echo("there is nothing that can be put right", err=True)
        return
    for plan in plans:
        print_plan(plan, stderr=stderr)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("off a terminal nobody can be asked", "status --repair", "add --yes")
        click.confirm("Put it right?", abort=True, err=True)
    for record in repairing.repair(plans, settings):
        told = "; ".join(event.why for event in record.events if event.why)
        click.echo(f"repaired {visible(record.plan.name)}" + (f": {told}" if told else ""), err=True)
        click.echo(f"To undo it with all else: nwscan rollback {typed(record.plan)}", err=True)
