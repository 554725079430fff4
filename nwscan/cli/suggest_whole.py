"""``suggest --all`` and ``suggest --remedy``: filters for every guest of the host; a bridge remedy for one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from nwscan.cli.options import typed
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from generator.deploy.plan import Plan
    from nwscan.api.measure import CaptureOptions
    from nwscan.api.suggesting import Wish
    from nwscan.cli.applying import Keeping
    from nwscan.config import Settings

EXIT_REFUSED: Final = 1


def suggest_all(
    options: CaptureOptions,
    wish: Wish,
    settings: Settings,
    keeping: Keeping,
    *,
    output: Path | None,
    targets: Sequence[str],
    apply_it: bool,
    force: bool,
) -> int:
    """Propose for every guest that runs, all measured at once; guests that are refused are left out, and named."""
    from nwscan.api.suggesting import suggest_all as propose
    from nwscan.cli.suggest import is_refused, show
    from nwscan.render.progress import capture_progress

    with capture_progress("every guest", options.duration_s) as watcher:
        found = propose(options, wish=wish, settings=settings, watcher=watcher)
    for one in found:
        show(one.proposals, keeping.shape, settings.virsh_uri, show_xml=False)
    refused = [one for one in found if is_refused(one.proposals, force=force)]
    for one in refused:
        click.echo(f"{visible(one.plan.name)} is left out: see why above", err=True)
    plans = [one.plan for one in found if one not in refused and one.plan.steps]
    code = _go_on(plans, options, settings, keeping, output=output, targets=targets, apply_it=apply_it)
    return max(code, EXIT_REFUSED if refused else 0)


def suggest_remedy(
    guest: str,
    remedy: str,
    options: CaptureOptions,
    settings: Settings,
    keeping: Keeping,
    *,
    also: tuple[int, ...],
    with_hook: bool,
    output: Path | None,
    targets: Sequence[str],
    apply_it: bool,
    force: bool,
) -> int:
    """Propose a bridge remedy; gives the exit code."""
    from nwscan.api import remedying
    from nwscan.render.progress import capture_progress
    from nwscan.render.remedy import print_remedy

    with capture_progress(guest, options.duration_s) as watcher:
        found = remedying.suggest_remedy(
            guest, remedy, options, also_macs=also, with_hook=with_hook, settings=settings, watcher=watcher
        )
    for card in found.cards:
        if keeping.is_document:
            click.echo(json.dumps(remedying.to_document(card)))
        else:
            print_remedy(card)
    if any(not (force and each.can_force) for card in found.cards for each in card.obstacles):
        return EXIT_REFUSED
    if not found.plan.steps:
        click.echo(f"{visible(guest)} has this remedy already", err=True)
        return 0
    return _go_on([found.plan], options, settings, keeping, output=output, targets=targets, apply_it=apply_it)


def _go_on(
    plans: Sequence[Plan],
    options: CaptureOptions,
    settings: Settings,
    keeping: Keeping,
    *,
    output: Path | None,
    targets: Sequence[str],
    apply_it: bool,
) -> int:
    """Say what the plans reach, write them, carry them out, as is wished."""
    from generator.deploy.plan_file import encode_plans
    from nwscan.cli.plans import apply_plans, show_blast_radius
    from nwscan.kept import write_private

    if not plans:
        click.echo("there is nothing to put in", err=True)
        return 0
    show_blast_radius(plans, settings, targets, keeping.shape)
    if output is not None:
        write_private(output, encode_plans(plans))
    if apply_it:
        return apply_plans(plans, options, settings, keeping)
    if not keeping.is_document:
        how = f"nwscan apply {output}" if output is not None else "the same command with --apply"
        names = ", ".join(typed(plan) for plan in plans)
        click.echo(f"To put it in on {names}: {how}")
    return 0
