"""``rollback``: what was applied goes, what was there before comes back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from analyzer.errors import UsageError
from nwscan.cli.options import settings_of
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.transaction import Undone


@click.command(epilog="Example: nwscan rollback vm1 --yes")
@click.argument("guest", required=False)
@click.option("--all", "everything", is_flag=True, help="Undo everything that nwscan did on this host.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rollback(context: click.Context, guest: str | None, everything: bool, yes: bool) -> int:
    """Undo what was applied to GUEST: its live XML, its definition and the filters are as they were before."""
    from nwscan.api import change

    if (guest is None) == (not everything):
        raise UsageError("whose change?", hint="name a guest, or give --all")
    settings = settings_of(context)
    if not yes and change.is_in_force(guest, settings):
        if not sys.stdin.isatty():
            raise UsageError("off a terminal nobody can be asked", "rollback", "add --yes")
        click.confirm(f"Undo what nwscan did to {visible(guest or 'every guest')}?", abort=True, err=True)
    undone = change.rollback_all(settings) if guest is None else change.rollback(guest, settings)
    if not undone:
        click.echo(f"nothing to undo on {visible(guest)}" if guest else "nothing to undo")
    show_undone(undone)
    return 0


def show_undone(undone: Sequence[Undone], *, stderr: bool = False) -> None:
    """Print what was undone."""
    for one in undone:
        for line in one.lines or ("nothing of it was there any more",):
            click.echo(visible(line), err=stderr)
        click.echo(f"undone: the change of {one.record.created} on {visible(one.record.plan.name)}", err=stderr)
