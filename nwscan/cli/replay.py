"""``replay``: what a filter would have done to a capture, first of all to what the guest needs."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.errors import UsageError
from nwscan.cli.options import filter_places, identity_from, on_cluster, output_format, settings_of, whose


@click.command(
    epilog="Example: nwscan replay captures/before.pcapng --mac 52:54:00:00:00:01 "
    "--filter filters/nwscan-00000001-0.xml"
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
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
@on_cluster
@output_format("table", "json")
@click.pass_context
def replay(
    context: click.Context,
    files: tuple[str, ...],
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
    scheduler: str | None,
    shape: str,
) -> None:
    """Say what any nwfilter would have done to the frames of FILE: to the guest's own traffic first. Changes nothing.

    FILE is as for analyze; of several, all of one guest, the sums are told.

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
    if scheduler is not None and export is not None:
        raise UsageError("a cluster writes no frames", "--export-dropped", "leave --scheduler out for one file")
    with file_progress(", ".join(files)) as watcher:
        if scheduler is None:
            found = replaying.replay(
                files, choice, captured_on=captured_on, guess=guess, export=export, watcher=watcher
            )
        else:
            from nwscan.api import fleet

            found = fleet.replay(files, scheduler, choice, captured_on=captured_on, guess=guess, watcher=watcher)
    if shape == "json":
        import json

        click.echo(json.dumps(replaying.to_document(found)))
        return
    from nwscan.render.replay import print_replay

    print_replay(found, show_commands=show_commands)
