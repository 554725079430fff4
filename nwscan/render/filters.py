"""Filters on the terminal: those of the host, and one of them in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwscan.api.filter_tree import HOST
from nwscan.api.filters import acting_order
from nwscan.render.console import console, headline, lines, remark, table
from nwscan.render.text import count, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from generator.nwfilter.model import Finding
    from nwscan.api.filters import FilterRow, FilterUse, FilterView, Step


def print_filters(rows: Sequence[FilterRow]) -> None:
    """Print the filters of the host."""
    out = console()
    used = sum(1 for row in rows if row.uses)
    out.print(headline(f"{count(len(rows))} nwfilters, {count(used)} of them on a guest's card"))
    if rows:
        columns = ("!filter, and what it refers to", "chain", ">prio", ">rules", "guests")
        out.print(table(columns, [line for row in rows for line in _lines(row)]))
    for row in rows:
        if row.error:
            out.print(remark(f"{row.name}: {row.error}{_referrers(row)}"))


def _lines(row: FilterRow) -> Iterator[tuple[str, ...]]:
    """Give a filter's line, then one for each that it refers to: so names stay whole."""
    guests = ", ".join(map(_use, row.uses)) or "-"
    value = row.value
    if value is None:
        yield row.name, "?", "?", "?", guests
        return
    yield row.name, value.chain, str(value.chain_priority), str(len(value.rules)), guests
    for name in dict.fromkeys(ref.filter for ref in value.references):
        yield f"  {name}", "", "", "", ""


def _use(use: FilterUse) -> str:
    when = "" if use.live and use.inactive else " (now only)" if use.live else " (from next start)"
    return f"{use.guest}:{use.card}{when}"


def _referrers(row: FilterRow) -> str:
    names = [*row.referenced_by, *(f"{use.guest}:{use.card}" for use in row.uses)]
    return f" (named by {', '.join(names)})" if names else ""


def print_filter(view: FilterView) -> None:
    """Print one filter: its tree, the order in which it acts, what is wrong with it, and what it becomes."""
    out = console()
    names, rules = len(view.tree.library), sum(len(each.rules) for each in view.tree.library.values())
    out.print(headline(f"{view.tree.root.name}: {_counted(rules, 'rule')} in {_counted(names, 'filter')}"))
    out.print(table(("!filter", "chain", ">prio", ">rules", "parameters", "from"), _tree_rows(view)))
    if view.variables:
        shown = "; ".join(f"{name}={', '.join(values)}" for name, values in view.variables.items())
        out.print(remark(f"With {shown}"))
    if view.lacking:
        told = ", ".join(f"${name}" for name in view.lacking)
        out.print(remark(f"Not known: {told}; name a guest with --guest, or give them with -p NAME=VALUE."))
    if view.variables or view.lacking:
        out.print()
    steps = () if view.program is None else acting_order(view.program)
    for to_guest, title in ((True, "Frames to the guest, in this order"), (False, "Frames from the guest")):
        rows = [_step_row(step) for step in steps if step.to_guest is to_guest]
        if rows:
            columns = (">prio", "chain", "condition, and the rule that it is of", "action")
            out.print(table(columns, rows, title=title))
    for each in view.findings:
        out.print(finding_text(each), soft_wrap=True)
    if view.program is not None:
        out.print(headline(f"It becomes, on {view.tap}:"))
        for line in view.program.lines(view.tap):
            out.print(f"  {visible(line)}", soft_wrap=True)
    out.print()


def _counted(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def _tree_rows(view: FilterView) -> Iterator[tuple[str, ...]]:
    for depth, ref in view.walk():
        found = view.tree.library.get(ref.filter)
        name = "  " * depth + ref.filter
        parameters = " ".join(f"{key}={value}" for key, value in ref.parameters)
        if found is None:
            yield name, "missing", "", "", parameters, ""
            continue
        place = "host" if view.tree.places[ref.filter] == HOST else "file"
        yield name, found.chain, str(found.chain_priority), str(len(found.rules)), parameters, place


def _step_row(step: Step) -> tuple[str | Text, ...]:
    chain = "" if step.chain == "root" else f"  {step.chain}"
    program = "" if step.program == "ebtables" else f"{step.program} "
    what = f"{program}{step.condition or 'every frame'}"
    return str(step.priority), chain, lines(what, f"  {step.origin}") if step.origin else what, step.action


def finding_text(each: Finding) -> str:
    """Give a finding on one line: what libvirt does about it, what it is, where, and what to do."""
    where = f" ({each.where}{f', line {each.line}' if each.line else ''})" if each.where else ""
    hint = f"; {each.hint}" if each.hint else ""
    return visible(f"{each.effect}: {each.what}{where}{hint}")
