"""A suggestion on the terminal: what it removes, the rules with their evidence, what speaks against it, the XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.model.classes import FrameClass
from generator.evaluate.fields import Verdict
from generator.nwfilter.xml import write_filter
from generator.suggest.by_hand import by_hand
from nwscan.render.class_names import CLASS_NAMES
from nwscan.render.console import Sentence, console, headline, refusal_lines, table
from nwscan.render.explain import print_remedy
from nwscan.render.text import count, percent, short, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from generator.evaluate.prediction import Prediction
    from generator.nwfilter.model import Filter
    from generator.suggest.alternatives import Alternative
    from generator.suggest.evidence import RuleEvidence
    from generator.suggest.suggestion import Suggestion


def suggestion_headline(suggestion: Suggestion) -> str:
    """Give the sentence that says what the filter would do."""
    who, prediction = suggestion.identity.label, suggestion.prediction
    if suggestion.is_refused:
        return f"{who}: no filter is suggested: {suggestion.refusals[0].reason}"
    if prediction is None:
        return f"{who}: profile {suggestion.profile}, with nothing measured to try it on"
    foreign = prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP).frames
    total = sum(prediction.of(FrameClass.FOREIGN_UNICAST, verdict).frames for verdict in Verdict)
    wanted = prediction.wanted_dropped.frames
    return (
        f"{who}: profile {suggestion.profile} would have dropped {count(foreign)} of {count(total)} foreign frames "
        f"and {count(wanted)} others"
    )


def print_suggestion(
    suggestion: Suggestion,
    *,
    library: Mapping[str, Filter] | None = None,
    connect: str | None = None,
    show_xml: bool = True,
) -> None:
    """Print one suggestion; with ``show_xml`` also the filters and the commands that install them by hand.

    ``library`` and ``connect`` as for ``by_hand``.
    """
    out = console()
    if suggestion.beside.fault is not None:
        out.print(headline(f"The bridge is at fault: {suggestion.beside.fault}."))
    out.print(headline(suggestion_headline(suggestion)))
    for refusal in suggestion.refusals:
        out.print(*refusal_lines(refusal.reason, refusal.hint, can_force=refusal.can_force))
    if suggestion.prediction is not None:
        out.print(table(("class", ">pass", ">drop", ">unknown"), _prediction_rows(suggestion.prediction)))
    columns = ("rule", ">frames", ">octets", ">wrongly dropped")
    out.print(table(columns, map(_rule_row, suggestion.evidence), title="The rules"))
    for risk in suggestion.risks:
        out.print(Sentence(f"Risk: {risk}.", "", hanging=6))
    for note in suggestion.notes:
        out.print(Sentence(f"Note: {note}.", "dim", hanging=6))
    out.print()
    _print_beside(out, suggestion, show_commands=show_xml)
    if show_xml:
        _print_by_hand(suggestion, library, connect)


def _print_beside(out: Console, suggestion: Suggestion, *, show_commands: bool) -> None:
    """Print what would help that is no filter, predicted on the same frames."""
    others, total = suggestion.beside.remedies, suggestion.foreign[0]
    if not others:
        return
    rows = [
        ("the filter above", _filter_takes(suggestion)),
        *((each.remedy.title, _takes(each, total)) for each in others),
    ]
    out.print(
        table(("remedy", ">foreign frames that it takes away"), rows, title="What else would help, on the same frames")
    )
    for each in others if show_commands else ():
        print_remedy(out, each.remedy, f"Or: {each.remedy.title}")
    out.print()


def _filter_takes(suggestion: Suggestion) -> str:
    if suggestion.prediction is None:
        return "not tried"
    dropped = suggestion.prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP).frames
    return f"{count(dropped)} of {count(suggestion.foreign[0])}"


def _takes(each: Alternative, total: int) -> str:
    removes = each.removes
    if removes is None:
        return "only looks"
    least, most = removes.frames_at_least, removes.frames_at_most
    return f"{count(least) if least == most else f'{count(least)} to {count(most)}'} of {count(total)}"


def _prediction_rows(prediction: Prediction) -> Iterator[tuple[str, ...]]:
    for kind, name in CLASS_NAMES.items():
        cells = (prediction.of(kind, verdict).frames for verdict in (Verdict.ACCEPT, Verdict.DROP, Verdict.UNKNOWN))
        yield name, *map(count, cells)


def _rule_row(each: RuleEvidence) -> tuple[str, ...]:
    frames = "-" if each.frames is None else count(each.frames)
    octets = "-" if each.octets is None else short(each.octets, "B")
    wrong = "" if each.wrong is None else f"{count(each.wrong)}"
    if each.wrong_share_below is not None:
        wrong += f" (at most {percent(each.wrong_share_below)})"
    return each.text, frames, octets, wrong


def _print_by_hand(suggestion: Suggestion, library: Mapping[str, Filter] | None, connect: str | None) -> None:
    out = console()
    for each in suggestion.filter_set.filters:
        out.print(visible_block(write_filter(each)), soft_wrap=True)
    filter_set, guest = suggestion.filter_set, suggestion.identity.name
    recipe = by_hand(filter_set, guest, card=suggestion.card, library=library, connect=connect)
    out.print(headline("By hand, in a folder with these files (nwscan suggest --xml DIR writes them):"))
    for line in recipe.install:
        out.print(f"  {visible(line)}", soft_wrap=True)
    out.print(headline("and to undo it:"))
    for line in recipe.undo:
        out.print(f"  {visible(line)}", soft_wrap=True)
    out.print()


def visible_block(text: str) -> str:
    """Give a text of several lines with everything that does not print escaped."""
    return "\n".join(visible(line) for line in text.splitlines())
