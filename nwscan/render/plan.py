"""A plan on the terminal: each step, then what it changes as a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.deploy.plan import describe, diff
from nwscan.render.console import console, headline, remark, table
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator.deploy.blast_radius import BlastRadius, GuestReach, MigrationTarget
    from generator.deploy.plan import Plan

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_plan(plan: Plan, *, stderr: bool = False) -> None:
    """Print what will be changed, before it is."""
    out = console(stderr=stderr)
    out.print(headline(f"Plan for {plan.name}: {len(plan.steps)} steps"))
    for number, step in enumerate(plan.steps, 1):
        out.print(f"  {number}. {visible(describe(step))}")
    out.print()
    for line in diff(plan).splitlines():
        out.print(visible(line), style=_STYLES.get(line[:1], ""), soft_wrap=True)
    out.print()


def print_blast_radius(radius: BlastRadius, *, stderr: bool = False) -> None:
    """Print what a plan reaches, before anything is done."""
    out = console(stderr=stderr)
    guests = len(radius.guests)
    out.print(headline(f"What this reaches: {guests} guest{'' if guests == 1 else 's'}"))
    rows = [row for one in radius.guests for row in _reach_rows(one)]
    rows.append(("filters are carried out by", radius.backend or "not known until one acts"))
    rows += [(f"migration to {one.uri}", _target_text(one)) for one in radius.targets]
    out.print(table(("what", "which"), rows))
    for one in radius.guests:
        if one.needs and not radius.targets:
            needs = ", ".join(one.needs)
            out.print(remark(f"A host that {one.guest} is migrated to needs these filters before: {needs}"))
    out.print()


def _reach_rows(one: GuestReach) -> Iterator[tuple[str, str]]:
    yield f"guest {one.guest}", f"cards {', '.join(one.cards) or '-'}"
    lines = (
        ("running taps", one.taps),
        ("new filters", one.defines),
        ("filters redefined", one.redefines),
        ("open for a moment while attached", one.open_taps),
        ("no flooding to", one.ports),
        ("static entries", one.entries),
        ("libvirt hooks", one.hooks),
    )
    for name, values in lines:
        if values:
            yield name, ", ".join(values)
    if one.next_start:
        yield "its definition", "changed, for the next start"
    for name, users in one.others.items():
        yield f"also referring to {name}", ", ".join(users)
    yield "to undo it", one.undo


def _target_text(one: MigrationTarget) -> str:
    if one.error is not None:
        return f"not known: {one.error}"
    parts = [f"lacks {', '.join(one.lacking)}" if one.lacking else ""]
    parts += [f"has another {name}" for name in one.differing]
    return "; ".join(part for part in parts if part) or "has all filters"
