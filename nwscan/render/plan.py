"""A plan on the terminal: each step, then what it changes as a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.deploy.plan import describe, diff
from nwscan.render.console import console, headline
from nwscan.render.text import visible

if TYPE_CHECKING:
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
