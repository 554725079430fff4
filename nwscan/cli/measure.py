"""``capture`` and ``analyze``: from a tap or a file to a report."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyzer.errors import UsageError
from nwscan.cli.options import (
    DAYS,
    asking_agent,
    autostop,
    check_output,
    failing,
    identity_from,
    on_cluster,
    output_format,
    settings_of,
    tell,
    unrelated_only,
    whose,
)
from nwscan.cli.ring_options import check_ring, ring_files
from nwscan.render.text import ascii_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report
    from nwscan.api.fail_on import Condition
    from nwscan.api.measure import Watcher
    from nwscan.api.ring_files import Rotation
    from nwscan.config import Settings


@click.command(epilog="Example: nwscan capture vnet0 -a duration:10")
@click.argument("targets", nargs=-1, metavar="TARGET... [BPF]")
@click.option("--all", "everything", is_flag=True, help="Every tap of the host; what follows is a BPF expression.")
@autostop
@click.option("-c", "frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option(
    "-s", "snaplen", type=click.IntRange(64, 262144), default=128, metavar="OCTETS", help="Octets kept per frame [128]."
)
@click.option(
    "-w",
    "write",
    type=click.Path(path_type=Path),
    metavar="FILE.pcapng",
    help="Write the frames to a file, too; - is standard output, and the report goes to standard error.",
)
@ring_files
@click.option(
    "-o", "output", type=click.Path(path_type=Path), metavar="REPORT.json", help="Write the report to a file, too."
)
@whose
@asking_agent
@unrelated_only
@click.option("--no-keep", is_flag=True, help="Do not keep the frames' headers beside the report.")
@click.option(
    "--keep-days",
    type=DAYS,
    default=30.0,
    metavar="DAYS",
    help="Delete kept windows older than this [30].",
)
@failing
@output_format("table", "json", "csv")
@click.pass_context
def capture(
    context: click.Context,
    targets: tuple[str, ...],
    everything: bool,
    duration_s: float,
    frames: int | None,
    snaplen: int,
    write: Path | None,
    rotation: Rotation | None,
    output: Path | None,
    macs: tuple[str, ...],
    ips: tuple[str, ...],
    ask_agent: bool,
    unrelated: bool,
    no_keep: bool,
    keep_days: float,
    condition: Condition | None,
    shape: str,
) -> int:
    """Capture on taps, classify every frame, print the report and keep it.

    TARGET is a tap (vnet0), a guest (vm1: all its cards) or one card (vm1:0, vm1:52:54:00:00:00:01). Ctrl-C ends the
    capture and prints what was measured.
    """
    from nwscan.api import fail_on, identify, measure
    from nwscan.render.progress import capture_progress

    settings = settings_of(context)
    cards, bpf = _cards(targets, settings, identity_from(macs, ips), everything=everything)
    if ask_agent:
        cards, notes = identify.with_agents(cards, settings)
        tell(notes)
    _check_output(output, len(cards))
    check_ring(write, rotation)
    options = measure.CaptureOptions(
        duration_s, frames, snaplen, bpf, write, not no_keep, keep_days, rotation, everything, unrelated
    )
    with capture_progress(", ".join(str(card.tap) for card in cards), duration_s) as watcher:
        kept = measure.capture(cards, options, settings=settings, watcher=watcher)
    reports = [one.report for one in kept]
    _write(output, reports)
    show(reports, shape, stderr=write == Path("-"))
    return fail_on.exit_code(condition, reports)


@click.command(epilog="Example: nwscan analyze captures/before.pcapng --mac 52:54:00:00:00:01")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@whose
@click.option("--guest", metavar="TARGET", help="The guest, looked up through libvirt.")
@click.option(
    "--captured-on", type=click.Choice(["tap", "guest"]), help="Trust the file's direction flags, as seen there."
)
@click.option("--guess", is_flag=True, help="Take the one MAC that both sends and receives, if there is exactly one.")
@click.option(
    "-o", "output", type=click.Path(path_type=Path), metavar="REPORT.json", help="Write the report to a file, too."
)
@on_cluster
@failing
@output_format("table", "json", "csv")
@click.pass_context
def analyze(
    context: click.Context,
    files: tuple[str, ...],
    macs: tuple[str, ...],
    ips: tuple[str, ...],
    guest: str | None,
    captured_on: str | None,
    guess: bool,
    output: Path | None,
    scheduler: str | None,
    condition: Condition | None,
    shape: str,
) -> int:
    """Classify the frames of captures: pcap and pcapng, also gz and zst.

    FILE is a file, a folder of captures, a URL (http://HOST/x.pcap, s3://BUCKET/*.pcap.gz), or - for standard input.
    """
    from nwscan.worker.starting import worker_ahead

    identity = identity_from(macs, ips)
    _check_output(output, 1)
    with worker_ahead() if scheduler is None else nullcontext():
        from nwscan.api import fail_on, measure

        _import_what_shows(shape)
        if identity is None and guest is not None:
            from nwscan.api import identify

            identity = identify.card_of(guest, settings_of(context), need_tap=False).identity
        with _progress_on(files) as watcher:
            if scheduler is None:
                report = measure.analyze(files, identity, captured_on=captured_on, guess=guess, watcher=watcher)
            else:
                from nwscan.api import fleet

                report = fleet.analyze(
                    files, scheduler, identity, captured_on=captured_on, guess=guess, watcher=watcher
                )
    _write(output, [report])
    show([report], shape, sources=files)
    return fail_on.exit_code(condition, [report])


def _import_what_shows(shape: str) -> None:
    """Import what ``show`` takes now, while the worker starts, and not when its report is there."""
    if shape == "csv":
        import nwscan.render.csv
    elif shape == "table":
        import nwscan.render.report  # noqa: F401 - as said


def _progress_on(files: Sequence[str]) -> AbstractContextManager[Watcher]:
    """Give who shows the progress: nobody where nobody would see it."""
    if sys.stderr is None or not (sys.stderr.isatty() or os.environ.keys() & {"FORCE_COLOR", "TTY_COMPATIBLE"}):
        from nwscan.api.measure import Unwatched

        return nullcontext(Unwatched())
    from nwscan.render.progress import file_progress

    return file_progress(", ".join(files))


def _cards(
    targets: tuple[str, ...], settings: Settings, told: GuestIdentity | None, *, everything: bool
) -> tuple[tuple[GuestIdentity, ...], str | None]:
    """Give the cards to capture and the BPF expression, if any."""
    from nwscan.api import identify

    if everything:
        return tuple(card.identity for card in identify.all_cards(settings, running=True)), " ".join(targets) or None
    if not targets:
        raise UsageError("nothing to capture on", hint="name a tap or a guest, or give --all; nwscan list shows them")
    if told is not None:
        from dataclasses import replace

        return (replace(told, tap=targets[0]),), " ".join(targets[1:]) or None
    return identify.taps_and_expression(targets, settings)


def _check_output(path: Path | None, reports: int) -> None:
    """Refuse before anything is measured what could not be written after it."""
    if path is not None and reports > 1:
        raise UsageError("one file holds one report", f"-o {path}", "name one card")
    check_output(path)


def _write(path: Path | None, reports: Sequence[Report]) -> None:
    if path is None:
        return
    from analyzer.report.store import encode
    from nwscan.kept import write_private

    write_private(path, encode(reports[0]) + b"\n")


def show(reports: Sequence[Report], shape: str, *, sources: Sequence[str] = (), stderr: bool = False) -> None:
    """Print reports as tables, JSON lines or CSV; ``sources`` are the files that they were made of, if any."""
    if shape == "json":
        from analyzer.report.store import encode

        for report in reports:
            click.echo(ascii_json(encode(report).decode()), err=stderr)
    elif shape == "csv":
        from nwscan.render.csv import reports_csv

        click.echo(reports_csv(reports), nl=False, err=stderr)
    else:
        from nwscan.render.report import print_report

        for report in reports:
            print_report(report, sources=sources, stderr=stderr)
