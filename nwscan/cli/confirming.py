"""``confirm``: what was applied and waits for it stays."""

from __future__ import annotations

import click

from analyzer.errors import UsageError
from nwscan.cli.options import settings_of, typed
from nwscan.render.text import visible


@click.command(epilog="Example: nwscan confirm vm1")
@click.argument("guest", required=False)
@click.option("--all", "everything", is_flag=True, help="Keep everything that waits on this host.")
@click.pass_context
def confirm(context: click.Context, guest: str | None, everything: bool) -> int:
    """Keep what was applied to GUEST and waits to be confirmed: it stays until nwscan rollback.

    Exit code 5: too late, it was rolled back.
    """
    from nwscan.api import change

    if (guest is None) == (not everything):
        raise UsageError("whose change?", hint="name a guest, or give --all")
    kept = change.confirm(guest, settings_of(context))
    if not kept:
        click.echo(f"nothing waits to be confirmed{f' on {visible(guest)}' if guest else ''}")
    for record in kept:
        click.echo(f"kept: the change of {record.created} on {visible(record.plan.name)}")
        click.echo(f"To undo it: nwscan rollback {typed(record.plan)}")
    return 0
