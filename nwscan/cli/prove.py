"""``verify``: offered and delivered, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from analyzer.errors import UsageError
from nwscan.cli.options import autostop, output_format, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwscan.api.prove import Verification

EXIT_NO: Final = 1
EXIT_INCONCLUSIVE: Final = 7


@click.command(epilog="Example: nwscan verify vm1 -a duration:10")
@click.argument("guest", required=False)
@autostop
@click.option(
    "--before", type=click.Path(path_type=Path), metavar="REPORT", help="The window before [the last kept one]."
)
@click.option("--after", type=click.Path(path_type=Path), metavar="REPORT", help="Judge this window; measure nothing.")
@output_format("table", "json")
@click.pass_context
def verify(
    context: click.Context, guest: str | None, duration_s: float, before: Path | None, after: Path | None, shape: str
) -> int:
    """Measure GUEST again and judge: what was offered ahead of its filter, what was delivered behind it.

    Exit code 0: effective. 1: not effective, or harmful. 7: inconclusive.
    """
    from nwscan.api import measure, prove
    from nwscan.render.progress import capture_progress

    if after is not None:
        if before is None:
            raise UsageError("--after needs --before", hint="name both reports")
        verifications: tuple[Verification, ...] = (prove.verify_reports(before, after),)
    elif guest is None:
        raise UsageError("whom to verify?", hint="name a guest, or two reports with --before and --after")
    else:
        options = measure.CaptureOptions(duration_s)
        with capture_progress(guest, duration_s) as watcher:
            verifications = prove.verify(guest, options, before=before, settings=settings_of(context), watcher=watcher)
    show(verifications, shape)
    return exit_code(verifications)


def show(verifications: Sequence[Verification], shape: str) -> None:
    """Print judgements."""
    if shape == "json":
        import json

        from analyzer.compare.document import to_document
        from analyzer.model.addresses import format_mac

        for one in verifications:
            identity = one.identity
            guest = {"name": identity.name, "uuid": identity.uuid, "tap": identity.tap}
            macs = [format_mac(mac) for mac in identity.macs]
            click.echo(json.dumps({**to_document(one.comparison), "guest": {**guest, "macs": macs}}))
        return
    from nwscan.render.verdict import print_verification

    for one in verifications:
        print_verification(one)


def exit_code(verifications: Sequence[Verification]) -> int:
    """Give the exit code: the answer is yes only where it is yes for every card."""
    from analyzer.compare import Verdict

    verdicts = {one.comparison.verdict for one in verifications}
    if verdicts & {Verdict.NO_EFFECT, Verdict.HARMFUL}:
        return EXIT_NO
    return EXIT_INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else 0
