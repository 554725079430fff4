"""``list``, ``status`` and ``doctor``: what is on this host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from nwscan.cli.options import asking_agent, output_format, settings_of, tell

if TYPE_CHECKING:
    from generator.deploy.status import CardStatus

STATUS_SCHEMA: Final = "nwscan.status/1"
EXIT_NO: Final = 1


@click.command("list", epilog="Example: nwscan list")
@asking_agent
@output_format("table", "json", "csv")
@click.pass_context
def list_taps(context: click.Context, ask_agent: bool, shape: str) -> None:
    """Show every tap with its guest, MAC, addresses, bridge, filter and port flags (learning, flood, isolated)."""
    from nwscan.api import host

    rows, notes = host.list_taps(settings_of(context), ask_agent=ask_agent)
    tell(notes)
    document = host.list_document(rows)
    if shape == "json":
        click.echo(json.dumps(document))
    elif shape == "csv":
        from nwscan.render.csv import csv_text

        keys = ("tap", "guest", "uuid", "card", "mac", "bridge", "filter")
        click.echo(csv_text(keys, [[tap[key] for key in keys] for tap in document["taps"]]), nl=False)
    else:
        from nwscan.render.host import print_taps

        print_taps(rows)


@click.command(epilog="Example: nwscan status --repair --yes")
@click.option("--repair", is_flag=True, help="Put right what is not as intended; nwscan rollback undoes that, too.")
@click.option("--yes", is_flag=True, help="Do not ask before repairing.")
@output_format("table", "json")
@click.pass_context
def status(context: click.Context, repair: bool, yes: bool, shape: str) -> int:
    """Compare what is intended with what libvirt and the kernel have. Exit code 1: something is not as intended.

    With --repair: shows what it would do, does it, and compares again.
    """
    from nwscan.api import change

    if repair:
        from nwscan.cli.repairing import repair_host

        repair_host(settings_of(context), yes=yes, stderr=shape == "json")
    found = change.status(settings_of(context))
    if shape == "json":
        damaged = [{"what": one.what, "where": one.where, "hint": one.hint} for one in found.damaged]
        cards = [_card(one) for one in found.cards]
        click.echo(json.dumps({"schema": STATUS_SCHEMA, "cards": cards, "damaged": damaged}))
    else:
        from nwscan.render.host import print_status

        print_status(found)
    return 0 if found.is_as_intended else EXIT_NO


def _card(one: CardStatus) -> dict[str, Any]:
    from dataclasses import asdict

    fields = asdict(one)
    causes = [{"cause": each["cause"].value, "can_repair": each["can_repair"]} for each in fields.pop("findings")]
    return {**fields, "state": one.state, "drift": list(one.drift), "causes": causes}


@click.command(epilog="Example: nwscan doctor")
@click.option("--clean", is_flag=True, help="Remove what ended processes of nwscan left in the kernel.")
@output_format("table", "json")
@click.pass_context
def doctor(context: click.Context, clean: bool, shape: str) -> int:
    """Say what this host can do and what is left over. Exit code 1: something is missing or left."""
    from nwscan.api import host

    if clean:
        removed = host.clean()
        click.echo(f"removed: {', '.join(removed)}" if removed else "nothing to remove", err=True)
    checks = host.doctor(settings_of(context))
    if shape == "json":
        click.echo(json.dumps(host.doctor_document(checks)))
    else:
        from nwscan.render.host import print_checks

        print_checks(checks)
    return EXIT_NO if any(check.is_fine is False for check in checks) else 0
