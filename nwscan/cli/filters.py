"""``filters``: the nwfilters of the host, and one of them in full."""

from __future__ import annotations

import click

from analyzer.errors import UsageError
from nwscan.cli.options import filter_places, output_format, settings_of


@click.command(epilog="Example: nwscan filters clean-traffic --guest vm1")
@click.argument("named", required=False, metavar="[NAME]")
@filter_places
@output_format("table", "json")
@click.pass_context
def filters(
    context: click.Context,
    named: str | None,
    guest: str | None,
    parameters: tuple[str, ...],
    library: tuple[str, ...],
    shape: str,
) -> None:
    """Show the host's nwfilters, who refers to them and which guests use them; with NAME one of them in full.

    In full: the tree of what it refers to, the rules in the order in which they act, what is wrong with them, and the
    commands that they become. NAME may be a file, too (with a slash or .xml in it).
    """
    from nwscan.api import filters as api
    from nwscan.api.filter_tree import parameters_from
    from nwscan.render import filters as render

    uri = settings_of(context).uri
    if named is None:
        if guest or parameters or library:
            raise UsageError("of which filter?", hint="name it: nwscan filters NAME --guest GUEST")
        rows = api.list_filters(uri)
        if shape == "json":
            _print_json(api.list_document(rows))
        else:
            render.print_filters(rows)
        return
    view = api.view_filter(named, uri, guest=guest, parameters=parameters_from(parameters), library=library)
    if shape == "json":
        _print_json(api.view_document(view))
    else:
        render.print_filter(view)


def _print_json(document: object) -> None:
    import json

    click.echo(json.dumps(document))
