"""``explain``: why foreign unicast reaches a tap, and which remedy fits."""

from __future__ import annotations

import click

from nwscan.cli.options import EXIT_INCONCLUSIVE, autostop, output_format, settings_of


@click.command(epilog="Example: nwscan explain vm1 -a duration:10")
@click.argument("guest")
@autostop
@output_format("table", "json")
@click.pass_context
def explain(context: click.Context, guest: str, duration_s: float, shape: str) -> int:
    """Measure GUEST and say why foreign unicast reaches its tap: causes with evidence, share, remedies and their risk.

    Looks at the bridge before, while and after it measures: FDB, ageing time, port flags, and who speaks from which
    port. Changes nothing; the remedies are commands to read and type. Exit code 7: not one frame was seen on a tap,
    which says nothing about foreign ones.
    """
    from nwscan.api import explaining, measure
    from nwscan.render.progress import capture_progress

    options = measure.CaptureOptions(duration_s)
    with capture_progress(guest, duration_s) as watcher:
        explained = explaining.explain(guest, options, settings=settings_of(context), watcher=watcher)
    if shape == "json":
        import json

        from analyzer.causes.document import to_document

        for kept, explanation in explained:
            click.echo(json.dumps(to_document(explanation, str(kept.path))))
    else:
        from nwscan.render.explain import print_explanation

        for _, explanation in explained:
            print_explanation(explanation)
    is_silent = any(not kept.report.frames_seen for kept, _ in explained)
    return EXIT_INCONCLUSIVE if is_silent else 0
