"""``replay``: what a filter would have done to a capture, first of all to what the guest needs."""

from __future__ import annotations

from pathlib import Path

import click

from nwscan.cli.options import filter_places, identity_from, output_format, settings_of, whose


@click.command(
    epilog="Example: nwscan replay captures/before.pcapng --mac 52:54:00:00:00:01 "
    "--filter filters/nwscan-00000001-0.xml"
)
@click.argument("file", metavar="FILE")
@click.option(
    "--filter", "named", metavar="XML_OR_NAME", help="A file, ./FOLDER/ of one tree, or a name [what --guest has now]."
)
@filter_places
@whose
@click.option(
    "--captured-on", type=click.Choice(["tap", "guest"]), help="Trust the file's direction flags, as seen there."
)
@click.option("--guess", is_flag=True, help="Take the one MAC that both sends and receives, if there is exactly one.")
@click.option(
    "--export-dropped",
    "export",
    type=click.Path(path_type=Path),
    metavar="F.pcapng",
    help="Write the frames that the filter drops.",
)
@click.option("--commands", "show_commands", is_flag=True, help="Also show the commands that the filter becomes.")
@output_format("table", "json")
@click.pass_context
def replay(
    context: click.Context,
    file: str,
    named: str | None,
    guest: str | None,
    parameters: tuple[str, ...],
    library: tuple[str, ...],
    macs: tuple[str, ...],
    ips: tuple[str, ...],
    captured_on: str | None,
    guess: bool,
    export: Path | None,
    show_commands: bool,
    shape: str,
) -> None:
    """Say what any nwfilter would have done to the frames of FILE: to the guest's own traffic first. Changes nothing.

    A name without a slash and without .xml is a filter of the host (or of --library). Filters that it refers to are
    looked for beside it, in --library, then on the host; with --library, no libvirt is needed.
    """
    from nwscan.api import replaying
    from nwscan.api.filter_tree import parameters_from
    from nwscan.render.progress import file_progress

    choice = replaying.choose(
        named,
        identity_from(macs, ips),
        guest=guest,
        parameters=parameters_from(parameters),
        library=library,
        settings=settings_of(context),
    )
    with file_progress(file) as watcher:
        found = replaying.replay(file, choice, captured_on=captured_on, guess=guess, export=export, watcher=watcher)
    if shape == "json":
        import json

        click.echo(json.dumps(replaying.to_document(found)))
        return
    from nwscan.render.replay import print_replay

    print_replay(found, show_commands=show_commands)
