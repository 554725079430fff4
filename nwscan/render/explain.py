"""An explanation on the terminal: the headline, the causes, then for each its evidence and its remedies as commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nwscan.render.console import Sentence, console, headline, remark, table
from nwscan.render.text import count, percent, visible

if TYPE_CHECKING:
    from rich.console import Console

    from analyzer.causes.explanation import Explained, Explanation
    from analyzer.causes.remedies import Remedy

NAMES: Final = {
    "hub": "bridge is a hub",
    "learning_off": "learning off",
    "aged_out": "aged out",
    "never_learnt": "never learnt",
    "flushed": "deleted early",
    "virtual_mac": "virtual MAC",
    "moved_mac": "moved MAC",
    "behind_guest": "used by the guest",
    "mirror": "mirror",
    "unknown": "unknown",
}
"""The causes as people read them."""


def explain_headline(explanation: Explanation) -> str:
    """Give the sentence that says it all; where the bridge is at fault, that comes first."""
    seen = explanation.observation
    who, frames = seen.identity.label, seen.foreign[0]
    over = f" in {seen.report.duration_s:.1f} s" if seen.report.duration_s else ""
    if not seen.report.frames_seen:
        return f"{who}: not one frame was seen{over}, so there is nothing to explain"
    if not explanation.causes:
        return f"{who} sees no foreign unicast{over}: there is nothing to explain"
    first = explanation.causes[0]
    of = f"{percent(explanation.share(first))} of {count(frames)} foreign frames{over}"
    if first.is_bridge_at_fault:
        return f"{who}: the bridge is at fault: {first.sentence} ({of})"
    return f"{who}: {first.sentence} ({of})"


def print_explanation(explanation: Explanation) -> None:
    """Print one explanation."""
    out = console()
    out.print(headline(explain_headline(explanation)))
    if explanation.causes:
        columns = ("cause", ">frames", ">share", "how sure", ">destinations")
        out.print(table(columns, [_row(explanation, cause) for cause in explanation.causes]))
    for number, cause in enumerate(explanation.causes):
        _print_cause(out, cause, is_told=number == 0)
    for note in explanation.notes:
        out.print(remark(f"Note: {note}."))
    out.print()


def _row(explanation: Explanation, cause: Explained) -> tuple[str, ...]:
    share = percent(explanation.share(cause))
    return NAMES[cause.name], count(cause.frames), share, str(cause.certainty), count(len(cause.cases))


def _print_cause(out: Console, cause: Explained, *, is_told: bool) -> None:
    if not is_told:
        out.print(headline(f"{cause.sentence[:1].upper()}{cause.sentence[1:]}."))
    for line in cause.evidence:
        out.print(Sentence(f"  seen: {line}", ""))
    for line in cause.limits:
        out.print(remark(f"  not known: {line}"))
    for number, remedy in enumerate(cause.remedies):
        print_remedy(out, remedy, f"  {'Or' if number else 'Advised'}: {remedy.title}")
    out.print()


def print_remedy(out: Console, remedy: Remedy, title: str) -> None:
    """Print one remedy under a title: its commands, then what it does and how to undo it."""
    out.print(headline(title))
    for line in remedy.commands:
        out.print(f"    {visible(line)}", soft_wrap=True)
    out.print(remark(f"    effect: {remedy.effect}."))
    out.print(remark(f"    risk: {remedy.risk}."))
    out.print(remark(f"    restart, migration: {remedy.migration}."))
    for line in remedy.undo:
        out.print(remark(f"    undo: {line}"), soft_wrap=True)
