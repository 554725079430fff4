"""``verify``: offered and delivered, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from analyzer.errors import UsageError
from nwscan.cli.options import EXIT_INCONCLUSIVE, autostop, output_format, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwscan.api.prove import Verification

EXIT_NO: Final = 1


@click.command(epilog="Example: nwscan verify vm1 -a duration:10")
@click.argument("guest", required=False)
@autostop
@click.option(
    "--before", type=click.Path(path_type=Path), metavar="REPORT", help="The window before [the last kept one]."
)
@click.option("--after", type=click.Path(path_type=Path), metavar="REPORT", help="Judge this window; measure nothing.")
@click.option(
    "--probe",
    is_flag=True,
    help="Offer a few frames of nobody's to the filter; none leaves the bridge. The window is 3 s unless -a says else.",
)
@output_format("table", "json")
@click.pass_context
def verify(
    context: click.Context,
    guest: str | None,
    duration_s: float,
    before: Path | None,
    after: Path | None,
    probe: bool,
    shape: str,
) -> int:
    """Measure GUEST again and judge: what was offered ahead of its filter, what was delivered behind it.

    Exit code 0: effective. 1: not effective, or harmful. 7: inconclusive.
    """
    from click.core import ParameterSource

    from nwscan.api import measure, probing, prove
    from nwscan.render.progress import capture_progress

    if after is not None:
        if before is None:
            raise UsageError("--after needs --before", hint="name both reports")
        if probe:
            raise UsageError("--probe measures, --after does not", hint="leave one of them out")
        verifications: tuple[Verification, ...] = (prove.verify_reports(before, after),)
    elif guest is None:
        raise UsageError("whom to verify?", hint="name a guest, or two reports with --before and --after")
    else:
        if probe and context.get_parameter_source("duration_s") is ParameterSource.DEFAULT:
            duration_s = min(duration_s, probing.PROBE_DURATION_S)
        options, settings = measure.CaptureOptions(duration_s), settings_of(context)
        with capture_progress(guest, duration_s) as watcher:
            verifications = prove.verify(guest, options, before=before, probe=probe, settings=settings, watcher=watcher)
    show(verifications, shape, is_told_next=True)
    return exit_code(verifications)


def show(verifications: Sequence[Verification], shape: str, *, is_told_next: bool = False) -> None:
    """Print judgements; with ``is_told_next`` also what to do next."""
    if shape == "json":
        import json

        from analyzer.compare.document import agreement_document, to_document
        from analyzer.model.addresses import format_mac
        from nwscan.api.changeover import passed_document
        from nwscan.api.probing import probe_document

        for one in verifications:
            identity = one.identity
            guest = {"name": identity.name, "uuid": identity.uuid, "tap": identity.tap}
            macs = [format_mac(mac) for mac in identity.macs]
            further = {
                "guest": {**guest, "macs": macs},
                "probe": None if one.probe is None else probe_document(one.probe),
                "agreement": None if one.agreement is None else [agreement_document(each) for each in one.agreement],
                "while_applying": None if one.passed is None else passed_document(one.passed),
            }
            click.echo(json.dumps(to_document(one.comparison) | further))
        return
    from nwscan.render.verdict import next_steps, print_verification

    for one in verifications:
        print_verification(one, next_steps(one) if is_told_next else ())


def exit_code(verifications: Sequence[Verification]) -> int:
    """Give the exit code: the answer is yes only where it is yes for every card."""
    from analyzer.compare import Verdict

    verdicts = {one.comparison.verdict for one in verifications}
    if verdicts & {Verdict.NO_EFFECT, Verdict.HARMFUL}:
        return EXIT_NO
    return EXIT_INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else 0
