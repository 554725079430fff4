"""``report`` and ``forget``: what was measured shown again, handed on, and deleted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from analyzer.errors import UsageError
from nwscan.cli.measure import show
from nwscan.cli.options import DAYS, check_output, failing, on_cluster, output_format, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.report import Report
    from nwscan.api.documents import Documents
    from nwscan.api.exporting import Exportation
    from nwscan.api.fail_on import Condition
    from nwscan.kept import KeptReport

CLASSES: Final = (
    "unicast_to_guest",
    "multicast",
    "broadcast",
    "foreign_unicast",
    "from_guest",
    "unclassified",
)


@click.command(epilog="Example: nwscan report before.json after.json")
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...")
@click.option(
    "--export",
    type=(click.Choice(CLASSES), click.Path(path_type=Path)),
    metavar="CLASS F.pcapng",
    help="Write the kept frames of one class, such as foreign_unicast, to a file.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write one self-contained page; takes documents of suggest --json and verify --json, too.",
)
@click.option(
    "--parquet",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the tables into a dataset, partitioned by host, guest and date.",
)
@click.option("--host", metavar="NAME", help="Where the reports were measured, for --parquet [this host].")
@on_cluster
@failing
@output_format("table", "json", "csv")
@click.option("--csv", "shape", flag_value="csv", help="Short for --format csv.")
def report(
    reports: tuple[str, ...],
    export: tuple[str, Path] | None,
    html: Path | None,
    parquet: Path | None,
    host: str | None,
    scheduler: str | None,
    condition: Condition | None,
    shape: str,
) -> int:
    """Show reports again: those of one card as one, those of several cards one after the other.

    REPORT is a file that -o or --json wrote, a folder of kept ones (nwscan's own: /var/lib/nwscan/reports), a URL, or -
    for standard input.
    """
    from nwscan.api import fail_on
    from nwscan.api.documents import Documents, by_card, read_documents, read_reports

    check_output(html)
    if scheduler is not None:
        if (export, html, parquet) != (None, None, None):
            what = "--export, --html and --parquet need the single reports, and a cluster gives the merged ones"
            raise UsageError(what, "--scheduler", "merge with --json first, or leave --scheduler out")
        cards = _merged_on_cluster(reports, scheduler)
        _show(cards, shape, reports)
        return fail_on.exit_code(condition, cards)
    found = Documents(read_reports(reports)) if html is None else read_documents(reports)
    cards = by_card([one.report for one in found.reports])
    if export is not None:
        _export(found.reports, *export)
    if html is not None:
        _write_page(cards, found, html)
    if parquet is not None:
        _write_dataset(found.reports, parquet, host)
    if shape != "table" or (export, html, parquet) == (None, None, None):
        _show(cards, shape, reports)
    return fail_on.exit_code(condition, cards)


def _merged_on_cluster(reports: Sequence[str], scheduler: str) -> tuple[Report, ...]:
    from nwscan.api import fleet
    from nwscan.render.progress import file_progress

    with file_progress(", ".join(reports)) as watcher:
        return fleet.report(reports, scheduler, watcher=watcher)


def _show(cards: Sequence[Report], shape: str, sources: Sequence[str]) -> None:
    """Print the cards; in front of several, who suffers most."""
    if shape == "table" and len(cards) > 1:
        from nwscan.render.report import print_overview

        print_overview(cards)
    show(cards, shape, sources=sources)


def _write_page(cards: Sequence[Report], found: Documents, path: Path) -> None:
    from nwscan.kept import write_private
    from nwscan.render.html import html_page
    from nwscan.render.text import visible

    write_private(path, html_page(cards, found.suggestions, found.verdicts).encode())
    click.echo(f"page written to {visible(str(path))}", err=True)


def _write_dataset(reports: Sequence[KeptReport], folder: Path, host: str | None) -> None:
    from nwscan.api.datasets import write_dataset
    from nwscan.render.text import visible

    files = write_dataset([one.report for one in reports], folder, host)
    click.echo(f"{files} files written to {visible(str(folder))}", err=True)


def _export(reports: Sequence[KeptReport], name: str, path: Path) -> None:
    from analyzer.model.classes import FrameClass
    from nwscan.api import exporting
    from nwscan.render.progress import file_progress

    with file_progress(str(path)) as watcher:
        _tell_export(exporting.export(reports, FrameClass[name.upper()], path, watcher=watcher))


def _tell_export(done: Exportation) -> None:
    from nwscan.render.text import count, visible

    of = "" if done.frames == done.counted else f" of {count(done.counted)} counted"
    click.echo(f"{count(done.frames)} frames{of} written to {visible(str(done.path))}, SHA-256 {done.sha256}", err=True)


@click.command(epilog="Example: nwscan forget vm1 --yes")
@click.argument("guest", required=False)
@click.option("--keep-days", type=DAYS, metavar="DAYS", help="Delete only what is older than this [everything].")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def forget(context: click.Context, guest: str | None, keep_days: float | None, yes: bool) -> int:
    """Delete kept frames and reports: those of GUEST (its name, UUID or MAC), or all of them.

    Each capture deletes by itself what is older than 30 days. The journal stays, so that what was applied can be
    undone; a window from before a filter is what verify compares with, and is gone, too.
    """
    from nwscan.api import forgetting
    from nwscan.render.kept import print_windows

    windows = forgetting.kept_windows(guest, keep_days=keep_days, settings=settings_of(context))
    print_windows(windows)
    if not windows:
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("off a terminal nobody can be asked", "forget", "add --yes")
        if not click.confirm("Delete them?"):
            click.echo("nothing was deleted")
            return 0
    forgetting.forget(windows)
    click.echo("deleted")
    return 0
